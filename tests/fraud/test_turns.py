"""A turn's transactions become what the engine makes of them one by one, byte for byte."""

import copy

import numpy as np
import pytest

from instanter.catalogue.fraud_words import Disposition, EntityKind
from instanter.catalogue.values import encode_value
from instanter.fraud.book import EMPTY_STATE
from instanter.fraud.snoozes import snooze_rule
from instanter.fraud.tables import make_tables
from instanter.fraud.turns import TurnAssessor
from instanter.keeper.remarks import make_remarks
from instanter.keeper.verdicts import make_verdict
from tests.fraud.turns import (
    BEFORE,
    PLACED,
    draw_transaction,
    make_turn,
    make_world,
    take_one_by_one,
)
from tests.fraud.worlds import DAY_NS, HOUR_NS, NOW_NS, SECOND_NS, Desk, make_transaction


def check_turn(desk, assessor, transactions, *, now_ns=NOW_NS, first=0, sequence=1):
    """Compare a turn with the engine, and leave the book as the engine does; return the turn."""
    book = copy.deepcopy(desk.book)
    expected = take_one_by_one(
        desk.engine, desk.book, transactions[first:], now_ns=now_ns, sequence=sequence
    )
    turn, names = make_turn(
        desk.catalogue, book, transactions, now_ns=now_ns, first=first, sequence=sequence
    )
    found = assessor.assess(turn)
    assert found.done == len(expected)
    bodies, rows = [*found.bodies], [*found.rows]
    for index, remark in make_remarks(desk.engine, turn, found).items():
        bodies[index], rows[index] = remark.body, remark.make_row()
        # As text: a probability that is none is not equal to itself.
        assert repr(remark.verdict) == repr(make_verdict(expected[index][0]))
    assert bodies == [body for _, body, _ in expected]
    assert rows == [row for _, _, row in expected]
    usual = [index for index in range(found.done) if index not in found.findings]
    assert [found.risks[index] for index in usual] == [expected[index][0].risk for index in usual]
    probabilities = np.array([one.probability for one, _, _ in expected])
    assert np.array(found.probabilities).tobytes() == probabilities.tobytes()
    for index in usual:
        one = expected[index][0]
        assert one.reasons == (("MODEL",) if found.has_model_reason[index] else ())
        assert (one.disposition, one.fired, one.shadowed) == (Disposition.APPROVE, (), ())
    assert len({index for index, _ in found.states}) == len(found.states)
    for index, state in found.states:
        book.put_state(*names[index], state)
    assert book.states == desk.book.states
    return found


def make_assessor(desk):
    return TurnAssessor(make_tables(desk.catalogue))


@pytest.mark.parametrize("seed", range(16))
def test_a_turn_is_what_its_transactions_are_one_by_one(seed):
    desk, chance = make_world(seed)
    assessor = make_assessor(desk)
    now_ns, sequence, done = NOW_NS, 250, []
    for turn in range(12):
        now_ns += int(chance.choice([10**6, SECOND_NS, 20 * SECOND_NS, HOUR_NS, DAY_NS]))
        count = int(chance.choice([1, 2, 3, 8, 16]))
        transactions = [draw_transaction(chance, 100 * turn + n, now_ns) for n in range(count)]
        first = 0
        while first < count:
            given = {"now_ns": now_ns, "first": first, "sequence": sequence}
            done.append(check_turn(desk, assessor, transactions, **given).done)
            first += done[-1] + 1
            sequence += done[-1] + 1
            if first <= count:
                # What stopped the turn is taken the other way, and the turn goes on behind it.
                assessment = desk.engine.assess(transactions[first - 1], desk.book, now_ns=now_ns)
                desk.engine.count(assessment.counted, desk.book)
        for given in transactions[::3]:
            counted = desk.engine.assess(given, desk.book, now_ns=now_ns).counted
            desk.engine.label(counted, desk.book, fraud=bool(chance.integers(2)))
    assert max(done) > 2


USUAL = f"""\
  velocities:
    attempts: {{per: card, function: count, window: 10m}}
    places: {{per: customer, function: distinct, of: terminal, window: 10m}}
  rules:
    huge: {{when: transaction.amount > 1000, disposition: decline, reason: HUGE}}
    many: {{when: velocity.attempts >= 5, points: 90, reason: MANY, shadow: true}}
    late: {{when: 'true', points: 1, reason: LATE, valid_from: 2023-11-14T22:13:20Z}}
    old: {{when: profile.age > 90, points: 1, reason: AGE}}
  model: {{features: [transaction.amount, transaction.channel], points: 100, start_rate: 0.3}}
  thresholds:
    - {{merchants: [m8], refer: 20, decline: 90}}
    - {{merchants: [m9], amount_minor_from: 500, refer: 30, decline: 30}}
    - {{amount_minor_from: 50000, refer: 30.0, decline: 30.1}}
    - {{refer: 31, decline: 90}}
  clock: {{ahead_max: 10m, behind_max: 1h}}
  stand_in: {{place_missing: refer}}
{PLACED}"""
BEFORE_NS = NOW_NS - 1_000
"""A millionth of a second before one of the rules begins to be valid."""

