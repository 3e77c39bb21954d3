"""What transactions are answered: rules, risk, hotlists, stand-in."""

import math

import numpy as np
import pytest

from instanter.catalogue.fraud_words import Disposition, EntityKind, ListKind, Source, StandInCause
from instanter.catalogue.values import encode_value
from instanter.errors import DamagedError, InvalidFieldError, PreconditionError
from instanter.fraud.book import EntityState
from instanter.fraud.engine import FraudEngine
from instanter.fraud.questions import CountedTransaction, TerminalRisk
from instanter.fraud.snoozes import snooze_rule
from instanter.fraud.tables import make_tables
from instanter.fraud.verdicts import combine
from tests.catalogue.worlds import compile_files
from tests.fraud.worlds import DAY_NS, HOUR_NS, NOW_NS, SECOND_NS, Desk, make_transaction

APPROVE, REFER, DECLINE = Disposition.APPROVE, Disposition.REFER, Disposition.DECLINE
LIMITED = """\
  velocities:
    approved: {per: card, function: count, window: 10m, counts: approved}
    attempts: {per: card, function: count, window: 10m}
  rules:
    many: {when: velocity.approved >= 3, disposition: decline, reason: VELOCITY}
"""
SCORED = """\
  rules:
    a: {when: transaction.amount > 10, points: 30, reason: AMOUNT}
    b: {when: transaction.mcc == 7995, points: 40, reason: GAMBLING}
    c: {when: transaction.amount > 10000, disposition: refer, reason: HUGE}
    s: {when: 'true', points: 90, reason: SHADOW, shadow: true}
  thresholds:
    - {merchants: [m9], amount_minor_from: 5000, refer: 20, decline: 30}
    - {refer: 30, decline: 70}
"""


def test_of_many_attempts_as_many_are_approved_as_the_limit_says():
    desk = Desk(LIMITED)
    found = [desk.take(n).disposition for n in range(10)]
    assert found == [APPROVE] * 3 + [DECLINE] * 7
    after = desk.assess()
    assert desk.see(after)["velocity.approved"] == 3
    assert desk.see(after)["velocity.attempts"] == 10
    assert desk.take(11, time_ns=NOW_NS + HOUR_NS).disposition == APPROVE, "the window has passed"


def test_an_assessment_counts_nothing_until_it_is_counted():
    desk = Desk(LIMITED)
    first, second = desk.assess(), desk.assess()
    assert first == second or math.isnan(first.probability)
    assert first.figures == second.figures
    assert desk.book.states == {}


def test_points_add_up_to_a_risk_that_thresholds_judge():
    desk = Desk(SCORED)
    assert desk.assess(amount_minor=1_000).disposition == APPROVE
    one = desk.assess(amount_minor=1_001)
    assert (one.disposition, one.risk, one.source) == (REFER, 30.0, Source.RULES)
    assert (one.fired, one.shadowed, one.reasons) == (("a",), ("s",), ("AMOUNT",))
    assert one.referring == ("a",)
    both = desk.assess(amount_minor=1_001, mcc=7995)
    assert (both.disposition, both.risk) == (DECLINE, 70.0)
    assert both.reasons == ("GAMBLING", "AMOUNT"), "most points first"
    assert both.declining == ("a", "b"), "without either of them it had been milder"
    strict = desk.assess(amount_minor=5_000, merchant="m9")
    assert strict.disposition == DECLINE
    assert desk.assess(amount_minor=4_999, merchant="m9").disposition == REFER


def test_the_worst_disposition_wins_and_goes_first_among_the_reasons():
    desk = Desk(SCORED)
    found = desk.assess(amount_minor=1_000_001)
    assert (found.disposition, found.reasons) == (REFER, ("HUGE", "AMOUNT"))
    assert found.referring == ("a", "c")


def test_a_rule_is_valid_from_its_first_second_to_before_its_last():
    desk = Desk(
        "  rules:\n    a: {when: 'true', disposition: refer, reason: A,"
        " valid_from: 2023-11-14T22:13:20Z, valid_to: 2023-11-14T22:13:21Z}\n"
    )
    found = [desk.assess(time_ns=NOW_NS + shift).disposition for shift in (-1_000, 0, SECOND_NS)]
    assert found == [APPROVE, REFER, APPROVE]


