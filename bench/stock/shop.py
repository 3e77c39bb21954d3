"""One site in memory, run by the engine that serves: for what is judged from files."""

import numpy as np
from numpy.typing import NDArray

from instanter.catalogue.compilation import compile_catalogue
from instanter.kernels.stock_rows import PROFILE_WORDS, STATE_WORDS
from instanter.stock.engine import StockEngine
from instanter.stock.questions import Batch, Figures, Movement, MovementKind, Recorded

SITE = "shop"


class Shop:
    """All positions of one site.

    Parameters
    ----------
    period
        What demand is learned in, `day` or `week`.
    unit_count
        Stock-keeping units.
    policy
        Policy of all of them, as YAML of one line.

    Attributes
    ----------
    engine
        With the catalogue.
    states, profile
        int64[units, STATE_WORDS] and float64[1, PROFILE_WORDS], as the store would keep them.
    """

    def __init__(self, period: str, unit_count: int, policy: str) -> None:
        names = [f"u{unit:05d}" for unit in range(unit_count)]
        units = "".join(f"    {name}: all\n" for name in names)
        text = (
            f"stock:\n  period: {period}\n  sites: {{{SITE}: {{time_zone: UTC}}}}\n"
            f"  units:\n{units}  policies:\n    - {policy}\n"
        )
        compiled = compile_catalogue({"stock.yaml": text}, None, revision=1, publish_time_ns=0)
        self.engine = StockEngine()
        self.engine.install(compiled.catalogue)
        self.states = np.zeros((unit_count, STATE_WORDS), np.int64)
        self.profile = np.zeros((1, PROFILE_WORDS))
        self._names = names
        self._places = self.engine.place([(SITE, name) for name in names])

    def lay_out(
        self, kind: MovementKind, units: NDArray[np.int64], amounts: NDArray[np.int64], time_ms: int
    ) -> tuple[Batch, NDArray[np.int64]]:
        """Return movements at one time as a batch, and which units its positions are of.

        Parameters
        ----------
        kind
            Of all of them.
        units, amounts
            int64[N], read-only: numbers of units, and how many of them.
        time_ms
            Milliseconds since 1970.
        """
        movements = [
            Movement(kind, SITE, self._names[unit], amount, time_ms)
            for unit, amount in zip(units.tolist(), amounts.tolist(), strict=True)
        ]
        # Positions stand in the order in which movements name them first.
        unique, first = np.unique(units, return_index=True)
        return self.engine.lay_out(movements), unique[np.argsort(first)]

    def record(
        self, kind: MovementKind, units: NDArray[np.int64], amounts: NDArray[np.int64], time_ms: int
    ) -> tuple[Recorded, NDArray[np.int64]]:
        """Record movements at one time; return what they did, and units of the positions."""
        batch, positions = self.lay_out(kind, units, amounts, time_ms)
        states = self.states[positions]
        recorded = self.engine.record(batch, states, self.profile, now_ms=time_ms, sequence=1)
        self.states[positions] = states
        return recorded, positions

    def describe(self, unit: int, now_ms: int) -> Figures:
        """Return the figures of a unit's position."""
        return self.engine.describe(
            self._places[unit], self.states[unit], self.profile[0], now_ms=now_ms
        )