STOPS = {
    "a clock that is behind": {"time_ns": BEFORE_NS - HOUR_NS - 1},
    "a clock that is ahead": {"time_ns": BEFORE_NS + 600 * SECOND_NS + 1},
    "no place": {"terminal": "t3", "latitude": None, "longitude": None},
}
SNOOZES = snooze_rule(b"", 1, NOW_NS + HOUR_NS, NOW_NS)
REMARKABLE = {
    "a rule that fires": {"amount_minor": 100_001},
    "a profile that a rule fires for": {"customer": "old"},
    "a risk to refer": {"amount_minor": 50_000},
    "a risk to decline": {"merchant": "m9", "amount_minor": 500},
    "a merchant's own limit": {"merchant": "m8"},
}
PASSES = {
    "a clock just not behind": {"time_ns": BEFORE_NS - HOUR_NS},
    "a clock just not ahead": {"time_ns": BEFORE_NS + 600 * SECOND_NS},
    "a terminal's place": {"latitude": None, "longitude": None},
    "no place of a card that is not there": {
        "present": False,
        "terminal": "t3",
        "latitude": None,
        "longitude": None,
    },
    "a place of a card that is not there": {"present": False, "latitude": 1.0, "longitude": 2.0},
    "an amount below a limit": {"amount_minor": 49_999},
    "a merchant's amount below a limit": {"merchant": "m9", "amount_minor": 499},
    "no customer": {"customer": ""},
    "no device": {"device": ""},
    "a customer without a profile": {"customer": "k7"},
    "another currency": {"currency": "JPY", "amount_minor": 900},
}


def make_usual():
    """Return a desk where nothing but a transaction's own unusualness stops a turn."""
    desk = Desk(USUAL, before=BEFORE)
    age = desk.catalogue.schema.loaded["age"]
    for customer, years in (("k1", 20.0), ("old", 91.0)):
        desk.book.profiles[customer] = np.array([encode_value(age, years, "age")], np.uint32)
    return desk


def make_three(changes):
    """Return an ordinary transaction, one with changes, and one more."""
    return [
        make_transaction(n, **{"time_ns": BEFORE_NS, **(changes if n == 1 else {})})
        for n in range(3)
    ]


@pytest.mark.parametrize("changes", STOPS.values(), ids=STOPS)
def test_a_turn_stops_before_what_is_unusual(changes):
    desk = make_usual()
    found = check_turn(desk, make_assessor(desk), make_three(changes), now_ns=BEFORE_NS)
    assert found.done == 1
    assert not found.findings


@pytest.mark.parametrize("changes", REMARKABLE.values(), ids=REMARKABLE)
def test_a_turn_goes_on_with_what_is_remarkable(changes):
    desk = make_usual()
    found = check_turn(desk, make_assessor(desk), make_three(changes), now_ns=BEFORE_NS)
    assert found.done == 3
    assert list(found.findings) == [1]


def test_a_turn_stops_before_a_card_with_snoozes_that_a_rule_fires_on():
    desk = make_usual()
    card = make_transaction(1).card
    desk.book.put_state(EntityKind.CARD, card, EMPTY_STATE._replace(snoozes=SNOOZES))
    assessor = make_assessor(desk)
    fires = make_three({"amount_minor": 100_001})
    assert check_turn(desk, assessor, fires, now_ns=BEFORE_NS).done == 1
    assert check_turn(desk, assessor, make_three({}), now_ns=BEFORE_NS).done == 3


def test_a_rule_that_is_paused_is_only_reported():
    desk = make_usual()
    assessor = make_assessor(desk)
    given = make_three({"amount_minor": 100_001})
    found = check_turn(desk, assessor, given, now_ns=BEFORE_NS)
    assert found.findings[1].fired == [0]
    assert not assessor.silence(frozenset())
    for paused, fired in ((frozenset({"huge"}), [4]), (frozenset(), [0])):
        desk.book.paused = paused
        assert assessor.silence(paused)
        assert not assessor.silence(paused)
        found = check_turn(desk, assessor, given, now_ns=BEFORE_NS)
        assert found.findings[1].fired[:1] == fired


