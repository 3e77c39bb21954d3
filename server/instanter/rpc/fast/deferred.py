"""The routes of deferred methods: the work is handed over, and what becomes of it ends the call.

No task and no future of asyncio's for a call: what hands the result over on the loop's own thread
ends the call there and then.
"""

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, Final

from instanter.clock import Clock
from instanter.keeper.commands import Gathering
from instanter.rpc.dispatch import Dispatcher
from instanter.rpc.fast.calls import Call, finish, start_timer
from instanter.rpc.front import CallContext, DeferredMethod, GatheredWork


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
        future = self._dispatcher.begin(self._method, message, context)
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


class GatheredRoute:
    """The route of a deferred method whose requests are handed over together.

    What arrives until its turn comes is carried out, and answered, at once; a call that ends before
    is left out.

    Parameters
    ----------
    method, work
        The method, and its `gathered`.
    dispatcher, loop, clock
        As in `SingleRoute`.
    """

    __slots__ = (
        "_clock", "_dispatcher", "_gathering", "_loop", "_method", "_thread", "_work", "name",
    )  # fmt: skip

    takes_many: Final = False

    def __init__(
        self,
        method: DeferredMethod,
        work: GatheredWork,
        dispatcher: Dispatcher,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
    ) -> None:
        self.name = method.name
        self._method = method
        self._work = work
        self._dispatcher = dispatcher
        self._loop = loop
        self._thread = threading.get_ident()
        self._clock = clock
        self._gathering: Gathering | None = None

    def accept(self, call: Call, message: bytes | bytearray) -> None:
        """Take a call whose one message is complete, and hand its work over."""
        if not start_timer(call, self._dispatcher, self._loop, self._clock):
            return
        work = self._work
        try:
            made = work.make(bytes(message), call.deadline_ns)
            if self._gathering is None or not self._gathering.add(made, call):
                self._gathering = work.gather(made, call, self._take)
        except Exception as error:  # noqa: BLE001 - the last line of defence of every call
            finish(call, self._dispatcher.fail(self.name, error), self._dispatcher)
            return
        call.work = _HANDED_OVER

    def _take(self, calls: Sequence[Call], outcomes: Sequence[Any]) -> None:
        """Go on with calls whose work is done, on whichever thread that was."""
        if threading.get_ident() == self._thread:
            self._finish(calls, outcomes)
        else:
            self._loop.call_soon_threadsafe(self._finish, calls, outcomes)

    def _finish(self, calls: Sequence[Call], outcomes: Sequence[Any]) -> None:
        """End those calls that have not ended."""
        dispatcher, method = self._dispatcher, self._method
        for call, outcome in zip(calls, outcomes, strict=True):
            if call.open:
                call.work = None
                try:
                    finish(call, dispatcher.encode(method, outcome), dispatcher)
                except Exception as error:  # noqa: BLE001 - the others have to be told, too
                    dispatcher.fail(method.name, error)


class _HandedOver:
    """Work that is dropped where it waits, once its call is not open any more."""

    def cancel(self) -> None:
        """See `Work`."""


_HANDED_OVER: Final = _HandedOver()
