"""What people do with stock alerts: they acknowledge them, or put them off."""

from dataclasses import dataclass

from instanter.keeper.records import RecordKind


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
