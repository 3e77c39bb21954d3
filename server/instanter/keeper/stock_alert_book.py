"""Stock alerts as they are kept and told: what is wrong, how it came, what can be done."""

from collections.abc import Iterator
from enum import IntEnum
from operator import attrgetter
from typing import Any, Final, NamedTuple

import msgpack

from instanter.catalogue.stock import Cause, Severity
from instanter.stock.questions import DataError, Figures, TransitionKind
from instanter.store.stock_alert_log import LoggedTransition
from instanter.store.stock_alerts import find_alert, scan_alerts
from instanter.store.transaction import Transaction


class HintKind(IntEnum):
    """What may stand behind an alert. The numbers are those of the contract."""

    OFFERS_PRESENTED = 1
    PRICE_CHANGED = 2
    DATA_ERROR = 3


class ActionKind(IntEnum):
    """What can be done about an alert. The numbers are those of the contract."""

    REORDER = 1
    TRANSFER = 2


class StockHint(NamedTuple):
    """What may stand behind an alert.

    Attributes
    ----------
    kind
        A `HintKind`; the attributes of others have their defaults.
    offers
        Names of the offers that push the unit, those presented most often first.
    presented_count
        How often they were presented today, together.
    price_minor, previous_price_minor
        In minor units; 0 for none before.
    data_error
        What cannot be right: a `DataError`.
    difference_units
        How many units it is about, at least 0.
    time_ns
        When the price changed, or what cannot be right was recorded; 0 for not known.
    """

    kind: int
    offers: tuple[str, ...] = ()
    presented_count: int = 0
    price_minor: int = 0
    previous_price_minor: int = 0
    data_error: int = 0
    difference_units: int = 0
    time_ns: int = 0


class StockAction(NamedTuple):
    """What can be done about an alert.

    Attributes
    ----------
    kind
        An `ActionKind`.
    units
        How many, at least 1.
    source_site
        From where a transfer would come; empty for an order.
    """

    kind: int
    units: int
    source_site: str = ""


class PositionView(NamedTuple):
    """A position with all that is known of it.

    Attributes
    ----------
    site, unit
        Names.
    region, category
        Theirs, empty for none.
    price_minor
        The last price that was told, 0 for none.
    figures
        What is there, and what follows from it; without its open alerts in what is packed.
    """

    site: str
    unit: str
    region: str
    category: str
    price_minor: int
    figures: Figures


class StockAlert(NamedTuple):
    """An alert as it was at its latest transition.

    Attributes
    ----------
    number
        The sequence of the transition that raised it.
    cause, severity
        What of it; how bad it is, or was last.
    severity_max
        How bad it was at its worst.
    tier
        Which tier of cover, 1 for the first; 0 for other causes.
    position
        Its position then.
    hints, actions
        What may stand behind it, and what can be done.
    raised_ns, updated_ns
        When it was raised and when it changed last, nanoseconds since 1970.
    acknowledged_ns, acknowledger
        When it was acknowledged, 0 for not, and by whom, empty for not said.
    snoozed_until_ns
        Until when it is put off; 0 for not.
    cleared_ns
        When it was cleared; 0 while it is open.
    """

    number: int
    cause: Cause
    severity: Severity
    severity_max: Severity
    tier: int
    position: PositionView
    hints: tuple[StockHint, ...]
    actions: tuple[StockAction, ...]
    raised_ns: int
    updated_ns: int
    acknowledged_ns: int = 0
    acknowledger: str = ""
    snoozed_until_ns: int = 0
    cleared_ns: int = 0


class AlertTransition(NamedTuple):
    """One step of an alert, as it is told.

    Attributes
    ----------
    sequence
        Its number among all of the store.
    record_sequence
        Sequence of its record: it is told once the log is on disk up to there.
    time_ns
        When, by the server's clock, nanoseconds since 1970.
    kind
        What happened.
    previous_severity
        How bad the alert was before; 0 for one that was raised.
    is_overdue
        Whether it escalated because nobody had acknowledged it.
    alert
        The alert after it.
    """

    sequence: int
    record_sequence: int
    time_ns: int
    kind: TransitionKind
    previous_severity: int
    is_overdue: bool
    alert: StockAlert


_FIGURES_FIELDS: Final = tuple(name for name in Figures.__slots__ if name != "alerts")
_FIGURES_ROW: Final = attrgetter(*_FIGURES_FIELDS)
_DATA_ERRORS_AT: Final = _FIGURES_FIELDS.index("data_errors")


def pack_alert(alert: StockAlert) -> bytes:
    """Return an alert as it is kept."""
    packed: bytes = msgpack.packb(_to_row(alert))
    return packed


def unpack_alert(packed: bytes) -> StockAlert:
    """Return what `pack_alert` was given."""
    return _from_row(msgpack.unpackb(packed))


def pack_transition(transition: AlertTransition) -> bytes:
    """Return a transition as `store/stock_alert_log` keeps it, without sequences and time."""
    kind, previous, is_overdue, alert = transition[3:]
    packed: bytes = msgpack.packb((int(kind), previous, is_overdue, _to_row(alert)))
    return packed


def unpack_transition(logged: LoggedTransition) -> AlertTransition:
    """Return a transition as it was told to `pack_transition`."""
    kind, previous, is_overdue, row = msgpack.unpackb(logged.packed)
    return AlertTransition(*logged[:3], TransitionKind(kind), previous, is_overdue, _from_row(row))


def find_open_alert(transaction: Transaction, number: int) -> StockAlert | None:
    """Return an open alert, or None when there is none of that number, or it was cleared.

    Raises
    ------
    DamagedError
        It is damaged.
    """
    packed = find_alert(transaction, number)
    return None if packed is None else unpack_alert(packed)


def scan_open_alerts(transaction: Transaction, after: int = 0) -> Iterator[StockAlert]:
    """Yield open alerts in the order of their numbers, those behind `after`; damaged ones not."""
    for _, packed in scan_alerts(transaction, after):
        if packed is not None:
            yield unpack_alert(packed)


def _to_row(alert: StockAlert) -> tuple[Any, ...]:
    """Return an alert as msgpack takes it."""
    position = alert.position
    figures = list(_FIGURES_ROW(position.figures))
    figures[_DATA_ERRORS_AT] = int(figures[_DATA_ERRORS_AT])
    return (
        alert.number,
        int(alert.cause),
        int(alert.severity),
        int(alert.severity_max),
        alert.tier,
        (*position[:5], figures),
        *alert[6:],
    )


def _from_row(row: list[Any]) -> StockAlert:
    """Return what `_to_row` was given."""
    number, cause, severity, severity_max, tier, position, hints, actions, *rest = row
    site, unit, region, category, price, found = position
    figures = dict(zip(_FIGURES_FIELDS, found, strict=True))
    figures["data_errors"] = DataError(figures["data_errors"])
    return StockAlert(
        number,
        Cause(cause),
        Severity(severity),
        Severity(severity_max),
        tier,
        PositionView(site, unit, region, category, price, Figures(**figures, alerts=())),
        tuple(StockHint(kind, tuple(offers), *more) for kind, offers, *more in hints),
        tuple(StockAction(*action) for action in actions),
        *rest,
    )
