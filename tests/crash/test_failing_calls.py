"""A server whose system calls fail: it acknowledges nothing that is not on disk, and goes on.

`INSTANTER_FAILING=1` is the long version: it goes through all calls, and for each through N = 1, 2,
3 and so on until a run passes unhurt. The suite takes a few.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.killable import Server
from tests.crash.ledger import Door, Ledger
from tests.crash.tracing import (
    count_injected,
    kill_traced,
    needs_strace,
    read_calls,
    read_syncs,
    traced,
)

LONG = bool(os.environ.get("INSTANTER_FAILING"))
EVENT_ID = re.compile(r"[a-z]\d+-\d+-\d+")
SYNC_CALLS = "pwrite64,fdatasync,io_submit,io_getevents"

pytestmark = [pytest.mark.slow, needs_strace, pytest.mark.timeout(3_000 if LONG else 240)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all: starting takes long, and none of this may cost it anything."""
    made = Server(tmp_path_factory.mktemp("failing") / "store", 0)
    made.start()
    try:
        with Door(made.address) as door:
            door.publish()
        made.wait_warm()
        yield made
    finally:
        if made.process is not None and made.process.poll() is None:
            made.kill()


def audit(trace: Path, ledger: Ledger) -> int:
    """Check that each reply came after a sync which began after its bytes were written.

    Returns how many were checked; those that were sent more than once are left out: which of
    the replies was meant is not known.
    """
    written: dict[str, float] = {}
    for call in read_calls(trace):
        if call.name == "pwrite64" and call.result > 0 and "/log/" in call.arguments:
            for event_id in EVENT_ID.findall(call.arguments):
                written.setdefault(event_id, call.ended_at)
    syncs = [each for each in read_syncs(trace) if "/log/" in each.arguments]
    checked = 0
    for write in ledger.writes:
        if write.events is None or write.tries > 1:
            continue
        at = written.get(write.events.events[0].event_id)
        if at is None:
            continue
        assert write.acknowledged_at is not None
        after = [s for s in syncs if s.begun_at >= at and s.ended_at <= write.acknowledged_at]
        assert after, f"acknowledged without a sync: {write.events.events[0].event_id}"
        assert after[0].result == 0, "acknowledged after a sync that failed"
        checked += 1
    return checked


def test_each_reply_comes_after_a_sync_that_began_after_its_bytes(
    server: Server, tmp_path: Path
) -> None:
    (keeper,) = server.find_pids("keeper")
    ledger = Ledger(server.address, 4, letter="a")
    # A slow disk makes it plain whether a reply waits for it; the second time the thread syncs.
    for name, slow in (
        ("beside", ["io_getevents:delay_enter=20000"]),
        ("thread", ["fdatasync:delay_enter=20000", "io_submit:error=EAGAIN"]),
    ):
        with traced(keeper, tmp_path / name, SYNC_CALLS, slow):
            ledger.write_more(120)
        checked = audit(tmp_path / name, ledger)
        print(json.dumps({"audited": checked, "acknowledged": len(ledger.writes)}))
        assert checked >= 60
        assert count_injected(tmp_path / name, slow[-1].partition(":")[0]) >= 60


SERVING = [("fdatasync", "EIO"), ("pwrite64", "ENOSPC"), ("io_submit", "EIO")]
if LONG:
    SERVING += [("fdatasync", "ENOSPC"), ("pwrite64", "EIO"), ("fsync", "EIO"), ("openat", "EIO")]
    SERVING += [("fallocate", "ENOSPC"), ("ftruncate", "EIO"), ("writev", "ENOSPC")]
NUMBERS_SERVING = (*range(1, 6), *range(6, 400, 7)) if LONG else (1, 6)
WRITES_EACH = 60


def test_no_failing_call_of_a_serving_keeper_costs_what_it_acknowledged(
    server: Server, tmp_path: Path
) -> None:
    ledger = Ledger(server.address, 4, letter="b")
    told = {}
    for call, error in SERVING:
        hurt = 0
        for number in NUMBERS_SERVING:
            trace = tmp_path / f"{call}-{error}-{number}.trace"
            if not fail_while_serving(server, ledger, trace, (call, error, number)):
                break
            hurt += 1
        told[f"{call} {error}"] = hurt
        wrong = ledger.compare()
        assert not wrong, (call, wrong[:3])
    server.kill()
    server.start()
    assert ledger.compare() == []
    print(json.dumps({"failed": told, "acknowledged": len(ledger.writes)}))
    assert told["fdatasync EIO"] > 1, "calls were made to fail"


