"""Transactions, and what spoke against them, as the log has them."""

from collections.abc import Iterable
from datetime import datetime

import msgpack

from instanter.catalogue.values import AttributeValue
from instanter.fraud.questions import Transaction


def pack_transaction(given: Transaction) -> bytes:
    """Return a transaction as it is logged: the same bytes for the same content."""
    packed: bytes = msgpack.packb(
        (
            given.transaction_id,
            given.card,
            given.customer,
            given.terminal,
            given.merchant,
            given.mcc,
            given.amount_minor,
            given.currency,
            given.time_ns,
            given.present,
            given.latitude,
            given.longitude,
            given.device,
            given.bin,
            dict(sorted(given.fields.items())),
        ),
        default=datetime.timestamp,
    )
    return packed


def unpack_transaction(packed: bytes) -> Transaction:
    """Return what `pack_transaction` was given; instants as seconds since 1970."""
    return Transaction(*msgpack.unpackb(packed))


def pack_evidence(named: Iterable[tuple[str, AttributeValue]]) -> bytes:
    """Return what the rules saw as it is logged."""
    packed: bytes = msgpack.packb(dict(named), default=datetime.timestamp)
    return packed


def unpack_evidence(packed: bytes) -> dict[str, float | int | bool | str]:
    """Return what `pack_evidence` was given; instants as seconds since 1970."""
    evidence: dict[str, float | int | bool | str] = msgpack.unpackb(packed)
    return evidence
