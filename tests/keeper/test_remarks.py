"""Transactions that rules fire on, or that are not approved: together the same as one by one."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from instanter.catalogue.fraud_words import Disposition, Source, StandInCause
from instanter.fraud.turns import TurnAssessor
from instanter.keeper.assessing_together import AssessEncoded
from instanter.keeper.case_book import get_case
from instanter.keeper.fraud_rules import ResumeFraudRule, SnoozeFraudRule
from instanter.keeper.labels import FoundKind
from instanter.keeper.transaction_outcomes import TransactionOutcome
from instanter.v1 import fraud_service_pb2 as messages
from tests.keeper.test_assessing_together import (
    ask_each,
    ask_together,
    find_outcome,
    label,
    make_request,
    read_bodies,
)
from tests.keeper.test_keeper import read_all
from tests.keeper.tills import NOW_NS, S_NS, StoodClock, Till, open_till

WORLD = """\
currency: EUR
channels: {web: []}
attributes:
  - {name: age, kind: number}
fraud:
  velocities:
    seen_1h: {per: card, function: count, window: 1h}
    mean_7d: {per: card, function: mean, of: amount, window: 7d}
    approved_1d: {per: terminal, function: count, window: 1d, counts: approved}
    customer_sum_1d: {per: customer, function: sum, of: amount, window: 1d}
  rules:
    young: {when: 'profile.age < 18.0', points: 5, reason: YOUNG}
    gift: {when: 'transaction.mcc == 5947.0', points: 61.5, reason: GIFT}
    casino: {when: 'transaction.mcc == 7995.0', points: 95, reason: CASINO}
    large: {when: 'transaction.amount > 1000.0', disposition: refer, reason: LARGE_AMOUNT,
            guard: {share: 0.05, period: 1h, declines_min: 5, times_history: 2}}
    many: {when: 'velocity.seen_1h >= 5', disposition: decline, reason: VELOCITY}
    watched: {when: 'transaction.amount > 900.0', points: 50, reason: SHADOW, shadow: true}
  model: {features: [transaction.amount, velocity.seen_1h], points: 100, start_rate: 0.02}
  thresholds:
    - {merchants: [strict], refer: 1, decline: 64}
    - {refer: 60, decline: 90}
  stand_in: {place_missing: continue}
"""
PRESENT = messages.TRANSACTION_CHANNEL_CARD_PRESENT
REQUESTS: dict[str, tuple[dict[str, Any], tuple[Any, ...]]] = {
    "points without a change": (
        {"customer": "customers/kid"},
        (Disposition.APPROVE, Source.RULES, ("YOUNG", "MODEL"), ("young",), ()),
    ),
    "referred by points": (
        {"mcc": 5947},
        (Disposition.REFER, Source.RULES, ("GIFT", "MODEL"), ("gift",), ()),
    ),
    "declined by points": (
        {"mcc": 7995},
        (Disposition.DECLINE, Source.RULES, ("CASINO", "MODEL"), ("casino",), ()),
    ),
    "referred by a rule": (
        {"amount_minor": 100_001},
        (Disposition.REFER, Source.RULES, ("LARGE_AMOUNT", "MODEL"), ("large",), ("watched",)),
    ),
    "shadow only": (
        {"amount_minor": 90_001},
        (Disposition.APPROVE, Source.RULES, ("MODEL",), (), ("watched",)),
    ),
    "several rules": (
        {"amount_minor": 100_001, "mcc": 5947, "customer": "customers/kid"},
        (
            Disposition.REFER,
            Source.RULES,
            ("LARGE_AMOUNT", "GIFT", "YOUNG", "MODEL"),
            ("young", "gift", "large"),
            ("watched",),
        ),
    ),
    "referred by the model": (
        {"merchant": "merchants/strict"},
        (Disposition.REFER, Source.MODEL, ("MODEL",), (), ()),
    ),
    "declined by rules and a merchant's thresholds": (
        {"merchant": "merchants/strict", "mcc": 5947, "customer": "customers/kid"},
        (Disposition.DECLINE, Source.RULES, ("GIFT", "YOUNG", "MODEL"), ("young", "gift"), ()),
    ),
    "more points than there are": (
        {"mcc": 7995, "customer": "customers/kid"},
        (
            Disposition.DECLINE,
            Source.RULES,
            ("CASINO", "YOUNG", "MODEL"),
            ("young", "casino"),
            (),
        ),
    ),
    "a place that is missing": (
        {"mcc": 5947, "channel": PRESENT},
        (Disposition.REFER, Source.RULES, ("GIFT", "MODEL"), ("gift",), ()),
    ),
    "a place that is known": (
        {"mcc": 5947, "channel": PRESENT, "place": (50.0, 8.5)},
        (Disposition.REFER, Source.RULES, ("GIFT", "MODEL"), ("gift",), ()),
    ),
}


@contextmanager
def open_both(folder: Path, clock: StoodClock | None = None) -> Iterator[tuple[Till, Till]]:
    """Open two tills with the same catalogue and customers."""
    clock = clock or StoodClock()
    with open_till(folder / "each", clock) as each, open_till(folder / "together", clock) as other:
        for till in (each, other):
            # It writes records of its own when it is time, which differs.
            till.desk.kept.ticker.stop()
            till.publish(WORLD)
            till.desk.put("kid", 17).result(20)
            till.desk.put("old", 70).result(20)
        yield each, other


def compare(each: Till, together: Till, requests: Sequence[Any]) -> list[Any]:
    """Ask both, and compare answers, records and all that is kept; return the answers."""
    one, other = ask_each(each, requests), ask_together(together, requests)
    answers = [find_outcome(future) for future in other]
    assert answers == [find_outcome(future) for future in one]
    assert read_bodies(together) == read_bodies(each)
    assert read_all(together.desk.kept.state) == read_all(each.desk.kept.state)
    return answers


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Collect the commands that were not carried out together."""
    taken: list[Any] = []
    prepare = AssessEncoded.prepare

    def note(command: AssessEncoded, *given: Any) -> Any:
        taken.append(command)
        return prepare(command, *given)

    monkeypatch.setattr(AssessEncoded, "prepare", note)
    return taken


