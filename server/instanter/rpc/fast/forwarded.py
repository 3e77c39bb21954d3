"""The route of forwarded methods: requests go on as they came, answers come back encoded."""

import asyncio
from functools import partial
from typing import Final

from instanter.clock import Clock
from instanter.rpc.dispatch import Dispatcher
from instanter.rpc.fast.calls import Call, start_timer
from instanter.rpc.fast.wire import make_status_headers
from instanter.rpc.front import Answer, CallContext, ForwardedMethod


class ForwardedRoute:
    """The route of a forwarded method.

    Parameters
    ----------
    method, dispatcher, loop, clock
        As in `SingleRoute`.
    """

    __slots__ = ("_clock", "_dispatcher", "_loop", "_method", "name")

    takes_many: Final = False

    def __init__(
        self,
        method: ForwardedMethod,
        dispatcher: Dispatcher,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
    ) -> None:
        self.name = method.name
        self._method = method
        self._dispatcher = dispatcher
        self._loop = loop
        self._clock = clock

    def accept(self, call: Call, message: bytes | bytearray) -> None:
        """Take a call whose one message is complete, and send it on."""
        if not start_timer(call, self._dispatcher, self._loop, self._clock):
            return
        context = CallContext(call.deadline_ns, call.connection.peer)
        try:
            future = self._method.function(bytes(message), context)
        except Exception as error:  # noqa: BLE001 - the last line of defence of every call
            status = self._dispatcher.fail(self.name, error)
            call.connection.refuse(call, make_status_headers(status))
            return
        call.work = future
        future.add_done_callback(partial(self._end, call))

    def _end(self, call: Call, future: "asyncio.Future[Answer]") -> None:
        """End a call with what came back, unless nobody waits for it any longer."""
        call.work = None
        if future.cancelled():
            return
        error = future.exception()
        if not call.open:
            return
        if error is not None:
            assert isinstance(error, Exception)
            status = self._dispatcher.fail(self.name, error)
            call.connection.refuse(call, make_status_headers(status))
            return
        answer = future.result()
        if isinstance(answer, bytes):
            call.connection.reply(call, answer)
        else:
            call.connection.refuse(call, make_status_headers(answer))
