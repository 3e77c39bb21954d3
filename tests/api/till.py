"""A shop with a check at the till, and transactions for it."""

import itertools
import time
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from instanter.v1 import fraud_service_pb2 as pb
from instanter.v1 import hotlist_service_pb2 as hotlist_pb
from tests.api.shop import Shop

TILL = {
    "till.yaml": """\
currency: EUR
channels: {web: []}
fraud:
  fields:
    recurring: {kind: flag}
    amount_limit: {kind: number}
    cvv: {kind: category, values: [present, absent]}
  terminals:
    berlin: {latitude: 52.52, longitude: 13.405, merchant: m1}
  velocities:
    card_count_10m: {per: card, function: count, window: 10m}
    card_spend_1d: {per: card, function: sum, of: amount, window: 1d}
  rules:
    many: {when: 'velocity.card_count_10m >= 3.0', disposition: decline, reason: VELOCITY}
    large: {when: 'transaction.amount >= 1000.0', points: 50, reason: LARGE}
    huge: {when: 'transaction.amount >= 5000.0', points: 50, reason: HUGE}
    silent: {when: 'transaction.amount >= 1.0', points: 90, reason: EVERYTHING, shadow: true}
  compromised_terminal: {window: 35d, labels_min: 3, suggest_rate: 0.5}
  thresholds:
    - {refer: 40, decline: 90}
"""
}

_numbers = itertools.count()


def name(prefix: str = "x") -> str:
    """Return an id that no other test uses."""
    return f"{prefix}-{next(_numbers)}"


def now(seconds: float = 0.0) -> Timestamp:
    """Return the time in so many seconds."""
    moment_ns = time.time_ns() + int(seconds * 1e9)
    return Timestamp(seconds=moment_ns // 10**9, nanos=moment_ns % 10**9)


def make_transaction(**given: Any) -> pb.AssessTransactionRequest:
    """Return a transaction that nothing speaks against."""
    given.setdefault("transaction_id", name("t"))
    given.setdefault("card_token", name("card"))
    given.setdefault("terminal", "terminals/berlin")
    given.setdefault("merchant", "merchants/m1")
    given.setdefault("mcc", 5411)
    given.setdefault("amount_minor", 1_999)
    given.setdefault("currency", "EUR")
    given.setdefault("transaction_time", now())
    given.setdefault("channel", pb.TRANSACTION_CHANNEL_CARD_PRESENT)
    return pb.AssessTransactionRequest(**given)


def assess(shop: Shop, **given: Any) -> pb.AssessTransactionResponse:
    """Assess a transaction."""
    return shop.fraud.AssessTransaction(make_transaction(**given), timeout=20)


def add_entry(shop: Shop, hotlist: str, entry: str, **given: Any) -> hotlist_pb.HotlistEntry:
    """Put an entry on a hotlist."""
    request = hotlist_pb.CreateHotlistEntryRequest(
        parent=f"hotlists/{hotlist}",
        hotlist_entry_id=entry,
        hotlist_entry=hotlist_pb.HotlistEntry(**given),
    )
    return shop.hotlists.CreateHotlistEntry(request, timeout=20)


def remove_entry(shop: Shop, hotlist: str, entry: str) -> None:
    """Take an entry off a hotlist."""
    request = hotlist_pb.DeleteHotlistEntryRequest(name=f"hotlists/{hotlist}/entries/{entry}")
    shop.hotlists.DeleteHotlistEntry(request, timeout=20)
