"""How long a connection may live: handshake, silence, idleness, a reader that stops, age."""

import random
from typing import Final

from instanter import wire_limits

_AGE_SPREAD_RATE: Final = 0.1


class Lifetime:
    """The times of one connection.

    Parameters
    ----------
    now_ns
        The clock's `monotonic_ns`.

    Attributes
    ----------
    greeted
        The client has sent its settings, and so speaks HTTP/2.
    heard
        Something has arrived since the last check.
    ping_strikes_count
        Pings that came too early since the last reply.
    """

    __slots__ = (
        "_age_end_ns", "_called_ns", "_heard_ns", "_opened_ns", "_pinged", "_pinged_by_peer_ns",
        "_progress_ns", "_taken_size_bytes", "greeted", "heard", "ping_strikes_count",
    )  # fmt: skip

    def __init__(self, now_ns: int) -> None:
        spread_rate = random.uniform(-_AGE_SPREAD_RATE, _AGE_SPREAD_RATE)  # noqa: S311 - no secret
        self._age_end_ns = now_ns + int(wire_limits.CONNECTION_AGE_NS_MAX * (1 + spread_rate))
        self._opened_ns = now_ns
        self._heard_ns = now_ns
        self._called_ns = now_ns
        self._progress_ns = now_ns
        self._taken_size_bytes = -1
        self._pinged = False
        self._pinged_by_peer_ns = now_ns - wire_limits.PING_INTERVAL_NS_MIN
        self.greeted = False
        self.heard = False
        self.ping_strikes_count = 0

    def check(self, now_ns: int, *, calls_count: int, taken_size_bytes: int) -> str:
        """Return what the time asks for.

        Parameters
        ----------
        now_ns
            The clock's `monotonic_ns`.
        calls_count
            Calls that have not ended.
        taken_size_bytes
            Bytes that the client has taken so far, or -1 when none wait for it. As long as the
            number changes, the client reads.

        Returns
        -------
        str
            Empty for nothing, `ping` to ask whether the client is there, `idle` or `age` to ask
            it to leave, any other word to disconnect it: the reason.
        """
        if self.heard:
            self.heard = False
            self._pinged = False
            self._heard_ns = now_ns
        if calls_count:
            self._called_ns = now_ns
        if taken_size_bytes < 0 or taken_size_bytes != self._taken_size_bytes:
            self._taken_size_bytes = taken_size_bytes
            self._progress_ns = now_ns
        if not self.greeted:
            late = now_ns - self._opened_ns >= wire_limits.HANDSHAKE_NS_MAX
            return "handshake_too_slow" if late else ""
        if now_ns - self._progress_ns >= wire_limits.READER_STOPPED_NS_MAX:
            return "reader_stopped"
        silent_ns = now_ns - self._heard_ns
        if (
            silent_ns >= wire_limits.KEEPALIVE_NS + wire_limits.KEEPALIVE_ANSWER_NS_MAX
            and self._pinged
        ):
            return "silent"
        if silent_ns >= wire_limits.KEEPALIVE_NS and not self._pinged:
            self._pinged = True
            return "ping"
        if now_ns - self._called_ns >= wire_limits.CONNECTION_IDLE_NS_MAX:
            return "idle"
        return "age" if now_ns >= self._age_end_ns else ""

    def take_ping(self, now_ns: int) -> bool:
        """Record a ping of the client; return whether it has sent too many too early.

        A reply forgives them: clients measure the line with pings while data flow.
        """
        early = now_ns - self._pinged_by_peer_ns < wire_limits.PING_INTERVAL_NS_MIN
        self._pinged_by_peer_ns = now_ns
        self.ping_strikes_count += early
        return self.ping_strikes_count > wire_limits.PING_STRIKES_MAX
