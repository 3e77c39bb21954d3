"""What a front owes to every service: limits, deadlines, failures, health, an orderly end."""

import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
import trustme
from google.protobuf.wrappers_pb2 import StringValue
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from instanter import wire_limits
from instanter.errors import ExhaustedError, NotFoundError, UnavailableError
from instanter.rpc.front import BatchedMethod, BlockingMethod, CallContext, Lane, Service
from instanter.rpc.tls import TlsFiles
from instanter.wire_limits import MESSAGE_SIZE_BYTES_MAX, REPLY_SIZE_BYTES_MAX
from tests.api.interop.raw import RawClient
from tests.api.refusals import read_refusal, refuse
from tests.api.shop import FRONTS, Server, Shop, serve
from tests.api.waiting import wait_until

LANE = Lane("test", threads=2, waiting_max=8)


class Echo:
    """A service whose calls can be held, counted and made to fail."""

    def __init__(self) -> None:
        self.turns: list[list[str]] = []
        self.contexts: list[CallContext] = []
        self.begun = threading.Event()
        self.release = threading.Event()

    def say(self, requests: list[StringValue]) -> list[Any]:
        self.turns.append([request.value for request in requests])
        if any(request.value == "bug" for request in requests):
            raise ZeroDivisionError("a secret of the server")
        return [
            NotFoundError("nothing to say", reason="SILENCE") if r.value == "missing" else r
            for r in requests
        ]

    def hold(self, request: StringValue, context: CallContext) -> StringValue:
        self.contexts.append(context)
        self.begun.set()
        assert self.release.wait(20)
        return request

    def repeat(self, request: StringValue, context: CallContext) -> StringValue:
        if request.value == "bug":
            raise ZeroDivisionError("a secret of the server")
        if request.value == "full":
            raise ExhaustedError("the disk is full", reason="DISK_FULL")
        return StringValue(value="x" * int(request.value))

    def describe(self) -> Service:
        return Service(
            "instanter.test.Echo",
            (
                BatchedMethod("Say", StringValue, StringValue, self.say),
                BlockingMethod("Hold", StringValue, StringValue, self.hold, LANE),
                BlockingMethod("Repeat", StringValue, StringValue, self.repeat, LANE),
            ),
        )


@pytest.fixture
def echo() -> Iterator[Echo]:
    made = Echo()
    yield made
    made.release.set()


@pytest.fixture
def server(front_name: str, echo: Echo) -> Iterator[Server]:
    with serve(front_name, [echo.describe()]) as served:
        yield served


@pytest.fixture
def channel(server: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.target) as opened:
        yield opened


def method(channel: grpc.Channel, name: str) -> Any:
    return channel.unary_unary(
        f"/instanter.test.Echo/{name}",
        request_serializer=lambda m: m if isinstance(m, bytes) else m.SerializeToString(),
        response_deserializer=StringValue.FromString,
    )


def occupy_lane(channel: grpc.Channel, echo: Echo) -> list[Any]:
    """Make as many calls as the lane has threads, and return them when they are being answered."""
    hold = method(channel, "Hold")
    calls = [hold.future(StringValue(value="r"), timeout=20) for _ in range(LANE.threads)]
    wait_until(lambda: len(echo.contexts) == LANE.threads, "the lane is occupied")
    return calls


def count_in_lane(server: Server) -> int:
    """Count the calls that are answered or wait in the lane."""
    return int(server.front._dispatcher._lanes[LANE]._in_flight_count)


def read_events(server: Server) -> list[dict[str, Any]]:
    return [json.loads(line) for line in server.log.getvalue().splitlines()]


def test_calls_are_answered(channel: grpc.Channel) -> None:
    assert method(channel, "Say")(StringValue(value="hello"), timeout=20).value == "hello"
    assert method(channel, "Repeat")(StringValue(value="3"), timeout=20).value == "xxx"


def test_an_unknown_method_is_unimplemented(channel: grpc.Channel) -> None:
    refusal = refuse(method(channel, "Shout"), StringValue())
    assert refusal.code is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("name", ["Say", "Repeat"])
def test_bytes_that_are_no_message_are_refused(
    server: Server, channel: grpc.Channel, name: str
) -> None:
    refusal = refuse(method(channel, name), b"\xff\xff\xff")
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.reason == "REQUEST_UNDECODABLE"
    assert [event["event"] for event in read_events(server)] == ["front_started"]


@pytest.mark.parametrize("name", ["Say", "Repeat"])
def test_a_bug_is_internal_with_an_id_that_finds_it_in_the_log(
    server: Server, channel: grpc.Channel, name: str
) -> None:
    refusal = refuse(method(channel, name), StringValue(value="bug"))
    assert refusal.code is grpc.StatusCode.INTERNAL
    assert refusal.reason == "INTERNAL"
    assert "secret" not in refusal.message
    (event,) = [e for e in read_events(server) if e["event"] == "call_failed_by_bug"]
    assert event["correlation_id"] == refusal.metadata["correlation_id"]
    assert event["correlation_id"] in refusal.message
    assert event["method"] == name
    assert "ZeroDivisionError: a secret of the server" in event["exception"]
    assert server.metrics.list_errors() == {(name, "INTERNAL"): 1}


