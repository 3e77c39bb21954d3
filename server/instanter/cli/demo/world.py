"""A retailer that never was: seeded customers of 1000 attributes, 200 offers, and a hidden truth.

Nothing here comes from anybody's data. Each customer has hidden interests; what the profile shows
are noisy traces of them, and whether an offer would be accepted follows from the interests, not
from the profile. The server sees the traces and the answers only, as in life.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_CATEGORY_WORDS = """
bakery beef beer biscuits books breakfast butter cakes camping candles cereals cheese chicken
chocolate coffee cookware cosmetics crisps curtains cycling dairy delicatessen diapers dresses
eggs electronics fish flowers footwear frozen fruit furniture garden gifts glassware gloves ham
handbags hats herbs honey ice_cream jackets jams jeans jewellery juice knitwear lamps laundry
linen luggage milk mushrooms nuts oils outdoor paint paper pasta perfume pet_food pizza pork
poultry rice salads sauces shirts skincare snacks soap soups spices sports stationery tea toys
vegetables wine
"""
CATEGORIES = tuple(_CATEGORY_WORDS.split())
"""80 product categories."""

_MEASURES = (
    "units_30d", "units_365d", "spend_30d", "spend_365d", "visits_30d", "visits_365d",
    "days_since", "discount_share", "returns_365d", "views_30d", "basket_share", "price_mean",
)  # fmt: skip
_REGIONS = (
    "north", "north_east", "east", "south_east", "south", "south_west", "west", "north_west",
)  # fmt: skip
_TIERS = ("none", "bronze", "silver", "gold")
_INCOMES = ("low", "middle", "high")
_CHANNELS = ("web", "mobile", "store")
_PAYMENTS = ("card", "cash", "invoice", "wallet")
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_DAY_PARTS = ("morning", "noon", "afternoon", "evening")
_DISCOUNTS = (10, 15, 20, 25, 30)

KEY_COLUMN = "customer_id"
SEED = 20_260_101
_DAY_S = 86_400
_NOW_S = 1_767_225_600

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class DemoOffer:
    """One offer of the demo: what the truth needs to know of it."""

    name: str
    category: int
    discount: int
    value_minor: int
    base: float


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """The retailer.

    Attributes
    ----------
    table
        Arrow table, one row a customer: the key column and 1000 attributes.
    offers
        200 offers, in the byte order of their names.
    interest
        float64[n, 80]: hidden interest of each customer in each category, about normal.
    thrift
        float64[n]: hidden love of discounts, about normal.
    """

    table: pa.Table
    offers: tuple[DemoOffer, ...]
    interest: Floats
    thrift: Floats

    def acceptance(self, customers: npt.NDArray[np.int64], offer: int) -> Floats:
        """Return the true probability that these customers accept an offer.

        Parameters
        ----------
        customers
            int64[m]: row numbers of customers.
        offer
            Index into `offers`.
        """
        found = self.offers[offer]
        logit = (
            found.base
            + 1.3 * self.interest[customers, found.category]
            + 0.5 * self.thrift[customers] * (found.discount - 20) / 10
        )
        return np.asarray(1.0 / (1.0 + np.exp(-logit)))


def make_world(customer_count: int, seed: int = SEED) -> World:
    """Make the retailer; the same count and seed always make the same one."""
    draw = np.random.default_rng(seed)
    interest = draw.standard_normal((customer_count, len(CATEGORIES)))
    household = draw.standard_normal((customer_count, 4))
    likes = draw.standard_normal((4, len(CATEGORIES)))
    interest = 0.8 * interest + 0.3 * household @ likes
    thrift = draw.standard_normal(customer_count)
    activity = np.exp(0.6 * draw.standard_normal(customer_count))
    columns = _base_columns(draw, customer_count, activity, thrift)
    for at, category in enumerate(CATEGORIES):
        columns |= _category_columns(draw, category, interest[:, at], activity, thrift)
    ids = pa.array([f"c{n:07d}" for n in range(customer_count)])
    table = pa.table({KEY_COLUMN: ids, **columns})
    return World(table, _make_offers(draw), interest, thrift)


def _base_columns(
    draw: np.random.Generator, count: int, activity: Floats, thrift: Floats
) -> dict[str, pa.Array]:
    """Draw the 40 attributes that are about no category."""
    visits = draw.poisson(12 * activity)
    spend = visits * np.exp(3.2 + 0.4 * draw.standard_normal(count))
    columns: dict[str, pa.Array] = {
        "age": _number(draw.integers(18, 90, count)),
        "tenure_days": _number(draw.integers(0, 5000, count)),
        "household_size": _number(1 + draw.poisson(1.4, count)),
        "children_count": _number(draw.poisson(0.6, count)),
        "distance_km": _number(np.exp(1.5 + draw.standard_normal(count))),
        "income_band": _category(draw, _INCOMES, count),
        "region": _category(draw, _REGIONS, count),
        "loyalty_tier": _category(draw, _TIERS, count),
        "preferred_channel": _category(draw, _CHANNELS, count),
        "preferred_payment": _category(draw, _PAYMENTS, count),
        "member": pa.array(draw.random(count) < 0.6),
        "newsletter": pa.array(draw.random(count) < 0.4),
        "app_user": pa.array(draw.random(count) < 0.5),
        "last_purchase": _instant(_NOW_S - _DAY_S * draw.integers(0, 400, count)),
        "joined": _instant(_NOW_S - _DAY_S * draw.integers(400, 5000, count)),
        "basket_mean": _number(spend / np.maximum(visits, 1)),
        "basket_max": _number(spend / np.maximum(visits, 1) * (1 + draw.random(count))),
        "spend_30d": _number(spend / 12),
        "spend_365d": _number(spend),
        "visits_30d": _number(draw.poisson(activity)),
        "visits_365d": _number(visits),
        "returns_365d": _number(draw.poisson(0.5 * activity)),
        "coupons_365d": _number(draw.poisson(np.exp(0.7 * thrift))),
        "complaints_365d": _number(draw.poisson(0.1, count)),
        "web_sessions_30d": _number(draw.poisson(3 * activity)),
        "store_visits_30d": _number(draw.poisson(2 * activity)),
        "mobile_sessions_30d": _number(draw.poisson(4 * activity)),
        "gift_cards_365d": _number(draw.poisson(0.2, count)),
        "loyalty_points": _number(np.round(spend / 10)),
    }
    for part in (*_WEEKDAYS, *_DAY_PARTS):
        columns[f"visits_{part}"] = _number(draw.poisson(visits / 7))
    return columns


def _category_columns(
    draw: np.random.Generator, category: str, interest: Floats, activity: Floats, thrift: Floats
) -> dict[str, pa.Array]:
    """Draw the 12 traces that a customer's interest in one category leaves."""
    count = len(interest)
    year = draw.poisson(np.exp(0.9 * interest) * activity)
    month = draw.binomial(year, 1 / 8)
    price = np.exp(2.0 + 0.2 * draw.standard_normal(count))
    visits = draw.binomial(year, 0.7)
    values: tuple[npt.NDArray[Any], ...] = (
        month.astype(float),
        year.astype(float),
        month * price,
        year * price,
        draw.binomial(month, 0.7).astype(float),
        visits.astype(float),
        np.where(year > 0, np.ceil(365 * draw.random(count) / np.maximum(year, 1)), np.nan),
        np.where(year > 0, np.clip(0.3 + 0.15 * thrift, 0, 1), np.nan),
        draw.binomial(year, 0.05).astype(float),
        draw.poisson(0.5 * np.exp(0.7 * interest)).astype(float),
        year / (1.0 + 8 * activity),
        np.where(year > 0, price, np.nan),
    )
    return {
        f"{category}_{measure}": _number(value)
        for measure, value in zip(_MEASURES, values, strict=True)
    }


