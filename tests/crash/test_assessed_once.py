"""Card transactions while processes are killed: counted once each, and never one approval more.

`INSTANTER_ROUNDS=50` is the long version, which the benchmark's bound is for; the suite's is short.
"""

import os
import queue
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from instanter.client import Timeouts
from instanter.v1.fraud_service_pb2 import (
    DISPOSITION_APPROVE,
    DISPOSITION_DECLINE,
    TRANSACTION_CHANNEL_CARD_NOT_PRESENT,
    AssessTransactionRequest,
)
from instanter.v1.fraud_service_pb2_grpc import FraudServiceStub
from tests.crash.killable import Server, connect

ROUNDS = int(os.environ.get("INSTANTER_ROUNDS", "2"))
ATTEMPTS = 200
CALLERS = 8
APPROVALS = 7
PATIENCE_S = 60.0

TILL = f"""\
currency: EUR
channels: {{web: []}}
fraud:
  velocities:
    approved_1h: {{per: card, function: count, window: 1h, counts: approved}}
  rules:
    too_many:
      when: 'velocity.approved_1h >= {APPROVALS}'
      disposition: decline
      reason: VELOCITY
"""

_PASSING = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "store", workers=1)
    server.start()
    try:
        with connect(server.address, Timeouts()) as client:
            client.apply_catalogue({"till.yaml": TILL})
        server.wait_warm()
        yield server
    finally:
        server.kill()


def make_request(name: str, card: str, time_s: int) -> AssessTransactionRequest:
    return AssessTransactionRequest(
        transaction_id=name,
        card_token=card,
        terminal="terminals/t1",
        merchant="merchants/m1",
        mcc=5411,
        amount_minor=1_000,
        currency="EUR",
        transaction_time=Timestamp(seconds=time_s),
        channel=TRANSACTION_CHANNEL_CARD_NOT_PRESENT,
    )


@dataclass
class Till:
    """Callers that ask the same again until they are answered."""

    address: str
    requests: "queue.Queue[AssessTransactionRequest]" = field(default_factory=queue.Queue)
    answers: dict[str, int] = field(default_factory=dict)
    retried_count: int = 0

    def run(self) -> None:
        options = (("grpc.use_local_subchannel_pool", 1),)
        channel = grpc.insecure_channel(self.address, options=options)
        while True:
            try:
                request = self.requests.get_nowait()
            except queue.Empty:
                break
            end = time.monotonic() + PATIENCE_S
            while time.monotonic() < end:
                try:
                    reply = FraudServiceStub(channel).AssessTransaction(request, timeout=3.0)
                except grpc.RpcError as error:
                    if error.code() not in _PASSING:
                        raise
                    self.retried_count += 1
                    channel.close()
                    time.sleep(0.02)
                    channel = grpc.insecure_channel(self.address, options=options)
                else:
                    self.answers[request.transaction_id] = reply.disposition
                    break
        channel.close()


@pytest.mark.slow
@pytest.mark.timeout(120 + 20 * ROUNDS)
def test_exactly_as_many_as_allowed_are_approved_with_a_process_killed(server: Server) -> None:
    for number in range(ROUNDS):
        victim = ("keeper", "worker")[number % 2]
        now_s = int(time.time())
        till = Till(server.address)
        asked = [
            make_request(f"round-{number}-{n}", f"card-{number}", now_s) for n in range(ATTEMPTS)
        ]
        for request in asked:
            till.requests.put(request)
        threads = [threading.Thread(target=till.run) for _ in range(CALLERS)]
        for thread in threads:
            thread.start()
        while len(till.answers) < 4 + number % 5:
            assert any(thread.is_alive() for thread in threads)
        (pid,) = server.find_pids(victim)[:1]
        os.kill(pid, signal.SIGKILL)
        for thread in threads:
            thread.join()
        assert len(till.answers) == ATTEMPTS
        print(victim, "killed,", till.retried_count, "calls sent again")
        given = list(till.answers.values())
        assert given.count(DISPOSITION_APPROVE) == APPROVALS, (victim, till.retried_count)
        assert given.count(DISPOSITION_DECLINE) == ATTEMPTS - APPROVALS
        first = dict(till.answers)
        for request in asked[:20]:
            till.requests.put(request)
        till.run()
        assert till.answers == first, "who asks again is told the same"
        server.wait_warm()