def test_a_rule_that_divides_by_zero_or_lacks_a_value_does_not_fire():
    desk = Desk(
        "  fields: {x: {kind: number}}\n  rules:\n"
        "    a: {when: transaction.x / (transaction.amount - transaction.amount) > 1,"
        " disposition: decline, reason: A}\n"
        "    b: {when: '!(transaction.x > 5)', disposition: decline, reason: B}\n"
    )
    assert desk.assess().disposition == APPROVE
    zero = desk.assess(fields={"x": 0.0})
    assert zero.fired == ("b",)
    assert desk.assess(fields={"x": 7.0}).fired == (), "7 / 0 is no number that is above another"


def test_paused_and_snoozed_rules_are_only_reported():
    desk = Desk(LIMITED.replace(">= 3", ">= 0"))
    assert desk.assess().fired == ("many",)
    desk.book.paused = frozenset({"many"})
    paused = desk.assess()
    assert (paused.fired, paused.shadowed, paused.disposition) == ((), ("many",), APPROVE)
    desk.book.paused = frozenset()
    code = desk.catalogue.fraud.rules[0].code
    snoozes = snooze_rule(b"", code, NOW_NS + 10, NOW_NS)
    desk.book.put_state(EntityKind.CARD, "c1", EntityState(snoozes=snoozes))
    assert desk.take().shadowed == ("many",)
    assert desk.assess(card="c2").fired == ("many",), "of another card it is not"
    assert desk.assess(time_ns=NOW_NS + 10).fired == ("many",), "it has ended"
    assert desk.book.states[EntityKind.CARD, "c1"].snoozes == snoozes


LISTS = [
    (ListKind.CARDS, "c1", DECLINE, "HOTLISTED_CARD"),
    (ListKind.TERMINALS, "t1", REFER, "HOTLISTED_TERMINAL"),
    (ListKind.MERCHANTS, "m1", DECLINE, "HOTLISTED_MERCHANT"),
    (ListKind.DEVICES, "d1", REFER, "HOTLISTED_DEVICE"),
    (ListKind.BINS, "400000", REFER, "HOTLISTED_BIN"),
]


@pytest.mark.parametrize(("kind", "name", "disposition", "reason"), LISTS)
def test_what_is_hotlisted_is_answered_by_its_list(kind, name, disposition, reason):
    desk = Desk("  hotlists: {terminals: refer, devices: refer, bins: refer}\n")
    desk.book.listed = {(kind, name)}
    found = desk.assess()
    assert (found.disposition, found.source) == (disposition, Source.HOTLIST)
    assert (found.reasons, found.hotlists) == ((reason,), (kind,))


@pytest.mark.parametrize(
    "failure",
    [
        {"find_state": RuntimeError("gone")},
        {"find_state": DamagedError("bad")},
        {("is_hotlisted", ListKind.TERMINALS): DamagedError("bad")},
        {("is_hotlisted", ListKind.BINS): RuntimeError("gone")},
        {"find_hotlist_time_ns": DamagedError("bad")},
    ],
)
def test_a_hotlisted_card_is_declined_whatever_else_fails(failure):
    everything = "  stand_in: {hotlist_missing: continue, state_damaged: continue}\n"
    desk = Desk(f"{everything}  hotlists: {{stale_after: 1d}}\n")
    desk.book.listed = {(ListKind.CARDS, "c1")}
    desk.book.failures = failure
    for deadline_short in (False, True):
        found = desk.assess(deadline_short=deadline_short, now_ns=NOW_NS + 500 * DAY_NS)
        assert (found.disposition, found.source) == (DECLINE, Source.HOTLIST)


def test_a_failure_ends_in_no_approval_and_is_told():
    desk = Desk("  stand_in: {state_damaged: continue, hotlist_missing: continue}\n")
    for failure in (
        {"find_state": RuntimeError("gone")},
        {("is_hotlisted", ListKind.CARDS): RuntimeError("gone")},
    ):
        desk.book.failures = failure
        desk.failed.clear()
        found = desk.assess()
        assert (found.disposition, found.source) == (REFER, Source.STAND_IN)
        assert [str(error) for error in desk.failed] == ["gone"]


