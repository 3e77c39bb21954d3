"""Watching stock alerts over lost connections: what to ask next, what to tell, when to give up.

A plain state machine; the two clients bring the connection and the waiting. What it promises: every
transition that matches is told once and in order, or a snapshot with `is_gap` says that some are
lost. A token is taken over only when what it stands behind has been handed on.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from instanter.client import stock_replies, stock_requests
from instanter.client.errors import ClientError, UnavailableError
from instanter.client.stock_values import (
    StockAlert,
    StockAlertFilter,
    StockAlertProgress,
    StockAlertSnapshot,
    StockAlertTransition,
)
from instanter.v1 import stock_service_pb2 as messages

StockAlertNews = StockAlertTransition | StockAlertSnapshot | StockAlertProgress
"""What a message comes to; clients tell transitions and snapshots, progress to whoever asks."""

_TOO_SLOW: Final = "SUBSCRIBER_TOO_SLOW"
_EXPIRED: Final = "RESUME_TOKEN_EXPIRED"
_AHEAD: Final = "RESUME_TOKEN_AHEAD"

_LOST_CODES: Final = frozenset({"CANCELLED", "INTERNAL", "UNKNOWN"})
"""Codes that gRPC itself gives a stream whose connection broke; errors of the server's own making
have a reason too."""


@dataclass(frozen=True, slots=True)
class WatchPolicy:
    """How patiently a lost stream is opened again.

    Attributes
    ----------
    pause_s_first, pause_s_max
        Upper bounds of the pause before the first attempt, and of any; it doubles with each attempt
        that brings nothing, and the pause is drawn evenly below it, as `RetryPolicy` does.
    attempts_max
        Attempts in a row that bring nothing, after which watching ends with the error; None never
        gives up.
    """

    pause_s_first: float = 0.1
    pause_s_max: float = 5.0
    attempts_max: int | None = None


class AlertWatch:
    """One subscription, however many connections it takes.

    Parameters
    ----------
    wanted
        Which alerts.
    policy
        How patiently.
    draw
        Gives even random numbers in [0, 1).
    resume_token
        Behind what was told last; empty to begin now.
    wants_snapshot
        Whether a snapshot comes next.
    """

    __slots__ = (
        "_draw", "_failed_count", "_held", "_is_first", "_is_gap", "_open", "_policy",
        "_resume_token", "_sequence", "_wanted", "_wants_snapshot",
    )  # fmt: skip

    def __init__(
        self,
        wanted: StockAlertFilter,
        policy: WatchPolicy,
        draw: Callable[[], float],
        *,
        resume_token: str = "",
        wants_snapshot: bool = False,
    ) -> None:
        self._wanted = wanted
        self._policy = policy
        self._draw = draw
        self._resume_token = resume_token
        self._wants_snapshot = wants_snapshot
        self._is_gap = False
        self._sequence = 0
        self._failed_count = 0
        self._is_first = True
        self._open: list[StockAlert] = []
        self._held: StockAlertProgress | None = None

    def begin(self) -> messages.WatchStockAlertsRequest:
        """Return what to ask on the next connection."""
        self._open.clear()
        self._held = None
        self._is_first = True
        return stock_requests.watch_alerts(
            self._wanted, self._resume_token, open_alerts_first=self._wants_snapshot
        )

    def take(self, message: messages.WatchStockAlertsResponse) -> StockAlertNews | None:
        """Take a message; return what it comes to, None for nothing yet."""
        told = message.WhichOneof("told")
        if told == "open_alert":
            self._open.append(stock_replies.alert(message.open_alert))
            return None
        if told == "progress":
            return self._take_progress(
                StockAlertProgress(message.progress.sequence, message.resume_token)
            )
        if told != "transition":  # of a newer server
            return None
        self._failed_count = 0
        self._is_first = False
        self._resume_token = message.resume_token
        if message.transition.sequence <= self._sequence:
            return None
        self._sequence = message.transition.sequence
        return stock_replies.transition(message)

    def _take_progress(self, progress: StockAlertProgress) -> StockAlertNews | None:
        self._failed_count = 0
        if self._wants_snapshot:
            return self._make_snapshot(progress)
        if self._is_first and self._resume_token:
            # It may be the end of the snapshot that comes before RESUME_TOKEN_EXPIRED: its token
            # taken now, and the connection lost, would hide that something was missed.
            self._is_first = False
            self._held = progress
            return None
        self._is_first = False
        self._pass(progress)
        return progress

    def take_end(self, failure: ClientError | None) -> StockAlertSnapshot | None:
        """Take the end of a connection; return what that comes to, None for nothing.

        Parameters
        ----------
        failure
            What it ended with; None for success, which a server never gives by itself.

        Raises
        ------
        ClientError
            The failure, when watching cannot go on after it.
        """
        if failure is None:
            return None
        if failure.reason == _EXPIRED:
            held = self._held or StockAlertProgress(0, "")
            token = held.resume_token or failure.metadata.get("resume_token", "")
            self._is_gap = True
            return self._make_snapshot(StockAlertProgress(held.sequence, token))
        if failure.reason == _AHEAD:
            # What it had told is no longer so. Begin with what is open now.
            self._resume_token, self._sequence = "", 0
            self._wants_snapshot = self._is_gap = True
            return None
        if failure.reason == _TOO_SLOW and not self._resume_token:
            self._resume_token = failure.metadata.get("resume_token", "")
        if not is_lost(failure):
            raise failure
        return None

    def find_pause_s(self, failure: ClientError | None) -> float:
        """Return how long to wait before the next connection.

        Raises
        ------
        ClientError
            The failure, when there were too many in a row.
        """
        policy = self._policy
        self._failed_count += 1
        if policy.attempts_max is not None and self._failed_count >= policy.attempts_max:
            raise failure or UnavailableError(
                "the server ends the stream at once, again and again", code="UNAVAILABLE"
            )
        doubled = policy.pause_s_first * 2.0 ** min(self._failed_count - 1, 30)
        return self._draw() * min(doubled, policy.pause_s_max)

    def _make_snapshot(self, progress: StockAlertProgress) -> StockAlertSnapshot:
        snapshot = StockAlertSnapshot(
            tuple(self._open), progress.sequence, progress.resume_token, self._is_gap
        )
        self._open.clear()
        self._pass(progress)
        self._wants_snapshot = self._is_gap = self._is_first = False
        return snapshot

    def _pass(self, progress: StockAlertProgress) -> None:
        self._held = None
        self._resume_token = progress.resume_token or self._resume_token
        self._sequence = max(self._sequence, progress.sequence)


def is_lost(failure: ClientError) -> bool:
    """Return whether a stream that ended so goes on with another connection."""
    if failure.reason in (_EXPIRED, _AHEAD, _TOO_SLOW):
        return True
    if isinstance(failure, UnavailableError):
        return True
    return not failure.reason and failure.code in _LOST_CODES
