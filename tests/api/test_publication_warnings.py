"""What a publication makes begin anew, or lose, is told before it happens."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.shop import Shop, make_apply, open_shop

SHOP = """\
currency: EUR
channels: {web: []}
attributes:
  - {name: age, kind: number}
offers: [{name: tea, value_minor: 100, treatments: [{channel: web}]}]
"""
EVENTS = """\
events: [{name: buy, fields: [{name: amount, kind: number}]}]
attributes:
  - {name: buys, kind: number, source: derived,
     derive: {event: buy, function: count, window: 30d}}
  - {name: spent, kind: number, source: derived,
     derive: {event: buy, function: sum, field: amount, window: 30d}}
  - {name: mean, kind: number, source: derived,
     derive: {function: ratio, numerator: spent, denominator: buys}}
"""
FRAUD = """\
fraud:
  compromised_terminal: {window: 35d}
  velocities:
    many: {per: card, function: count, window: 10m}
    much: {per: card, function: sum, of: amount, window: 1d}
  rules:
    too-many: {when: velocity.many >= 5, disposition: decline, reason: VELOCITY}
  model: {features: [transaction.amount, velocity.much], points: 70}
  thresholds: [{refer: 60, decline: 90}]
"""
FILES = {"shop.yaml": SHOP, "events.yaml": EVENTS, "fraud.yaml": FRAUD}
ATTRIBUTES = "attributes: begin anew without the events so far, because their derivations change: "
VELOCITIES = (
    "velocities: begin anew without the transactions so far, because their meaning changes: "
)
WITHDRAWN = "lose what they have counted, also if they return, because they are withdrawn: "
GONE = "attributes: lose what events told, also if they return, because they are withdrawn: "
NO_FRAUD = (
    "fraud: is withdrawn: card transactions are refused, and what velocities, rules and the model "
    "know is lost, also if the section returns"
)
CURRENCY = (
    "currency: changes from EUR to JPY: all that was recorded in minor units of EUR, reports of "
    "uplift included, is read as JPY"
)


@pytest.fixture
def shop(front_name: str, tmp_path: Path) -> Iterator[Shop]:
    """A shop in which everything has been published once."""
    with open_shop(tmp_path / "store", front_name) as opened:
        assert not opened.apply(FILES).warnings
        yield opened


def _without(name: str) -> dict[str, str]:
    return {path: text for path, text in FILES.items() if path != name}


def _with(name: str, *changes: tuple[str, str]) -> dict[str, str]:
    text = FILES[name]
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return {**FILES, name: text}


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (_with("shop.yaml", ("value_minor: 100", "value_minor: 200")), []),
        (_with("events.yaml", ("function: count, window: 30d", "function: count, window: 60d")),
         [f"{ATTRIBUTES}buys"]),
        (_with("events.yaml", ("30d", "1d")), [f"{ATTRIBUTES}buys, spent"]),
        (_without("events.yaml"), [f"{GONE}buys, spent"]),
        (_with("fraud.yaml", ("window: 10m", "window: 20m")), [f"{VELOCITIES}many"]),
        (_with("fraud.yaml", ("of: amount,", "of: amount, counts: approved,")),
         [f"{VELOCITIES}much"]),
        (_with("fraud.yaml", ("many", "more")), [f"velocities: {WITHDRAWN}many"]),
        (_with("fraud.yaml", ("window: 35d", "window: 40d")),
         ["fraud.compromised_terminal: counts labels anew, because its window changes"]),
        (_with("fraud.yaml", ("features: [transaction.amount, ", "features: [")),
         ["fraud.model: begins anew, because its features or pairs change"]),
        (_with("fraud.yaml", ("  model:", "  # model:")),
         ["fraud.model: is withdrawn: what it has learned is lost, also if it returns"]),
        (_without("fraud.yaml"),
         [NO_FRAUD]),
        (_with("shop.yaml", ("EUR", "JPY")),
         [CURRENCY]),
    ],
)  # fmt: skip
def test_what_begins_anew_or_is_lost_is_a_warning(
    shop: Shop, files: dict[str, str], told: list[str]
) -> None:
    tried = shop.catalogue.ApplyCatalogue(make_apply(files, validate_only=True), timeout=20)
    assert list(tried.warnings) == told
    assert list(shop.apply(files).warnings) == told


def test_what_returns_is_told_to_have_lost_what_it_had(shop: Shop) -> None:
    shop.apply(_without("events.yaml"))
    (warning,) = shop.apply(FILES).warnings
    assert warning == (
        "attributes: return without the events so far, because they were withdrawn: buys, spent"
    )


def test_of_many_only_some_are_named(shop: Shop) -> None:
    many = "".join(
        f"  - {{name: n{i:02}, kind: number, source: derived,\n"
        "     derive: {event: buy, function: count, window: 7d}}\n"
        for i in range(12)
    )
    files = {**FILES, "events.yaml": EVENTS + many}
    assert not shop.apply(files).warnings
    (warning,) = shop.apply(
        {**files, "events.yaml": files["events.yaml"].replace("7d", "8d")}
    ).warnings
    assert warning.endswith("n00, n01, n02, n03, n04, n05, n06, n07, n08, n09, … (12)")
