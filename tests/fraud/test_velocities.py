"""Velocities of random histories are what the raw transactions give, within one tile."""

import math
from dataclasses import dataclass

import hypothesis
import pytest
from hypothesis import strategies as st

from instanter.fraud.encoding import hash_name
from instanter.kernels.derived_state import hash_bucket
from tests.fraud.worlds import NOW_NS, SECOND_NS, Desk

FUNCTIONS = ("count", "sum", "minimum", "maximum", "mean", "time_since_last", "distinct")
LABELS = ("frauds", "labels")
WINDOWS = {"10s": 10, "1m": 60, "1h": 3_600, "3h": 10_800, "90d": 90 * 86_400}
ENTITIES = ("card", "customer", "terminal", "merchant", "device")
PRESENT = "transaction.channel == 'card_present'"
LARGE = "transaction.amount > 20.0"
TERMINALS = ("t1", "t2", "t3", "t4")


@dataclass(frozen=True, slots=True)
class Wanted:
    per: str
    function: str
    of: str
    window: str
    counts: str
    where: str

    def write(self, name):
        parts = [f"per: {self.per}", f"function: {self.function}", f"window: {self.window}"]
        if self.of:
            parts.append(f"of: {self.of}")
        if self.counts and self.function not in LABELS:
            parts.append(f"counts: {self.counts}")
        if self.where:
            parts.append(f'where: "{self.where}"')
        return f"    {name}: {{{', '.join(parts)}}}\n"

    def recompute(self, history, name, time_ns):
        """Return what the raw transactions say at a time; None for nothing to say."""
        window_s = WINDOWS[self.window]
        tile_ms = 1_000 * max(-(-window_s // 32), 2)
        time_ms = time_ns // 1_000_000
        begin_ms = time_ms - 1_000 * window_s
        if self.function != "time_since_last":
            begin_ms = begin_ms // tile_ms * tile_ms
        own = [
            one
            for one in history
            if getattr(one.counted, self.per) == name
            and one.counted.time_ns // 1_000_000 >= begin_ms
            and (self.where != PRESENT or one.present)
            and (self.where != LARGE or one.counted.amount_minor > 2_000)
        ]
        if self.function in LABELS:
            known = [one for one in own if one.fraud is not None]
            return sum(one.fraud for one in known) if self.function == "frauds" else len(known)
        if self.counts == "approved":
            own = [one for one in own if one.counted.approved]
        if self.function == "time_since_last":
            latest = max((one.counted.time_ns // 1_000_000 for one in own), default=None)
            return None if latest is None else (time_ms - latest) / 1_000
        values = [one.counted.amount_minor / 100 for one in own]
        if self.of == "amount_minor":
            values = [one.counted.amount_minor for one in own]
        if self.function == "distinct":
            return len({getattr(one.counted, self.of) for one in own} - {""})
        if self.function in ("count", "sum"):
            return len(own) if self.function == "count" else math.fsum(values)
        if not own:
            return None
        return {"minimum": min, "maximum": max, "mean": lambda v: math.fsum(v) / len(v)}[
            self.function
        ](values)


@dataclass(slots=True)
class Past:
    counted: object
    present: bool
    fraud: bool | None


def _make(per, function, window, counts, where, minor):
    of = ""
    if function == "distinct":
        of = "terminal" if minor else "device"
    elif function in FUNCTIONS[1:5]:
        of = "amount_minor" if minor else "amount"
    return Wanted(per, function, of, window, counts, where)


wanted = st.builds(
    _make,
    st.sampled_from(ENTITIES),
    st.sampled_from((*FUNCTIONS, *LABELS)),
    st.sampled_from(sorted(WINDOWS)),
    st.sampled_from(("", "attempts", "approved")),
    st.sampled_from(("", PRESENT, LARGE)),
    st.booleans(),
)
transactions = st.tuples(
    st.sampled_from((0, 1, 2, 5, 9, 30, 58, 100, 2_000, 3_590, 9_000, 10_750)),
    st.sampled_from(("c1", "c2")),
    st.sampled_from(("", "k1", "k2")),
    st.sampled_from(TERMINALS),
    st.sampled_from(("m1", "m2")),
    st.sampled_from(("", "d1", "d2")),
    st.sampled_from((1, 999, 2_000, 2_001, 123_456, 16_000_001)),
    st.booleans(),
    st.sampled_from((None, None, True, False)),
    st.integers(0, 900),
)


def test_the_names_of_this_test_fall_into_buckets_of_their_own():
    names = (*TERMINALS, "d1", "d2")
    assert len({hash_bucket(hash_name(name)) for name in names}) == len(names)


@hypothesis.settings(max_examples=120, deadline=None)
@hypothesis.given(
    st.lists(wanted, min_size=1, max_size=12), st.lists(transactions, min_size=1, max_size=25)
)
def test_velocities_are_what_the_raw_transactions_give(velocities, steps):
    lines = "".join(one.write(f"v{n}") for n, one in enumerate(velocities))
    desk = Desk(
        f"  velocities:\n{lines}"
        "  rules:\n"
        "    huge: {when: transaction.amount > 1000, disposition: decline, reason: HUGE}\n"
    )
    history = []
    time_ns = NOW_NS
    for number, step in enumerate(steps):
        gap_s, card, customer, terminal, merchant, device, amount, present, fraud, ms = step
        time_ns += gap_s * SECOND_NS + ms * 1_000_000
        changes = {
            "card": card, "customer": customer, "terminal": terminal, "merchant": merchant,
            "device": device, "amount_minor": amount, "present": present, "time_ns": time_ns,
        }  # fmt: skip
        assessment = desk.take(number, **changes)
        seen = desk.see(assessment)
        for n, one in enumerate(velocities):
            name = changes[one.per]
            expected = one.recompute(history, name, time_ns) if name else None
            if expected is None:
                assert f"velocity.v{n}" not in seen, one
            else:
                assert seen[f"velocity.v{n}"] == pytest.approx(expected, rel=1e-6), one
        history.append(Past(assessment.counted, present, None))
        if fraud is not None:
            past = history[len(history) // 2]
            if past.fraud is None:
                desk.engine.label(past.counted, desk.book, fraud=fraud)
                past.fraud = fraud