@pytest.mark.parametrize("changes", PASSES.values(), ids=PASSES)
def test_a_turn_goes_on_with_what_is_usual(changes):
    desk = make_usual()
    found = check_turn(desk, make_assessor(desk), make_three(changes), now_ns=BEFORE_NS)
    assert found.done == 3
    assert found.has_model_reason == [True] * 3


def test_it_is_remarkable_where_a_rule_begins_and_where_one_would_only_be_reported():
    desk = make_usual()
    assessor = make_assessor(desk)
    assert not check_turn(desk, assessor, make_three({}), now_ns=NOW_NS).findings
    given = [make_transaction(n, time_ns=NOW_NS) for n in range(2)]
    found = check_turn(desk, assessor, given, now_ns=NOW_NS).findings
    assert [one.fired for one in found.values()] == [[2], [2]]
    given = [make_transaction(n, time_ns=BEFORE_NS) for n in range(2)]
    found = check_turn(desk, assessor, given, now_ns=BEFORE_NS).findings
    assert [one.fired for one in found.values()] == [[5], [5]], "five attempts are many"


def test_who_has_no_profile_has_nobody_elses():
    desk = make_usual()
    given = [
        make_transaction(n, customer=c, time_ns=BEFORE_NS) for n, c in enumerate(["k7", "old"])
    ]
    assert list(check_turn(desk, make_assessor(desk), given, now_ns=BEFORE_NS).findings) == [1]


def test_merchants_have_their_limits_where_nobody_has_a_profile():
    desk = Desk(
        "  model: {features: [transaction.amount], points: 100, start_rate: 0.3}\n"
        "  thresholds:\n    - {merchants: [m8], refer: 20, decline: 90}\n"
        "    - {refer: 31, decline: 90}\n"
    )
    given = [make_transaction(n, merchant=f"m{7 + n}") for n in range(3)]
    assert list(check_turn(desk, make_assessor(desk), given).findings) == [1]


@pytest.mark.parametrize(("points", "is_reason"), [(100, True), (99, False)])
def test_from_one_point_on_the_model_is_a_reason(points, is_reason):
    desk = Desk(
        f"  model: {{features: [transaction.amount], points: {points}, start_rate: 0.01}}\n"
        "  thresholds: [{refer: 31, decline: 90}]\n"
    )
    found = check_turn(desk, make_assessor(desk), [make_transaction()])
    assert found.has_model_reason == [is_reason]


def test_later_ones_of_a_turn_see_what_earlier_ones_count():
    desk = Desk(
        "  velocities:\n    seen: {per: card, function: count, window: 10m}\n"
        "  rules:\n    many: {when: velocity.seen >= 40, disposition: refer, reason: MANY}\n"
    )
    given = [make_transaction(n, card=f"c{n % 2}") for n in range(96)]
    assert list(check_turn(desk, make_assessor(desk), given).findings) == [*range(80, 96)]


def test_a_card_and_a_customer_of_one_name_are_two():
    desk = Desk("  velocities:\n    seen: {per: customer, function: count, window: 10m}\n")
    given = [make_transaction(n, card="x", customer="x") for n in range(2)]
    found = check_turn(desk, make_assessor(desk), given)
    assert len(found.states) == 2


def test_what_is_read_and_not_counted_stays_as_it_is():
    desk = Desk("  velocities:\n    bad: {per: terminal, function: frauds, window: 10d}\n")
    for number in range(3):
        desk.engine.label(desk.take(number).counted, desk.book, fraud=True)
    before = desk.book.states[EntityKind.TERMINAL, "t1"]
    found = check_turn(desk, make_assessor(desk), [make_transaction(7)])
    assert desk.book.states[EntityKind.TERMINAL, "t1"] == before
    assert len(found.states) == 2, "card and customer have baselines"


def test_a_turn_of_nothing_changes_nothing():
    desk = make_usual()
    assert check_turn(desk, make_assessor(desk), make_three({}), first=3).done == 0


def test_room_grows_with_turns_and_states():
    desk = make_usual()
    assessor = make_assessor(desk)
    draw = np.random.default_rng(1)
    for count in (1, 40, 7, 200):
        given = [
            make_transaction(n, card=f"{n}", customer=f"{n}" * 40, amount_minor=int(amount))
            for n, amount in enumerate(draw.integers(1, 1_000, count))
        ]
        given = [copy.copy(one) for one in given]
        for one in given:
            one.time_ns = BEFORE_NS
        assert check_turn(desk, assessor, given, now_ns=BEFORE_NS).done == count
