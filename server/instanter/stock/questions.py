"""What the stock side is told, and what it answers: plain values, no messages."""

from dataclasses import dataclass
from enum import IntEnum, IntFlag

import numpy as np
from numpy.typing import NDArray

from instanter.catalogue.stock import Cause, Severity


class MovementKind(IntEnum):
    """What a movement is; the numbers stand in the log and never change."""

    SALE = 1
    RETURN = 2
    RECEIPT = 3
    TRANSFER = 4
    ADJUSTMENT = 5
    COUNT = 6
    RESERVATION = 7
    RELEASE = 8
    ORDER = 9
    ORDER_CANCELLATION = 10
    PRICE_CHANGE = 11
    CONFLICT = 12
    """Not a movement of stock: a purchase event whose movement id stood for another content."""


class TransitionKind(IntEnum):
    """What happened to an alert."""

    RAISED = 1
    ESCALATED = 2
    CLEARED = 3
    ACKNOWLEDGED = 4


class DataError(IntFlag):
    """What speaks against the books of a position."""

    NEGATIVE = 1
    """On hand is below 0, where the policy allows it; goes with the next count or receipt."""
    OVERCOMMITTED = 2
    """More is committed than is on hand, where the policy allows it."""
    COUNT = 4
    """A count was beyond the tolerance of what was expected; goes with one that is within."""
    SHORTFALL = 8
    """Purchase events sold more than there was; goes with the next count."""
    CONFLICT = 16
    """A movement id came twice with different contents; goes with the next count."""


class RefusalReason(IntEnum):
    """Why a batch is refused."""

    NEGATIVE = 1
    """The movement would take more than is on hand."""
    NOT_AVAILABLE = 2
    """More would be committed than is on hand."""
    NOTHING_COMMITTED = 3
    """A release of more than is committed, or a cancellation of more than is on order."""
    COUNT_TOO_OLD = 4
    """The count is older than the changes that the position remembers."""
    UNITS_OVERFLOW = 5
    """The position would hold more than 10^15 units."""


@dataclass(slots=True)
class Movement:
    """One movement of stock.

    Not frozen, although a value: a frozen one takes three times as long to make.

    Attributes
    ----------
    kind
        What it is.
    site, unit
        Names that the catalogue declares; `unit` is the stock-keeping unit.
    units
        1 to 10^9; a count 0 to 10^9; an adjustment with its sign; 0 for a price change.
    time_ms
        When it happened, milliseconds since 1970.
    destination_site
        Where a transfer goes; else empty.
    is_fact
        Whether it follows from an event, which is never refused: what is not there is taken into
        the shortfall.
    """

    kind: MovementKind
    site: str
    unit: str
    units: int
    time_ms: int
    destination_site: str = ""
    is_fact: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Movements as kernels take them, and which rows must be loaded for them.

    Attributes
    ----------
    rows
        int64[N, 6], read-only, one row a movement: `kernels/stock_rows` names the columns.
    places
        int64[P, 4], read-only, one row a position of `positions`; `kernels/stock_rows` too.
    positions
        Pairs of site and unit, each once: whose states the caller loads, in this order.
    sites
        Names of sites, each once: whose profiles the caller loads, in this order.
    """

    rows: NDArray[np.int64]
    places: NDArray[np.int64]
    positions: tuple[tuple[str, str], ...]
    sites: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a batch cannot be taken.

    Attributes
    ----------
    movement_index
        Which movement.
    position_index
        Which of `Batch.positions`.
    reason
        Why.
    on_hand, committed, on_order
        The position's, just before that movement.
    """

    movement_index: int
    position_index: int
    reason: RefusalReason
    on_hand: int
    committed: int
    on_order: int


