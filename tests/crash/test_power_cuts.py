"""A server on a disk whose power is cut: nothing it acknowledged is lost, nothing is wrong.

`INSTANTER_CUTS=10` is the long version, which measures; the suite's cuts once of each kind.
"""

import json
import os
import random
import select
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import pytest

from tests.cli.served import LONE
from tests.crash.disks import (
    MIB,
    cut_power,
    make_image,
    mounted,
    needs_mounts,
    written_back_out_of_order,
)
from tests.crash.killable import Server
from tests.crash.ledger import Door, Ledger

CUTS = int(os.environ.get("INSTANTER_CUTS", "1"))
WRITES_EACH = 1_000 if CUTS > 1 else 400
RECOVERY_CUTS = max(CUTS // 2, 1)
DISK_SIZE_BYTES = 320 * MIB

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    needs_mounts,
    pytest.mark.timeout(120 + 60 * CUTS),
]


class CutServer:
    """A server on a disk that can be cut; started anew on the same disk after that."""

    def __init__(self, folder: Path) -> None:
        self.image = folder / "disk"
        self.mount = folder / "mount"
        make_image(self.image, DISK_SIZE_BYTES)
        # What it says goes elsewhere: it must be there after the cut.
        self.server = Server(self.mount / "store", 0, log=folder / "server.log", module=LONE)
        self.choose = random.Random(11)

    @contextmanager
    def powered(self) -> Iterator[None]:
        """Mount the disk, which has its power back; nothing runs on it any more at the end."""
        with mounted("-o", "loop", str(self.image), at=self.mount):
            try:
                yield
            finally:
                process = self.server.process
                if process is not None and process.poll() is None:
                    self.server.kill()

    def list_files(self) -> list[Path]:
        store = self.server.folder
        return [store / "data.mdb", store / "overlay" / "data.mdb", *store.glob("log/*.log")]


@pytest.fixture
def machine(tmp_path: Path) -> CutServer:
    return CutServer(tmp_path)


def write_until_cut(machine: CutServer, ledger: Ledger) -> None:
    """Cut the power at any moment while all writers write."""
    goal = len(ledger.writes) + WRITES_EACH
    later_s = machine.choose.uniform(0.0, 0.3)
    cut_at = [0.0]

    def is_cut() -> bool:
        if not cut_at[0] and len(ledger.writes) >= goal:
            time.sleep(later_s)
            cut_power(machine.mount)
            cut_at[0] = time.monotonic()
        # What answers after the cut would be a promise that nobody can keep.
        return bool(cut_at[0]) and time.monotonic() > cut_at[0] + 0.2

    ledger.write(is_cut, time_s=120.0)


@pytest.mark.parametrize("in_order", [True, False], ids=["in order", "out of order"])
def test_nothing_acknowledged_is_lost_when_the_power_is_cut(
    machine: CutServer, in_order: bool
) -> None:
    ledger = Ledger(machine.server.address)
    counts = []
    for number in range(CUTS):
        with machine.powered():
            machine.server.start()
            if number == 0:
                with Door(machine.server.address) as door:
                    door.publish()
            before = len(ledger.writes)
            push: AbstractContextManager[None] = nullcontext()
            if not in_order:
                push = written_back_out_of_order(machine.list_files, machine.choose)
            with push:
                write_until_cut(machine, ledger)
            counts.append(len(ledger.writes) - before)
        with machine.powered():
            machine.server.start()
            wrong = ledger.compare()
        assert not wrong, wrong[:5]
    print(json.dumps({"in_order": in_order, "acknowledged": counts, "lost": 0}))
    assert min(counts) >= WRITES_EACH


def test_a_power_cut_during_recovery_loses_nothing_either(machine: CutServer) -> None:
    ledger = Ledger(machine.server.address)
    with machine.powered():
        machine.server.start()
        with Door(machine.server.address) as door:
            door.publish()
        write_until_cut(machine, ledger)
    unready_count = 0
    for _ in range(RECOVERY_CUTS):
        with machine.powered():
            unready_count += cut_while_it_recovers(machine)
    with machine.powered():
        machine.server.start()
        assert ledger.compare() == []
        ledger.write_more(50)
        machine.server.stop()
    print(json.dumps({"recovery_cuts": RECOVERY_CUTS, "before_ready": unready_count}))


def cut_while_it_recovers(machine: CutServer) -> bool:
    """Start the server, and cut the power while it reads the log; whether that was in time."""
    overlay = machine.server.folder / "overlay" / "data.mdb"
    old = find_birth_ns(overlay)
    machine.server.launch()
    end = time.monotonic() + 60.0
    while find_birth_ns(overlay) in (old, 0):
        # The overlay is thrown away first, when everything is imported.
        assert time.monotonic() < end, machine.server.log.read_text()[-2000:]
        time.sleep(0.0005)
    time.sleep(machine.choose.uniform(0.0, 0.08))
    process = machine.server.process
    assert process is not None
    told, _, _ = select.select([process.stdout], [], [], 0)
    cut_power(machine.mount)
    return not told


def find_birth_ns(file: Path) -> int:
    """Return when a file was last made or changed, 0 when there is none; numbers are reused."""
    try:
        return file.stat().st_ctime_ns
    except OSError:
        return 0
