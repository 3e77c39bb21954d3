"""What the stock calls return and take: plain frozen values, no messages.

Ids are plain (`berlin-1`, `17`), never resource names. The members of the enumerations are those of
the contract, in the contract's order.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Final


class StockMovementKind(IntEnum):
    """What a movement is."""

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


class StockAlertCause(IntEnum):
    """What an alert is about."""

    UNSPECIFIED = 0
    STOCK_OUT = 1
    LOW_COVER = 2
    REORDER = 3
    PLUNGE = 4
    OVERSTOCK = 5
    DATA_ERROR = 6


class StockAlertSeverity(IntEnum):
    """How grave an alert is, the gravest last; UNSPECIFIED for any."""

    UNSPECIFIED = 0
    NOTICE = 1
    WARNING = 2
    SERIOUS = 3
    CRITICAL = 4


class StockAlertChange(IntEnum):
    """How an alert changed."""

    UNSPECIFIED = 0
    RAISED = 1
    ESCALATED = 2
    CLEARED = 3
    ACKNOWLEDGED = 4


class StockHintKind(IntEnum):
    """What may stand behind an alert."""

    UNSPECIFIED = 0
    OFFERS_PRESENTED = 1
    PRICE_CHANGED = 2
    DATA_ERROR = 3


class StockDataError(IntEnum):
    """What cannot be right."""

    UNSPECIFIED = 0
    COUNT_CONTRADICTS = 1
    NEGATIVE_ON_HAND = 2
    COMMITTED_ABOVE_ON_HAND = 3
    SHORTFALL = 4
    MOVEMENT_CONFLICT = 5


class StockActionKind(IntEnum):
    """What can be done about an alert."""

    UNSPECIFIED = 0
    REORDER = 1
    TRANSFER = 2


@dataclass(frozen=True, slots=True)
class StockMovement:
    """Something that moved, or was promised, ordered, counted.

    Attributes
    ----------
    site
        Id of the shop or warehouse.
    stock_keeping_unit
        As declared in the catalogue.
    kind
        What it is.
    units
        How many: at least 1; of a count at least 0, of an adjustment any number but 0. A price
        change has none.
    movement_id
        The same in every retry: the receipt's number and line, for example. None makes one at each
        call, which only the client's own retries of that call share.
    movement_time
        When it happened, with its time zone; None for when the server records it.
    destination_site
        Where a transfer goes; empty for everything else.
    price_minor
        New price of a price change, in minor units.
    """

    site: str
    stock_keeping_unit: str
    kind: StockMovementKind
    units: int = 0
    movement_id: str | None = None
    movement_time: datetime | None = None
    destination_site: str = ""
    price_minor: int = 0


@dataclass(frozen=True, slots=True)
class StockMovementCounts:
    """How many movements were recorded, and how many had been before."""

    recorded_count: int
    duplicate_count: int


@dataclass(frozen=True, slots=True)
class StockFigures:
    """What is learned of a position's demand, and what follows from it; None where not known.

    Attributes
    ----------
    demand_rate
        Units a day that are expected to sell.
    demand_deviation
        Standard deviation of the demand of one period, a day or a week as the catalogue says.
    cover_days
        How long the available units last; None when nothing is expected to sell.
    stock_out_time, earliest_stock_out_time, latest_stock_out_time
        When nothing will be available as likely as not, with 5 % and with 95 %; None where that is
        not within ten years.
    reorder_point_units, safety_stock_units
        None when the policy has none.
    recent_units, recent_sale_count, expected_units, recent_start_time
        Units and sales of the present run of sales, the units that were likely in that time, and
        when it began.
    is_intermittent
        Whether periods without a sale are so frequent that the rate is how likely a sale is, times
        how large.
    """

    demand_rate: float | None = None
    demand_deviation: float | None = None
    cover_days: float | None = None
    stock_out_time: datetime | None = None
    earliest_stock_out_time: datetime | None = None
    latest_stock_out_time: datetime | None = None
    reorder_point_units: float | None = None
    safety_stock_units: float | None = None
    recent_units: int = 0
    recent_sale_count: int = 0
    expected_units: float | None = None
    recent_start_time: datetime | None = None
    is_intermittent: bool = False


@dataclass(frozen=True, slots=True)
class StockPosition:
    """How much of one unit is at one site.

    Attributes
    ----------
    site, stock_keeping_unit, region, category
        Which; region and category are empty when there is none.
    on_hand_units, on_order_units, committed_units
        Units that are there, that are ordered, that are promised.
    available_units
        On hand less committed.
    shortfall_units
        Units that recorded purchases took beyond what was there.
    price_minor
        The latest price in minor units; 0 when none is known.
    count_time, move_time
        Of the latest count and the latest movement; None before the first.
    figures
        What is learned of its demand.
    """

    site: str
    stock_keeping_unit: str
    region: str
    category: str
    on_hand_units: int
    on_order_units: int
    committed_units: int
    available_units: int
    shortfall_units: int
    price_minor: int
    count_time: datetime | None
    move_time: datetime | None
    figures: StockFigures


@dataclass(frozen=True, slots=True)
class StockPositionFilter:
    """Which positions are listed: those that match all of it; what is empty or None matches all.

    Attributes
    ----------
    site
        Id; empty for all sites.
    regions, categories, stock_keeping_units
        Any of these.
    available_below_units
        Only positions of which fewer units are available.
    distributor
        Who asks; empty for somebody who may see everything.
    """

    site: str = ""
    regions: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    stock_keeping_units: tuple[str, ...] = ()
    available_below_units: int | None = None
    distributor: str = ""


ALL_POSITIONS: Final = StockPositionFilter()
"""Whatever has moved, everywhere."""


@dataclass(frozen=True, slots=True)
class StockPositionPage:
    """One page of positions; the token is empty on the last one."""

    positions: tuple[StockPosition, ...]
    next_page_token: str


@dataclass(frozen=True, slots=True)
class StockHint:
    """What may stand behind an alert; which fields are set depends on the kind.

    Attributes
    ----------
    kind
        What it is.
    offers, presented_count
        Offers that push the unit, and how often they were presented today.
    price_minor, previous_price_minor
        The new price and the one before, in minor units.
    data_error, difference_units
        What cannot be right, and how many units it is about.
    hint_time
        When the price was changed, or the error recorded; None for neither.
    """

    kind: StockHintKind
    offers: tuple[str, ...] = ()
    presented_count: int = 0
    price_minor: int = 0
    previous_price_minor: int = 0
    data_error: StockDataError = StockDataError.UNSPECIFIED
    difference_units: int = 0
    hint_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class StockAction:
    """What can be done about an alert; the source is empty for an order from the supplier."""

    kind: StockActionKind
    units: int
    source_site: str = ""


@dataclass(frozen=True, slots=True)
class StockAlert:
    """Something is wrong with one position.

    Attributes
    ----------
    id
        What it is acknowledged by.
    cause, severity
        What it is about, and how grave it is.
    position
        As it was at the latest transition.
    hints, actions
        What may stand behind it, and what can be done.
    raise_time, update_time
        When it was raised, and when it changed last.
    acknowledge_time, acknowledger
        When it was acknowledged and by whom; None and empty when it was not.
    snooze_end_time, clear_time
        Until when it is put off, and when it was cleared; None when it is not.
    """

    id: str
    cause: StockAlertCause
    severity: StockAlertSeverity
    position: StockPosition
    hints: tuple[StockHint, ...]
    actions: tuple[StockAction, ...]
    raise_time: datetime
    update_time: datetime
    acknowledge_time: datetime | None
    acknowledger: str
    snooze_end_time: datetime | None
    clear_time: datetime | None


@dataclass(frozen=True, slots=True)
class StockAlertFilter:
    """Which alerts are watched: those that match all of it; what is empty matches all.

    Attributes
    ----------
    distributor
        Who subscribes; empty for somebody who may see everything.
    sites, regions, categories, stock_keeping_units
        Any of these.
    minimum_severity
        Alerts at least as grave.
    """

    distributor: str = ""
    sites: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    stock_keeping_units: tuple[str, ...] = ()
    minimum_severity: StockAlertSeverity = StockAlertSeverity.UNSPECIFIED


ALL_ALERTS: Final = StockAlertFilter()
"""Every alert."""


@dataclass(frozen=True, slots=True)
class StockAlertTransition:
    """A change of an alert.

    Attributes
    ----------
    sequence
        Its place among all transitions of the store; those in between did not match the filter.
    change
        What changed.
    alert
        The alert after it.
    previous_severity
        How grave it was before.
    transition_time
        When it changed.
    is_overdue
        Whether it was escalated because nobody had acknowledged it.
    resume_token
        Watching resumes behind it: store it once the transition has been dealt with.
    """

    sequence: int
    change: StockAlertChange
    alert: StockAlert
    previous_severity: StockAlertSeverity
    transition_time: datetime
    is_overdue: bool
    resume_token: str


@dataclass(frozen=True, slots=True)
class StockAlertSnapshot:
    """All open alerts that match, at one moment. Others that were known have been cleared.

    Attributes
    ----------
    alerts
        What is open.
    sequence
        The transitions up to here are in it.
    resume_token
        Watching resumes behind it.
    is_gap
        Whether transitions before it are lost to this subscriber: its token was older than what the
        server keeps, or the server was put back to an earlier state. Else it was asked for.
    """

    alerts: tuple[StockAlert, ...]
    sequence: int
    resume_token: str
    is_gap: bool


@dataclass(frozen=True, slots=True)
class StockAlertProgress:
    """How far watching has come: everything up to the sequence that matches has been told."""

    sequence: int
    resume_token: str
