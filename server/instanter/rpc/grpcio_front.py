"""The reference front: `grpc.aio` on the running event loop, uvloop as a rule.

Messages are decoded and encoded here, not by grpcio, so that a request that cannot be decoded is
the caller's mistake with a clear status, and not a traceback in grpcio's own log.

The process must never fork after this module is imported: grpcio's threads do not survive it.

Two things it does in a way of its own. Calls that are on the way when it stops are answered with
CANCELLED, by grpcio's core and before any code of ours sees them; the fast front answers them. And
a connection that is old enough to move takes its streams along only after a grace, for grpcio does
not tell which connection a stream belongs to.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, NoReturn

import grpc
from google.protobuf.message import DecodeError, EncodeError
from google.rpc import status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status

from instanter import limits, wire_limits
from instanter.clock import Clock
from instanter.errors import ExpiredError, UnavailableError
from instanter.events_log import EventsLog
from instanter.metrics import Metrics
from instanter.rpc.dispatch import Dispatcher, moved, undecodable
from instanter.rpc.front import (
    BatchedMethod,
    BlockingMethod,
    CallContext,
    DeferredMethod,
    ForwardedMethod,
    Method,
    Service,
    StreamedMethod,
)
from instanter.rpc.response_stream import ResponseStream
from instanter.rpc.tls import TlsFiles

_SERVING: Final = health_pb2.HealthCheckResponse.SERVING
_Handler = Callable[[bytes, Any], Awaitable[bytes]]
_Decoded = BlockingMethod | DeferredMethod | StreamedMethod
_StreamHandler = Callable[[bytes, Any], Awaitable[None]]


class GrpcioFront:
    """Serves services with `grpc.aio`. A `Front`; for one event loop, started once.

    Parameters
    ----------
    services
        What it serves, beside health and reflection.
    log, metrics, clock
        As in `Dispatcher`.
    reuse_port
        Let several processes listen on one port. Off by default, so that a second server on the
        port is refused instead of quietly taking half of the connections.
    tls
        Contents of the PEM files; None for plain text.
    """

    def __init__(
        self,
        services: Sequence[Service],
        *,
        log: EventsLog,
        metrics: Metrics,
        clock: Clock,
        reuse_port: bool = False,
        tls: TlsFiles | None = None,
    ) -> None:
        self._services = tuple(services)
        self._log = log
        self._clock = clock
        self._reuse_port = reuse_port
        self._tls = tls
        self._dispatcher = Dispatcher(log=log, metrics=metrics, clock=clock)
        self._health = health.aio.HealthServicer()
        self._streams: set[ResponseStream] = set()
        self._stopping = False
        self._server: Any = None

    async def start(self, address: str, port: int) -> int:
        """Open the port, serve, and report healthy; return the port that was bound.

        Raises
        ------
        UnavailableError
            The port could not be opened, because another server has it for example.
        """
        assert self._server is None, "a front is started once"
        server = grpc.aio.server(
            options=_list_options(reuse_port=self._reuse_port),
            maximum_concurrent_rpcs=wire_limits.CALLS_IN_FLIGHT_MAX,
        )
        names = [service.name for service in self._services]
        for service in self._services:
            server.add_generic_rpc_handlers((self._make_handlers(service),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflection.enable_server_reflection(
            [*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server
        )
        bound = self._open_port(server, f"{address}:{port}")
        await server.start()
        self._server = server
        for name in ("", *names):
            await self._health.set(name, _SERVING)
        self._log.info("front_started", front="grpcio", address=address, port=bound)
        return bound

    async def stop(self, grace_ns: int) -> None:
        """Report unhealthy, take no new calls, let those in flight finish for `grace_ns`."""
        if self._server is None:
            return
        await self._health.enter_graceful_shutdown()
        self._stopping = True
        for stream in tuple(self._streams):
            stream.fail(moved())
        await self._server.stop(min(grace_ns, limits.DRAIN_NS_MAX) / 1e9)
        self._dispatcher.close()
        self._log.info("front_stopped", front="grpcio")

    def _open_port(self, server: Any, target: str) -> int:
        """Bind the port, encrypted when there are certificates."""
        tls = self._tls
        try:
            if tls is None:
                return int(server.add_insecure_port(target))
            credentials = grpc.ssl_server_credentials(
                [(tls.key, tls.certificate)],
                root_certificates=tls.client_authority,
                require_client_auth=tls.client_authority is not None,
            )
            return int(server.add_secure_port(target, credentials))
        except RuntimeError as error:
            raise UnavailableError(
                f"the port {target} cannot be opened; is another server running on it?",
                reason="PORT_UNAVAILABLE",
            ) from error

    def _make_handlers(self, service: Service) -> Any:
        """Return grpcio's table of one service's methods."""
        return grpc.method_handlers_generic_handler(
            service.name, {method.name: self._make_handler(method) for method in service.methods}
        )

    def _make_handler(self, method: Method) -> Any:
        """Return grpcio's form of the coroutine function that answers a method."""
        if isinstance(method, BatchedMethod):
            return grpc.unary_unary_rpc_method_handler(self._make_batched_handler(method))
        if isinstance(method, ForwardedMethod):
            return grpc.unary_unary_rpc_method_handler(self._make_forwarded_handler(method))
        if isinstance(method, StreamedMethod):
            return grpc.unary_stream_rpc_method_handler(self._make_stream_handler(method))
        return grpc.unary_unary_rpc_method_handler(self._make_single_handler(method))

    def _make_batched_handler(self, method: BatchedMethod) -> _Handler:
        """Return the handler of a batched method: the hot path, so it has no calls to spare."""
        dispatcher = self._dispatcher
        answer_together = dispatcher.make_batcher(method).answer
        decode = method.request_type.FromString

        async def handle(raw: bytes, context: Any) -> bytes:
            remaining_s = context.time_remaining()
            if remaining_s is not None and remaining_s <= 0:
                return await _refuse(context, dispatcher.fail(method.name, _expired()))
            try:
                request = decode(raw)
            except DecodeError as error:
                return await _refuse(context, dispatcher.fail(method.name, undecodable(error)))
            answer = await answer_together(request)
            if answer.__class__ is status_pb2.Status:
                return await _refuse(context, answer)
            encoded: bytes = answer.SerializeToString()
            return encoded

        return handle

    def _make_stream_handler(self, method: StreamedMethod) -> _StreamHandler:
        """Return the handler of a streamed method."""
        dispatcher = self._dispatcher
        begin = self._begin

        async def handle(raw: bytes, context: Any) -> None:
            request, call = await begin(method, raw, context)
            loop = asyncio.get_running_loop()
            woken = asyncio.Event()
            stream = dispatcher.open_stream(method, partial(loop.call_soon_threadsafe, woken.set))
            self._streams.add(stream)
            try:
                dispatcher.begin_stream(method, request, call, stream)
                if self._stopping:
                    stream.fail(moved())
                await self._send_responses(stream, context, woken)
            finally:
                self._streams.discard(stream)
                stream.close()
            if stream.error is not None:
                await _refuse(context, dispatcher.fail(method.name, stream.error))

        return handle

    async def _send_responses(
        self, stream: ResponseStream, context: Any, woken: asyncio.Event
    ) -> None:
        """Send what a stream brings until its end, as far as the caller reads."""
        while True:
            woken.clear()
            for message in self._dispatcher.take_responses(
                stream, wire_limits.STREAM_AHEAD_SIZE_BYTES
            ):
                await context.write(message)
            if stream.drained:
                return
            if not stream.has_more:
                await woken.wait()

    async def _begin(self, method: _Decoded, raw: bytes, context: Any) -> tuple[Any, CallContext]:
        """Return a call's request and context; end the call when it comes late or is no message."""
        call = await self._describe(method.name, context)
        try:
            return method.request_type.FromString(raw), call
        except DecodeError as error:
            return await _refuse(context, self._dispatcher.fail(method.name, undecodable(error)))

    async def _describe(self, method_name: str, context: Any) -> CallContext:
        """Return what is known about a call; end it when it comes late."""
        remaining_s = context.time_remaining()
        if remaining_s is None:
            return CallContext(None, context.peer())
        if remaining_s <= 0:
            return await _refuse(context, self._dispatcher.fail(method_name, _expired()))
        deadline_ns = self._clock.monotonic_ns() + int(remaining_s * 1e9)
        return CallContext(deadline_ns, context.peer())

    def _make_forwarded_handler(self, method: ForwardedMethod) -> _Handler:
        """Return the handler of a forwarded method."""

        async def handle(raw: bytes, context: Any) -> bytes:
            call = await self._describe(method.name, context)
            try:
                answer = await method.function(raw, call)
            except Exception as error:  # noqa: BLE001 - the last line of defence of every call
                answer = self._dispatcher.fail(method.name, error)
            if isinstance(answer, bytes):
                return answer
            return await _refuse(context, answer)

        return handle

    def _make_single_handler(self, method: BlockingMethod | DeferredMethod) -> _Handler:
        """Return the handler of a blocking or deferred method."""
        dispatcher = self._dispatcher
        begin = self._begin

        async def handle(raw: bytes, context: Any) -> bytes:
            request, call = await begin(method, raw, context)
            if isinstance(method, BlockingMethod):
                answer = await dispatcher.answer_blocking(method, request, call)
            else:
                answer = await dispatcher.answer_deferred(method, request, call)
            if isinstance(answer, status_pb2.Status):
                return await _refuse(context, answer)
            try:
                encoded: bytes = answer.SerializeToString()
            except (EncodeError, ValueError) as error:
                return await _refuse(context, dispatcher.fail(method.name, error))
            return encoded

        return handle


