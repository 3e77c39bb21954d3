"""The event engine: what it refuses, and that states say what the raw events say."""

import math
import struct
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instanter.catalogue.derivation_plan import STATE_WORDS_MAX, make_derivation_plan
from instanter.catalogue.values import decode_value
from instanter.errors import InvalidFieldError
from instanter.events.engine import EventEngine
from instanter.kernels.derived import evaluate_derived
from instanter.limits import DERIVATIONS_MAX, DERIVED_STATE_SIZE_BYTES_MAX
from tests.catalogue.worlds import compile_files
from tests.events.counting import count_rows
from tests.oracles.derived import recompute

NOW_MS = 1_800_000_000_000
DAY_MS = 86_400_000

EVENTS = """\
events:
  - name: purchase
    fields:
      - {name: amount, kind: number, unit: EUR, range: [-1000, 100000]}
      - {name: department, kind: category, values: [food, toys, books]}
      - {name: online, kind: flag}
      - {name: promised, kind: instant}
  - name: visit
    fields:
      - {name: page, kind: category, values: [home, basket], required: true}
  - name: signal
"""
SHOP = "currency: EUR\nchannels: {web: []}\n"
_LINE = "  - {{name: {}, kind: {}, {}source: derived, derive: {{{}}}}}\n"


def _derived(name, derive, kind="number", extra=""):
    return _LINE.format(name, kind, extra, derive)


FUNCTIONS = ("sum", "minimum", "maximum", "mean", "last")
WINDOWS = ("1m", "7h", "90d")
ATTRIBUTES = "attributes:\n" + "".join(
    [
        *(
            _derived(f"{f}_{w}", f"event: purchase, function: {f}, field: amount, window: {w}")
            for f in FUNCTIONS
            for w in WINDOWS
        ),
        *(
            _derived(f"count_{w}", f"event: purchase, function: count, window: {w}")
            for w in WINDOWS
        ),
        *(
            _derived(f"since_{w}", f"event: purchase, function: time_since_last, window: {w}")
            for w in WINDOWS
        ),
        *(
            _derived(
                f"kinds_{w}",
                f"event: purchase, function: distinct, field: department, window: {w}",
            )
            for w in WINDOWS
        ),
        *(
            _derived(
                f"amounts_{w}", f"event: purchase, function: distinct, field: amount, window: {w}"
            )
            for w in WINDOWS
        ),
        *(
            _derived(f"faded_{f}", f"event: purchase, function: {f}, field: amount, half_life: 2h")
            for f in ("sum", "mean")
        ),
        _derived("faded_count", "event: purchase, function: count, half_life: 30d"),
        _derived(
            "online_food",
            "event: purchase, function: count, window: 90d,"
            " where: \"online && department == 'food'\"",
        ),
        _derived("visits", "event: visit, function: count, window: 7h"),
        _derived("last_page", "event: visit, function: last, field: page, window: 7h",
                 "category", "values: [home, basket], "),
        _derived("last_promise", "event: purchase, function: last, field: promised, window: 90d",
                 "instant"),
        _derived("per_visit", "function: ratio, numerator: sum_7h, denominator: visits"),
    ]
)  # fmt: skip
FILES = {"events.yaml": EVENTS, "attributes.yaml": ATTRIBUTES, "shop.yaml": SHOP}


CATALOGUE = compile_files(FILES).catalogue


def make_engine(catalogue=CATALOGUE):
    engine = EventEngine()
    engine.install(catalogue)
    return engine


def read(catalogue, state, now_ms):
    """Return the values of all derived attributes at a moment."""
    plan = make_derivation_plan(catalogue)
    slots = np.full((1, catalogue.schema.profile_slot_count), 5, np.uint32)
    words = np.frombuffer(state, np.int64)
    cut = np.array([0, len(words)], np.int64)
    evaluate_derived(1, now_ms / 1000, words, cut, plan.plan, plan.ratios, slots)
    return {
        name: decode_value(attribute, int(slots[0, attribute.slot]))
        for name, attribute in catalogue.schema.derived.items()
    }


