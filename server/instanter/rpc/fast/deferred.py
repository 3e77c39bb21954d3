"""The route of deferred methods: the work is handed over, its future ends the call.

No task and no future of asyncio's for a call: what hands the result over on the loop's own thread
ends the call there and then.
"""

import asyncio
import threading
from concurrent.futures import Future
from functools import partial
from typing import Any, Final

from instanter.clock import Clock
from instanter.rpc.dispatch import Dispatcher
from instanter.rpc.fast.calls import Call, finish, start_timer
from instanter.rpc.front import CallContext, DeferredMethod


class DeferredRoute:
    """The route of a deferred method; made on the thread of its loop.

    Parameters
    ----------
    method
        The method.
    dispatcher, loop, clock
        As in `SingleRoute`.
    """

    __slots__ = ("_clock", "_dispatcher", "_loop", "_method", "_thread", "name")

    takes_many: Final = False

    def __init__(
        self,
        method: DeferredMethod,
        dispatcher: Dispatcher,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
    ) -> None:
        self.name = method.name
        self._method = method
        self._dispatcher = dispatcher
        self._loop = loop
        self._thread = threading.get_ident()
        self._clock = clock

    def accept(self, call: Call, message: bytes | bytearray) -> None:
        """Take a call whose one message is complete, and hand its work over."""
        if not start_timer(call, self._dispatcher, self._loop, self._clock):
            return
        context = CallContext(call.deadline_ns, call.connection.peer)
        future = self._dispatcher.begin_encoded(self._method, message, context)
        if not isinstance(future, Future):
            finish(call, future, self._dispatcher)
            return
        call.work = future
        future.add_done_callback(partial(self._take, call))

    def _take(self, call: Call, future: Future[Any]) -> None:
        """Go on with a call whose work is done, on whichever thread that was."""
        if threading.get_ident() == self._thread:
            self._go_on(call, future)
        else:
            self._loop.call_soon_threadsafe(self._go_on, call, future)

    def _go_on(self, call: Call, future: Future[Any]) -> None:
        """Translate the result, here or on a thread."""
        if not call.open or future.cancelled():
            return
        method = self._method
        if method.lane is None or future.exception() is not None:
            call.work = None
            finish(call, self._dispatcher.translate(method, future), self._dispatcher)
        else:
            call.work = self._loop.create_task(self._translate_apart(call, future))

    async def _translate_apart(self, call: Call, future: Future[Any]) -> None:
        """Translate the result on a thread of the method's lane."""
        answer = await self._dispatcher.translate_apart(self._method, future.result())
        # The task ends by itself from here on: nobody has to cancel it.
        call.work = None
        if call.open:
            finish(call, answer, self._dispatcher)
