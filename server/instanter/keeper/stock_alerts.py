"""What people do with stock alerts: they acknowledge them, or put them off."""

from dataclasses import dataclass
from typing import Any

from instanter.errors import NotFoundError
from instanter.keeper.commands import Answered, ApplyContext, pack_body, unpack_body
from instanter.keeper.records import RecordKind
from instanter.keeper.stock_alert_book import StockAlert, find_open_alert, pack_alert
from instanter.keeper.stock_desk import NO_MOVES, gather, load_table
from instanter.keeper.stock_effects import MS_NS, Effects
from instanter.store.log.frames import LogRecord
from instanter.store.stock_alerts import put_alert
from instanter.store.transaction import Transaction


@dataclass(frozen=True, slots=True)
class AcknowledgeStockAlert:
    """Marks an open alert as handled; its result is the `stock_alert_book.StockAlert`.

    Attributes
    ----------
    number
        Which one.
    acknowledger
        Who has; empty for not said.
    """

    number: int
    acknowledger: str = ""

    @property
    def kind(self) -> RecordKind:
        """Kind of its record."""
        return RecordKind.STOCK_ALERT_CHANGES

    def prepare(
        self, transaction: Transaction, now_ns: int, context: ApplyContext
    ) -> bytes | Answered:
        """Return the body of the record, unless the alert is acknowledged already.

        Raises
        ------
        CatalogueMissingError, PreconditionError
            There is no catalogue, or it says nothing about stock (STOCK_MISSING).
        NotFoundError
            There is no such alert, or it was cleared.
        DamagedError
            It, or its position, is damaged.
        """
        del now_ns
        alert = _get_alert(transaction, context, self.number)
        if alert.acknowledged_ns:
            return Answered(alert)
        return pack_body({"number": self.number, "acknowledger": self.acknowledger})


@dataclass(frozen=True, slots=True)
class SnoozeStockAlert:
    """Puts an open alert off; its result is the `stock_alert_book.StockAlert`.

    Attributes
    ----------
    number
        Which one.
    until_ns
        Until when, nanoseconds since 1970; a time that is not ahead ends the snooze.
    """

    number: int
    until_ns: int

    @property
    def kind(self) -> RecordKind:
        """Kind of its record."""
        return RecordKind.STOCK_ALERT_CHANGES

    def prepare(
        self, transaction: Transaction, now_ns: int, context: ApplyContext
    ) -> bytes | Answered:
        """Return the body of the record, unless the alert is put off until then already.

        Raises
        ------
        CatalogueMissingError, PreconditionError, NotFoundError, DamagedError
            As for `AcknowledgeStockAlert`.
        """
        alert = _get_alert(transaction, context, self.number)
        until_ns = self.until_ns if self.until_ns > now_ns else 0
        if alert.snoozed_until_ns == until_ns:
            return Answered(alert)
        return pack_body({"number": self.number, "until": until_ns})


def apply_alert_change(
    transaction: Transaction, record: LogRecord, context: ApplyContext
) -> StockAlert:
    """Change an alert in its position, and in what is kept of it; return it as it is then."""
    body = unpack_body(record)
    desk = context.stock
    desk.open(context.published.load(transaction))
    alert = find_open_alert(transaction, body["number"])
    assert alert is not None, "the record was checked against it"
    position = (alert.position.site, alert.position.unit)
    table = load_table(transaction, gather(desk.engine, [position], NO_MOVES))
    effects = Effects(transaction, desk, record, table)
    changed = _change(effects, body, alert)
    # When it is to be looked at again follows from a look at it.
    looked = desk.engine.look(
        table.batch.places,
        table.states,
        table.profile_words,
        now_ms=record.time_ns // MS_NS,
        sequence=effects.next_sequence(),
    )
    effects.keep(looked)
    return find_open_alert(transaction, alert.number) or changed


def _change(effects: Effects, body: dict[str, Any], alert: StockAlert) -> StockAlert:
    """Change an alert in the state of its position, and write down the alert."""
    engine, state = effects.desk.engine, effects.table.states[0]
    now_ms = effects.record.time_ns // MS_NS
    if "until" in body:
        engine.snooze(state, alert.cause, until_ms=body["until"] // MS_NS)
        changed = alert._replace(snoozed_until_ns=body["until"])
        put_alert(effects.transaction, alert.number, pack_alert(changed))
        return changed
    transition = engine.acknowledge(
        state, alert.cause, now_ms=now_ms, sequence=effects.next_sequence()
    )
    changed = alert._replace(
        acknowledged_ns=effects.record.time_ns, acknowledger=body["acknowledger"]
    )
    put_alert(effects.transaction, alert.number, pack_alert(changed))
    if transition is None:
        return changed
    # Which says who it was: an alert is told as it is kept.
    (told,) = effects.tell((transition,))
    return told


def _get_alert(transaction: Transaction, context: ApplyContext, number: int) -> StockAlert:
    """Return an open alert whose position can be changed."""
    desk = context.stock
    desk.open(context.published.load(transaction))
    alert = find_open_alert(transaction, number)
    if alert is None:
        raise NotFoundError(
            f"there is no open stock alert {number}; it was cleared, or never was",
            reason="STOCK_ALERT_NOT_FOUND",
            metadata={"number": str(number)},
        )
    position = (alert.position.site, alert.position.unit)
    load_table(transaction, gather(desk.engine, [position], NO_MOVES)).positions.check()
    return alert