def test_what_nobody_has_assessed_or_provided_for_is_referred():
    desk = Desk("  clock: {}\n")
    tables = make_tables(desk.catalogue)
    assert combine(tables, None, 0, []) == (REFER, Source.STAND_IN)


def test_a_damaged_state_is_answered_as_declared_and_heals():
    desk = Desk(LIMITED)
    for number in range(4):
        desk.take(number)
    desk.book.damaged = {(EntityKind.CARD, "c1")}
    found = desk.take()
    assert (found.disposition, found.source) == (REFER, Source.STAND_IN)
    assert found.stand_in_causes == (StandInCause.STATE_DAMAGED,)
    assert found.reasons == ("STAND_IN_STATE_DAMAGED",)
    again = desk.assess()
    assert not again.stand_in_causes
    assert desk.see(again)["velocity.attempts"] == 1
    desk = Desk(f"{LIMITED}  stand_in: {{state_damaged: continue}}\n")
    desk.book.damaged = {(EntityKind.CARD, "c1")}
    found = desk.assess()
    assert (found.disposition, found.reasons) == (APPROVE, ())


def test_expected_lists_are_missed_and_grow_stale():
    desk = Desk("  hotlists: {stale_after: 2d}\n  stand_in: {hotlist_stale: decline}\n")
    assert desk.assess().stand_in_causes == (StandInCause.HOTLIST_MISSING,)
    desk.book.list_times = {ListKind.CARDS: NOW_NS - 2 * DAY_NS}
    assert desk.assess().disposition == APPROVE
    desk.book.list_times = {ListKind.CARDS: NOW_NS - 2 * DAY_NS - 1}
    stale = desk.assess()
    assert stale.stand_in_causes == (StandInCause.HOTLIST_STALE,)
    assert (stale.disposition, stale.source) == (DECLINE, Source.STAND_IN)


def test_a_clock_that_jumped_is_no_way_around_a_limit():
    desk = Desk(f"{LIMITED}  stand_in: {{clock_jumped: continue}}\n")
    jumps = [-2 * DAY_NS, 2 * DAY_NS, -400 * DAY_NS, HOUR_NS]
    found = [
        desk.take(n, time_ns=NOW_NS + jump, now_ns=NOW_NS).disposition
        for n, jump in enumerate(jumps)
    ]
    assert found == [APPROVE] * 3 + [DECLINE]
    desk = Desk(LIMITED)
    late = desk.assess(time_ns=NOW_NS - DAY_NS - 1, now_ns=NOW_NS)
    assert late.stand_in_causes == (StandInCause.CLOCK_JUMPED,)
    assert late.counted.time_ns == NOW_NS
    early = desk.assess(time_ns=NOW_NS + 600 * SECOND_NS, now_ns=NOW_NS)
    assert not early.stand_in_causes
    assert early.counted.time_ns == NOW_NS, "what is ahead counts as of now"


def test_a_clock_that_is_behind_is_no_way_around_a_limit():
    desk = Desk(LIMITED)
    times = [NOW_NS, *(NOW_NS - n * HOUR_NS for n in (20, 3, 20, 1, 23))]
    found = [
        desk.take(n, time_ns=time_ns, now_ns=NOW_NS).disposition for n, time_ns in enumerate(times)
    ]
    assert found == [APPROVE] * 3 + [DECLINE] * 3


@pytest.mark.parametrize("late_ns", [700 * SECOND_NS, HOUR_NS, 23 * HOUR_NS])
@pytest.mark.parametrize("per", ["card", "customer", "terminal", "merchant", "device"])
def test_of_nobody_a_clock_that_is_behind_gets_more_than_the_limit(per, late_ns):
    desk = Desk(LIMITED.replace("per: card", f"per: {per}"))

    def take(number, time_ns):
        names = ("card", "customer", "terminal", "merchant", "device")
        own = {name: f"{name}{number}" for name in names} | {per: "the-one"}
        return desk.take(number, time_ns=time_ns, now_ns=NOW_NS, **own).disposition

    found = [take(n, NOW_NS - late_ns if n else NOW_NS) for n in range(8)]
    assert found == [APPROVE] * 3 + [DECLINE] * 5
    assert take(9, NOW_NS) == DECLINE, "and those that are in time see them"


