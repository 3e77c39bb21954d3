"""Transactions laid out as one turn, and what the engine makes of them one by one."""

import hashlib
import math
from types import SimpleNamespace

import numpy as np

from instanter.catalogue.currencies import find_minor_digits
from instanter.catalogue.fraud_figures import encode_currency
from instanter.catalogue.fraud_words import Disposition, EntityKind
from instanter.catalogue.schema import MISSING_CODE
from instanter.catalogue.values import encode_value
from instanter.fraud.encoding import hash_name
from instanter.fraud.tables import make_tables
from instanter.fraud.turns import Turn
from instanter.keeper.assessing import AssessTransaction
from instanter.keeper.transaction_records import pack_transaction
from instanter.kernels import fraud_columns as columns
from instanter.store.transactions import NO_CASE, TransactionRow, put_transaction, transaction_key
from tests.fraud.worlds import HOUR_NS, Desk, make_transaction

KINDS = tuple(EntityKind)
PERS = ("card", "customer", "terminal", "merchant", "device")
FUNCTIONS = (
    "count", "sum, of: amount", "minimum, of: amount", "maximum, of: amount_minor",
    "mean, of: amount", "time_since_last", "distinct, of: terminal", "distinct, of: device",
    "frauds", "labels", "fraud_rate",
)  # fmt: skip
WHERE = (
    "",
    ", where: \"transaction.channel == 'card_present'\"",
    ", where: transaction.amount > 20.0",
)
PLACED = """\
  terminals:
    t1: {latitude: 50, longitude: 8.5}
    t2: {latitude: 50.1, longitude: 8.25}
"""
MODEL = """\
  model:
    features: [transaction.amount, transaction.channel, velocity.v0, travel.speed_kmh]
    pairs: [[transaction.amount, transaction.channel]]
    points: 80
    start_rate: 0.05
"""
RULES = """\
  rules:
    huge: {when: transaction.amount > 90000.0, disposition: decline, reason: HUGE}
    old: {when: profile.age > 90, points: 10, reason: AGE}
    far: {when: travel.impossible, points: 5, reason: FAR}
    many: {when: velocity.v1 > 400.0, points: 5, reason: MANY, shadow: true}
"""
THRESHOLDS = """\
  thresholds:
    - {merchants: [m2], amount_minor_from: 5000, refer: 30, decline: 60}
    - {amount_minor_from: 100000, refer: 35, decline: 50}
    - {refer: 60, decline: 90}
"""
SIMPLE = "  thresholds: [{refer: 60, decline: 90}]\n"
BEFORE = "currency: EUR\nattributes: [{name: age, kind: number}]\n"


def make_world(seed):
    """Return a desk of a catalogue that chance makes, and the chance."""
    chance = np.random.default_rng(seed)
    lines = ["  fields: {points: {kind: number}, gift: {kind: flag}}\n"] if seed % 2 else []
    lines.append("  velocities:\n")
    for number in range(2 + int(chance.integers(14))):
        per, window = chance.choice(PERS), chance.choice(["10s", "10m", "3h", "2d", "60d"])
        what, where = chance.choice(FUNCTIONS), chance.choice(WHERE)
        counts = chance.choice(["", ", counts: approved"])
        if what in FUNCTIONS[-3:]:
            per, counts = chance.choice(PERS[:3]), ""
        lines.append(
            f"    v{number}: {{per: {per}, window: {window}, function: {what}{counts}{where}}}\n"
        )
    lines += [MODEL if seed % 3 else "", RULES, THRESHOLDS if seed % 4 else SIMPLE]
    desk = Desk("".join([*lines, PLACED]), before=BEFORE)
    age = desk.catalogue.schema.loaded["age"]
    for customer, years in (("k1", 30.0), ("k2", 89.0)):
        desk.book.profiles[customer] = np.array([encode_value(age, years, "age")], np.uint32)
    return desk, chance


def draw_transaction(chance, number, time_ns):
    present = bool(chance.integers(2))
    place = (None, None)
    if chance.integers(2):
        place = (50.0 + float(chance.integers(5)) / 64, 8.0)
    return make_transaction(
        number,
        transaction_id=f"{number}" * int(chance.integers(1, 20)),
        card=f"c{chance.integers(3)}" + "x" * int(chance.choice([0, 0, 40, 120])),
        customer=str(chance.choice(["", "k1", "k2", "k3"])),
        terminal=f"t{chance.integers(1, 3)}",
        merchant=f"m{chance.integers(1, 4)}",
        mcc=int(chance.choice([5411, 7995, 12, 128, 9999])),
        amount_minor=int(chance.choice([1, 127, 128, 2_001, 5_000, 70_000, 123_456])),
        currency=str(chance.choice(["EUR", "JPY", "TND", "CLF"])),
        time_ns=time_ns - int(chance.choice([0, 1, 999_999_999, 7 * 10**9, HOUR_NS])),
        present=present,
        latitude=place[0],
        longitude=place[1],
        device=str(chance.choice(["", "d1", "d2"])),
        bin=str(chance.choice(["", "400000"])),
    )


