"""Calls that stream their responses: sent on as far as their reader reads, and no further."""

import asyncio
import threading
from typing import Final

from google.protobuf.message import DecodeError

from instanter import limits
from instanter.clock import Clock
from instanter.rpc.dispatch import Dispatcher, moved, undecodable
from instanter.rpc.fast.calls import Call, finish, start_timer
from instanter.rpc.fast.wire import make_status_headers
from instanter.rpc.front import CallContext, StreamedMethod
from instanter.rpc.response_stream import ResponseStream


class StreamedRoute:
    """The route of a streamed method.

    Parameters
    ----------
    method
        The method.
    dispatcher, loop, clock
        As in `SingleRoute`.
    """

    __slots__ = ("_clock", "_decode", "_dispatcher", "_loop", "_method", "name")

    takes_many: Final = False

    def __init__(
        self,
        method: StreamedMethod,
        dispatcher: Dispatcher,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
    ) -> None:
        self.name = method.name
        self._method = method
        self._decode = method.request_type.FromString
        self._dispatcher = dispatcher
        self._loop = loop
        self._clock = clock

    def accept(self, call: Call, message: bytes | bytearray) -> None:
        """Take a call whose one message is complete, and begin to stream."""
        dispatcher, loop = self._dispatcher, self._loop
        if not start_timer(call, dispatcher, loop, self._clock):
            return
        try:
            request = self._decode(message)
        except DecodeError as error:
            finish(call, dispatcher.fail(self.name, undecodable(error)), dispatcher)
            return
        context = CallContext(call.deadline_ns, call.connection.peer)
        sending = _Sending(call, dispatcher)

        def wake() -> None:
            loop.call_soon_threadsafe(sending.send_on)

        call.work = sending
        stream = sending.stream = dispatcher.open_stream(self._method, request, context, wake)
        stream.send_now = sending.send_now
        if call.connection.draining:
            sending.stream.fail(moved())


class _Sending:
    """One call that streams: between the queue of its responses and its connection."""

    __slots__ = ("_call", "_dispatcher", "_thread", "stream")

    stream: ResponseStream

    def __init__(self, call: Call, dispatcher: Dispatcher) -> None:
        self._call = call
        self._dispatcher = dispatcher
        self._thread = threading.get_ident()

    def send_now(self, message: bytes) -> bool:
        """Send a message at the end of this turn if its reader keeps up; False on other threads."""
        call = self._call
        connection = call.connection
        if (
            threading.get_ident() != self._thread
            or not call.open
            or connection.get_unread_size_bytes(call) >= limits.STREAM_AHEAD_SIZE_BYTES
        ):
            return False
        connection.send(call, message)
        self._dispatcher.count_response()
        return True

    def send_on(self) -> None:
        """Send what there is room for; come back after the next write when there is more."""
        call, stream = self._call, self.stream
        connection = call.connection
        if not call.open:
            return
        room_bytes = limits.STREAM_AHEAD_SIZE_BYTES - connection.get_unread_size_bytes(call)
        for message in self._dispatcher.take_responses(stream, room_bytes):
            connection.send(call, message)
        if stream.closed:
            return
        if not stream.drained:
            if stream.has_more:
                connection.call_after_write(self.send_on)
        elif stream.error is None:
            connection.end(call)
        else:
            status = self._dispatcher.fail(call.route.name, stream.error)
            connection.refuse(call, make_status_headers(status))

    def drain(self) -> None:
        """Ask the caller to stream elsewhere."""
        self.stream.fail(moved())

    def cancel(self) -> None:
        """Stop: nobody waits any longer."""
        self.stream.close()
