"""A clock that was ahead and is put right: it is told, and there is a way out that keeps limits."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from instanter.catalogue.fraud_words import Disposition, Source
from instanter.metrics import MetricsCollector
from tests.keeper.tills import S_NS, StoodClock, Till, open_till

AHEAD_S = 2 * 86_400
LIMITS = """\
currency: EUR
channels: {web: []}
fraud:
  velocities:
    count_1h: {per: card, function: count, window: 1h}
    spend_1h: {per: card, function: sum, of: amount, window: 1h, counts: approved}
    tills_1h: {per: card, function: distinct, of: terminal, window: 1h, counts: approved}
  rules:
"""
RULES = {
    "count": "velocity.count_1h >= 3",
    "spend": "velocity.spend_1h >= 30.0",
    "tills": "velocity.tills_1h >= 3",
}


@pytest.fixture
def till(tmp_path: Path) -> Iterator[Till]:
    with open_till(tmp_path / "store") as opened:
        # It looks when it is asked to.
        opened.desk.kept.ticker.stop()
        yield opened


def told(till: Till) -> list[dict[str, Any]]:
    lines = map(json.loads, till.desk.written.getvalue().splitlines())
    return [line for line in lines if line["event"] in ("log_ahead_of_clock", "log_time_reached")]


def gauge(till: Till) -> float:
    (found,) = [
        sample.value
        for family in MetricsCollector(lambda: till.desk.metrics).collect()
        for sample in family.samples
        if sample.name == "instanter_log_ahead_seconds"
    ]
    return found


def test_a_clock_that_was_put_back_is_told_once_a_minute_and_measured(till: Till) -> None:
    look = till.desk.kept.ticker.tick
    till.publish(f"{LIMITS}    a: {{when: '{RULES['count']}', disposition: decline, reason: V}}\n")
    till.clock.time_ns -= 9 * S_NS
    look()
    assert gauge(till) == 9.0
    assert told(till) == [], "a small step is nothing to wake anybody for"
    till.clock.time_ns -= (AHEAD_S - 9) * S_NS
    for _ in range(5):
        look()
    assert gauge(till) == AHEAD_S
    (line,) = told(till)
    assert (line["level"], line["ahead_s"]) == ("error", AHEAD_S)
    till.clock.time_ns += 59 * S_NS
    look()
    assert len(told(till)) == 1
    till.clock.time_ns += S_NS
    look()
    assert told(till)[1]["ahead_s"] == AHEAD_S - 60
    till.clock.time_ns += AHEAD_S * S_NS
    look()
    look()
    assert gauge(till) == 0.0
    assert [line["event"] for line in told(till)][2:] == ["log_time_reached"]


@pytest.mark.parametrize("way", ["restart", "behind_max"])
@pytest.mark.parametrize("rule", RULES)
def test_both_ways_out_of_a_clock_that_was_ahead_keep_to_the_limits(
    tmp_path: Path, way: str, rule: str
) -> None:
    catalogue = f"{LIMITS}    a: {{when: '{RULES[rule]}', disposition: decline, reason: V}}\n"
    clock = StoodClock()
    clock.time_ns += AHEAD_S * S_NS
    with open_till(tmp_path, clock) as till:
        till.publish(catalogue)
        for number in range(2):
            assert ask(till, "used", number) == (Disposition.APPROVE, Source.RULES)
        clock.time_ns -= AHEAD_S * S_NS
        assert ask(till, "late", 0) == (Disposition.REFER, Source.STAND_IN)
        if way == "behind_max":
            till.publish(catalogue.replace("fraud:", "fraud:\n  clock: {behind_max: 3d}"))
            check_limits(till)
    if way == "restart":
        with open_till(tmp_path, clock) as till:
            check_limits(till)


def check_limits(till: Till) -> None:
    """Check that there is an end of standing in, and that no card has more than three."""
    for card, count in (("used", 1), ("fresh", 3)):
        found = [ask(till, card, 10 + number) for number in range(5)]
        assert found == [(Disposition.APPROVE, Source.RULES)] * count + [
            (Disposition.DECLINE, Source.RULES)
        ] * (5 - count)


def ask(till: Till, card: str, number: int) -> tuple[Disposition, Source]:
    verdict = till.ask(f"{card}-{number}", card, terminal=f"t{number}")
    return verdict.disposition, verdict.source
