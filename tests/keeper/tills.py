"""A keeper that assesses card transactions, and the transactions to try it with."""

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from instanter.catalogue.fraud import FraudPolicy
from instanter.catalogue.fraud_words import Disposition, ListKind
from instanter.fraud.questions import Transaction
from instanter.keeper.assessing import AssessTransaction
from instanter.keeper.hotlists import CreateHotlistEntries
from instanter.keeper.published import PublishedCatalogue
from instanter.keeper.verdicts import Verdict
from instanter.store.hotlists import HotlistEntry
from tests.keeper.desk import Desk, open_desk

NOW_NS = 1_800_000_000_000_000_000
S_NS = 1_000_000_000

TILL = """\
currency: EUR
channels: {web: []}
fraud:
  velocities:
    approved_1h: {per: card, function: count, window: 1h, counts: approved}
    terminal_frauds: {per: terminal, function: frauds, window: 35d}
  rules:
    too_many: {when: 'velocity.approved_1h >= 3', disposition: decline, reason: VELOCITY}
    large: {when: 'transaction.amount > 1000.0', disposition: refer, reason: LARGE_AMOUNT}
    bad_till: {when: 'velocity.terminal_frauds >= 1', disposition: refer, reason: BAD_TILL}
"""

GUARDED = TILL.replace(
    "reason: LARGE_AMOUNT",
    "reason: LARGE_AMOUNT, guard: {share: 0.1, period: 1h, declines_min: 5, times_history: 3}",
)
"""Rules of which one is guarded closely."""


class StoodClock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.time_ns = NOW_NS

    def now_ns(self) -> int:
        return self.time_ns

    def monotonic_ns(self) -> int:
        return self.time_ns


def make_transaction(transaction_id: str, card: str = "card-1", **given: Any) -> Transaction:
    """Return a purchase for 10 euros, but for what is given."""
    parts: dict[str, Any] = {
        "transaction_id": transaction_id,
        "card": card,
        "customer": "",
        "terminal": "t1",
        "merchant": "m1",
        "mcc": 5411,
        "amount_minor": 1_000,
        "currency": "EUR",
        "time_ns": NOW_NS,
        "present": False,
        "latitude": None,
        "longitude": None,
        "device": "",
        "bin": "",
        "fields": {},
    }
    return Transaction(**{**parts, **given})


class Till:
    """A desk whose catalogue has rules for card transactions."""

    def __init__(self, desk: Desk, clock: StoodClock) -> None:
        self.desk = desk
        self.clock = clock

    def publish(self, text: str = TILL) -> None:
        self.desk.publish({"till.yaml": text})

    def policy(self) -> FraudPolicy:
        with self.desk.kept.state.read() as transaction:
            catalogue = PublishedCatalogue().load(transaction)
        assert catalogue is not None
        assert catalogue.fraud is not None
        return catalogue.fraud

    def submit(self, command: Any) -> Future[Any]:
        return self.desk.keeper.submit(command)

    def do(self, command: Any) -> Any:
        return self.submit(command).result(20)

    def ask(self, transaction_id: str, card: str = "card-1", **given: Any) -> Verdict:
        given.setdefault("time_ns", self.clock.time_ns)
        transaction = make_transaction(transaction_id, card, **given)
        verdict: Verdict = self.do(AssessTransaction(transaction))
        return verdict

    def answer(self, transaction_id: str, card: str = "card-1", **given: Any) -> Disposition:
        return self.ask(transaction_id, card, **given).disposition

    def block(self, kind: ListKind, *names: str, **given: Any) -> Any:
        entries = [HotlistEntry(name, **given) for name in names]
        return self.do(CreateHotlistEntries(kind, entries))


@contextmanager
def open_till(folder: Path, clock: StoodClock | None = None) -> Iterator[Till]:
    """Open a till and close it; publishing is left to the caller."""
    clock = clock or StoodClock()
    with open_desk(folder, clock) as desk:
        yield Till(desk, clock)
