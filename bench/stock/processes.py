"""Writers and subscribers as processes of their own, on the core that is not the server's."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from bench.load import GENERATOR_CORE, pin
from bench.measurement import REPOSITORY
from bench.stock.sizes import SMALL, Sizes
from bench.stock.wire import Till
from bench.stock.world import RECORD_METHOD, make_opening

_WAIT_S = 180.0


class Companion:
    """A process that says `ready`, is let go by a line, and says one JSON object at its end.

    Parameters
    ----------
    module, arguments
        What is run.
    """

    def __init__(self, module: str, arguments: Sequence[object]) -> None:
        command = [sys.executable, "-m", module, *map(str, arguments)]
        self._process = subprocess.Popen(
            pin(command, GENERATOR_CORE),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line.strip() == "ready", f"{module} said {line!r}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def tell(self) -> None:
        """Send it a line: a writer begins, subscribers end."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def finish(self) -> dict[str, Any]:
        """Wait for its end, and return what it says."""
        said, _ = self._process.communicate(timeout=_WAIT_S)
        assert self._process.returncode == 0, "a companion failed"
        found: dict[str, Any] = json.loads(said.splitlines()[-1])
        return found


def make_writer(
    port: int, what: str, sizes: Sizes, *, count: int, rate: float = 0.0, first: int = 0,
    seed: int = 0,
) -> Companion:  # fmt: skip
    """Make a writer; see `bench.stock.writer`."""
    arguments = [f"127.0.0.1:{port}", what, "--count", count, "--rate", rate, "--first", first]
    arguments += ["--seed", seed, *(["--small"] if sizes == SMALL else [])]
    return Companion("bench.stock.writer", arguments)


def make_subscribers(
    port: int, readers: int, *, silent: int = 0, per_connection: int = 1, expected: int = 0,
    out: Path | None = None,
) -> Companion:  # fmt: skip
    """Make subscribers; see `bench.stock.subscribers`."""
    arguments = [f"127.0.0.1:{port}", "--readers", readers, "--silent", silent]
    arguments += ["--per-connection", per_connection, "--expected", expected, "--out", out or ""]
    return Companion("bench.stock.subscribers", arguments)


def fill_positions(port: int, sizes: Sizes) -> None:
    """Fill every position, once."""
    till = Till(f"127.0.0.1:{port}", RECORD_METHOD)
    for request in make_opening(sizes):
        till.call(request.SerializeToString())
    till.close()


def read_anonymous_size_bytes(pid: int) -> int:
    """Return the memory that a process has for itself alone; files that it maps are not in it."""
    for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("the kernel tells no RssAnon")


def read_told(path: Path) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return sequence, reader and time of each transition told, int64[N] each."""
    with np.load(path) as file:
        return file["sequence"], file["reader"], file["time_ns"]
