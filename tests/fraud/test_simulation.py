"""Back-tests: the same engine, the same order, nothing known earlier than it was."""

import numpy as np
import pytest

from instanter.catalogue.fraud_words import Disposition, EntityKind, ListKind
from instanter.fraud.simulation import RuleRecord, Simulation
from instanter.fraud_limits import TRANSACTION_KEPT_NS
from tests.fraud.worlds import DAY_NS, NOW_NS, Desk, make_catalogue, make_transaction

RULES = (
    "  velocities:\n"
    "    bad: {per: terminal, function: frauds, window: 10d}\n"
    "    many: {per: card, function: count, window: 1h}\n"
    "  rules:\n"
    "    large: {when: transaction.amount > 100.0, disposition: decline, reason: LARGE}\n"
    "    again: {when: velocity.many >= 2.0, disposition: refer, reason: AGAIN}\n"
    "    known: {when: velocity.bad >= 1.0, disposition: refer, reason: KNOWN}\n"
)
MODEL = (
    "  model: {features: [transaction.amount, baseline.card_count]}\n"
    "  thresholds: [{decline: 90}]\n"
)


def replay(simulation, number, *, live=Disposition.APPROVE, listed=frozenset(), **changes):
    transaction = make_transaction(number, **changes)
    return simulation.assess(
        number, transaction, now_ns=transaction.time_ns, live=live, listed=listed
    )


def test_what_both_would_have_done_is_compared():
    simulation = Simulation(make_catalogue(RULES))
    decline, refer = Disposition.DECLINE, Disposition.REFER
    replay(simulation, 1, card="a", amount_minor=20_000)
    replay(simulation, 2, card="b", amount_minor=20_001, live=decline)
    replay(simulation, 3, card="c", amount_minor=301, live=refer)
    replay(simulation, 4, card="d", amount_minor=402, live=refer)
    replay(simulation, 5, card="e", amount_minor=503)
    replay(simulation, 6, card="f", amount_minor=604)
    replay(simulation, 7, card="g", amount_minor=70_000, terminal="t2")
    for number, fraud in ((1, True), (3, True), (5, True), (6, False)):
        simulation.label(number, fraud=fraud)
    result = simulation.finish()
    live, given = result.live, result.given
    assert (live.transaction_count, live.referred_count, live.declined_count) == (7, 2, 1)
    assert (live.caught_count, live.caught_minor) == (1, 301)
    assert (live.missed_count, live.missed_minor) == (2, 20_503)
    assert (live.false_positive_count, live.false_positive_minor) == (2, 20_403)
    assert (given.transaction_count, given.referred_count, given.declined_count) == (7, 0, 3)
    assert (given.caught_count, given.caught_minor) == (1, 20_000)
    assert (given.missed_count, given.missed_minor) == (2, 804)
    assert (given.false_positive_count, given.false_positive_minor) == (2, 90_001)
    assert (result.newly_stopped_count, result.newly_caught_count) == (2, 1)
    assert (result.released_count, result.newly_missed_count) == (2, 1)
    assert result.rules == (RuleRecord("large", 3, 1, 2),)
    assert (result.start_ns, result.end_ns) == (NOW_NS, NOW_NS)


def test_a_label_counts_from_where_the_log_has_it():
    simulation = Simulation(make_catalogue(RULES))
    replay(simulation, 1, card="a")
    replay(simulation, 2, card="b", time_ns=NOW_NS + DAY_NS)
    simulation.label(1, fraud=True)
    replay(simulation, 3, card="c", time_ns=NOW_NS + 2 * DAY_NS)
    assert simulation.finish().rules == (RuleRecord("known", 1, 0, 1),)


def test_transactions_before_the_start_fill_states_only():
    simulation = Simulation(make_catalogue(RULES), start_ns=NOW_NS, end_ns=NOW_NS + DAY_NS)
    for number, shift in enumerate((-3, -2, 0, DAY_NS)):
        replay(simulation, number, time_ns=NOW_NS + shift)
    result = simulation.finish()
    assert result.given.transaction_count == 1
    assert result.given.referred_count == 1
    assert result.rules == (RuleRecord("again", 1, 0, 1),)


def test_what_was_on_a_hotlist_is_again():
    simulation = Simulation(make_catalogue(RULES))
    replay(simulation, 1, card="a", listed=frozenset({ListKind.CARDS}))
    replay(simulation, 2, card="b")
    assert simulation.finish().given.declined_count == 1


def test_a_label_that_changes_counts_once_in_the_result():
    simulation = Simulation(make_catalogue(RULES))
    replay(simulation, 1)
    for fraud in (True, False, True):
        simulation.label(1, fraud=fraud)
    simulation.label("never seen", fraud=False)
    assert simulation.finish().given.missed_count == 1
    simulation.label(1, fraud=False)
    assert simulation.finish().given.missed_count == 0


def test_a_label_that_changes_counts_no_longer_from_there_on():
    simulation = Simulation(make_catalogue(RULES))
    replay(simulation, 1, card="a")
    for number, labels in enumerate(((True, True), (False, False), (True,), (False,)), start=2):
        # The same one again, a chargeback after the fraud for example, counts once.
        for fraud in labels:
            simulation.label(1, fraud=fraud)
        replay(simulation, number, card=f"c{number}", time_ns=NOW_NS + number)
    result = simulation.finish()
    assert result.rules == (RuleRecord("known", 2, 0, 2),)
    assert result.given.missed_count == 0


