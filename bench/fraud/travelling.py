"""Impossible travel: silent on genuine traffic, never missed on journeys that cannot be."""

import numpy as np

from bench.fraud.data_sets import find_synccfd, read_synccfd
from bench.fraud.in_process import compile_world
from bench.fraud.sizes import Sizes
from bench.measurement import Figure
from instanter.catalogue.fraud_words import Disposition
from instanter.fraud.engine import FraudEngine
from instanter.fraud.questions import Transaction
from instanter.fraud.simulation import DictionaryBook

_WORLD = """\
currency: EUR
fraud:
  travel: {distance_km_min: 50, speed_kmh_max: 900}
  rules:
    far: {when: 'travel.impossible', disposition: decline, reason: IMPOSSIBLE_TRAVEL}
"""
_MS_PER_HOUR = 3_600_000
_KM_PER_DEGREE = 111.195
_START_MS = 1_735_689_600_000


class _Till:
    """An engine that knows of nothing but journeys."""

    def __init__(self) -> None:
        self._engine, self._book = FraudEngine(), DictionaryBook()
        self._engine.install(compile_world(_WORLD))

    def fires(self, card: str, time_ms: int, latitude: float, longitude: float) -> bool:
        """Assess and count a card-present transaction; return whether it cannot be."""
        time_ns = time_ms * 1_000_000
        transaction = Transaction(
            "t", card, "", "t", "m", 5411, 1_000, "EUR", time_ns, True, latitude, longitude,
            "", "", {},
        )  # fmt: skip
        found = self._engine.assess(transaction, self._book, now_ns=time_ns)
        self._engine.count(found.counted, self._book)
        return found.disposition is Disposition.DECLINE


def measure_travel(sizes: Sizes) -> dict[str, Figure]:
    """Count what fires on genuine traffic, and what does not on impossible pairs."""
    return {
        "travel_false_count": _count_false(sizes.travel_rows),
        "travel_missed_count": _count_missed(sizes.travel_pairs),
    }


def _count_false(rows: int) -> Figure:
    if find_synccfd() is None:
        return Figure(None, "0", reason="the data set fraud_geo_synccfd_a is not there")
    data = read_synccfd()
    genuine = np.flatnonzero(data.present & ~data.frauds)[: rows or None].tolist()
    till = _Till()
    places = data.terminal_places[data.terminals]
    fired = sum(
        till.fires(
            str(data.cards[row]),
            int(data.times_ms[row]),
            places[row, 0].item(),
            places[row, 1].item(),
        )
        for row in genuine
    )
    return Figure(fired, "0", "", {"transactions": len(genuine)})


def _count_missed(pairs: int) -> Figure:
    """Inject pairs all over the globe: a speed above 900 km/h, or no time at all, over 51 km."""
    draw = np.random.default_rng(3)
    till = _Till()
    fired = 0
    for at in range(pairs):
        here = _draw_place(draw)
        there, distance_km = here, 0.0
        while distance_km < 51.0:
            there = _draw_place(draw, here if at % 3 == 0 else None)
            distance_km = _measure(here, there)
        hours = distance_km / (900.0 * draw.uniform(1.01, 50.0)) if at % 10 else 0.0
        card = f"card-{at}"
        assert not till.fires(card, _START_MS, *here), "a first transaction comes from nowhere"
        shift_ms = int(hours * _MS_PER_HOUR)
        # Every seventh arrives late: it is the older one of the two.
        fired += till.fires(card, _START_MS + (-shift_ms if at % 7 == 0 else shift_ms), *there)
    return Figure(pairs - fired, "0", "", {"pairs": pairs, "fired": fired})


def _draw_place(
    draw: np.random.Generator, near: tuple[float, float] | None = None
) -> tuple[float, float]:
    """Return a place on the globe, or one within about 300 km of another."""
    if near is None:
        return float(np.degrees(np.arcsin(draw.uniform(-1, 1)))), float(draw.uniform(-180, 180))
    north = float(np.clip(near[0] + draw.uniform(-2.5, 2.5), -90, 90))
    east = near[1] + float(draw.uniform(-2.5, 2.5))
    return north, (east + 180) % 360 - 180


def _measure(here: tuple[float, float], there: tuple[float, float]) -> float:
    """Return the distance by the angle between two vectors: not the formula that is measured."""
    vectors = [
        np.array([np.cos(b) * np.cos(a), np.cos(b) * np.sin(a), np.sin(b)])
        for b, a in (np.radians(here), np.radians(there))
    ]
    angle = 2 * np.arctan2(np.linalg.norm(vectors[0] - vectors[1]), np.linalg.norm(sum(vectors)))
    return float(np.degrees(angle)) * _KM_PER_DEGREE
