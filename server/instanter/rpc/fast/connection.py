"""One connection: from the bytes of its socket to calls, and from answers to bytes.

libnghttp2 keeps the state of HTTP/2 and checks the peer's frames; this module adds what gRPC asks
for. Nothing is written at once: a connection marks itself in the turn, and writes when the turn
ends.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, cast

from ngh2 import (
    Connection,
    ConnectionClosed,
    DataReceived,
    DenialOfServiceError,
    ErrorCode,
    Event,
    Header,
    NGH2Error,
    PingAcknowledged,
    PingReceived,
    RequestReceived,
    Role,
    SettingsReceived,
    StreamClosed,
    StreamReset,
    TrailersReceived,
)

from instanter import wire_limits
from instanter.descriptors import count_connections_max
from instanter.errors import InstanterError, UnavailableError
from instanter.rpc.fast.calls import Call, EndlessWork
from instanter.rpc.fast.exchange import Exchange
from instanter.rpc.fast.http2 import CONFIGURATION, SETTINGS
from instanter.rpc.fast.inbox import Inbox
from instanter.rpc.fast.intake import (
    NO_MESSAGE_HEADERS,
    ExcessError,
    RefusalError,
    check_arrival,
    find_refusal,
    is_refused_unread,
    take_messages,
    take_piece,
)
from instanter.rpc.fast.lifetime import Lifetime
from instanter.rpc.fast.listening import format_peer
from instanter.rpc.fast.outbox import Outbox
from instanter.rpc.fast.streams import StreamGroup
from instanter.rpc.fast.wire import (
    PREFIX,
    PREFIX_SIZE_BYTES,
    RESPONSE_HEADERS,
    RESPONSE_HEADERS_COUNT,
    RESPONSE_TRAILERS,
    make_status_headers,
    parse_timeout_ns,
)
from instanter.rpc.front import SinkGroup

_CONTROL_FRAMES_PER_CALL: Final = 4
_DRAIN_PING: Final = b"draining"
_PIECE_SIZE_BYTES_MIN: Final = 256


class FastConnection(asyncio.Protocol):
    """One connection of the fast front.

    Parameters
    ----------
    exchange
        What it shares with the others.

    Attributes
    ----------
    calls
        Its calls that have not ended, by stream.
    draining
        The client has been asked to leave.
    group
        Takes what several of its calls that stream are told.
    peer
        Who is at the other end, in gRPC's form `ipv4:127.0.0.1:40000`.
    unfinished_size_bytes
        Bytes of its requests that have not arrived whole.
    """

    __slots__ = (
        "_after_write", "_closing", "_control_credit", "_exchange", "_http2", "_inbox",
        "_last_told", "_lifetime", "_marked", "_outbox", "_transport", "calls", "draining", "group",
        "peer", "unfinished_size_bytes",
    )  # fmt: skip

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._http2 = Connection(Role.SERVER, CONFIGURATION)
        self._lifetime = Lifetime(exchange.clock.monotonic_ns())
        self._control_credit = wire_limits.CONTROL_FRAMES_PER_SECOND_MAX
        self._marked = False
        self._closing = False
        self._last_told = False
        self._after_write: list[Callable[[], None]] = []
        self.draining = False
        self.calls: dict[int, Call] = {}
        self.peer = ""
        self.unfinished_size_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet a client, unless there are too many or it does not speak HTTP/2."""
        self._transport = cast("asyncio.Transport", transport)
        self._inbox = Inbox(self._transport)
        self._outbox = Outbox(self._http2, self._transport)
        exchange = self._exchange
        self.group: SinkGroup = StreamGroup(self._http2, self._outbox, self.note_sent, exchange)
        tls = transport.get_extra_info("ssl_object")
        if len(exchange.connections) >= count_connections_max():
            self.abort("too_many_connections")
            return
        if tls is not None and tls.selected_alpn_protocol() != "h2":
            self.abort("no_http2_over_tls")
            return
        exchange.connections.add(self)
        self.peer = format_peer(transport.get_extra_info("peername"))
        self._transport.set_write_buffer_limits(high=wire_limits.WRITE_BUFFER_SIZE_BYTES_MAX)
        self._http2.initiate_connection(SETTINGS)
        self._http2.set_local_window_size(wire_limits.CONNECTION_WINDOW_SIZE_BYTES)
        self.mark()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - asyncio's form
        """Stop all work for a client that is gone."""
        self._closing = True
        self._drop_calls()
        self._exchange.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        """Take what the socket brings."""
        if self._closing:
            return
        self._lifetime.heard = True
        inbox = self._inbox
        if inbox.unread or len(data) > inbox.slice_size_bytes:
            inbox.add(data)
            self.read_on()
        else:
            self._receive(data)

    def read_on(self) -> None:
        """Take the next slice of what the socket has brought; the others in later turns."""
        if self._closing or self._outbox.paused or not self._inbox.unread:
            return
        data = self._inbox.take_slice()
        if self._inbox.unread:
            self._exchange.turn.read(self)
        self._inbox.choose_reading(paused=False)
        self._receive(data)

    def eof_received(self) -> bool:
        """Close when the client has closed its side: HTTP/2 knows no half-closed connection."""
        return False

    def pause_writing(self) -> None:
        """Take no more from a client that does not read what it gets."""
        self._outbox.paused = True
        self._inbox.choose_reading(paused=True)

    def resume_writing(self) -> None:
        """Go on with a client that reads again."""
        self._outbox.paused = False
        if not self._closing:
            self._inbox.choose_reading(paused=False)
            self.mark()
            if self._inbox.unread:
                self._exchange.turn.read(self)

    def take_message(self, call: Call, message: bytes | bytearray) -> None:
        """Take the message of a call that came in pieces and is complete."""
        assert call.buffer is not None, "it came in pieces"
        self.unfinished_size_bytes -= len(call.buffer)
        self._exchange.unfinished_size_bytes -= len(call.buffer)
        call.buffer = None
        call.route.accept(call, message)

    def reply(self, call: Call, message: bytes) -> None:
        """End a call with its one message."""
        waiting_bytes = self._http2.queued_body_size()
        if waiting_bytes and is_refused_unread(call, waiting_bytes, message, self._exchange):
            return
        self.drop(call)
        self._outbox.send_reply(call.stream_id, message)
        self._lifetime.ping_strikes_count = 0
        if not self._marked:
            self.mark()

    def refuse(self, call: Call, headers: Sequence[Header]) -> None:
        """End a call without a message, or without a further one."""
        self.drop(call)
        if call.responding:
            self._outbox.send_trailers(call.stream_id, headers[RESPONSE_HEADERS_COUNT:])
            self.mark()
        else:
            self._refuse_stream(call.stream_id, headers, half_closed=call.half_closed)

    def send(self, call: Call, message: bytes) -> None:
        """Send one message of a call that streams; it ends when too much is unread."""
        if not call.open:
            return
        waiting_bytes = self._http2.queued_body_size()
        if waiting_bytes and is_refused_unread(call, waiting_bytes, message, self._exchange):
            return
        framed = self._exchange.framing.frame(message)
        self._outbox.send_message(call.stream_id, framed, first=not call.responding)
        call.responding = True
        self.note_sent()

    def end(self, call: Call) -> None:
        """End a call that has streamed its responses."""
        self.refuse(call, (*RESPONSE_HEADERS, *RESPONSE_TRAILERS))

    def get_unread_size_bytes(self, call: Call) -> int:
        """Return how much of what a call was sent waits for its reader."""
        return self._http2.queued_body_size(call.stream_id)

    def call_after_write(self, function: Callable[[], None]) -> None:
        """Call a function once, after the next write."""
        self._after_write.append(function)

    def drop(self, call: Call) -> None:
        """Forget a call that has ended, and stop its work."""
        if self.calls.pop(call.stream_id, None) is None:
            return
        exchange = self._exchange
        exchange.calls_count -= 1
        buffer = call.buffer
        if buffer is not None:
            self.unfinished_size_bytes -= len(buffer)
            exchange.unfinished_size_bytes -= len(buffer)
        call.release()

    def note_sent(self) -> None:
        """Write at the end of the turn what the client is sent; it may ping again."""
        self._lifetime.ping_strikes_count = 0
        self.mark()

    def mark(self) -> None:
        """Write at the end of the turn."""
        if not self._marked:
            self._marked = True
            self._exchange.turn.write(self)

    def flush(self) -> None:
        """Write what is due, as far as the client reads it."""
        self._marked = False
        if self._closing:
            return
        try:
            self._outbox.write()
            if self._after_write:
                functions, self._after_write = self._after_write, []
                for function in functions:
                    function()
            self._handle(self._http2.events())
        except ExcessError as error:
            self._calm(str(error))
        except Exception as error:
            self._exchange.log.error("connection_failed_by_bug", exc_info=error)
            self.abort("bug")

    def check(self, now_ns: int) -> None:
        """Enforce the limits on time; called about once a second."""
        self._control_credit = wire_limits.CONTROL_FRAMES_PER_SECOND_MAX
        if self._closing:
            self._transport.abort()
            return
        for call in tuple(self.calls.values()):
            if not call.half_closed:
                check_arrival(call, now_ns, self._exchange)
        if self.draining:
            self._tell_last_stream()
        stalled = self._outbox.paused or self._http2.queued_body_size() > 0
        verdict = self._lifetime.check(
            now_ns,
            calls_count=len(self.calls),
            taken_size_bytes=self._outbox.count_taken_bytes() if stalled else -1,
        )
        if verdict == "ping":
            self._http2.ping()
            self.mark()
        elif verdict in ("idle", "age"):
            self.drain()
        elif verdict:
            self.abort(verdict)

    def drain(self) -> None:
        """Ask the client to take new calls elsewhere; let those in flight finish."""
        if self.draining or self._closing:
            return
        self.draining = True
        # Calls that are on the way must not be lost: the number of the last stream is told only
        # when the client has answered a ping, and so has seen the notice.
        self._http2.send_shutdown_notice()
        self._http2.ping(_DRAIN_PING)
        for call in tuple(self.calls.values()):
            if isinstance(call.work, EndlessWork):
                call.work.drain()
        self.mark()

    def close(self) -> None:
        """End all calls with UNAVAILABLE, and close."""
        if self._closing:
            return
        error = UnavailableError("the server stopped before it answered; call another one")
        for call in tuple(self.calls.values()):
            status = self._exchange.dispatcher.fail(call.route.name, error)
            self.refuse(call, make_status_headers(status))
        self._tell_last_stream()
        self.flush()
        self._closing = True
        self._transport.close()

    def abort(self, reason: str) -> None:
        """Disconnect at once."""
        self._drop_calls()
        self._closing = True
        self._exchange.count_closed(reason)
        self._transport.abort()

    def _receive(self, data: bytes | memoryview) -> None:
        """Act on bytes; close the connection of a client that does not keep to the rules."""
        try:
            self._http2.receive_data(data)
            events = self._http2.events()
            self._inbox.adapt(len(events))
            self._handle(events)
            if not self._marked and not self._closing and self._http2.want_write:
                self.mark()
        except ExcessError as error:
            self._calm(str(error))
        except NGH2Error as error:
            flooded = isinstance(error, DenialOfServiceError)
            # Its state is gone already.
            self._outbox.write_goaway(
                ErrorCode.ENHANCE_YOUR_CALM if flooded else ErrorCode.PROTOCOL_ERROR
            )
            self._hang_up("flood" if flooded else "protocol")
        except Exception as error:
            self._exchange.log.error("connection_failed_by_bug", exc_info=error)
            self.abort("bug")

    def _handle(self, events: list[Event]) -> None:
        """Act on what happened on the connection, in its order."""
        calls = self.calls
        for event in events:
            if isinstance(event, DataReceived):
                call = calls.get(event.stream_id)
                if call is not None:
                    self._take_data(call, event.data, ended=event.end_stream)
            elif isinstance(event, RequestReceived):
                self._begin(event.stream_id, event.headers, ended=event.end_stream)
            elif isinstance(event, StreamClosed):
                call = calls.get(event.stream_id)
                if call is not None:
                    self.drop(call)
            elif not isinstance(event, StreamReset):
                # (The stream's end follows its reset.)
                self._handle_control(event)

    def _begin(self, stream_id: int, headers: tuple[Header, ...], *, ended: bool) -> None:
        """Begin a call, or end it at once when its headers are not in order."""
        exchange = self._exchange
        fields = dict(headers)
        route = exchange.routes.get(fields.get(b":path", b""))
        self._control_credit += _CONTROL_FRAMES_PER_CALL
        deadline_ns = None
        timeout = fields.get(b"grpc-timeout")
        if timeout is not None:
            timeout_ns = parse_timeout_ns(timeout)
            if timeout_ns is not None:
                deadline_ns = exchange.clock.monotonic_ns() + timeout_ns
        encoding = fields.get(b"grpc-encoding")
        if (
            route is None
            or encoding is not None
            or (timeout is not None and deadline_ns is None)
            or b"te" not in fields
            or fields.get(b"content-type") != b"application/grpc"
            or fields.get(b":method") != b"POST"
            or sum(map(len, fields.values())) + 64 * len(headers)
            > wire_limits.METADATA_SIZE_BYTES_MAX
            or exchange.calls_count >= wire_limits.CALLS_IN_FLIGHT_MAX
        ):
            refusal = find_refusal(fields, headers, exchange)
            if refusal is not None:
                self._refuse_stream(stream_id, refusal, half_closed=ended)
                return
        assert route is not None, "a path without a route is refused"
        call = Call(self, stream_id, route, deadline_ns)
        if encoding is not None:
            call.encoding = encoding
        self.calls[stream_id] = call
        exchange.calls_count += 1
        if ended:
            call.half_closed = True
            if route.takes_many:
                self.end(call)
            else:
                self.refuse(call, NO_MESSAGE_HEADERS)

    def _take_data(self, call: Call, data: bytes, *, ended: bool) -> None:
        """Take what arrived of a call's message; nearly always all of it."""
        if ended:
            call.half_closed = True
            if call.buffer is None and len(data) >= PREFIX_SIZE_BYTES:
                flag, size_bytes = PREFIX.unpack_from(data)
                if flag == 0 and size_bytes == len(data) - PREFIX_SIZE_BYTES:
                    call.route.accept(call, data[PREFIX_SIZE_BYTES:])
                    return
        elif len(data) < _PIECE_SIZE_BYTES_MIN:
            self._pay_for_control_frame()
        try:
            if call.route.takes_many:
                self._take_messages(call, data)
                return
            message = take_piece(call, data, self._exchange)
        except RefusalError as refusal:
            self.refuse(call, refusal.headers)
        except InstanterError as error:
            status = self._exchange.dispatcher.fail(call.route.name, error)
            self.refuse(call, make_status_headers(status))
        else:
            if message is not None:
                self.take_message(call, message)

    def _take_messages(self, call: Call, data: bytes) -> None:
        """Hand on what is complete of a request of many messages."""
        for message in take_messages(call, data, self._exchange):
            if call.open:
                call.route.accept(call, message)
        if call.half_closed and call.open:
            self.end(call)

    def _handle_control(self, event: Event) -> None:
        """Act on what is not about one call."""
        self._pay_for_control_frame()
        if isinstance(event, SettingsReceived):
            self._lifetime.greeted = True
        elif isinstance(event, PingReceived):
            if self._lifetime.take_ping(self._exchange.clock.monotonic_ns()):
                raise ExcessError("too_many_pings")
        elif isinstance(event, PingAcknowledged):
            if self.draining and event.opaque_data == _DRAIN_PING:
                self._tell_last_stream()
        elif isinstance(event, TrailersReceived):
            call = self.calls.get(event.stream_id)
            if call is not None:
                self._take_data(call, b"", ended=True)
        elif isinstance(event, ConnectionClosed):
            self._exchange.count_closed_code(event.error_code)
            self._closing = True
            self._drop_calls()
            self._transport.close()

    def _pay_for_control_frame(self) -> None:
        """Raise for a client that sends more frames than its calls explain."""
        self._control_credit -= 1
        if self._control_credit < 0:
            raise ExcessError("too_many_control_frames")

    def _refuse_stream(
        self, stream_id: int, headers: Sequence[Header], *, half_closed: bool
    ) -> None:
        """End a stream with headers only."""
        self._outbox.send_headers(stream_id, headers, half_closed=half_closed)
        self.note_sent()

    def _tell_last_stream(self) -> None:
        """Tell a client that leaves which of its calls will be answered; then it may close."""
        if not self._last_told:
            self._last_told = True
            self._http2.send_goaway(ErrorCode.NO_ERROR)
            self.mark()

    def _drop_calls(self) -> None:
        """Stop all work."""
        for call in tuple(self.calls.values()):
            self.drop(call)

    def _calm(self, reason: str) -> None:
        """Disconnect a client that behaves as none should, and tell it why."""
        self._http2.send_goaway(ErrorCode.ENHANCE_YOUR_CALM, debug_data=reason.encode())
        self._outbox.write()
        self._hang_up(reason)

    def _hang_up(self, reason: str) -> None:
        """Close the connection of a client that has been told why."""
        self._drop_calls()
        self._closing = True
        self._exchange.count_closed(reason)
        self._transport.close()