def test_a_label_that_changes_teaches_what_the_engine_learns():
    desk, simulation = Desk(RULES + MODEL), Simulation(make_catalogue(RULES + MODEL))
    for number in range(60):
        changes = {"card": f"c{number}", "amount_minor": 90_000 if number % 3 else 500}
        counted = desk.take(number, **changes).counted
        replay(simulation, number, **changes)
        desk.engine.label(counted, desk.book, fraud=True)
        simulation.label(number, fraud=True)
        if number % 2:
            desk.engine.relabel(counted, desk.book, fraud=False)
            simulation.label(number, fraud=False)
    told = replay(simulation, 60, card="z")
    assert told == desk.take(60, card="z").probability
    known, kept = desk.book.states, simulation.book
    assert all(kept.find_state(*at).velocities == known[at].velocities for at in known)


def test_it_says_what_the_engine_says():
    desk, simulation = Desk(RULES + MODEL), Simulation(make_catalogue(RULES + MODEL))
    draw = np.random.default_rng(1)
    for number in range(300):
        changes = {
            "card": f"c{draw.integers(20)}",
            "amount_minor": int(draw.integers(1, 20_000)),
            "time_ns": NOW_NS + number * DAY_NS // 50,
        }
        assessment = desk.take(number, **changes)
        probability = replay(simulation, number, live=assessment.disposition, **changes)
        assert probability == assessment.probability
        if number % 3 == 0:
            fraud = changes["amount_minor"] > 15_000
            desk.engine.label(assessment.counted, desk.book, fraud=fraud)
            simulation.label(number, fraud=fraud)
    result = simulation.finish()
    assert result.live == result.given
    assert result.newly_stopped_count == result.released_count == 0
    count, size_bytes = simulation.book.measure_states(EntityKind.CARD)
    assert count == 20
    states = [state for (kind, _), state in desk.book.states.items() if kind == EntityKind.CARD]
    assert size_bytes == sum(len(section) for state in states for section in state)


def test_labels_of_forgotten_transactions_teach_nothing():
    simulation = Simulation(make_catalogue(RULES + MODEL))
    replay(simulation, 0, card="a")
    later = NOW_NS + TRANSACTION_KEPT_NS + DAY_NS
    for number in range(1, 1_100):
        replay(simulation, number, card=f"c{number}", time_ns=later + number)
    simulation.label(0, fraud=True)
    assert replay(simulation, 2_000, card="z", time_ns=later + DAY_NS) == 0.01
    simulation.label(1, fraud=True)
    assert replay(simulation, 2_001, card="z", time_ns=later + DAY_NS) > 0.01
    result = simulation.finish()
    assert result.given.missed_count + result.given.caught_count == 2


FIELDS = (
    "  fields:\n"
    "    recurring: {kind: flag, required: true}\n"
    "    limit: {kind: number, range: [0, 100]}\n"
    "    way: {kind: category, values: [chip, swipe]}\n"
    "    since: {kind: instant}\n"
    "  rules:\n"
    "    any: {when: transaction.amount > 0.0, disposition: refer, reason: ANY}\n"
    "    again: {when: transaction.recurring, disposition: decline, reason: AGAIN}\n"
    "    low: {when: transaction.limit < 50.0, disposition: refer, reason: LOW}\n"
    "    swiped: {when: transaction.way == 'swipe', disposition: refer, reason: SWIPED}\n"
    "    young:\n"
    "      when: transaction.since > timestamp('2023-01-01T00:00:00Z')\n"
    "      disposition: refer\n"
    "      reason: YOUNG\n"
)
FITS = {"recurring": True, "limit": 7, "way": "swipe", "since": 1_699_999_999.5}


@pytest.mark.parametrize(
    ("fields", "fired", "misfit_count"),
    [
        (FITS, ["any", "again", "low", "swiped", "young"], 0),
        ({"recurring": False}, ["any"], 0),
        ({"limit": 7}, ["any", "low"], 1),
        ({**FITS, "old": 1.0}, ["any", "again", "low", "swiped", "young"], 1),
        ({**FITS, "recurring": 1.0, "limit": 101.0}, ["any", "swiped", "young"], 1),
        ({**FITS, "way": "tap", "since": "soon"}, ["any", "again", "low"], 1),
    ],
)
def test_what_of_the_past_does_not_fit_the_given_fields_is_missing(fields, fired, misfit_count):
    simulation = Simulation(make_catalogue(FIELDS), start_ns=NOW_NS)
    replay(simulation, 0, time_ns=NOW_NS - 1)
    replay(simulation, 1, fields=fields)
    result = simulation.finish()
    assert result.given.transaction_count == 1
    assert sorted(rule.rule for rule in result.rules) == sorted(fired)
    assert result.misfit_count == misfit_count


def test_fields_do_not_fit_rules_without_any():
    simulation = Simulation(make_catalogue(RULES))
    replay(simulation, 1, fields=FITS)
    replay(simulation, 2)
    result = simulation.finish()
    assert (result.given.transaction_count, result.misfit_count) == (2, 1)