@dataclass(frozen=True, slots=True)
class Transition:
    """One step of one alert.

    Attributes
    ----------
    sequence
        Its own number: 1, 2, 3 … of the store.
    number
        Number of the alert: the sequence of its raising transition.
    position_index
        Which of the positions given.
    movement_index
        The movement that brought it; −1 when time or a person did.
    cause, kind, severity
        What of which alert, and how bad it is now (for CLEARED: was last).
    previous_severity
        Before this transition; None when it was raised.
    tier
        Which tier of cover, 1 for the first; 0 for other causes.
    is_overdue
        Whether it escalated because nobody had acknowledged it.
    time_ms
        When, by the server's clock, milliseconds since 1970.
    raised_ms
        When the alert was raised.
    """

    sequence: int
    number: int
    position_index: int
    movement_index: int
    cause: Cause
    kind: TransitionKind
    severity: Severity
    previous_severity: Severity | None
    tier: int
    is_overdue: bool
    time_ms: int
    raised_ms: int


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """What recording movements, or the passing of time, did.

    Attributes
    ----------
    transitions
        In their order; their sequences follow one another without a gap.
    available
        int64[P]: units on hand less those committed.
    cover_days
        float64[P]: days of cover; infinite without demand, NaN when nothing is known of it.
    due_ms
        int64[P]: when to look again, by the server's clock; 0 for never.
    """

    transitions: tuple[Transition, ...]
    available: NDArray[np.int64]
    cover_days: NDArray[np.float64]
    due_ms: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class OpenAlert:
    """What a position keeps of an open alert.

    Attributes
    ----------
    number, cause, severity, tier
        As in `Transition`.
    raised_ms
        When it was raised, milliseconds since 1970.
    snoozed_until_ms
        Until when it does not escalate for want of acknowledgement; 0 for not snoozed.
    is_acknowledged
        Whether somebody handles it.
    """

    number: int
    cause: Cause
    severity: Severity
    tier: int
    raised_ms: int
    snoozed_until_ms: int
    is_acknowledged: bool


@dataclass(frozen=True, slots=True)
class Figures:
    """A position and the figures behind its alerts.

    A figure that cannot be known yet is None.

    Attributes
    ----------
    on_hand, on_order, committed, available
        Units.
    shortfall
        Units that purchase events sold beyond what there was, since the latest count.
    data_errors
        What speaks against the books.
    demand_rate
        Units a day.
    demand_deviation
        Standard deviation of the demand of one period around what is expected of it, units.
    is_intermittent
        Whether periods without a sale are frequent, so that rate is probability × size.
    days_of_cover
        Available ÷ demand rate; None without demand.
    stock_out_ms, stock_out_early_ms, stock_out_late_ms
        When available is expected to reach 0, and when it does so with 5 and 95 percent
        probability at the latest; milliseconds since 1970. None when not within ten years.
    safety_stock, reorder_point
        Units; the reorder point is the declared one where one is.
    order_units
        Suggested order: up to the policy's level, or its fixed quantity; 0 for none.
    recent_units, recent_sales
        Units, and arrivals of sales, since the present run of sales began.
    recent_expected_units
        What the learned rate makes likely for that time.
    recent_ms
        How long that run is, milliseconds.
    evidence
        How much the run of sales speaks for a plunge: natural logarithm of the test's statistic ÷
        its threshold, so that a plunge is told from 0 on.
    alerts
        The open alerts.
    counted_ms, latest_ms
        Time of the latest count and of the latest movement; None before the first.
    """

    on_hand: int
    on_order: int
    committed: int
    available: int
    shortfall: int
    data_errors: DataError
    demand_rate: float | None
    demand_deviation: float | None
    is_intermittent: bool
    days_of_cover: float | None
    stock_out_ms: int | None
    stock_out_early_ms: int | None
    stock_out_late_ms: int | None
    safety_stock: float | None
    reorder_point: float | None
    order_units: int
    recent_units: int
    recent_sales: int
    recent_expected_units: float | None
    recent_ms: int
    evidence: float
    alerts: tuple[OpenAlert, ...]
    counted_ms: int | None
    latest_ms: int | None
