"""What the tests of the engine share: catalogues, transactions, a book over dictionaries."""

import numpy as np

from instanter.catalogue.fraud_words import EntityKind
from instanter.fraud.book import DAMAGED_STATE, EMPTY_STATE
from instanter.fraud.engine import FraudEngine
from instanter.fraud.questions import Transaction
from tests.catalogue.worlds import compile_files

NOW_NS = 1_700_000_000_000_000_000
SECOND_NS = 1_000_000_000
HOUR_NS = 3_600 * SECOND_NS
DAY_NS = 24 * HOUR_NS


class DictionaryBook:
    """A book that forgets with the test. What it is told to fail with, it raises."""

    def __init__(self):
        self.states = {}
        self.models = {}
        self.listed = set()
        self.list_times = {}
        self.paused = frozenset()
        self.profiles = {}
        self.damaged = set()
        self.failures = {}

    def find_state(self, kind, name):
        self._fail("find_state")
        if (kind, name) in self.damaged:
            return DAMAGED_STATE
        return self.states.get((kind, name), EMPTY_STATE)

    def put_state(self, kind, name, state):
        assert isinstance(kind, EntityKind)
        self.damaged.discard((kind, name))
        self.states[kind, name] = state

    def find_model(self, model_id):
        self._fail("find_model")
        return self.models.get(model_id, b"")

    def put_model(self, model_id, state):
        self.models = {model_id: state}

    def is_hotlisted(self, kind, entry, time_ns):
        self._fail("is_hotlisted", kind)
        return (kind, entry) in self.listed

    def find_hotlist_time_ns(self, kind):
        self._fail("find_hotlist_time_ns")
        return self.list_times.get(kind, 0)

    def find_paused_rules(self):
        return self.paused

    def find_profile(self, customer, time_ns):
        self._fail("find_profile")
        return self.profiles.get(customer, np.zeros(0, np.uint32))

    def _fail(self, door, kind=None):
        error = self.failures.get(door) or self.failures.get((door, kind))
        if error is not None:
            raise error


def make_transaction(number=0, **changes):
    """Return a card-present transaction of card `c1` at NOW_NS."""
    values = {
        "transaction_id": f"t{number}",
        "card": "c1",
        "customer": "k1",
        "terminal": "t1",
        "merchant": "m1",
        "mcc": 5411,
        "amount_minor": 1_000,
        "currency": "EUR",
        "time_ns": NOW_NS,
        "present": True,
        "latitude": 50.0,
        "longitude": 8.0,
        "device": "d1",
        "bin": "400000",
        "fields": {},
    }
    return Transaction(**{**values, **changes})


def make_catalogue(text, previous=None, *, revision=1, before="currency: EUR\n"):
    """Return the compiled catalogue of the lines under `fraud:`."""
    files = {"fraud.yaml": f"{before}fraud:\n{text}"}
    return compile_files(files, previous, revision=revision).catalogue


class Desk:
    """An engine with a catalogue and a book, and what it could not do."""

    def __init__(self, text, **arguments):
        self.failed = []
        self.engine = FraudEngine(self.failed.append)
        self.catalogue = make_catalogue(text, **arguments)
        self.engine.install(self.catalogue)
        self.book = DictionaryBook()

    def assess(self, number=0, *, now_ns=None, deadline_short=False, **changes):
        """Assess without counting; the server's time is the transaction's unless it is given."""
        transaction = make_transaction(number, **changes)
        now_ns = transaction.time_ns if now_ns is None else now_ns
        return self.engine.assess(
            transaction, self.book, now_ns=now_ns, deadline_short=deadline_short
        )

    def take(self, number=0, **arguments):
        """Assess and count."""
        assessment = self.assess(number, **arguments)
        self.engine.count(assessment.counted, self.book)
        return assessment

    def see(self, assessment):
        """Return the figures by their names."""
        return dict(self.engine.describe(assessment.figures))
