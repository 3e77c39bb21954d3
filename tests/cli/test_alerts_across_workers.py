"""Stock alerts at a server with several workers: all of them tell all, also over a dead keeper."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from instanter.client import Client, Timeouts
from instanter.v1 import stock_service_pb2 as pb
from instanter.v1.stock_service_pb2_grpc import StockServiceStub
from tests.api.refusals import refuse
from tests.api.warehouse import (
    COUNT,
    RECEIPT,
    SALE,
    WAREHOUSE,
    Watcher,
    make_movement,
    watch,
)
from tests.cli.served import Served, serving

PATIENT = Timeouts(30.0, 30.0, 30.0, 30.0, 60.0)
ALONE = [("grpc.use_local_subchannel_pool", 1)]
_PASSING = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}


@pytest.fixture(scope="module", params=["fast", "grpcio"])
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """A server of two workers that keeps stock; each test leaves it with plenty."""
    arguments = ("--workers", "2", "--transport", request.param)
    with serving(tmp_path_factory.mktemp("alerts") / "store", *arguments) as running:
        with Client(running.address, timeouts=PATIENT) as client:
            client.apply_catalogue(WAREHOUSE)
        with stock(running) as stub:
            send(stub, *(make_movement(COUNT, 100, "BEANS", site) for site in ("berlin", "bonn")))
        yield running


@contextmanager
def stock(served: Served) -> Iterator[Any]:
    """Yield a stub on a connection of its own: the next may be another worker's."""
    with grpc.insecure_channel(served.address, ALONE) as channel:
        yield StockServiceStub(channel)


def send(stub: Any, *movements: pb.StockMovement) -> pb.RecordStockMovementsResponse:
    """Record movements; with a keeper that is being replaced, again and again."""
    request = pb.RecordStockMovementsRequest(movements=movements)
    return insist(lambda: stub.RecordStockMovements(request, timeout=30))


def insist(call: Callable[[], Any]) -> Any:
    """Make a call that may meet a process that is just dying, until it succeeds."""
    end = time.monotonic() + 60
    while True:
        try:
            return call()
        except grpc.RpcError as error:
            if error.code() not in _PASSING or time.monotonic() > end:
                raise
            time.sleep(0.02)


def fall_and_rise(stub: Any, count: int) -> None:
    """Bring so many transitions."""
    for at in range(count):
        send(stub, make_movement(RECEIPT if at % 2 else SALE, 95))


def sequences(watcher: Watcher) -> list[int]:
    return [told.sequence for told in watcher.transitions]


def test_every_worker_tells_the_same_to_everybody(served: Served) -> None:
    with ExitStack() as stack:
        stubs = [stack.enter_context(stock(served)) for _ in range(10)]
        watchers = [stack.enter_context(watch(stub)) for stub in stubs]
        assert [watcher.read().progress.sequence for watcher in watchers] == [0] * 10
        for stub in stubs:
            fall_and_rise(stub, 4)
        told = [watcher.read_transitions(40) for watcher in watchers]
        assert all(each == told[0] for each in told)
        assert sequences(watchers[0]) == list(range(1, 41))
        # A token of one process resumes on every other one.
        for watcher in watchers:
            for stub in stubs:
                with watch(stub, resume_token=watcher.token) as again:
                    assert again.read().resume_token == watcher.token


def test_positions_are_read_on_every_worker_as_they_were_acknowledged(served: Served) -> None:
    with ExitStack() as stack:
        stubs = [stack.enter_context(stock(served)) for _ in range(8)]
        request = pb.GetStockPositionRequest(name="sites/bonn/positions/BEANS")
        for number, stub in enumerate(stubs, 1):
            send(stub, make_movement(SALE, 1, "BEANS", "bonn"))
            for other in stubs:
                position = other.GetStockPosition(request, timeout=30)
                assert position.on_hand_units == 100 - number
        refusal = refuse(
            stubs[0].RecordStockMovements,
            pb.RecordStockMovementsRequest(movements=[make_movement(SALE, 0)]),
        )
        assert refusal.fields == ["movements[0].units"]


def test_what_people_do_reaches_the_subscribers_of_all_workers(served: Served) -> None:
    with stock(served) as one, stock(served) as other, watch(other) as watcher:
        watcher.read()
        fall_and_rise(one, 1)
        name = watcher.read_transitions(1)[0].alert.name
        request = pb.AcknowledgeStockAlertRequest(name=name, acknowledger="Ada")
        assert one.AcknowledgeStockAlert(request, timeout=30).alert.acknowledger == "Ada"
        assert watcher.read_transitions(1)[0].alert.acknowledger == "Ada"
        send(one, make_movement(RECEIPT, 95))


def test_streams_go_on_over_a_keeper_that_was_killed(served: Served) -> None:
    with ExitStack() as stack:
        stubs = [stack.enter_context(stock(served)) for _ in range(6)]
        watchers = [stack.enter_context(watch(stub)) for stub in stubs]
        begins = [watcher.read().progress.sequence for watcher in watchers]
        # A worker may hear a moment later of what the other has told already.
        begin = max(begins)
        for round_number in range(3):
            fall_and_rise(stubs[0], 2)
            os.kill(find_keeper(served), signal.SIGKILL)
            fall_and_rise(stubs[round_number], 2)
            for watcher in watchers:
                watcher.read_to(begin + 4 * (round_number + 1))
        for own, watcher in zip(begins, watchers, strict=True):
            expected = list(range(own + 1, begin + 13))
            assert sequences(watcher) == expected, "workers keep their subscribers"


def find_keeper(served: Served) -> int:
    """Return the process id of the keeper of now."""
    return int((Path(str(served.ready["data_folder"])) / "keeper.lock").read_text())


def test_streams_of_a_worker_that_was_killed_go_on_elsewhere(served: Served) -> None:
    pids = served.ready["pids"]
    assert isinstance(pids, dict)
    with stock(served) as stub, watch(stub) as watcher:
        begin = watcher.read().progress.sequence
        fall_and_rise(stub, 4)
        watcher.read_transitions(2)
        for pid in pids["workers"]:
            os.kill(pid, signal.SIGKILL)
        assert watcher.read_error().code() == grpc.StatusCode.UNAVAILABLE
    seen = sequences(watcher)

    def resume() -> list[int]:
        with stock(served) as again, watch(again, resume_token=watcher.token) as resumed:
            resumed.read_to(begin + 4)
            return sequences(resumed)

    assert seen + insist(resume) == list(range(begin + 1, begin + 5))
