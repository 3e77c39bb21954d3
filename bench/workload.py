"""The workload "standard": what the figures about decisions are measured on. All of it is seeded.

1000 attributes (700 numbers, 250 categories of 8 values, 50 flags; no instants, because models do
not read them); 200 offers, each with a rule of 6 comparisons of mixed kinds that about 3 in 10
customers satisfy; models over all 1000 attributes. The values are *dense*: no attribute is in its
most frequent bin more often than chance makes it, which is the most work a profile can be. The
variant *sparse* lacks 70 of 100 values.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import yaml
from numpy.typing import NDArray

from instanter.catalogue.compilation import compile_catalogue
from instanter.catalogue.compiled import CompiledCatalogue
from instanter.catalogue.schema import MISSING_CODE
from instanter.decision.binning_plan import make_plan
from instanter.decision.learner import LearnerSettings, PropensityModel, new_model
from instanter.decision.models import ModelSet
from instanter.store.environment import Environment
from instanter.store.profiles import put_block
from instanter.store.records import key_of

NUMBERS, CATEGORIES, FLAGS = 700, 250, 50
ATTRIBUTES = NUMBERS + CATEGORIES + FLAGS
CATEGORY_VALUES = 8
NUMBER_MAX = 1000.0
OFFERS = 200
CHANNEL = "web"
PLACEMENT = "home"

PUBLISH_TIME_NS = 1_770_000_000_000_000_000
_BLOCK_ROWS = 4_000
_SAMPLE_ROWS = 2_000
_WEIGHT_DEVIATION = 0.05
"""Deviation of one weight in log-odds: that of a sum over 1000 attributes is 1.6."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which customer comes next: a fixed sequence, int64[N], of customer numbers.

    `skewed` draws customer of rank r with a probability in proportion to 1 ÷ r (Zipf), the ranks
    strewn over the whole store; `uniform` draws all alike.
    """

    skewed: NDArray[np.int64]
    uniform: NDArray[np.int64]


def name_customer(number: int) -> str:
    """Return the id of a customer."""
    return f"c{number:08d}"


def draw_choice(customer_count: int, length: int, seed: int = 7) -> Choice:
    """Draw both sequences of customers."""
    draw = np.random.default_rng(seed)
    shares = np.cumsum(1.0 / np.arange(1, customer_count + 1))
    ranks = np.searchsorted(shares, draw.random(length) * shares[-1])
    strewn = draw.permutation(customer_count)
    return Choice(strewn[ranks], draw.integers(0, customer_count, length))


def make_files(offer_count: int = OFFERS, *, comparisons: int = 6, seed: int = 7) -> dict[str, str]:
    """Return the catalogue's files, path to YAML text; `comparisons` of each rule is 5 or 6."""
    channels = {CHANNEL: [PLACEMENT, "basket"], "call_centre": []}
    shop = {"currency": "EUR", "channels": channels, "holdout": {"rate": 0.0, "salt": "bench"}}
    return {
        "attributes.yaml": yaml.safe_dump({"attributes": _declare_attributes()}, sort_keys=False),
        "offers.yaml": yaml.safe_dump(
            {"offers": _declare_offers(offer_count, comparisons, seed)}, sort_keys=False
        ),
        "shop.yaml": yaml.safe_dump(shop, sort_keys=False),
    }


def compile_files(files: dict[str, str]) -> CompiledCatalogue:
    """Compile a workload's files as revision 1."""
    return compile_catalogue(files, None, revision=1, publish_time_ns=PUBLISH_TIME_NS).catalogue


def draw_slots(
    catalogue: CompiledCatalogue, count: int, draw: np.random.Generator, *, sparse: bool = False
) -> NDArray[np.uint32]:
    """Draw profiles, uint32[count, slots], as the store holds them."""
    slots = np.full((count, catalogue.schema.profile_slot_count), MISSING_CODE, np.uint32)
    loaded = catalogue.schema.loaded
    spans: tuple[tuple[str, int, Callable[[tuple[int, int]], NDArray[np.uint32]]], ...] = (
        ("number", NUMBERS, lambda size: _draw_numbers(draw, size)),
        ("category", CATEGORIES, lambda size: draw.integers(0, CATEGORY_VALUES, size, np.uint32)),
        ("flag", FLAGS, lambda size: draw.integers(0, 2, size, np.uint32)),
    )
    for kind, width, make in spans:
        columns = [loaded[f"{kind}_{at:03d}"].slot for at in range(width)]
        slots[:, columns] = make((count, width))
    if sparse:
        slots[draw.random(slots.shape, np.float32) < 0.7] = MISSING_CODE
    return slots