times = st.one_of(
    st.integers(0, 70_000),
    st.integers(0, 8 * 3_600_000),
    st.integers(0, 200 * DAY_MS),
    st.integers(0, 33).map(lambda tile: tile * 2_000),
    st.integers(0, 33).map(lambda tile: tile * 788_000),
).map(lambda ago: NOW_MS - ago)
amounts = st.one_of(st.integers(-1000, 1000).map(lambda cents: cents / 4), st.just(100_000.0))
optional = {
    "amount": amounts,
    "department": st.sampled_from(["food", "toys", "books"]),
    "online": st.booleans(),
    "promised": st.integers(0, 2**32 - 2).map(lambda s: datetime.fromtimestamp(s, UTC)),
}
events_of = st.lists(
    st.one_of(
        st.tuples(st.just("purchase"), times, st.fixed_dictionaries({}, optional=optional)),
        st.tuples(
            st.just("visit"), times, st.fixed_dictionaries({"page": st.sampled_from(["home"])})
        ),
        st.tuples(st.just("signal"), times, st.just({})),
    ),
    max_size=60,
)


def row_of(engine, kind, time_ms, fields):
    return struct.pack("<q", time_ms) + engine.encode(kind, fields)


def fold(engine, events):
    state = b""
    for kind, time_ms, fields in events:
        state = count_rows(engine, state, [row_of(engine, kind, time_ms, fields)])
    return state


def wanted_of(derivation, events, now_ms):
    """Recompute one derived attribute from the raw events."""
    if derivation.attribute == "online_food":
        events = [e for e in events if e[2].get("online") and e[2].get("department") == "food"]
    (kind,) = (kind for kind in CATALOGUE.events if kind.name == derivation.event)
    name = kind.fields[derivation.field_index].name if derivation.field_index >= 0 else None
    pairs = [
        (time_ms, fields.get(name) if name else 0)
        for of_kind, time_ms, fields in events
        if of_kind == derivation.event and (name is None or name in fields)
    ]
    wanted = recompute(derivation, pairs, now_ms)
    return int(wanted.timestamp()) if isinstance(wanted, datetime) else wanted


@given(events_of, st.sampled_from([0, 1, 1_999, 61_000, 7 * 3_600_000, 91 * DAY_MS]))
def test_derived_attributes_say_what_the_raw_events_say(events, later_ms):
    now_ms = NOW_MS + later_ms
    found = read(CATALOGUE, fold(make_engine(), events), now_ms)
    for derivation in CATALOGUE.derivations:
        name = derivation.attribute
        if name == "per_visit":
            continue
        wanted = wanted_of(derivation, events, now_ms)
        if name.startswith("faded_mean") and found[name] is None and wanted is not None:
            # Nothing is left of events that are at the end of the sixteen half-lives.
            newest_ms = max(time_ms for kind, time_ms, _ in events if kind == derivation.event)
            assert now_ms - newest_ms >= 15_000 * derivation.half_life_s, name
        elif isinstance(wanted, str) or wanted is None:
            assert found[name] == wanted, name
        elif name.startswith("amounts_"):
            assert found[name] == pytest.approx(wanted, rel=0.1, abs=1.2), name
        else:
            # Float32 tells 7 digits; what 16 half-lives leave out is a 65,000th of 60 × 100,000.
            slack = 100 if name.startswith("faded_sum") else 1e-3
            assert found[name] == pytest.approx(wanted, rel=2e-4, abs=slack), name
    visits, spent = found["visits"], found["sum_7h"]
    assert found["per_visit"] == (pytest.approx(spent / visits) if visits else None)


@given(events_of, st.randoms(use_true_random=False), st.integers(1, 7))
def test_any_order_in_any_portions_leaves_the_same_bytes(events, draw, portion):
    engine = make_engine()
    wanted = fold(engine, events)
    shuffled = [row_of(engine, *event) for event in events]
    draw.shuffle(shuffled)
    state = b""
    for at in range(0, len(shuffled), portion):
        state = count_rows(engine, state, shuffled[at : at + portion])
    assert state == wanted


def test_a_changed_derivation_begins_anew_and_disturbs_no_other():
    engine = make_engine()
    events = [("purchase", NOW_MS - n * 1000, {"amount": 2.0}) for n in range(5)]
    state = fold(engine, events)
    changed = ATTRIBUTES.replace(
        "function: sum, field: amount, window: 7h", "function: sum, field: amount, window: 8h"
    ).replace("name: mean_90d", "name: other_mean")
    after = compile_files(
        {**FILES, "attributes.yaml": changed}, previous=CATALOGUE, revision=2
    ).catalogue
    engine.install(after)
    now = read(after, state, NOW_MS)
    assert (now["sum_7h"], now["other_mean"], now["sum_90d"]) == (0, None, 10)
    state = count_rows(engine, state, [row_of(engine, "purchase", NOW_MS, {"amount": 1.0})])
    now = read(after, state, NOW_MS)
    assert (now["sum_7h"], now["other_mean"], now["sum_90d"]) == (1, 1, 11)
    back = compile_files(FILES, previous=after, revision=3).catalogue
    engine.install(back)
    now = read(back, state, NOW_MS)
    assert (now["sum_7h"], now["mean_90d"], now["sum_90d"]) == (0, None, 11)