def test_declined_attempts_count_against_those_that_come_late():
    desk = Desk(
        LIMITED.replace("velocity.approved >= 3", "velocity.attempts >= 3")
        + "    huge: {when: transaction.amount > 1000, disposition: decline, reason: HUGE}\n"
    )
    assert desk.take(0, amount_minor=900_000, now_ns=NOW_NS).disposition == DECLINE
    late = [desk.take(n, time_ns=NOW_NS - HOUR_NS, now_ns=NOW_NS).disposition for n in range(1, 6)]
    assert late == [APPROVE] * 2 + [DECLINE] * 3
    assert desk.take(7).disposition == DECLINE


def test_what_arrives_late_is_measured_at_its_own_time():
    desk = Desk(
        "  velocities:\n    bad: {per: card, function: frauds, window: 1h}\n"
        "  rules:\n    far: {when: travel.impossible, disposition: decline, reason: FAR}\n"
    )
    desk.take(1)
    late = desk.take(2, time_ns=NOW_NS - 4 * HOUR_NS, now_ns=NOW_NS, latitude=40.0)
    assert late.disposition == APPROVE, "four hours are enough for 1,100 km"
    desk.engine.label(late.counted, desk.book, fraud=True)
    assert desk.see(desk.assess(3))["velocity.bad"] == 0
    then = desk.assess(4, time_ns=NOW_NS - 4 * HOUR_NS, now_ns=NOW_NS)
    assert desk.see(then)["travel.hours"] == 4


def test_a_cause_with_which_to_continue_is_no_reason():
    desk = Desk(f"{SCORED}  stand_in: {{clock_jumped: refer, place_missing: continue}}\n")
    at = {"time_ns": NOW_NS - 2 * DAY_NS, "now_ns": NOW_NS, "latitude": None, "longitude": None}
    found = desk.assess(terminal="nowhere", **at)
    assert found.stand_in_causes == (StandInCause.CLOCK_JUMPED, StandInCause.PLACE_MISSING)
    assert found.reasons == ("STAND_IN_CLOCK_JUMPED",)


def test_a_short_deadline_approves_small_amounts_only():
    desk = Desk("  stand_in: {deadline_short: {approve_up_to_minor: 2000, else: decline}}\n")
    small = desk.take(amount_minor=2_000, deadline_short=True)
    assert (small.disposition, small.source) == (APPROVE, Source.STAND_IN)
    assert small.reasons == ("STAND_IN_DEADLINE_SHORT",)
    large = desk.assess(amount_minor=2_001, deadline_short=True)
    assert large.disposition == DECLINE


def test_a_place_is_the_requests_or_the_terminals():
    desk = Desk(
        "  terminals: {t1: {latitude: 48.1, longitude: 11.6}}\n  stand_in: {place_missing: refer}\n"
    )
    found = desk.assess(latitude=None, longitude=None)
    assert (found.counted.latitude, found.counted.longitude) == (48.1, 11.6)
    assert desk.assess().counted.latitude == 50.0
    unknown = desk.assess(terminal="t2", latitude=None, longitude=None)
    assert unknown.stand_in_causes == (StandInCause.PLACE_MISSING,)
    assert unknown.disposition == REFER
    online = desk.assess(terminal="t2", latitude=None, longitude=None, present=False)
    assert (online.disposition, online.counted.latitude) == (APPROVE, None)


def test_impossible_travel_is_between_approved_card_present_transactions():
    desk = Desk("  rules:\n    far: {when: travel.impossible, disposition: decline, reason: FAR}\n")
    assert desk.take(1).disposition == APPROVE
    far = {"latitude": 40.0, "time_ns": NOW_NS + HOUR_NS}
    assert desk.take(2, **far).disposition == DECLINE
    assert desk.take(3, **far, present=False).disposition == APPROVE
    near = desk.take(4, latitude=50.1, time_ns=NOW_NS + HOUR_NS)
    assert near.disposition == APPROVE, "the declined one has not moved the card"