@pytest.mark.parametrize(
    ("name", "value", "code", "reason"),
    [
        ("Say", "missing", grpc.StatusCode.NOT_FOUND, "SILENCE"),
        ("Repeat", "full", grpc.StatusCode.RESOURCE_EXHAUSTED, "DISK_FULL"),
    ],
)
def test_an_error_of_the_domain_arrives_with_its_reason(
    channel: grpc.Channel, name: str, value: str, code: grpc.StatusCode, reason: str
) -> None:
    refusal = refuse(method(channel, name), StringValue(value=value))
    assert (refusal.code, refusal.reason, refusal.domain) == (code, reason, "instanter.dev")


def test_a_message_that_is_too_long_is_refused_before_it_is_read(
    channel: grpc.Channel, echo: Echo
) -> None:
    refusal = refuse(method(channel, "Say"), b"x" * (MESSAGE_SIZE_BYTES_MAX + 1))
    assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert echo.turns == []


def test_a_message_just_below_the_limit_is_taken(server: Server) -> None:
    options = [("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(server.target, options=options) as channel:
        request = StringValue(value="x" * (MESSAGE_SIZE_BYTES_MAX - 16))
        assert method(channel, "Say")(request, timeout=20) == request


def test_a_reply_that_is_too_long_is_refused(server: Server) -> None:
    options = [("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(server.target, options=options) as channel:
        refusal = refuse(
            method(channel, "Repeat"), StringValue(value=str(REPLY_SIZE_BYTES_MAX + 1))
        )
        assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_long_metadata_are_refused(channel: grpc.Channel, echo: Echo) -> None:
    refusal = refuse(method(channel, "Say"), StringValue(), metadata=[("x-long", "x" * 20_000)])
    assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert echo.turns == []


def test_a_call_whose_deadline_passes_while_it_waits_is_not_executed(
    server: Server, channel: grpc.Channel, echo: Echo
) -> None:
    running = occupy_lane(channel, echo)
    refusal = refuse(method(channel, "Hold"), StringValue(value="late"), timeout=0.3)
    assert refusal.code is grpc.StatusCode.DEADLINE_EXCEEDED
    wait_until(lambda: count_in_lane(server) == LANE.threads, "the call leaves the lane")
    echo.release.set()
    assert [call.result(20).value for call in running] == ["r", "r"]
    method(channel, "Hold")(StringValue(value="last"), timeout=20)
    assert len(echo.contexts) == LANE.threads + 1


def test_a_deadline_reaches_the_function(channel: grpc.Channel, echo: Echo) -> None:
    echo.release.set()
    method(channel, "Hold")(StringValue(), timeout=20)
    method(channel, "Hold")(StringValue())
    with_deadline, without = echo.contexts
    assert with_deadline.deadline_ns is not None
    assert without.deadline_ns is None
    assert with_deadline.peer


def test_a_call_that_is_cancelled_while_it_waits_is_not_executed(
    server: Server, channel: grpc.Channel, echo: Echo
) -> None:
    running = occupy_lane(channel, echo)
    waiting = method(channel, "Hold").future(StringValue(value="w"), timeout=20)
    wait_until(lambda: count_in_lane(server) == LANE.threads + 1, "the call waits in the lane")
    waiting.cancel()
    assert waiting.cancelled()
    wait_until(lambda: count_in_lane(server) == LANE.threads, "the call leaves the lane")
    echo.release.set()
    assert [call.result(20).value for call in running] == ["r", "r"]
    method(channel, "Hold")(StringValue(value="last"), timeout=20)
    assert len(echo.contexts) == LANE.threads + 1


def test_calls_that_arrive_together_share_turns_and_none_gets_lost(
    server: Server, channel: grpc.Channel, echo: Echo
) -> None:
    say = method(channel, "Say")
    sent = threading.Event()
    server.loop.call_soon_threadsafe(sent.wait, 20)
    calls = [say.future(StringValue(value=f"t{i}"), timeout=20) for i in range(200)]
    sent.set()
    assert [call.result(20).value for call in calls] == [f"t{i}" for i in range(200)]
    assert sum(map(len, echo.turns)) == 200
    assert len(echo.turns) < 200


def test_a_second_server_on_the_port_is_refused(front_name: str, server: Server) -> None:
    front = FRONTS[front_name]([], log=None, metrics=server.metrics, clock=None)
    with pytest.raises(UnavailableError, match=str(server.port)) as caught:
        server.run(front.start("127.0.0.1", server.port))
    assert caught.value.reason == "PORT_UNAVAILABLE"


def test_a_port_can_be_shared_on_purpose(front_name: str, echo: Echo) -> None:
    with serve(front_name, [echo.describe()], reuse_port=True) as server:
        probe = socket.socket()
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        probe.bind(("127.0.0.1", server.port))
        probe.close()


def test_health_is_reported_for_the_server_and_each_service(
    server: Server, channel: grpc.Channel
) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    for name in ("", "instanter.test.Echo"):
        response = stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=20)
        assert response.status == health_pb2.HealthCheckResponse.SERVING
    unknown = refuse(stub.Check, health_pb2.HealthCheckRequest(service="no.such"))
    assert unknown.code is grpc.StatusCode.NOT_FOUND


def test_reflection_lists_the_services_and_their_messages(shop: Shop) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(shop.channel)
    requests = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(
            file_containing_symbol="instanter.v1.DecideOffersRequest"
        ),
    ]
    listed, found = stub.ServerReflectionInfo(iter(requests), timeout=20)
    names = {service.name for service in listed.list_services_response.service}
    assert {
        "instanter.v1.DecisionService",
        "instanter.v1.CustomerService",
        "instanter.v1.CatalogueService",
        "grpc.health.v1.Health",
    } <= names
    assert found.file_descriptor_response.file_descriptor_proto


@pytest.mark.parametrize(
    "question",
    [
        {"file_containing_symbol": "instanter.v1.Nothing"},
        {"file_by_filename": "nothing.proto"},
        {"all_extension_numbers_of_type": "instanter.v1.Nothing"},
    ],
)
def test_reflection_says_what_it_does_not_know(shop: Shop, question: dict[str, str]) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(shop.channel)
    request = reflection_pb2.ServerReflectionRequest(**question)
    (told,) = stub.ServerReflectionInfo(iter([request]), timeout=20)
    assert told.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
    # One sentence: not one inside the quotes of another.
    assert not told.error_response.error_message.startswith('there is no "')


def test_a_stopping_server_says_so_first_and_finishes_calls_in_flight(
    server: Server, channel: grpc.Channel, echo: Echo
) -> None:
    states: list[int] = []
    watched = threading.Event()
    watch = health_pb2_grpc.HealthStub(channel).Watch(
        health_pb2.HealthCheckRequest(service=""), timeout=20
    )

    def record() -> None:
        try:
            for response in watch:
                states.append(response.status)
                watched.set()
        except grpc.RpcError:
            pass

    with ThreadPoolExecutor(2) as pool:
        pool.submit(record)
        assert watched.wait(20)
        watched.clear()
        held = method(channel, "Hold").future(StringValue(value="in flight"), timeout=20)
        assert echo.begun.wait(20)
        stopped = pool.submit(server.stop)
        assert watched.wait(20)
        assert states[-1] == health_pb2.HealthCheckResponse.NOT_SERVING
        watch.cancel()
        assert not stopped.done()
        echo.release.set()
        assert held.result(20).value == "in flight"
        stopped.result(20)
    with grpc.insecure_channel(server.target) as late:
        assert refuse(method(late, "Say"), StringValue()).code is grpc.StatusCode.UNAVAILABLE


def test_a_call_that_does_not_end_is_cut_off_after_the_grace(
    server: Server, channel: grpc.Channel, echo: Echo
) -> None:
    held = method(channel, "Hold").future(StringValue(value="stuck"), timeout=20)
    assert echo.begun.wait(20)
    server.stop(grace_ns=50_000_000)
    assert held.exception(20) is not None
    assert read_refusal(held).code is grpc.StatusCode.UNAVAILABLE


def test_an_old_connection_is_asked_to_move(
    front_name: str, echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """(The fast front looks once a second.)"""
    monkeypatch.setattr(wire_limits, "CONNECTION_AGE_NS_MAX", 200_000_000)
    with (
        serve(front_name, [echo.describe()]) as server,
        RawClient(("127.0.0.1", server.port)) as client,
    ):
        client.wait_for_end()
        assert client.goaways[0].error_code == 0


def test_an_encrypted_port_asks_for_the_right_certificate(front_name: str, echo: Echo) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    client = trustme.CA()
    mine = client.issue_cert("client@example.org")
    tls = TlsFiles(
        certificate=issued.cert_chain_pems[0].bytes(),
        key=issued.private_key_pem.bytes(),
        client_authority=client.cert_pem.bytes(),
    )
    with serve(front_name, [echo.describe()], tls=tls) as server:
        trusted = {"root_certificates": authority.cert_pem.bytes()}
        known = {
            "private_key": mine.private_key_pem.bytes(),
            "certificate_chain": mine.cert_chain_pems[0].bytes(),
        }
        target = f"localhost:{server.port}"
        with grpc.secure_channel(
            target, grpc.ssl_channel_credentials(**trusted, **known)
        ) as channel:
            answer = method(channel, "Say")(StringValue(value="hello"), timeout=20)
            assert answer.value == "hello"
        with grpc.secure_channel(target, grpc.ssl_channel_credentials(**trusted)) as channel:
            refusal = refuse(method(channel, "Say"), StringValue())
            assert refusal.code is grpc.StatusCode.UNAVAILABLE
