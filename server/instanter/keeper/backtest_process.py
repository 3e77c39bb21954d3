"""Back-tests in a process of their own: minutes of work must not hold a server's interpreter lock.

The process reads the log beside the running server, and ends with the back-test, or with its
parent. The two sides exchange msgpack: `[done, count]` while it runs, then a mapping, with the
result or with what went wrong.
"""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from instanter.catalogue import serialization
from instanter.errors import DamagedError, InstanterError, PreconditionError
from instanter.frames import Frames, pack
from instanter.fraud.simulation import RuleRecord, RuleSetFigures, Simulation, SimulationResult
from instanter.keeper.backtesting import run_backtest
from instanter.module_path import find_module_path
from instanter.orphans import end_with_parent
from instanter.store.log.reading import LogReader
from instanter.store.log.segments import LOG_FOLDER_NAME

_MESSAGE_SIZE_BYTES_MAX: Final = 256 << 20
"""Bytes of a message: a compiled catalogue, or a result of 1,000 rules."""

_PIECE_SIZE_BYTES: Final = 1 << 16


def run_backtest_apart(
    folder: Path,
    catalogue: bytes,
    *,
    start_ns: int,
    end_ns: int,
    report: Callable[[int, int], bool],
) -> SimulationResult | None:
    """Run a back-test in a process and return its result; None when nobody wants it any more.

    Parameters
    ----------
    folder
        The data folder.
    catalogue
        The compiled catalogue with the given rules, serialized.
    start_ns, end_ns
        As in `Simulation`.
    report
        Told how many transactions of how many are done; False ends the back-test.

    Raises
    ------
    PreconditionError
        The recorded transactions do not fit the given rules; reason BACKTEST_REFUSED.
    DamagedError
        The log is damaged.
    """
    # What the kernels' cache and the imports go by stands in the environment.
    with subprocess.Popen(  # noqa: S603 - our own program, with our own words
        [sys.executable, "-m", "instanter.keeper.backtest_process", str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": find_module_path()},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(pack((str(folder), catalogue, start_ns, end_ns)))
            process.stdin.close()
            frames = Frames(_MESSAGE_SIZE_BYTES_MAX)
            while piece := os.read(process.stdout.fileno(), _PIECE_SIZE_BYTES):
                for message in frames.feed(piece):
                    if isinstance(message, dict):
                        return _read_answer(message)
                    if not report(*message):
                        return None
        finally:
            process.kill()
    raise RuntimeError("the process of the back-test ended without a result")


def _read_answer(message: dict[str, Any]) -> SimulationResult:
    """Return the result of an answer, or raise what it says."""
    if "refused" in message:
        raise PreconditionError(message["refused"], reason="BACKTEST_REFUSED")
    if "damaged" in message:
        raise DamagedError(message["damaged"])
    found = message["result"]
    rules = tuple(RuleRecord(**rule) for rule in found.pop("rules"))
    live, given = (RuleSetFigures(**found.pop(name)) for name in ("live", "given"))
    return SimulationResult(live=live, given=given, rules=rules, **found)


def _run(question: bytes) -> None:
    """Run the back-test that is asked for, and write what it tells to standard output."""
    ((folder, catalogue, start_ns, end_ns),) = Frames(_MESSAGE_SIZE_BYTES_MAX).feed(question)
    out = sys.stdout.buffer

    def tell(message: object) -> None:
        out.write(pack(message))
        out.flush()

    try:
        reader = LogReader.open(Path(folder) / LOG_FOLDER_NAME)
        simulation = Simulation(
            serialization.from_bytes(catalogue), start_ns=start_ns, end_ns=end_ns
        )
        result = run_backtest(
            lambda: reader.read(reader.first_sequence()),
            simulation,
            lambda done, count: tell((done, count)),
        )
    except DamagedError as error:
        tell({"damaged": error.message})
    except InstanterError as error:
        tell({"refused": f"the recorded transactions do not fit these rules: {error.message}"})
    else:
        tell({"result": dataclasses.asdict(result)})


if __name__ == "__main__":
    end_with_parent(int(sys.argv[1]))
    _run(sys.stdin.buffer.read())