def test_own_behaviour_is_learned_from_approved_transactions():
    desk = Desk(
        "  rules:\n    odd: {when: baseline.card_amount_deviation > 5, disposition: decline,"
        " reason: ODD}\n"
    )
    for number in range(20):
        desk.take(number, time_ns=NOW_NS + number * DAY_NS)
    later = NOW_NS + 20 * DAY_NS
    odd = desk.take(21, amount_minor=900_000, time_ns=later)
    assert odd.disposition == DECLINE
    seen = desk.see(desk.assess(22, time_ns=later))
    assert 14 < seen["baseline.card_count"] < 20, "20 transactions that fade with 30 days"
    assert seen["baseline.customer_count"] == seen["baseline.card_count"]


def test_labels_raise_the_risk_of_a_terminal_at_their_transactions_time():
    desk = Desk(
        "  velocities:\n    bad: {per: terminal, function: frauds, window: 10d}\n"
        "    own: {per: card, function: labels, window: 10d}\n"
        "    rate: {per: terminal, function: fraud_rate, window: 10d}\n"
        "  rules:\n    t: {when: terminal.fraud_rate >= 0.5, disposition: refer, reason: T}\n"
    )
    first = desk.take(1, card="a")
    second = desk.take(2, card="b")
    seen = desk.see(desk.assess(3))
    assert not {"terminal.fraud_rate", "velocity.rate"} & seen.keys()
    later = NOW_NS + 7 * DAY_NS
    desk.engine.label(first.counted, desk.book, fraud=True)
    desk.engine.label(second.counted, desk.book, fraud=False)
    third = desk.assess(3, time_ns=later)
    assert third.disposition == REFER
    seen = desk.see(third)
    assert (seen["terminal.fraud_rate"], seen["terminal.label_count"]) == (0.5, 2)
    assert (seen["velocity.bad"], seen["velocity.own"], seen["velocity.rate"]) == (1, 0, 0.5)
    much_later = desk.see(desk.assess(4, time_ns=NOW_NS + 11 * DAY_NS))
    assert much_later["velocity.bad"] == 0, "it counts at the transaction's time"
    assert "velocity.rate" not in much_later


def test_a_label_that_changes_counts_as_if_it_had_been_right_from_the_start():
    text = (
        "  velocities:\n    bad: {per: card, function: frauds, window: 10d}\n"
        "    big: {per: merchant, function: labels, window: 10d, where: transaction.amount > 5}\n"
        "    n: {per: card, function: count, window: 10d}\n"
        "    rate: {per: terminal, function: fraud_rate, window: 1d}\n"
    )
    desk, right = Desk(text), Desk(text)
    for number in range(6):
        later = {"time_ns": NOW_NS + 5 * number * HOUR_NS, "amount_minor": 100 * number + 200}
        first, second = desk.take(number, **later), right.take(number, **later)
        fraud = number % 2 == 0
        desk.engine.label(first.counted, desk.book, fraud=fraud)
        if number in (2, 5):
            desk.engine.relabel(first.counted, desk.book, fraud=not fraud)
            fraud = not fraud
        right.engine.label(second.counted, right.book, fraud=fraud)
    assert desk.book.states == right.book.states
    at = NOW_NS + 30 * HOUR_NS
    seen = desk.see(desk.assess(time_ns=at))
    assert (seen["terminal.label_count"], seen["velocity.bad"]) == (6, 3)
    assert seen["velocity.rate"] == 0.5


def test_a_rate_without_a_label_that_changes_keeps_the_others_of_its_tile():
    desk = Desk("  velocities:\n    rate: {per: terminal, function: fraud_rate, window: 10d}\n")
    counted = [desk.take(number).counted for number in range(4)]
    for each in counted:
        desk.engine.label(each, desk.book, fraud=True)
    desk.engine.relabel(counted[0], desk.book, fraud=False)
    assert desk.see(desk.assess())["velocity.rate"] == 0.75


