"""Rules at run time: paused when they run wild, resumed, silent for a card."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from instanter.catalogue.fraud_words import Disposition
from instanter.errors import InvalidFieldError, NotFoundError
from instanter.keeper.fraud_rules import ResumeFraudRule, RuleReport, SnoozeFraudRule, list_rules
from instanter.store.expiry import HOUR_NS
from tests.keeper.tills import GUARDED, NOW_NS, S_NS, StoodClock, Till, open_till

APPROVE, REFER = Disposition.APPROVE, Disposition.REFER


@pytest.fixture
def clock() -> StoodClock:
    return StoodClock()


@pytest.fixture
def till(tmp_path: Path, clock: StoodClock) -> Iterator[Till]:
    with open_till(tmp_path / "store", clock) as opened:
        opened.publish()
        yield opened


def list_all(till: Till) -> tuple[RuleReport, ...]:
    policy = till.policy()
    with till.desk.kept.state.read() as transaction:
        return list_rules(transaction, policy)


def ask_many(till: Till, name: str, large: str) -> str:
    """Assess a transaction for each sign, `x` for a large one; return which were referred."""
    verdicts = []
    for n, sign in enumerate(large):
        amount_minor = 200_000 if sign == "x" else 1_000
        verdicts.append(till.ask(f"{name}-{n}", f"{name}-{n}", amount_minor=amount_minor))
    return "".join("x" if verdict.disposition == REFER else "." for verdict in verdicts)


def test_a_rule_that_suddenly_stops_far_more_than_before_is_paused_and_resumed(
    till: Till, clock: StoodClock
) -> None:
    till.publish(GUARDED)
    calm = ("." * 24 + "x") * 4
    assert ask_many(till, "calm", calm) == calm
    clock.time_ns += HOUR_NS
    # Six of the seven since the hour began: more than 5, than 10 % and than three times 4 %.
    assert ask_many(till, "wild", "x" * 8) == "x" * 6 + ".."
    (large,) = (each for each in list_all(till) if each.rule.name == "large")
    assert large.is_paused
    assert large.figures.paused_time_ns == clock.time_ns
    assert (large.figures.fired_count, large.figures.shadowed_count) == (10, 2)
    again = till.do(ResumeFraudRule("large"))
    assert not again.is_paused
    assert ask_many(till, "after", "x") == "x"
    assert till.do(ResumeFraudRule("large")).is_paused is False


def test_the_verdict_that_paused_a_rule_says_so(till: Till) -> None:
    till.publish(GUARDED)
    asked = [till.ask(f"t{n}", f"c{n}", amount_minor=200_000) for n in range(7)]
    assert [verdict.paused for verdict in asked] == [()] * 5 + [("large",), ()]
    assert till.ask("t5", "c5", amount_minor=200_000).paused == ()


def test_a_rule_that_always_stopped_as_much_goes_on(till: Till, clock: StoodClock) -> None:
    till.publish(GUARDED)
    usual = "x...." * 8
    # While it has no history it is only its share that counts.
    loose = GUARDED.replace("share: 0.1", "share: 0.5")
    till.publish(loose)
    assert ask_many(till, "first", usual) == usual
    clock.time_ns += HOUR_NS
    till.publish(GUARDED)
    assert ask_many(till, "second", usual) == usual


def test_a_snoozed_rule_is_silent_for_one_card_until_its_end(till: Till, clock: StoodClock) -> None:
    till.ask("first", amount_minor=1)
    till.do(SnoozeFraudRule("large", "card-1", NOW_NS + 60 * S_NS))
    assert till.answer("a", amount_minor=200_000) == APPROVE
    assert till.answer("b", "card-2", amount_minor=200_000) == REFER
    clock.time_ns += 60 * S_NS
    assert till.answer("c", amount_minor=200_000) == REFER
    till.do(SnoozeFraudRule("large", "card-1", clock.time_ns + S_NS))
    till.do(SnoozeFraudRule("large", "card-1", 0))
    assert till.answer("d", amount_minor=200_000) >= REFER


def test_of_a_rule_that_is_not_there_nothing_is_done(till: Till) -> None:
    for command in (ResumeFraudRule("larg"), SnoozeFraudRule("larg", "card-1", NOW_NS + S_NS)):
        with pytest.raises(NotFoundError, match="no rule 'larg'; did you mean 'large'"):
            till.do(command)


def test_a_snooze_has_an_end_that_is_not_too_far_away(till: Till) -> None:
    far_ns = NOW_NS + 121 * 86_400 * S_NS
    with pytest.raises(InvalidFieldError, match=r"snooze_end_time: '121\.0 days ahead'"):
        till.do(SnoozeFraudRule("large", "card-1", far_ns))


def test_attempts_with_one_card_do_not_switch_off_the_rule_that_stops_them(till: Till) -> None:
    till.publish(GUARDED)
    for n in range(60):
        assert till.answer(f"t{n}", "stolen", amount_minor=200_000) == REFER
    (large,) = (each for each in list_all(till) if each.rule.name == "large")
    assert not large.is_paused
    assert (large.figures.fired_count, large.figures.stopped_count) == (60, 60)
    assert large.figures.period_stopped_count == 1
