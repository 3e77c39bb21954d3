"""One bit of a stored folder is flipped, and everything is read: what was noticed, what served.

A flipped tree can make LMDB read where nothing is, so each flip is tried by a process of its own.
`python -m tests.crash.flips FOLDER EXPECTED SEED COUNT` prints one JSON object a flip.
"""

import contextlib
import io
import json
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from instanter.clock import SystemClock
from instanter.errors import InstanterError
from instanter.events_log import make_events_log
from instanter.keeper.opening import KeptStore
from instanter.keeper.published import PublishedCatalogue
from instanter.metrics import Metrics
from instanter.rpc.customers import CustomerService
from instanter.rpc.front import CallContext
from instanter.store.databases import ACTIVITY, DATABASES, PROFILES, Check
from instanter.store.environment import Environment
from instanter.store.log.frames import ALIGNMENT_BYTES, PREFIX
from instanter.store.log.reading import LogReader
from instanter.store.log.segments import SEGMENT_HEADER_SIZE_BYTES
from instanter.store.state import State
from instanter.v1.customer_service_pb2 import Customer, GetCustomerRequest

BASE: Final = Path("data.mdb")
OVERLAY: Final = Path("overlay/data.mdb")
NOBODY: Final = CallContext(None, "nobody")

Ranges = list[tuple[int, int, str]]
"""Offset, size and meaning of bytes: `key`, `value`, `frame`, or `served` for what is asked."""

Read = dict[str, Any]


def describe(customer: Customer) -> Read:
    """Return what a customer's record serves."""
    numbers = {name: value.number_value for name, value in customer.attributes.items()}
    return {"attributes": numbers, "revision": customer.revision}


def read_customers(store: Any, names: list[str]) -> dict[str, Read | str]:
    """Read customers through the service; an error's class stands for what is refused."""
    service = CustomerService(
        store, submit=_refuse, published=PublishedCatalogue(), clock=SystemClock()
    )
    found: dict[str, Read | str] = {}
    for name in names:
        try:
            request = GetCustomerRequest(name=f"customers/{name}")
            found[name] = describe(service.get_customer(request, NOBODY))
        except InstanterError as error:
            found[name] = type(error).__name__
    return found


def _refuse(*_: Any, **__: Any) -> Any:
    raise AssertionError("nothing is written here")


def find_live_ranges(folder: Path, file: Path) -> Ranges:
    """Return where a file holds what was written: keys and values, frames and headers.

    Everything else is the tree that leads there, free pages, padding, and room not used yet.
    """
    if file.suffix == ".log":
        return list(_find_frames((folder / file).read_bytes()))
    return sorted(_find_entries(folder / file.parent))