def test_a_terminal_is_suggested_when_enough_labels_say_so():
    desk = Desk("  compromised_terminal: {labels_min: 3, suggest_rate: 0.6}\n")
    found = []
    for number, fraud in enumerate((True, True, False, False)):
        counted = desk.take(number).counted
        desk.engine.label(counted, desk.book, fraud=fraud)
        found.append(desk.engine.suggest_terminal("t1", desk.book, NOW_NS))
    assert found == [None, None, TerminalRisk("t1", pytest.approx(2 / 3), 2, 3), None]
    assert desk.engine.suggest_terminal("t2", desk.book, NOW_NS) is None


def test_rules_may_name_the_profile():
    before = "currency: EUR\nattributes: [{name: age, kind: number}]\n"
    desk = Desk(
        "  rules:\n    old: {when: profile.age > 90, disposition: refer, reason: AGE}\n",
        before=before,
    )
    age = desk.catalogue.schema.loaded["age"]
    desk.book.profiles = {"k1": np.array([encode_value(age, 91.0, "age")], np.uint32)}
    assert desk.assess().disposition == REFER
    assert desk.assess(customer="k2").disposition == APPROVE
    assert desk.assess(customer="").disposition == APPROVE
    desk.book.failures = {"find_profile": DamagedError("bad")}
    assert desk.assess().stand_in_causes == (StandInCause.STATE_DAMAGED,)


WRONG = [
    ("amount_minor", 0), ("amount_minor", -5), ("amount_minor", 10**12 + 1), ("mcc", 0),
    ("mcc", 10_000), ("currency", "EU"), ("currency", "eur"), ("currency", "XXX"),
    ("time_ns", -1), ("latitude", 90.1), ("longitude", math.nan), ("latitude", None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_what_cannot_be_is_refused(name, value):
    desk = Desk("  clock: {}\n")
    with pytest.raises(InvalidFieldError) as caught:
        desk.assess(**{name: value}, now_ns=NOW_NS)
    assert caught.value.field.rpartition(".")[2] in (name, "transaction_time")


def test_declared_fields_are_checked():
    desk = Desk(
        "  fields:\n    basket: {kind: category, values: [food, gold]}\n"
        "    points: {kind: number, range: [0, 10], required: true}\n"
    )
    assert desk.see(desk.assess(fields={"points": 3, "basket": "gold"}))["transaction.points"] == 3
    for fields, field, reason in (
        ({"points": 11}, 'fields["points"]', "ATTRIBUTE_OUT_OF_RANGE"),
        ({"points": 1, "basket": "golt"}, 'fields["basket"]', "ATTRIBUTE_VALUE_UNKNOWN"),
        ({"points": 1, "baskt": "gold"}, 'fields["baskt"]', "TRANSACTION_FIELD_UNKNOWN"),
        ({}, 'fields["points"]', "TRANSACTION_FIELD_MISSING"),
    ):
        with pytest.raises(InvalidFieldError) as caught:
            desk.assess(fields=fields)
        assert (caught.value.field, caught.value.reason) == (field, reason)


def test_without_a_section_nothing_is_assessed():
    catalogue = compile_files({"a.yaml": "currency: EUR\n"}).catalogue
    with pytest.raises(PreconditionError) as caught:
        FraudEngine().install(catalogue)
    assert caught.value.reason == "FRAUD_NOT_DECLARED"


def test_what_is_counted_goes_through_a_row():
    desk = Desk(LIMITED)
    counted = desk.assess().counted
    assert CountedTransaction.from_row(list(counted.to_row())) == counted


def test_the_figures_have_the_names_of_rules():
    desk = Desk(LIMITED)
    seen = desk.see(desk.assess(now_ns=NOW_NS + 5 * SECOND_NS))
    assert seen["transaction.amount"] == 10.0
    assert seen["transaction.currency"] == "EUR"
    assert seen["transaction.channel"] == "card_present"
    # NOW_NS is Tuesday, 2023-11-14 22:13:20 UTC.
    assert (seen["transaction.hour"], seen["transaction.weekday"]) == (22, 2)
    assert seen["transaction.delay_s"] == 5
    assert seen["transaction.device_known"] is True
    yen = desk.see(desk.assess(currency="JPY", device="", customer=""))
    assert yen["transaction.amount"] == 1_000
    assert yen["transaction.customer_known"] is False
    assert make_transaction().currency == "EUR"
