"""A server whose disk is full: it decides, refuses what it cannot keep, heals without restart."""

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from instanter.v1.decision_service_pb2 import DecideOffersRequest
from instanter.v1.event_service_pb2 import RecordEventsRequest
from tests.cli.served import LONE
from tests.crash.disks import MIB, make_image, mounted, needs_mounts
from tests.crash.killable import Server
from tests.crash.ledger import SHOP, Door, Ledger, make_event

pytestmark = [pytest.mark.root, pytest.mark.slow, needs_mounts, pytest.mark.timeout(240)]

DISK_SIZE_BYTES = 16 * MIB


@contextmanager
def small_disk(folder: Path, kind: str) -> Iterator[Path]:
    if kind == "tmpfs":
        size = ("-o", f"size={DISK_SIZE_BYTES}")
        with mounted("-t", "tmpfs", *size, "tmpfs", at=folder / "mount") as mount:
            yield mount
    else:
        make_image(folder / "disk", DISK_SIZE_BYTES)
        with mounted("-o", "loop", str(folder / "disk"), at=folder / "mount") as mount:
            yield mount


def fill(mount: Path, left_size_bytes: int) -> Path:
    """Fill the disk but for some bytes, and return the file that does it."""
    filler = mount / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
        file.truncate(max(file.tell() - left_size_bytes, 0))
    return filler


def reason_of(error: grpc.RpcError) -> str:
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            for detail in status_pb2.Status.FromString(value).details:
                info = error_details_pb2.ErrorInfo()
                if detail.Unpack(info):
                    return str(info.reason)
    return ""


def write_until_refused(door: Door, letter: str, *, few: bool) -> tuple[int, str]:
    """Write until nothing is taken any more; return how much was, and the reason.

    With the events of `few` customers the log grows faster than the base: when there is room again,
    what the base has to catch up with must not take all of it.
    """
    for number in range(5_000):
        customers = "" if few else f"{number}x"
        events = [
            make_event(f"{letter}-{number}-{part}", f"{letter}{customers}{part}", 1)
            for part in range(100)
        ]
        try:
            door.events.RecordEvents(RecordEventsRequest(events=events), timeout=20)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise
            return number, reason_of(error)
    raise AssertionError("the disk never got full")


POLICY = """\
contact_policy:
  caps: [{name: daily, count: 100, window: 1d}]
"""
"""With caps a decision notes what it may lead to, in a file that all processes map."""


def decide(door: Door) -> None:
    """Decide for customers that were never seen: what is kept of each takes room of its own."""
    for number in range(50):
        customer = f"customers/{secrets.token_hex(8)}-{number}"
        request = DecideOffersRequest(customer=customer, channel="web")
        assert door.decisions.DecideOffers(request, timeout=5).offers


@pytest.mark.parametrize("kind", ["ext4", "tmpfs", "log alone"])
def test_a_full_disk_refuses_writes_and_heals_without_a_restart(tmp_path: Path, kind: str) -> None:
    reasons: dict[str, int] = {}
    with small_disk(tmp_path, kind) as mount:
        server = Server(mount / "store", 0, log=tmp_path / "server.log", module=LONE)
        if kind == "log alone":
            # With the overlay elsewhere it is the log that meets the end of the disk first.
            (tmp_path / "overlay").mkdir()
            server.folder.mkdir()
            (server.folder / "overlay").symlink_to(tmp_path / "overlay")
        server.start()
        try:
            ledger = Ledger(server.address, 2)
            with Door(server.address) as door:
                door.publish(SHOP + POLICY)
                ledger.write_more(30)
                (keeper,) = server.find_pids("keeper")
                # Whatever it is that meets the end of the disk: log, overlay, base.
                for number, left_size_bytes in enumerate(
                    (0,) if kind == "log alone" else (0, 300_000)
                ):
                    filler = fill(mount, left_size_bytes)
                    _, reason = write_until_refused(door, "fg"[number], few=kind == "log alone")
                    reasons[reason] = reasons.get(reason, 0) + 1
                    decide(door)
                    time.sleep(1.1)  # a fold meets the full disk as well
                    decide(door)
                    filler.unlink()
                    ledger.write_more(30)
                assert server.find_pids("keeper") == [keeper], "it went on without a restart"
            assert ledger.compare() == []
            server.kill()
            server.start()
            assert ledger.compare() == []
            assert server.stop() == 0
        finally:
            if server.process is not None and server.process.poll() is None:
                server.kill()
    told = [json.loads(line) for line in (tmp_path / "server.log").read_text().splitlines()]
    refused = [event for event in told if event["event"] == "writes_refused"]
    assert 1 <= len(refused) <= 3, "the operator hears of it, once a minute at most"
    assert {event["reason"] for event in refused} <= set(reasons)
    print(json.dumps({"kind": kind, "reasons": reasons}))
    wanted = "LOG_DISK_FULL" if kind == "log alone" else "STORE_DISK_FULL"
    assert wanted in reasons
    assert set(reasons) <= {"LOG_DISK_FULL", "STORE_DISK_FULL"}
