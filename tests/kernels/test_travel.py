"""Impossible travel against its slow twin, and at the edges of the globe and of the clock."""

import math

import numpy as np
import pytest

from instanter.kernels import travel
from tests.oracles import travel as oracle

HOUR_MS = 3_600_000
NOW_MS = 1_735_689_600_000
FRANKFURT = (50.11, 8.68)
SYDNEY = (-33.87, 151.21)


def evaluate(module, before, here, hours, distance_km_min=50.0, speed_kmh_max=900.0):
    """Evaluate a transaction `hours` after one at `before`; return the four figures."""
    place = np.array([NOW_MS, *before], np.float64)
    place.setflags(write=False)
    figures = np.zeros(travel.TRAVEL_FIGURES, np.uint32)
    time_ms = NOW_MS + round(hours * HOUR_MS)
    module.evaluate_travel(place, time_ms, *here, distance_km_min, speed_kmh_max, figures)
    return int(figures[0]), *figures[1:].view(np.float32).tolist()


@pytest.mark.parametrize("kernel", [row.name for row in travel.KERNELS])
def test_every_kernel_has_a_slow_twin(kernel):
    assert callable(getattr(oracle, kernel))


def test_ten_thousand_pairs_are_those_of_the_oracle():
    draw = np.random.default_rng(4)
    latitudes = np.degrees(np.arcsin(draw.uniform(-1, 1, (10_000, 2))))
    longitudes = draw.uniform(-180, 180, (10_000, 2))
    near = draw.random(10_000) < 0.3
    latitudes[near, 1] = latitudes[near, 0] + 1e-3
    hours = draw.exponential(12, 10_000) * draw.choice([-1, 0, 1], 10_000)
    for i in range(10_000):
        pair = list(zip(latitudes[i].tolist(), longitudes[i].tolist(), strict=True))
        found = evaluate(travel, *pair, hours[i])
        wanted = evaluate(oracle, *pair, hours[i])
        assert found == pytest.approx(wanted, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(
    ("before", "here", "distance_km"),
    [
        ((0.0, 179.9), (0.0, -179.9), 22.239),
        ((0.0, 180.0), (0.0, -180.0), 0.0),
        ((90.0, 0.0), (90.0, 137.0), 0.0),
        ((-90.0, 12.0), (-89.9, -100.0), 11.119),
        ((0.0, 0.0), (0.0, 180.0), math.pi * 6371.0088),
        ((90.0, 0.0), (-90.0, 0.0), math.pi * 6371.0088),
        ((50.11, 8.68), (50.11, 8.68), 0.0),
        (FRANKFURT, SYDNEY, 16_477.0),
    ],
)
def test_the_distance_is_known(before, here, distance_km):
    assert travel.measure_distance(*before, *here) == pytest.approx(distance_km, rel=2e-3, abs=1e-6)
    assert travel.measure_distance(*here, *before) == pytest.approx(distance_km, rel=2e-3, abs=1e-6)


@pytest.mark.parametrize(
    ("before", "here", "hours", "impossible"),
    [
        (FRANKFURT, SYDNEY, 1.0, 1),
        (FRANKFURT, SYDNEY, 22.0, 0),
        # A later transaction was known before this one arrived.
        (FRANKFURT, SYDNEY, -1.0, 1),
        (FRANKFURT, SYDNEY, -22.0, 0),
        (FRANKFURT, SYDNEY, 0.0, 1),
        (FRANKFURT, FRANKFURT, 0.0, 0),
        # 49 km at the same moment is not far enough, 51 km is.
        ((0.0, 0.0), (0.0, 49 / 111.195), 0.0, 0),
        ((0.0, 0.0), (0.0, 51 / 111.195), 0.0, 1),
        # At the bound of 900 km/h.
        ((0.0, 0.0), (0.0, 899 / 111.195), 1.0, 0),
        ((0.0, 0.0), (0.0, 901 / 111.195), 1.0, 1),
        # Around the antimeridian it is a short walk.
        ((-17.0, 179.99), (-17.0, -179.99), 0.01, 0),
    ],
)
def test_what_is_impossible(before, here, hours, impossible):
    assert evaluate(travel, before, here, hours)[0] == impossible


def test_two_places_at_the_same_moment_have_a_finite_speed():
    assert evaluate(travel, FRANKFURT, SYDNEY, 0.0)[1] == travel.SPEED_KMH_MAX


@pytest.mark.parametrize(
    ("place", "here"),
    [
        ([], FRANKFURT),
        ([math.nan, math.nan, math.nan], FRANKFURT),
        ([NOW_MS, *FRANKFURT], (math.nan, 8.0)),
        ([NOW_MS, *FRANKFURT], (50.0, math.nan)),
    ],
)
def test_without_two_places_everything_is_missing(place, here):
    for module in (travel, oracle):
        figures = np.zeros(travel.TRAVEL_FIGURES, np.uint32)
        module.evaluate_travel(np.array(place, np.float64), NOW_MS, *here, 50.0, 900.0, figures)
        assert (figures == 0xFFFF_FFFF).all()


@pytest.mark.parametrize("module", [travel, oracle])
def test_only_a_later_place_takes_the_place_of_one(module):
    place = np.full(travel.PLACE_WORDS, math.nan)
    module.update_place(NOW_MS, *FRANKFURT, place)
    assert place.tolist() == [NOW_MS, *FRANKFURT]
    module.update_place(NOW_MS - 1, *SYDNEY, place)
    module.update_place(NOW_MS + 1, math.nan, 8.0, place)
    module.update_place(NOW_MS + 1, 50.0, math.nan, place)
    assert place.tolist() == [NOW_MS, *FRANKFURT]
    module.update_place(NOW_MS, *SYDNEY, place)
    assert place.tolist() == [NOW_MS, *SYDNEY]