def test_what_was_encoded_means_the_same_under_a_later_catalogue():
    engine = make_engine()
    given_fields = {"amount": 2.5, "department": "toys"}
    before = engine.encode("purchase", given_fields)
    grown = EVENTS.replace("[food, toys, books]", "[books, food, games, toys]").replace(
        "      - {name: online, kind: flag}\n",
        "      - {name: online, kind: flag}\n      - {name: shop, kind: flag}\n",
    )
    engine.install(
        compile_files({**FILES, "events.yaml": grown}, previous=CATALOGUE, revision=2).catalogue
    )
    assert engine.encode("purchase", given_fields) == before
    assert engine.encode("purchase", dict(reversed(given_fields.items()))) == before


@pytest.mark.parametrize(
    ("kind", "fields", "field", "reason", "words"),
    [
        ("purchse", {}, "kind", "EVENT_KIND_UNKNOWN", "did you mean 'purchase'"),
        ("", {}, "kind", "EVENT_KIND_UNKNOWN", "'purchase', 'visit', 'signal'"),
        ("x" * 10_000, {}, "kind", "EVENT_KIND_UNKNOWN", "10,000 characters"),
        ("visit", {}, 'fields["page"]', "EVENT_FIELD_MISSING", "requires this field"),
        ("visit", {"pge": "home"}, 'fields["pge"]', "EVENT_FIELD_UNKNOWN", "mean 'page'"),
        ("signal", {"page": "home"}, 'fields["page"]', "EVENT_FIELD_UNKNOWN", "none is declared"),
        ("visit", {"page": "hme"}, 'fields["page"]', "ATTRIBUTE_VALUE_UNKNOWN", "mean 'home'"),
        ("visit", {"page": 4.0}, 'fields["page"]', "ATTRIBUTE_KIND_MISMATCH", "a category"),
        ("purchase", {"amount": "4"}, 'fields["amount"]', "ATTRIBUTE_KIND_MISMATCH", "a number"),
        ("purchase", {"amount": True}, 'fields["amount"]', "ATTRIBUTE_KIND_MISMATCH", "number"),
        ("purchase", {"amount": 1e9}, 'fields["amount"]', "ATTRIBUTE_OUT_OF_RANGE", "1000"),
        ("purchase", {"amount": math.nan}, 'fields["amount"]', "ATTRIBUTE_OUT_OF_RANGE", "EUR"),
        ("purchase", {"amount": math.inf}, 'fields["amount"]', "ATTRIBUTE_OUT_OF_RANGE", "EUR"),
        ("purchase", {"online": 1.0}, 'fields["online"]', "ATTRIBUTE_KIND_MISMATCH", "a flag"),
        ("purchase", {"\0": 1.0}, 'fields["\0"]', "EVENT_FIELD_UNKNOWN", "a field of"),
    ],
)
def test_what_is_wrong_with_an_event_is_named(kind, fields, field, reason, words):
    with pytest.raises(InvalidFieldError) as caught:
        make_engine().encode(kind, fields)
    assert caught.value.field == field
    assert caught.value.reason == reason
    assert words in caught.value.message


def test_a_state_keeps_within_its_limit():
    assert DERIVED_STATE_SIZE_BYTES_MAX == DERIVATIONS_MAX * STATE_WORDS_MAX * 8


def test_of_two_events_at_one_time_the_larger_is_the_last():
    engine = make_engine()
    events = [("purchase", NOW_MS, {"amount": amount}) for amount in (-3.0, 7.0, -5.0)]
    assert fold(engine, events) == fold(engine, events[::-1])
    assert read(CATALOGUE, fold(engine, events), NOW_MS)["last_1m"] == 7.0


def test_an_event_fades_by_half_each_half_life_for_sixteen_of_them():
    state = fold(make_engine(), [("purchase", NOW_MS, {"amount": 1000.0})])
    for half_lives in (0, 0.25, 1, 7.5, 15):
        now_ms = NOW_MS + int(half_lives * 7_200_000)
        found = read(CATALOGUE, state, now_ms)
        assert found["faded_sum"] == pytest.approx(1000 * 2**-half_lives, rel=1e-6)
        assert found["faded_mean"] == pytest.approx(1000, rel=1e-6)
    found = read(CATALOGUE, state, NOW_MS + 18 * 7_200_000)
    assert (found["faded_sum"], found["faded_mean"]) == (0, None)