@pytest.mark.parametrize(("given", "expected"), REQUESTS.values(), ids=REQUESTS)
@pytest.mark.parametrize("count", [1, 3])
def test_what_is_remarkable_is_kept_as_one_by_one(
    tmp_path: Path, alone: list[Any], given: dict[str, Any], expected: tuple[Any, ...], count: int
) -> None:
    with open_both(tmp_path) as (each, together):
        requests = [make_request("a"), make_request("b", customer="customers/old")][: count - 1]
        requests.insert(1, make_request("x", card_token="card-2", **given))
        found = compare(each, together, requests)[min(1, count - 1)]
        assert not alone
        assert (
            found.disposition,
            found.source,
            found.reasons,
            found.fired,
            found.shadowed,
        ) == expected
        assert (found.case > 0) == (found.disposition != Disposition.APPROVE)
        lacks_place = given.get("channel") == PRESENT and "place" not in given
        assert found.stand_in_causes == (StandInCause.PLACE_MISSING,) * lacks_place
        if found.case:
            with together.desk.kept.state.read() as transaction:
                case = get_case(transaction, found.case)
            assert case.transaction.transaction_id == "x"
            assert case.verdict == found._replace(paused=())


def test_all_of_a_group_are_remarkable(tmp_path: Path, alone: list[Any]) -> None:
    with open_both(tmp_path) as (each, together):
        for turn in range(3):
            requests = [make_request(f"{turn}-{n}") for n in range(20)]
            answers = compare(each, together, requests)
            declined = [each.disposition for each in answers].count(Disposition.DECLINE)
            assert declined == (20 if turn else 15)
        assert not alone


