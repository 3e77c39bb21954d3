"""Each write is sent up to five times, at the same moment and across kills: it counts once."""

import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from instanter.v1 import decision_service_pb2 as decisions
from instanter.v1.customer_service_pb2 import DeleteCustomerRequest
from instanter.v1.event_service_pb2 import RecordEventsRequest
from tests.crash.killable import Server
from tests.crash.ledger import Door, make_event, make_update, read_numbers

WRITES = int(os.environ.get("INSTANTER_STORM", "40"))
TRIES_MAX = 5
PASSING = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120 + 5 * WRITES)]


class Storm:
    """Five connections that send the same request at the same moment, some of them later."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.choose = random.Random(7)
        self.sent_count = 0
        self.failed_count = 0
        self._pool = ThreadPoolExecutor(TRIES_MAX)

    def send(self, call: Callable[[Door], Any]) -> tuple[list[Any], bool]:
        """Send one write 1 to 5 times; return all replies, and whether none of them was lost."""
        tries = self.choose.randint(1, TRIES_MAX)
        begin = threading.Barrier(tries)
        failed_before = self.failed_count
        delays = [self.choose.choice((0.0, 0.0, 0.0, 0.01)) for _ in range(tries)]

        def send_once(delay_s: float) -> Any:
            begin.wait(20)
            time.sleep(delay_s)
            return self._send_until_answered(call)

        replies = list(self._pool.map(send_once, delays))
        return replies, self.failed_count == failed_before

    def _send_until_answered(self, call: Callable[[Door], Any]) -> Any:
        end = time.monotonic() + 60
        while True:
            with Door(self.address) as door:
                try:
                    self.sent_count += 1
                    return call(door)
                except grpc.RpcError as error:
                    if error.code() not in PASSING or time.monotonic() > end:
                        raise
                    self.failed_count += 1
            time.sleep(0.02)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path / "store", 1)
    made.start()
    try:
        with Door(made.address) as door:
            door.publish()
        made.wait_warm()
        yield made
    finally:
        made.kill()


class Kills:
    """Kills the keeper now and then while a `with` block runs."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.count = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Kills":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        choose = random.Random(5)
        while not self._stop.wait(choose.uniform(0.05, 1.0)):
            for pid in self.server.find_pids("keeper"):
                os.kill(pid, signal.SIGKILL)
                self.count += 1


def make_decisions(server: Server, count: int) -> list[decisions.Outcome]:
    """Decide, and return an outcome for each decision once that is known to be on disk."""
    outcomes = []
    with Door(server.address) as door:
        for number in range(count):
            customer = f"customers/o{number}"
            asked = decisions.DecideOffersRequest(customer=customer, channel="web")
            made = door.decisions.DecideOffers(asked, timeout=20)
            outcome = decisions.Outcome(
                decision=made.decision,
                customer=customer,
                offer=made.offers[0].offer,
                kind=decisions.OUTCOME_KIND_CLICKED,
            )
            assert record(door, outcome) == decisions.OUTCOME_STATE_RECORDED
            outcome.kind = decisions.OUTCOME_KIND_PRESENTED
            outcomes.append(outcome)
    return outcomes


def record(door: Door, outcome: decisions.Outcome) -> int:
    request = decisions.RecordOutcomesRequest(outcomes=[outcome])
    return int(door.decisions.RecordOutcomes(request, timeout=3).results[0].state)


def test_each_write_counts_once_however_often_it_is_sent(server: Server) -> None:
    storm = Storm(server.address)
    outcomes = make_decisions(server, WRITES // 4)
    with Kills(server) as kills:
        for number in range(WRITES // 4):
            send_events(storm, number)
            send_update(storm, number)
            send_delete(storm, number)
            send_outcome(storm, outcomes[number])
    send_all_later(storm, server)
    # What was missed by whoever was killed is there for everybody else.
    with Door(server.address) as door:
        for number in range(WRITES // 4):
            found = door.get(f"e{number}")
            assert found is not None
            assert read_numbers(found)["purchases"] == 1
            assert read_numbers(found)["spend"] == 1 + number
        report = door.decisions.ReportUplift(decisions.ReportUpliftRequest(), timeout=20)
        assert sum(arm.presented_count for arm in report.arms) == len(outcomes)
    told = {"writes": WRITES, "sent": storm.sent_count, "failed": storm.failed_count}
    print(json.dumps({**told, "kills": kills.count}))
    assert kills.count >= 1
    assert storm.sent_count > 2 * WRITES


def send_all_later(storm: Storm, server: Server) -> None:
    """Send all events once more when nothing but the disk can know them any more."""
    time.sleep(1.5)  # they are folded: replaying the log's tail does not meet them
    (keeper,) = server.find_pids("keeper")
    os.kill(keeper, signal.SIGKILL)
    for number in range(WRITES // 4):
        event = make_event(f"e-{number}", f"e{number}", 1 + number)
        request = RecordEventsRequest(events=[event])
        replies, _ = storm.send(
            lambda door, request=request: door.events.RecordEvents(request, timeout=3)
        )
        assert sum(reply.recorded_count for reply in replies) == 0


def send_events(storm: Storm, number: int) -> None:
    request = RecordEventsRequest(events=[make_event(f"e-{number}", f"e{number}", 1 + number)])
    replies, whole = storm.send(lambda door: door.events.RecordEvents(request, timeout=3))
    recorded = [reply.recorded_count for reply in replies]
    assert all(reply.recorded_count + reply.duplicate_count == 1 for reply in replies)
    assert sum(recorded) == 1 if whole else sum(recorded) <= 1, recorded


def send_update(storm: Storm, number: int) -> None:
    for part in range(2):
        request = make_update(f"u-{number}-{part}", f"u{number}", 10 * number + part)
        replies, _ = storm.send(
            lambda door, request=request: door.customers.UpdateCustomer(request, timeout=3)
        )
        assert {reply.revision for reply in replies} == {1 + part}
        assert all(reply == replies[0] for reply in replies)


def send_delete(storm: Storm, number: int) -> None:
    """Delete, write again, and let a late retry of the deletion do nothing any more."""
    name = f"customers/d{number}"
    delete = DeleteCustomerRequest(name=name, request_id=f"d-{number}-delete")
    before = make_update(f"d-{number}-before", f"d{number}", 1)
    after = make_update(f"d-{number}-after", f"d{number}", 2)
    storm.send(lambda door: door.customers.UpdateCustomer(before, timeout=3))
    storm.send(lambda door: door.customers.DeleteCustomer(delete, timeout=3))
    replies, _ = storm.send(lambda door: door.customers.UpdateCustomer(after, timeout=3))
    assert {reply.revision for reply in replies} == {1}
    storm.send(lambda door: door.customers.DeleteCustomer(delete, timeout=3))
    with Door(storm.address) as door:
        found = door.get(f"d{number}")
    assert found is not None, "a retry deleted what was written after the deletion"
    assert read_numbers(found)["age"] == 2


def send_outcome(storm: Storm, outcome: decisions.Outcome) -> None:
    states, whole = storm.send(lambda door: record(door, outcome))
    recorded = states.count(decisions.OUTCOME_STATE_RECORDED)
    assert set(states) <= {decisions.OUTCOME_STATE_RECORDED, decisions.OUTCOME_STATE_DUPLICATE}
    assert recorded == 1 if whole else recorded <= 1, states
