"""The binning plan: where values are cut, and that the cut never moves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instanter.catalogue.schema import (
    MISSING_CODE,
    Attribute,
    AttributeKind,
    AttributeSource,
    Schema,
)
from instanter.decision.binning_plan import choose_edges, interleave_edges, make_plan
from instanter.kernels.binning import EDGE_LANES
from instanter.kernels.learning import NEIGHBOUR_ABOVE, NEIGHBOUR_BELOW
from tests.oracles.binning import edges_of

KINDS = AttributeKind


def make_schema(*kinds, context=(), values=("a", "b", "c")):
    def attribute(source, slot, kind):
        own = values if kind is KINDS.CATEGORY else ()
        return Attribute(f"{source.name.lower()}{slot}", kind, source, slot, values=own)

    attributes = [attribute(AttributeSource.LOADED, s, k) for s, k in enumerate(kinds)]
    attributes += [attribute(AttributeSource.CONTEXT, s, k) for s, k in enumerate(context)]
    return Schema(1, tuple(attributes), len(kinds), len(context))


def numbers(*columns):
    return np.array(columns, np.float32).T.copy().view(np.uint32)


def none(count):
    return np.zeros((count, 0), np.uint32)


def test_each_bin_gets_about_the_same_share():
    values = np.random.default_rng(1).normal(size=10_000).astype(np.float32)
    edges = choose_edges(values, 10)
    shares = np.bincount(np.searchsorted(edges, values, side="right"), minlength=10)
    assert len(edges) == 9
    assert abs(shares - 1000).max() <= 1


def test_few_distinct_values_get_a_bin_each():
    values = np.array([3, 1, 1, 7, 3, 7, 7], np.float32)
    assert choose_edges(values, 10).tolist() == [3, 7]


def test_a_frequent_value_takes_one_bin_and_the_others_still_share_the_rest():
    values = np.concatenate([np.zeros(9_000), np.arange(1, 1001)]).astype(np.float32)
    edges = choose_edges(values, 10)
    assert len(edges) == 9
    assert edges[0] == 1
    assert np.diff([*edges, 1001]) == pytest.approx(111, abs=2)


@pytest.mark.parametrize("values", [[], [5.0], [5.0] * 100])
def test_a_number_that_never_varies_has_no_edges(values):
    assert choose_edges(np.array(values, np.float32), 10).tolist() == []


@given(
    values=st.lists(st.floats(-100, 100, width=32), max_size=60),
    bins=st.integers(1, 20),
)
def test_edges_rise_and_are_values_of_the_sample(values, bins):
    edges = choose_edges(np.array(values, np.float32), bins)
    assert len(edges) < bins or len(edges) == 0
    assert (np.diff(edges) > 0).all()
    assert set(edges.tolist()) <= set(np.array(values, np.float32).tolist())


def test_edges_do_not_depend_on_the_order_of_the_sample():
    draw = np.random.default_rng(2)
    values = draw.integers(0, 50, 500).astype(np.float32)
    assert choose_edges(values, 7).tolist() == choose_edges(draw.permutation(values), 7).tolist()


@pytest.mark.parametrize("predictor_count", [0, 1, EDGE_LANES, EDGE_LANES + 1, 150])
def test_interleaved_edges_are_the_same_edges(predictor_count):
    draw = np.random.default_rng(3)
    own = [np.sort(draw.normal(size=draw.integers(0, 12))) for _ in range(predictor_count)]
    start = np.cumsum([0, *map(len, own)], dtype=np.int32)
    edges = np.concatenate([np.zeros(0), *own]).astype(np.float32)
    laid_start, laid = interleave_edges(start, edges)
    assert len(laid_start) == predictor_count + 1
    for p, wanted in enumerate(own):
        assert edges_of(laid_start, laid, p) == wanted.astype(np.float32).tolist()


def test_predictors_are_chosen_by_kind():
    schema = make_schema(*KINDS, context=(KINDS.FLAG, KINDS.NUMBER))
    slots = np.full((10, 4), MISSING_CODE, np.uint32)
    plan = make_plan(schema, slots, np.full((10, 2), 1, np.uint32), channels=("web",))
    # Number, category and flag of the profile; number and flag of the context; the channel.
    assert plan.predictor_source.tolist() == [0, 1, 1, 2, 3, 4]
    assert plan.profile_predictor_count == 3
    # Missing, three values, those to come; missing, no, yes.
    assert plan.bin_count.tolist()[1:3] == [5, 3]


def test_an_excluded_attribute_is_no_predictor():
    plan = make_plan(
        make_schema(KINDS.NUMBER, KINDS.NUMBER),
        numbers([1, 2], [3, 4]),
        none(2),
        excluded=frozenset({"loaded0"}),
    )
    assert plan.predictor_slot.tolist() == [1]


def test_customers_fall_into_the_bins_that_were_cut():
    schema = make_schema(KINDS.NUMBER, KINDS.CATEGORY)
    slots = numbers([1, 2, 3, np.nan], [0, 0, 0, 0])
    slots[0, 0], slots[3, 0] = slots[0, 0], MISSING_CODE
    slots[:, 1] = [0, 2, 77, MISSING_CODE]
    plan = make_plan(schema, slots, none(4))
    bins = plan.bin_customers(slots, none(4), "") - plan.row_start
    assert bins.tolist() == [[1, 1], [2, 3], [3, 4], [0, 0]]
    assert plan.frequency.tolist() == [1, 1, 1, 1, 1, 1, 0, 1, 1]
    assert plan.find_modal_bins().tolist() == [0, 0]


def test_a_channel_that_is_not_known_reads_as_missing():
    plan = make_plan(make_schema(KINDS.FLAG), none(0), none(0), channels=("app", "web"))
    slots = np.zeros((1, 1), np.uint32)
    found = [plan.bin_customers(slots, none(1), c)[0, -1] for c in ("app", "web", "fax", "")]
    assert (np.array(found) - plan.row_start[-1]).tolist() == [1, 2, 0, 0]


def test_only_bins_of_numbers_that_hold_values_have_neighbours():
    schema = make_schema(KINDS.NUMBER, KINDS.CATEGORY)
    plan = make_plan(schema, np.hstack([numbers([1, 2, 3]), numbers([0, 0, 0])]), none(3))
    above, below = NEIGHBOUR_ABOVE, NEIGHBOUR_BELOW
    assert plan.find_neighbours().tolist() == [0, above, above | below, below] + [0] * 5


def test_a_plan_of_nothing_is_a_plan():
    plan = make_plan(make_schema(), none(3), none(3))
    assert plan.row_count == 0
    assert plan.bin_customers(none(3), none(3), "").shape == (3, 0)
    assert plan.find_neighbours().shape == (0,)


def test_the_same_sample_gives_the_same_plan():
    schema = make_schema(*[KINDS.NUMBER] * 5)
    slots = np.random.default_rng(4).normal(size=(300, 5)).astype(np.float32).view(np.uint32)
    plans = [make_plan(schema, slots, none(300)) for _ in range(2)]
    assert plans[0].edges.tobytes() == plans[1].edges.tobytes()
    assert plans[0].predictor_slot.tolist() == plans[1].predictor_slot.tolist()