def test_a_rule_that_the_guard_pauses_is_paused_for_those_behind(
    tmp_path: Path, alone: list[Any]
) -> None:
    with open_both(tmp_path) as (each, together):
        requests = [make_request(f"t{n}", card_token=f"c{n}") for n in range(3)]
        requests += [
            make_request(f"x{n}", card_token=f"x{n}", amount_minor=150_000) for n in range(9)
        ]
        answers = compare(each, together, requests)
        assert len(alone) == 1, "the first behind the end of a turn"
        stopped = [each.fired == ("large",) for each in answers]
        assert stopped == [False] * 3 + [True] * 6 + [False] * 3
        assert [each.paused for each in answers] == [()] * 8 + [("large",)] + [()] * 3
        assert [each.shadowed for each in answers[9:]] == [("large", "watched")] * 3
        # What was paused stays so for the groups behind, until somebody resumes it.
        again = [make_request(f"y{n}", card_token=f"y{n}", amount_minor=150_000) for n in range(4)]
        assert {each.disposition for each in compare(each, together, again[:2])} == {
            Disposition.APPROVE
        }
        for till in (each, together):
            till.do(ResumeFraudRule("large"))
        assert {each.disposition for each in compare(each, together, again[2:])} == {
            Disposition.REFER
        }
        assert len(alone) == 1


def test_a_card_with_snoozes_that_a_rule_fires_on_is_left_to_the_other_way(
    tmp_path: Path, alone: list[Any]
) -> None:
    with open_both(tmp_path) as (each, together):
        for till in (each, together):
            till.do(SnoozeFraudRule("gift", "card-2", NOW_NS + 3_600 * S_NS))
        requests = [
            make_request("a", mcc=5947),
            make_request("b", card_token="card-2", mcc=5947),
            make_request("c", card_token="card-2"),
            make_request("d", card_token="card-2", amount_minor=150_000),
            make_request("e", mcc=5947),
        ]
        answers = compare(each, together, requests)
        assert [each.fired for each in answers] == [("gift",), (), (), ("large",), ("gift",)]
        assert len(alone) == 2


def test_a_disposition_that_differs_from_what_was_counted_is_left_to_the_other_way(
    tmp_path: Path, alone: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it would be by a mistake of ours in the kernel."""
    assess = TurnAssessor.assess

    def mistake(assessor: TurnAssessor, turn: Any) -> Any:
        done = assess(assessor, turn)
        for index, finding in done.findings.items():
            done.findings[index] = finding._replace(severity=0)
        return done

    with open_both(tmp_path) as (each, together):
        monkeypatch.setattr(TurnAssessor, "assess", mistake)
        compare(each, together, [make_request("a", amount_minor=150_000)])
        assert len(alone) == 1


def draw_attack(draw: random.Random, number: int, clock: StoodClock) -> Any:
    """Return a request that most probably has a rule that fires."""
    given: dict[str, Any] = {
        "card_token": f"card-{draw.randrange(draw.choice([2, 60]))}",
        "merchant": draw.choice(["merchants/m1", "merchants/strict"]),
        "amount_minor": draw.choice([1_000, 90_001, 150_000]),
        "mcc": draw.choice([5411, 5411, 5947, 7995]),
        "time_ns": clock.time_ns - draw.choice([0, 0, 1_800, -30, 200_000]) * S_NS,
    }
    if draw.random() < 0.5:
        given["customer"] = draw.choice(["customers/kid", "customers/old", "customers/who"])
    if draw.random() < 0.3:
        given["channel"] = PRESENT
    name = f"t{number - draw.randrange(1, 9)}" if draw.random() < 0.03 else f"t{number}"
    return make_request(name, **given)


@pytest.mark.parametrize("seed", range(4))
def test_an_attack_is_answered_and_kept_as_one_by_one(
    tmp_path: Path, alone: list[Any], seed: int
) -> None:
    draw, clock, number, paused = random.Random(seed), StoodClock(), 0, 0
    with open_both(tmp_path, clock) as (each, together):
        for till in (each, together):
            till.do(SnoozeFraudRule("gift", "card-1", clock.time_ns + 7_200 * S_NS))
        for _ in range(40):
            clock.time_ns += draw.choice([1, 60, 600, 7_200]) * S_NS
            requests = []
            for _ in range(draw.choice([1, 2, 5, 16, 40])):
                number += 1
                requests.append(draw_attack(draw, number, clock))
            for answer in compare(each, together, requests):
                paused += bool(getattr(answer, "paused", ()))
            if draw.random() < 0.3:
                for till in (each, together):
                    till.do(ResumeFraudRule("large"))
            found = draw.choice([FoundKind.FRAUD, FoundKind.GENUINE])
            outcome = TransactionOutcome(f"t{draw.randrange(1, number + 1)}", found)
            for till in (each, together):
                label(till, outcome)
        assert paused
        assert len(alone) < number / 2
