"""What kernels have written, turned into values."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from instanter.catalogue.stock import Cause, Severity
from instanter.kernels.stock_alerts import (
    ACKNOWLEDGED,
    OUT_CAUSE,
    OUT_COLUMNS,
    OUT_KIND,
    OUT_MOVEMENT,
    OUT_NUMBER,
    OUT_OVERDUE,
    OUT_POSITION,
    OUT_PREVIOUS,
    OUT_RAISED_MS,
    OUT_SEVERITY,
    OUT_TIER,
    TIER,
    TRANSITIONS_MAX,
)
from instanter.kernels.stock_rows import (
    ALERT_GRADE,
    ALERT_NUMBER,
    ALERT_RAISED_MS,
    ALERT_SNOOZED_MS,
    ALERT_WORDS,
    ALERTS,
    CAUSES,
    DUE_MS,
)
from instanter.stock.questions import OpenAlert, Recorded, Transition, TransitionKind

_SEVERITY_BITS: Final = 7


class Work:
    """Arrays that a batch writes to.

    Attributes
    ----------
    available, covers, out
        As `kernels/stock_turns.record_movements` writes them.
    """

    __slots__ = ("available", "covers", "out")

    def __init__(self, position_count: int, side_count: int) -> None:
        self.available = np.zeros(position_count, np.int64)
        self.covers = np.zeros(position_count, np.float64)
        self.out = np.empty((side_count * TRANSITIONS_MAX, OUT_COLUMNS), np.int64)

    def finish(
        self, states: NDArray[np.int64], count: int, *, now_ms: int, sequence: int
    ) -> Recorded:
        """Return all of it as values.

        Parameters
        ----------
        states
            int64[P, STATE_WORDS], read-only.
        count
            Transitions.
        now_ms, sequence
            As for the engine.
        """
        rows = self.out[:count].tolist()
        transitions = tuple(
            make_transition(row, now_ms=now_ms, sequence=sequence + index)
            for index, row in enumerate(rows)
        )
        return Recorded(transitions, self.available, self.covers, states[:, DUE_MS].copy())


def make_transition(row: list[int], *, now_ms: int, sequence: int) -> Transition:
    """Return a row of transitions as a value."""
    previous = row[OUT_PREVIOUS]
    return Transition(
        sequence=sequence,
        number=row[OUT_NUMBER],
        position_index=row[OUT_POSITION],
        movement_index=row[OUT_MOVEMENT],
        cause=Cause(row[OUT_CAUSE]),
        kind=TransitionKind(row[OUT_KIND]),
        severity=Severity(row[OUT_SEVERITY]),
        previous_severity=Severity(previous) if previous else None,
        tier=row[OUT_TIER],
        is_overdue=bool(row[OUT_OVERDUE]),
        time_ms=now_ms,
        raised_ms=row[OUT_RAISED_MS],
    )


def view_alert(state: NDArray[np.int64], cause: Cause) -> NDArray[np.int64]:
    """Return the words of an alert, which live as long as the state.

    Parameters
    ----------
    state
        int64[STATE_WORDS]; what is returned is a view of it, int64[ALERT_WORDS].
    cause
        Of the alert.
    """
    first = ALERTS + (cause - 1) * ALERT_WORDS
    return state[first : first + ALERT_WORDS]


def list_open_alerts(state: NDArray[np.int64]) -> tuple[OpenAlert, ...]:
    """Return the open alerts of a state, int64[STATE_WORDS], read-only, in the order of causes."""
    words = state[ALERTS : ALERTS + CAUSES * ALERT_WORDS].tolist()
    found = []
    for cause in Cause:
        alert = words[(cause - 1) * ALERT_WORDS : cause * ALERT_WORDS]
        if alert[ALERT_NUMBER] == 0:
            continue
        grade = alert[ALERT_GRADE]
        found.append(
            OpenAlert(
                number=alert[ALERT_NUMBER],
                cause=cause,
                severity=Severity(grade & _SEVERITY_BITS),
                tier=grade // TIER,
                raised_ms=alert[ALERT_RAISED_MS],
                snoozed_until_ms=alert[ALERT_SNOOZED_MS],
                is_acknowledged=bool(grade & ACKNOWLEDGED),
            )
        )
    return tuple(found)