class Store:
    """Stands for a transaction of the store in which no transaction is known."""

    def __init__(self):
        self.put_values = []

    def get(self, database, key):
        return None

    def put(self, database, key, value):
        self.put_values.append(value)


def lay_out(transactions, tables):
    """Return the columns of transactions as the reader of requests has them."""
    numbers = np.zeros((len(transactions), columns.NUMBERS), np.int64)
    places = np.full((len(transactions), 2), math.nan)
    texts = np.zeros((len(transactions), columns.TEXTS, 2), np.int64)
    data = b"--"
    for row, given in enumerate(transactions):
        numbers[row] = (
            given.amount_minor, find_minor_digits(given.currency), encode_currency(given.currency),
            given.mcc, given.time_ns, given.present, hash_name(given.terminal),
            hash_name(given.merchant), hash_name(given.device) if given.device else MISSING_CODE,
        )  # fmt: skip
        place = (given.latitude, given.longitude)
        if None in place and given.present:
            place = tables.places.get(given.terminal, (math.nan, math.nan))
        places[row] = [math.nan if one is None else one for one in place]
        names = (
            given.transaction_id, given.card, given.customer, given.terminal, given.merchant,
            given.device, given.currency, given.bin,
        )  # fmt: skip
        for column, name in enumerate(names):
            texts[row, column] = len(data), len(data) + len(name)
            data += name.encode()
    return numbers, places, texts, np.frombuffer(data, np.uint8)


def make_turn(catalogue, book, transactions, *, now_ns, first=0, sequence=1):
    """Return transactions and what the book knows as a turn, and the entities' kinds and names."""
    tables = make_tables(catalogue)
    numbers, places, texts, data = lay_out(transactions, tables)
    packed = [pack_transaction(given) for given in transactions]
    known, entities = {}, []
    for given in transactions:
        names = (given.card, given.customer, given.terminal, given.merchant, given.device)
        for kind, name, reads in zip(KINDS, names, tables.reads, strict=True):
            is_read = reads and name
            entities.append(known.setdefault((kind, name), len(known)) if is_read else -1)
    profiles, profile_of = None, []
    if tables.policy.reads_profile:
        found = [book.find_profile(given.customer, now_ns) for given in transactions]
        profiles = np.array([one for one in found if len(one)], np.uint32)
        profiles = profiles.reshape(-1, catalogue.schema.profile_slot_count)
        order = iter(range(len(found)))
        profile_of = [next(order) if len(one) else -1 for one in found]
    model = tables.policy.model
    turn = Turn(
        len(transactions),
        first,
        numbers,
        places,
        data,
        texts,
        np.frombuffer(b"".join(packed) or b"-", np.uint8),
        np.cumsum([0, *map(len, packed)]),
        [transaction_key(given.transaction_id) for given in transactions],
        [hashlib.blake2b(one, digest_size=16).digest() for one in packed],
        entities,
        [book.find_state(*entity) for entity in known],
        profiles,
        profile_of,
        np.frombuffer(book.find_model(model.model_id) if model else b"", np.float32),
        now_ns,
        sequence,
    )
    return turn, list(known)


def take_one_by_one(engine, book, transactions, *, now_ns, sequence=1):
    """Return what the engine and the keeper make of transactions, up to the first unusual one.

    Unusual is one that a stand-in speaks of, or whose rules do while its card has snoozes.

    The book is written; each is a triple of assessment, body and row.
    """
    found = []
    for given in transactions:
        desk = SimpleNamespace(open=lambda *_: None, engine=engine, book=book, prepared=None)
        published = SimpleNamespace(load=lambda _: None)
        context = SimpleNamespace(fraud=desk, published=published)
        store = Store()
        body = AssessTransaction(given).prepare(store, now_ns, context)
        assessment = engine.assess(given, book, now_ns=now_ns)
        snoozes = book.find_state(EntityKind.CARD, given.card).snoozes
        if assessment.stand_in_causes or (snoozes and (assessment.fired or assessment.shadowed)):
            break
        engine.count(assessment.counted, book)
        content = desk.prepared.body
        own = sequence + len(found)
        case = NO_CASE if assessment.disposition is Disposition.APPROVE else own
        put_transaction(
            store,
            content["key"],
            TransactionRow(
                content["digest"], own, case, 0, 0, 0, content["verdict"], content["counted"]
            ),
        )
        found.append((assessment, body, store.put_values[0]))
    return found
