"""Derived attributes of the customers of one turn: gathered one by one, evaluated together."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from instanter.catalogue.derivation_plan import DerivationPlan
from instanter.catalogue.schema import MISSING_CODE
from instanter.kernels.derived import evaluate_derived
from instanter.limits import BATCH_TURN_MAX
from instanter.store.activity import DAMAGED_ACTIVITY, DERIVED


class DerivedRows:
    """Writes derived attributes into the rows of a turn. Belongs to one thread.

    Parameters
    ----------
    plan
        The derivations of the catalogue in use; there is one.
    """

    __slots__ = ("_damaged", "_plan", "_slots", "_start", "_states")

    def __init__(self, plan: DerivationPlan) -> None:
        self._plan = plan
        self._slots = plan.slots
        self._start = np.zeros(BATCH_TURN_MAX + 1, np.int64)
        self._states: list[bytes] = []
        self._damaged: list[int] = []

    def clear(self) -> None:
        """Begin a turn."""
        self._states.clear()
        self._damaged.clear()

    def add(self, sections: Mapping[int, bytes]) -> None:
        """Take the next row's customer.

        Parameters
        ----------
        sections
            From `copy_activity`.
        """
        if sections is DAMAGED_ACTIVITY:
            self._damaged.append(len(self._states))
        state = sections.get(DERIVED, b"")
        self._states.append(state)
        row = len(self._states)
        self._start[row] = self._start[row - 1] + (len(state) >> 3)

    def evaluate(self, now_s: float, slots: NDArray[np.uint32]) -> None:
        """Write the derived attributes of all rows that were added.

        Parameters
        ----------
        now_s
            The moment, seconds since 1970.
        slots
            uint32[n, S], written in the slots of derived attributes. All of them are missing
            where the activity record is damaged: no events and unknown ones are not the same.
        """
        states = np.frombuffer(b"".join(self._states), np.int64)
        plan = self._plan
        evaluate_derived(
            len(self._states), now_s, states, self._start, plan.plan, plan.ratios, slots
        )
        for row in self._damaged:
            slots[row, self._slots] = MISSING_CODE
