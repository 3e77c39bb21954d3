"""Derived attributes of single customers, as people read them."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from instanter.catalogue.compiled import CompiledCatalogue
from instanter.catalogue.derivation_plan import DerivationPlan, make_derivation_plan
from instanter.catalogue.schema import MISSING_CODE
from instanter.kernels.derived import evaluate_derived
from instanter.store.activity import DAMAGED_ACTIVITY, DERIVED


class DerivedReader:
    """Evaluates derived attributes of one customer after another, for any thread."""

    __slots__ = ("_laid_out",)

    def __init__(self) -> None:
        self._laid_out: tuple[CompiledCatalogue, DerivationPlan] | None = None

    def write(
        self,
        catalogue: CompiledCatalogue,
        sections: Mapping[int, bytes],
        now_ns: int,
        slots: NDArray[np.uint32],
    ) -> None:
        """Write a customer's derived attributes of one moment.

        Parameters
        ----------
        catalogue
            The catalogue in force.
        sections
            From `store.activity.copy_activity`.
        now_ns
            The moment, nanoseconds since 1970.
        slots
            uint32[S], C-contiguous, written in the slots of derived attributes; all of them are
            missing where the activity record is damaged.
        """
        plan = self._lay_out(catalogue)
        if plan.is_empty:
            return
        if sections is DAMAGED_ACTIVITY:
            slots[plan.slots] = MISSING_CODE
            return
        state = np.frombuffer(sections.get(DERIVED, b""), np.int64)
        cut = np.array([0, len(state)], np.int64)
        row = slots.reshape(1, -1)
        evaluate_derived(1, now_ns / 1e9, state, cut, plan.plan, plan.ratios, row)

    def _lay_out(self, catalogue: CompiledCatalogue) -> DerivationPlan:
        """Return the catalogue's plan, made once a revision."""
        laid_out = self._laid_out
        if laid_out is None or laid_out[0] is not catalogue:
            laid_out = self._laid_out = (catalogue, make_derivation_plan(catalogue))
        return laid_out[1]