def _make_offers(draw: np.random.Generator) -> tuple[DemoOffer, ...]:
    """Draw 200 offers: two or three discounts a category."""
    offers: list[DemoOffer] = []
    for n in range(200):
        category, turn = n % len(CATEGORIES), n // len(CATEGORIES)
        discount = _DISCOUNTS[(category + 2 * turn) % len(_DISCOUNTS)]
        offers.append(
            DemoOffer(
                name=f"{CATEGORIES[category]}_{discount}_percent",
                category=category,
                discount=discount,
                value_minor=int(draw.integers(150, 350)),
                base=float(-3.0 + 0.4 * draw.standard_normal()),
            )
        )
    return tuple(sorted(offers, key=lambda offer: offer.name))


def _number(values: npt.NDArray[np.generic]) -> pa.Array:
    """Return a float32 column in which NaN is null."""
    return pa.array(np.asarray(values, np.float32), from_pandas=True)


def _category(draw: np.random.Generator, values: tuple[str, ...], count: int) -> pa.Array:
    """Return a column of category values, each equally likely."""
    codes = draw.integers(0, len(values), count).astype(np.int32)
    return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(values)).cast(pa.string())


def _instant(seconds: npt.NDArray[np.int64]) -> pa.Array:
    """Return a column of instants, whole seconds in UTC."""
    return pa.array(seconds, pa.int64()).cast(pa.timestamp("s", tz="UTC"))