def fail_while_serving(
    server: Server, ledger: Ledger, trace: Path, fault: tuple[str, str, int]
) -> int:
    """Let the Nth call of each thread of the keeper fail once; return how many did."""
    call, error, number = fault
    server.wait_warm(90)
    (keeper,) = server.find_pids("keeper")
    injections = [f"{call}:error={error}:when={number}"]
    if call == "fdatasync":
        # Else the operating system is asked for syncs, which strace cannot make fail.
        injections.append("io_submit:error=EAGAIN")
    with traced(keeper, trace, f"{call},{SYNC_CALLS}", injections):
        goal = len(ledger.writes) + WRITES_EACH
        ledger.write(lambda: count_injected(trace, call) > 0 or len(ledger.writes) >= goal)
        ledger.write_more(40)
    audit(trace, ledger)
    return count_injected(trace, call)


STARTING = [("openat", "EIO", 3), ("pwrite64", "ENOSPC", 2)]
STARTING_LONG = [
    ("openat", "EIO"),
    ("openat", "ENOSPC"),
    ("ftruncate", "ENOSPC"),
    ("fallocate", "ENOSPC"),
    ("pwrite64", "ENOSPC"),
    ("pwrite64", "EIO"),
    ("fdatasync", "EIO"),
    ("fsync", "EIO"),
]


def list_faults(seen: dict[str, int]) -> Iterator[tuple[str, str, int]]:
    """Yield the faults to try: for each call the next number until nothing was hurt."""
    if not LONG:
        yield from STARTING
        return
    for call, error in STARTING_LONG:
        number = 1
        while True:
            yield call, error, number
            if not seen.get(f"{call} {error} {number}"):
                break
            number += 1 if number < 6 else 5


def test_no_failing_call_of_a_start_costs_what_was_acknowledged(
    server: Server, tmp_path: Path
) -> None:
    ledger = Ledger(server.address, 4, letter="c")
    ledger.write_more(150)
    server.kill()
    seen: dict[str, int] = {}
    started = 0
    for call, error, number in list_faults(seen):
        trace = tmp_path / "start.trace"
        trace.unlink(missing_ok=True)
        started += start_failing(server, trace, (call, error, number))
        seen[f"{call} {error} {number}"] = count_injected(trace, call)
        server.start()
        wrong = ledger.compare()
        assert not wrong, (call, error, number, wrong[:3])
        server.kill()
    print(json.dumps({"starts": len(seen), "started": started, "injected": seen}))
    assert any(seen.values()), "calls were made to fail"


def start_failing(server: Server, trace: Path, fault: tuple[str, str, int]) -> bool:
    """Start the server with a call that fails on its files; return whether it serves then."""
    call, error, number = fault
    folder = server.folder
    files = [
        *(folder / name for name in ("data.mdb", "lock.mdb", "keeper.lock", "overlay.lock")),
        *(folder / "overlay" / name for name in ("data.mdb", "lock.mdb")),
        *(folder / "log", *folder.glob("log/*.log"), folder / "log" / "1.unnamed"),
    ]
    traced_server = Server(
        folder,
        0,
        log=trace.with_suffix(".log"),
        before=[
            *("strace", "-f", "--seccomp-bpf", "-qq", "-o", str(trace), "-e", f"trace={call}"),
            *(word for file in files for word in ("-P", str(file))),
            *("-e", f"inject={call}:error={error}:when={number}", "-e", "signal=none"),
        ],
    )
    traced_server.log.write_text("")
    traced_server.launch()
    process = traced_server.process
    assert process is not None
    assert process.stdout is not None
    line = process.stdout.readline()
    if line:
        kill_traced(process)
    else:
        assert process.wait(60) != 0
        said = traced_server.log.read_text()
        assert "error: " in said, f"it died silently: {said[-500:]}"
        assert "Traceback" not in said, said[-2000:]
    process.stdout.close()
    return bool(line)
