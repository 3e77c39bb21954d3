"""Responses of one streamed call on their way from whoever makes them to the front that sends them.

They are made on any thread, an alert's on the thread that notices it, and sent on the event loop
as fast as the caller reads. Between the two stands a bounded queue: whoever makes responses never
waits for a caller unless it asks to, and a caller that does not read costs no more than the bound.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from instanter import wire_limits
from instanter.errors import ExhaustedError
from instanter.rpc.front import SinkGroup

_ROOM_AGAIN: Final = wire_limits.STREAM_WAITING_MAX // 2
"""Responses that may still wait when whoever waits for room is called: not for each one anew."""


class OneByOne:
    """The group of streams that nothing is gained with by telling them together. A `SinkGroup`."""

    def offer_encoded(self, response: bytes, sinks: Sequence[Any]) -> list[Any]:
        """See `SinkGroup.offer_encoded`."""
        return [sink for sink in sinks if not sink.offer_encoded(response)]


ONE_BY_ONE: Final = OneByOne()
"""It has no state."""


class ResponseStream:
    """The queue of one streamed call; its maker sees a `Sink`.

    Parameters
    ----------
    wake
        Called, on the maker's thread, when there is something to send; not again before it was
        looked at with `take`.
    on_bug
        Takes the exception of a function given to `call_when_ended`.

    Attributes
    ----------
    error
        What the stream ends with behind the responses that wait; None for success.
    is_clear
        Whether nothing waits and the stream goes on: what is sent at once overtakes nothing. Of
        use on the event loop only.
    send_now
        Sends a response at once when the stream is clear, and returns whether it could, on the
        event loop and nowhere else; None where the front does not have it. A thousand subscribers
        are told in half the time without a queue, its lock and a turn of the loop for each.
    group
        Takes a response for this stream and others. Set by the front, before anybody has the sink.
    call
        What the front's group knows the stream by.
    """

    __slots__ = (
        "_changed", "_closed", "_closing", "_on_bug", "_on_end", "_on_room", "_waiting",
        "_waiting_size_bytes", "_wake", "_woken", "call", "error", "group", "is_clear", "send_now",
    )  # fmt: skip

    def __init__(self, wake: Callable[[], object], on_bug: Callable[[Exception], object]) -> None:
        self._wake = wake
        self._on_bug = on_bug
        self._changed = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._waiting_size_bytes = 0
        self._on_end: list[Callable[[], object]] = []
        self._on_room: Callable[[], object] | None = None
        self._woken = False
        self._closing = False
        self._closed = False
        self.error: Exception | None = None
        self.is_clear = True
        self.send_now: Callable[[bytes], bool] | None = None
        self.group: SinkGroup = ONE_BY_ONE
        self.call: Any = None

    # --- for the maker, on any thread -----------------------------------------------------------

    @property
    def ended(self) -> bool:
        """Whether no further response is taken: the caller is gone, or the maker has ended it."""
        return self._closing or self._closed

    def offer(self, response: Any) -> bool:
        """Take a response to be sent, if there is room; never waits. See `Sink.offer`."""
        return self.offer_encoded(response.SerializeToString())

    def offer_encoded(self, raw: bytes) -> bool:
        """Take an encoded response to be sent, if there is room. See `Sink.offer_encoded`."""
        if len(raw) > wire_limits.REPLY_SIZE_BYTES_MAX:
            self.fail(reply_too_long(len(raw)))
            return False
        if self.is_clear and self.send_now is not None and self.send_now(raw):
            return True
        with self._changed:
            if self._closing or self._closed or not self._has_room():
                return False
            self.is_clear = False
            self._waiting.append(raw)
            self._waiting_size_bytes += len(raw)
            waking, self._woken = not self._woken, True
        if waking:
            self._wake_front()
        return True

    def call_when_room(self, function: Callable[[], object]) -> None:
        """Call a function once when there is room again. See `Sink.call_when_room`."""
        with self._changed:
            if len(self._waiting) > _ROOM_AGAIN or not self._has_room():
                self._on_room = function
                return
        self._call(function)

    def wait_for_room(self, timeout_s: float) -> bool:
        """Wait until there is room; False when the stream has ended, or after the timeout."""
        with self._changed:
            self._changed.wait_for(lambda: self.ended or self._has_room(), timeout_s)
            return not self.ended and self._has_room()

    def finish(self) -> None:
        """End the stream with success behind what waits. Without effect on one that has ended."""
        self._end(None)

    def fail(self, error: Exception) -> None:
        """End the stream with an error behind what waits. Without effect on one that has ended."""
        self._end(error)

    def call_when_ended(self, function: Callable[[], object]) -> None:
        """Call a function once when the call is over, however it ends; at once when it is."""
        with self._changed:
            if not self._closed:
                self._on_end.append(function)
                return
        self._call(function)

    # --- for the front, on its event loop -------------------------------------------------------

    def take(self, size_bytes: int) -> list[bytes]:
        """Remove and return encoded responses to send now.

        Parameters
        ----------
        size_bytes
            Size above which no further one is added; with 0 or less none is.
        """
        taken: list[bytes] = []
        with self._changed:
            self._woken = False
            waiting = self._waiting
            while waiting and size_bytes > 0:
                raw = waiting.popleft()
                taken.append(raw)
                size_bytes -= len(raw)
                self._waiting_size_bytes -= len(raw)
            if taken:
                self._changed.notify_all()
            on_room = self._on_room
            if on_room is not None:
                if len(waiting) > _ROOM_AGAIN or self._closing or not self._has_room():
                    on_room = None
                else:
                    self._on_room = None
            if on_room is None:
                self.is_clear = self._is_clear()
        if on_room is not None:
            # It is not clear yet: what has been taken is sent before what is offered now.
            self._call(on_room)
            with self._changed:
                self.is_clear = self._is_clear()
        return taken

    @property
    def closed(self) -> bool:
        """Whether the call is over."""
        return self._closed

    @property
    def has_more(self) -> bool:
        """Whether responses wait."""
        return bool(self._waiting)

    @property
    def drained(self) -> bool:
        """Whether the maker has ended the stream and all of its responses have been taken."""
        return self._closing and not self._waiting

    def close(self) -> None:
        """Drop what waits and tell the maker: the call is over. A second time does nothing."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self.is_clear = False
            self._waiting.clear()
            self._waiting_size_bytes = 0
            functions, self._on_end = self._on_end, []
            self._on_room = None
            self._changed.notify_all()
        for function in functions:
            self._call(function)

    cancel = close

    def _is_clear(self) -> bool:
        return not (self._waiting or self._closing or self._closed)

    def _has_room(self) -> bool:
        return (
            len(self._waiting) < wire_limits.STREAM_WAITING_MAX
            and self._waiting_size_bytes < wire_limits.STREAM_WAITING_SIZE_BYTES_MAX
        )

    def _end(self, error: Exception | None) -> None:
        with self._changed:
            if self._closing or self._closed:
                return
            self._closing = True
            self.is_clear = False
            self.error = error
            waking, self._woken = not self._woken, True
            self._changed.notify_all()
        if waking:
            self._wake_front()

    def _wake_front(self) -> None:
        try:
            self._wake()
        except RuntimeError:
            # The event loop was closed in this very moment, and the call with it.
            return

    def _call(self, function: Callable[[], object]) -> None:
        try:
            function()
        except Exception as error:  # noqa: BLE001 - one maker's bug is not the connection's
            self._on_bug(error)


def reply_too_long(size_bytes: int) -> ExhaustedError:
    """Return the error of a response that is longer than responses may be."""
    return ExhaustedError(
        f"the response has {size_bytes:,} bytes; the longest has"
        f" {wire_limits.REPLY_SIZE_BYTES_MAX:,} bytes: ask for less at a time",
        reason="REPLY_TOO_LONG",
    )