def fill_store(
    environment: Environment,
    catalogue: CompiledCatalogue,
    customer_count: int,
    *,
    first: int = 0,
    sparse: bool = False,
    seed: int = 11,
) -> None:
    """Write customers `first` to `customer_count` − 1 straight through the store's bulk door."""
    draw = np.random.default_rng([seed, first])
    for start in range(first, customer_count, _BLOCK_ROWS):
        numbers = range(start, min(start + _BLOCK_ROWS, customer_count))
        slots = draw_slots(catalogue, len(numbers), draw, sparse=sparse)
        keys = [key_of(name_customer(number)) for number in numbers]
        environment.write(
            lambda transaction, keys=keys, slots=slots: put_block(  # type: ignore[misc] # mypy reads no defaults of lambdas
                transaction,
                keys,
                slots,
                schema_revision=catalogue.schema.revision,
                now_ms=PUBLISH_TIME_NS // 1_000_000,
            )
        )


def _draw_numbers(draw: np.random.Generator, size: tuple[int, int]) -> NDArray[np.uint32]:
    return (draw.random(size, np.float32) * np.float32(NUMBER_MAX)).view(np.uint32)


def _declare_attributes() -> list[dict[str, object]]:
    number = {"kind": "number", "unit": "EUR", "range": [0, int(NUMBER_MAX)]}
    category = {"kind": "category", "values": [f"v{at}" for at in range(CATEGORY_VALUES)]}
    declared: list[dict[str, object]] = []
    for kind, count, fields in (
        ("number", NUMBERS, number),
        ("category", CATEGORIES, category),
        ("flag", FLAGS, {"kind": "flag"}),
    ):
        # Copies: YAML would write a value that it meets twice as an alias.
        declared += [{"name": f"{kind}_{at:03d}", **deepcopy(fields)} for at in range(count)]
    declared += [
        {"name": "basket_value", "kind": "number", "source": "context", "unit": "EUR"},
        {"name": "device", "kind": "category", "source": "context", "values": ["desktop", "phone"]},
    ]
    return declared


def _declare_offers(count: int, comparisons: int, seed: int) -> list[dict[str, object]]:
    draw = np.random.default_rng(seed)
    return [
        {
            "name": f"offer_{at:04d}",
            "issue": "growth",
            "group": f"group_{at % 20:02d}",
            "value_minor": int(draw.integers(100, 10_000)),
            "prior_propensity": 0.05,
            "eligibility": write_rule(draw, comparisons),
            "treatments": [{"channel": CHANNEL, "content": f"banner/{at}"}],
        }
        for at in range(count)
    ]


def write_rule(draw: np.random.Generator, comparisons: int = 6) -> str:
    """Write a rule of 5 or 6 comparisons over attributes of all kinds.

    One of 6 holds for about 3 in 10: 0.8 × 0.8 × 5 of 8 values × (1 − ½ × 0.3) × 7 of 8 values.
    """
    a, b, c = draw.choice(NUMBERS, 3, replace=False)
    d, e = draw.choice(CATEGORIES, 2, replace=False)
    values = ", ".join(f"'v{v}'" for v in sorted(draw.choice(CATEGORY_VALUES, 5, replace=False)))
    jitter = draw.integers(-20, 20, 3)
    clauses = [
        f"profile.number_{b:03d} < {800 + jitter[1]}.0",
        f"profile.category_{d:03d} in [{values}]",
        (
            f"(profile.flag_{draw.integers(FLAGS):03d} == true"
            f" || profile.number_{c:03d} > {300 + jitter[2]}.0)"
        ),
        f"profile.category_{e:03d} != 'v{draw.integers(CATEGORY_VALUES)}'",
        f"profile.number_{a:03d} >= {200 + jitter[0]}.0",
    ]
    return " && ".join(clauses[: comparisons - 1])


def make_models(catalogue: CompiledCatalogue, seed: int = 5) -> ModelSet:
    """Return a model for each offer with weights drawn at random for every bin.

    What a decision costs depends on how many weights there are, not on what was learned.
    """
    draw = np.random.default_rng(seed)
    sample = draw_slots(catalogue, _SAMPLE_ROWS, draw)
    nothing = np.full((_SAMPLE_ROWS, catalogue.schema.context_slot_count), MISSING_CODE, np.uint32)
    plan = make_plan(catalogue.schema, sample, nothing)
    settings = LearnerSettings()
    models: dict[str, PropensityModel] = {}
    for offer in catalogue.offers:
        model = new_model(plan, settings, offer.prior_propensity)
        model.mean[:] = draw.normal(0.0, _WEIGHT_DEVIATION, plan.row_count)
        # A model without labels is not served.
        model.label_count[:] = 1000, 100
        models[offer.name] = model
    return ModelSet(plan, settings, models)
