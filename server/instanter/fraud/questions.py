"""What the check at the till is asked, and what it answers: plain values, no messages."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from operator import attrgetter
from typing import Any

from instanter.catalogue.fraud_words import Disposition, ListKind, Source, StandInCause

FieldValue = float | int | bool | str | datetime
"""Value of a declared field: number, flag, category, or instant (seconds since 1970, datetime)."""


@dataclass(slots=True)
class Transaction:
    """One authorisation, as its terminal asks for it.

    Not frozen, although a value: a frozen one takes three times as long to make, and one is made
    for each request.

    Attributes
    ----------
    transaction_id
        The caller's; one transaction has the same in all its retries.
    card
        Token of the card, never its number.
    customer, device
        Empty when unknown.
    terminal, merchant
        Names.
    mcc
        Merchant category code (ISO 18245), 1 to 9999.
    amount_minor
        In minor units of `currency`, above 0.
    currency
        ISO 4217 code.
    time_ns
        When it happened, nanoseconds since 1970.
    present
        Whether the card is there; else it is a purchase by web, mail or telephone.
    latitude, longitude
        Degrees; None when the request says nothing, and then the terminal's place counts.
    bin
        The first 6 to 8 digits of the card's number; empty when unknown.
    fields
        Declared fields by name.
    """

    transaction_id: str
    card: str
    customer: str
    terminal: str
    merchant: str
    mcc: int
    amount_minor: int
    currency: str
    time_ns: int
    present: bool
    latitude: float | None
    longitude: float | None
    device: str
    bin: str
    fields: Mapping[str, FieldValue]


@dataclass(slots=True)
class CountedTransaction:
    """What of an assessed transaction is counted, and what its label will need.

    All that applying a record and applying a label look at: it stands in the record, so that
    replaying the log counts the same, and in the stored row of the transaction. Not frozen, for
    the same reason.

    Attributes
    ----------
    card, customer, terminal, merchant, device
        Names; empty when unknown.
    time_ns
        The time at which it counts: its own, or the server's where its clock jumped or is ahead.
    amount_minor, currency, mcc
        As in `Transaction`.
    approved
        Whether it was approved.
    latitude, longitude
        Place of a card-present transaction that has one; else None.
    event
        The fields that velocities look at: uint32 patterns, little-endian.
    features
        What the model saw: float32, little-endian, NaN where missing; empty without a model.
    model_id
        Which model that was, as `FraudModel.model_id`; 0 without a model.
    """

    card: str
    customer: str
    terminal: str
    merchant: str
    device: str
    time_ns: int
    amount_minor: int
    currency: str
    mcc: int
    approved: bool
    latitude: float | None
    longitude: float | None
    event: bytes
    features: bytes
    model_id: int

    def to_row(self) -> tuple[Any, ...]:
        """Return the fields in their order, for msgpack."""
        row: tuple[Any, ...] = _COUNTED_ROW(self)
        return row

    @classmethod
    def from_row(cls, row: tuple[Any, ...] | list[Any]) -> "CountedTransaction":
        """Return what `to_row` returned."""
        return cls(*row)


_COUNTED_ROW = attrgetter(*(field.name for field in fields(CountedTransaction)))


@dataclass(slots=True)
class Assessment:
    """What one transaction is answered. Not frozen, for the same reason.

    Attributes
    ----------
    disposition, source
        The verdict, and what it comes from.
    risk
        Points of the rules that fired and of the model, 0 to 100.
    probability
        What the model says, in (0, 1); NaN without a model, or when it was not asked.
    reasons
        Codes of what spoke for the verdict, weightiest first, at most
        `fraud_limits.FRAUD_REASONS_MAX`.
    fired, shadowed
        Names of the rules that fired; of those that would have, but are shadow, paused or
        snoozed for the card.
    declining, referring
        Those among `fired` without which the verdict may have been milder: rules with that
        disposition. What the guard of rules counts.
    stand_in_causes
        What kept it from being assessed as declared; empty mostly.
    hotlists
        The lists on which something of it stands.
    counted
        What is counted of it.
    figures
        All that the rules saw: uint32 patterns by the slots of the catalogue's revision;
        `FraudEngine.describe` names them.
    catalogue_revision
        The revision it was assessed by.
    """

    disposition: Disposition
    source: Source
    risk: float
    probability: float
    reasons: tuple[str, ...]
    fired: tuple[str, ...]
    shadowed: tuple[str, ...]
    declining: tuple[str, ...]
    referring: tuple[str, ...]
    stand_in_causes: tuple[StandInCause, ...]
    hotlists: tuple[ListKind, ...]
    counted: CountedTransaction
    figures: bytes
    catalogue_revision: int


@dataclass(frozen=True, slots=True)
class TerminalRisk:
    """What labels say of one terminal.

    Attributes
    ----------
    terminal
        Its name.
    fraud_rate
        Share of frauds among its labels, in [0, 1].
    fraud_count, label_count
        Of the transactions in the catalogue's window.
    """

    terminal: str
    fraud_rate: float
    fraud_count: int
    label_count: int
