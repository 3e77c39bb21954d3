"""Limits under fire: many attempts at once, one process killed, exactly as many approvals."""

import os
import queue
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from bench.fraud.generator import METHOD
from bench.fraud.sizes import Sizes
from bench.measurement import Figure
from bench.server_process import ServerProcess
from instanter.client import Client
from instanter.v1 import fraud_service_pb2 as messages

APPROVALS = 7
_CALLERS = 8
_PATIENCE_S = 60.0
_ROLES = ("keeper", "worker")
_WORLD = f"""\
currency: EUR
fraud:
  velocities:
    approved_1h: {{per: card, function: count, window: 1h, counts: approved}}
  rules:
    too_many:
      when: 'velocity.approved_1h >= {APPROVALS}.0'
      disposition: decline
      reason: VELOCITY
"""


def measure_violations(folder: Path, sizes: Sizes) -> Figure:
    """Return by how many approvals the limit was missed, over all rounds together."""
    command = [sys.executable, "-m", "instanter.cli", "serve", "--data", str(folder / "limits")]
    command += ["--listen", "127.0.0.1:0", "--workers", "1"]
    missed = retried = 0
    killed: list[str] = []
    with ServerProcess(command, pinned=False) as server:
        with Client(f"127.0.0.1:{server.port}") as client:
            client.apply_catalogue({"limits.yaml": _WORLD})
        for at in range(sizes.violation_rounds):
            # Two standbys: one for either place.
            server.wait_settled(2 + at)
            attack = _Attack(f"127.0.0.1:{server.port}", at, sizes.attempts)
            role = _ROLES[at % len(_ROLES)]
            approvals = attack.run(server, role)
            killed.append(role)
            missed += abs(approvals - min(APPROVALS, sizes.attempts))
            retried += attack.retried_count
    detail = {
        "rounds": sizes.violation_rounds,
        "attempts": sizes.attempts,
        "limit": APPROVALS,
        "keepers_killed": killed.count("keeper"),
        "workers_killed": killed.count("worker"),
        "calls_sent_again": retried,
    }
    return Figure(missed, "0", "", detail)


@dataclass(slots=True)
class _Attack:
    """One round: callers that ask the same again until they are answered."""

    address: str
    number: int
    attempts: int
    retried_count: int = 0
    answers: dict[str, int] = field(default_factory=dict)

    def run(self, server: ServerProcess, role: str) -> int:
        """Send everything, kill a process in the middle, and return how many were approved."""
        waiting: queue.SimpleQueue[messages.AssessTransactionRequest] = queue.SimpleQueue()
        now_ns = time.time_ns()
        for at in range(self.attempts):
            request = messages.AssessTransactionRequest(
                transaction_id=f"round-{self.number}-{at}",
                card_token=f"card-{self.number}",
                terminal="terminals/t1",
                merchant="merchants/m1",
                mcc=5411,
                amount_minor=1_000,
                currency="EUR",
                channel=messages.TRANSACTION_CHANNEL_CARD_NOT_PRESENT,
            )
            request.transaction_time.FromNanoseconds(now_ns)
            waiting.put(request)
        callers = [threading.Thread(target=self._call, args=(waiting,)) for _ in range(_CALLERS)]
        for caller in callers:
            caller.start()
        while len(self.answers) < 4 + self.number % 5 and any(c.is_alive() for c in callers):
            time.sleep(0.001)
        os.kill(server.find_pid(role), signal.SIGKILL)
        for caller in callers:
            caller.join()
        if len(self.answers) != self.attempts:
            lost = self.attempts - len(self.answers)
            raise RuntimeError(
                f"{lost} of {self.attempts} attempts got no answer in {_PATIENCE_S} s"
            )
        return sum(each == messages.DISPOSITION_APPROVE for each in self.answers.values())

    def _call(self, waiting: "queue.SimpleQueue[messages.AssessTransactionRequest]") -> None:
        options = (("grpc.use_local_subchannel_pool", 1),)
        channel = grpc.insecure_channel(self.address, options=options)
        while True:
            try:
                request = waiting.get_nowait()
            except queue.Empty:
                break
            end_s = time.perf_counter() + _PATIENCE_S
            while time.perf_counter() < end_s:
                try:
                    reply = _assess(channel, request)
                except grpc.RpcError:
                    self.retried_count += 1
                    channel.close()
                    time.sleep(0.02)
                    channel = grpc.insecure_channel(self.address, options=options)
                else:
                    self.answers[request.transaction_id] = reply.disposition
                    break
        channel.close()


def _assess(
    channel: grpc.Channel, request: messages.AssessTransactionRequest
) -> messages.AssessTransactionResponse:
    call = channel.unary_unary(
        METHOD,
        request_serializer=messages.AssessTransactionRequest.SerializeToString,
        response_deserializer=messages.AssessTransactionResponse.FromString,
    )
    reply: messages.AssessTransactionResponse = call(request, timeout=3.0)
    return reply