def _find_frames(data: bytes) -> Iterator[tuple[int, int, str]]:
    """Yield where the header and the frames of a segment are, without what fills them up."""
    at = SEGMENT_HEADER_SIZE_BYTES
    yield 0, at, "frame"
    while at + PREFIX.size <= len(data):
        covered, _ = PREFIX.unpack_from(data, at)
        if not covered:
            return
        size = PREFIX.size + covered
        yield at, size, "frame"
        at += -(-size // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


def _find_entries(folder: Path) -> Iterator[tuple[int, int, str]]:
    """Yield offset and size of each key and each value of an LMDB file."""
    import numpy as np

    with Environment.open(folder, writable=False) as environment:
        maps = Path("/proc/self/maps").read_text().splitlines()
        place = os.path.realpath(folder / "data.mdb")
        start = min(int(line.split("-")[0], 16) for line in maps if line.endswith(place))
        raw = environment._raw
        with raw.begin(buffers=True) as transaction:
            for database in DATABASES:
                cursor = transaction.cursor(environment.handles[database.index])
                for pair in cursor:
                    value = "served" if database in (PROFILES, ACTIVITY) else "value"
                    for view, meaning in zip(pair, ("key", value), strict=True):
                        # A marker notes when something may be dropped: no value hangs on it.
                        if len(view) and database.check is not Check.MARKER:
                            at = np.frombuffer(view, np.uint8).ctypes.data
                            yield at - start, len(view), meaning
                cursor.close()


def choose_bit(folder: Path, choose: random.Random) -> tuple[Path, int, str]:
    """Return a file, a bit in it, and what that means; empty when it was not written."""
    files = [BASE, OVERLAY, *(path.relative_to(folder) for path in folder.glob("log/*.log"))]
    file = choose.choice(files)
    ranges = find_live_ranges(folder, file)
    draw = choose.random()
    served = [each for each in ranges if each[2] == "served"]
    if draw < 0.8:
        if served and draw < 0.5:
            ranges = served
        # Weighted by size: each bit of what was written is as likely as any other.
        start, size, _ = choose.choices(ranges, weights=[size for _, size, _ in ranges])[0]
        byte = start + choose.randrange(size)
    else:
        byte = choose.randrange((folder / file).stat().st_size)
    live = next((means for start, size, means in ranges if start <= byte < start + size), "")
    return file, 8 * byte + choose.randrange(8), live


def flip(path: Path, bit: int) -> None:
    with path.open("r+b") as file:
        file.seek(bit // 8)
        (byte,) = file.read(1)
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


def _is_right(read: Read, expected: Read) -> bool:
    """Whether all that is served is right; what a damaged record would tell may be left out."""
    attributes = expected["attributes"].items() >= read["attributes"].items()
    return attributes and read["revision"] == expected["revision"]


def verify(folder: Path) -> str:
    """Return what looking at everything finds, as the commands do; empty when all seems well."""
    try:
        survey = LogReader.open(folder / "log").survey()
        if survey.holes:
            return "log holes"
        # A torn tail is what a crash leaves; of a folder that was stopped it is damage.
        if survey.torn is not None:
            return "log torn"
        with State.open(folder, writable=False) as state:
            return "" if state.verify().is_sound else "store verify"
    except (InstanterError, OSError) as error:
        return f"verify: {type(error).__name__}"


def try_flip(folder: Path, file: Path, bit: int, expected: dict[str, Read]) -> dict[str, Any]:
    """Flip one bit, look at everything, read everything, and tell what happened.

    No bit is flipped when it is negative.
    """
    if bit >= 0:
        flip(folder / file, bit)
    told: dict[str, Any] = {"verify": verify(folder), "start": "", "wrong": [], "refused": 0}
    told["missing"] = told["withheld"] = 0
    log = io.StringIO()
    try:
        if file == OVERLAY:
            # A start throws it away: who meets it is a process that has it open.
            opened: Any = State.open(folder, writable=False)
            store = opened
        else:
            opened = KeptStore.open(
                folder,
                clock=SystemClock(),
                metrics=Metrics(),
                events_log=make_events_log(log, as_json=True),
            )
            store = opened.state
        with opened:
            found = read_customers(store, list(expected))
    except (InstanterError, OSError) as error:
        told["start"] = type(error).__name__
        return told
    told["start"] = "log_tail_cut" if "log_tail_cut" in log.getvalue() else ""
    for name, read in found.items():
        if isinstance(read, str):
            told["missing" if read == "NotFoundError" else "refused"] += 1
        elif not _is_right(read, expected[name]):
            told["wrong"].append(f"{name}: {read} for {expected[name]}")
        elif read != expected[name]:
            told["withheld"] += 1
    return told


def try_apart(original: Path, file: Path, bit: int, expected: dict[str, Read]) -> dict[str, Any]:
    """Try a flip in a process of its own, on a copy."""
    place = Path(tempfile.mkdtemp(dir=original.parent))
    shutil.copytree(original, place / "store")
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            told = try_flip(place / "store", file, bit, expected)
            os.write(writing, json.dumps(told).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    shutil.rmtree(place)
    if not text:
        return {"died": os.waitstatus_to_exitcode(status)}
    return dict(json.loads(text))


def main(folder: Path, expected_file: Path, seed: int, count: int) -> None:
    choose = random.Random(seed)
    expected = json.loads(expected_file.read_text())
    # Without a flip first: nothing may be noticed then.
    for file in (BASE, OVERLAY):
        told = try_apart(folder, file, -1, expected)
        print(json.dumps({"file": str(file), "bit": -1, "live": "", **told}), flush=True)
    for _ in range(count):
        # What it finds it finds in a process of its own: LMDB is not opened before a fork.
        file, bit, live = _choose_apart(folder, choose.randrange(1 << 30))
        told = try_apart(folder, file, bit, expected)
        print(json.dumps({"file": str(file), "bit": bit, "live": live, **told}), flush=True)


def _choose_apart(folder: Path, seed: int) -> tuple[Path, int, str]:
    reading, writing = os.pipe()
    if not os.fork():
        file, bit, live = choose_bit(folder, random.Random(seed))
        os.write(writing, json.dumps([str(file), bit, live]).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        name, bit, live = json.loads(pipe.read())
    os.wait()
    return Path(name), bit, live


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