async def _refuse(context: Any, status: status_pb2.Status) -> NoReturn:
    """End a call with a status and its details."""
    converted = rpc_status.to_status(status)
    await context.abort(converted.code, converted.details, converted.trailing_metadata)
    raise AssertionError("abort raises")


def _expired() -> ExpiredError:
    return ExpiredError("the deadline had passed before the call began")


def _list_options(*, reuse_port: bool) -> list[tuple[str, int]]:
    """Return grpcio's settings; its own defaults leave most of them open."""
    return [
        ("grpc.so_reuseport", int(reuse_port)),
        ("grpc.max_receive_message_length", wire_limits.MESSAGE_SIZE_BYTES_MAX),
        ("grpc.max_send_message_length", wire_limits.REPLY_SIZE_BYTES_MAX),
        ("grpc.max_metadata_size", wire_limits.METADATA_SIZE_BYTES_MAX),
        ("grpc.absolute_max_metadata_size", wire_limits.METADATA_SIZE_BYTES_MAX),
        ("grpc.max_concurrent_streams", wire_limits.STREAMS_PER_CONNECTION_MAX),
        ("grpc.server_handshake_timeout_ms", wire_limits.HANDSHAKE_NS_MAX // 1_000_000),
        ("grpc.max_connection_idle_ms", wire_limits.CONNECTION_IDLE_NS_MAX // 1_000_000),
        # (Give or take a tenth, which is grpcio's own doing.)
        ("grpc.max_connection_age_ms", wire_limits.CONNECTION_AGE_NS_MAX // 1_000_000),
        ("grpc.max_connection_age_grace_ms", wire_limits.CONNECTION_AGE_GRACE_NS_MAX // 1_000_000),
        ("grpc.keepalive_time_ms", wire_limits.KEEPALIVE_NS // 1_000_000),
        ("grpc.keepalive_timeout_ms", wire_limits.KEEPALIVE_ANSWER_NS_MAX // 1_000_000),
        ("grpc.keepalive_permit_without_calls", 1),
        (
            "grpc.http2.min_ping_interval_without_data_ms",
            wire_limits.PING_INTERVAL_NS_MIN // 1_000_000,
        ),
        ("grpc.http2.max_ping_strikes", wire_limits.PING_STRIKES_MAX),
    ]
