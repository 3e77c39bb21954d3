"""What the tests of the stock engine share: a catalogue, and positions kept in dictionaries."""

from itertools import pairwise

import numpy as np

from instanter.kernels.stock_rows import PROFILE_WORDS, STATE_WORDS
from instanter.stock.engine import StockEngine
from instanter.stock.questions import Movement, MovementKind
from tests.catalogue.worlds import compile_files

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
MONDAY_MS = 1_699_833_600_000
"""Midnight of Monday, 13 November 2023, UTC."""

COUNTING = "{negative: allowed, count_tolerance: {units: 5, share: 0.05}}"
STRICT = "{negative: refused}"


def compile_stock(policy, *, units=("coffee", "tea"), period="day", zone="UTC", revision=1):
    sites = "".join(f"    {site}: {{region: r, time_zone: {zone}}}\n" for site in ("here", "there"))
    names = "".join(f"    {unit}: drinks\n" for unit in units)
    text = (
        f"stock:\n  period: {period}\n  sites:\n{sites}  units:\n{names}"
        f"  policies:\n    - {policy}\n"
    )
    return compile_files({"stock.yaml": text}, revision=revision).catalogue


class Shop:
    """Keeps what a store would, and numbers transitions as it would."""

    def __init__(self, policy, **options):
        self.engine = StockEngine()
        self.engine.install(compile_stock(policy, **options))
        self.states = {}
        self.profiles = {}
        self.sequence = 1
        self.now_ms = 0

    def tell(self, *movements, now_ms=None):
        """Record movements, all or none; return the transitions, or the refusal."""
        batch = self.engine.lay_out(movements)
        states, profiles = self._load(batch.positions, batch.sites)
        refusal = self.engine.check(batch, states)
        if refusal is not None:
            return refusal
        latest = max(movement.time_ms for movement in movements)
        self.now_ms = max(self.now_ms, latest) if now_ms is None else now_ms
        recorded = self.engine.record(
            batch, states, profiles, now_ms=self.now_ms, sequence=self.sequence
        )
        self._keep(batch.positions, states)
        self.profiles.update(zip(batch.sites, profiles, strict=True))
        return self._number(recorded)

    def look(self, now_ms, unit="coffee", site="here"):
        """Let time pass for a position; return the transitions."""
        places = self.engine.place([(site, unit)])
        states, profiles = self._load([(site, unit)], [site])
        before = profiles.copy()
        recorded = self.engine.look(places, states, profiles, now_ms=now_ms, sequence=self.sequence)
        assert profiles.tobytes() == before.tobytes(), "looking learns nothing of the site"
        self._keep([(site, unit)], states)
        return self._number(recorded)

    def describe(self, now_ms=None, unit="coffee", site="here"):
        places = self.engine.place([(site, unit)])
        states, profiles = self._load([(site, unit)], [site])
        moment_ms = self.now_ms if now_ms is None else now_ms
        return self.engine.describe(places[0], states[0], profiles[0], now_ms=moment_ms)

    def sell_daily(self, days, times_a_day, units=1, begin_ms=MONDAY_MS, unit="coffee"):
        """Sell at even distances; return when it ends."""
        step_ms = DAY_MS // times_a_day
        for at in range(days * times_a_day):
            told = self.tell(sale(units, begin_ms + at * step_ms + step_ms // 2, unit))
            assert isinstance(told, tuple), told
        return begin_ms + days * DAY_MS

    def _load(self, positions, sites):
        new = np.zeros(STATE_WORDS, np.int64)
        states = np.array([self.states.get(position, new) for position in positions])
        return states, np.array([self.profiles.get(s, np.zeros(PROFILE_WORDS)) for s in sites])

    def _keep(self, positions, states):
        self.states.update(zip(positions, states, strict=True))

    def _number(self, recorded):
        found = recorded.transitions
        assert all(b.sequence == a.sequence + 1 for a, b in pairwise(found))
        if found:
            assert found[0].sequence == self.sequence
            self.sequence = found[-1].sequence + 1
        return found


def sale(units, time_ms, unit="coffee", **more):
    return Movement(MovementKind.SALE, "here", unit, units, time_ms, **more)


def move(kind, units, time_ms, unit="coffee", **more):
    return Movement(kind, "here", unit, units, time_ms, **more)


def receive(units, time_ms=MONDAY_MS, unit="coffee"):
    return move(MovementKind.RECEIPT, units, time_ms, unit)


def name(transitions):
    """Return causes and kinds, with the severity."""
    return [(t.cause.name, t.kind.name, t.severity.name) for t in transitions]
