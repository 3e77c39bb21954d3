"""The engine of the stock side: positions, learned demand, and the transitions of alerts.

No clock, no randomness and nothing of the store: the caller loads rows of fixed size, and keeps
what the engine has written into them.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from instanter.catalogue.compiled import CompiledCatalogue
from instanter.catalogue.stock import Cause
from instanter.kernels.stock_rows import PROFILE_WORDS, STATE_WORDS
from instanter.stock.questions import (
    Batch,
    Figures,
    Movement,
    Recorded,
    Refusal,
    Transition,
)

STATE_SIZE_BYTES = 8 * STATE_WORDS
"""Of a position's state; a new one is all 0."""
PROFILE_SIZE_BYTES = 8 * PROFILE_WORDS
"""Of a site's profile; a new one is all 0."""


class StockEngine:
    """Works by the catalogue installed last. Belongs to one thread."""

    def install(self, catalogue: CompiledCatalogue) -> None:
        """Use a catalogue from now on; costs nothing when it is the one in use.

        Raises
        ------
        PreconditionError
            It declares no stock; reason STOCK_NOT_DECLARED.
        """
        raise NotImplementedError

    def lay_out(self, movements: Sequence[Movement], field: str = "movements") -> Batch:
        """Return movements as kernels take them, and which rows to load for them.

        Raises
        ------
        InvalidFieldError
            A site or unit is unknown, or units cannot be; names `movements[3].units`.
        """
        raise NotImplementedError

    def place(self, positions: Sequence[tuple[str, str]]) -> NDArray[np.int64]:
        """Return the places of positions (site, unit), as `look` and `describe` take them.

        Row p has the profile p: the caller gives one profile a position. Positions of sites and
        units that the catalogue has no more are left to no policy: nothing is watched there.
        """
        raise NotImplementedError

    def check(self, batch: Batch, states: NDArray[np.int64]) -> Refusal | None:
        """Return why a batch must be refused, or None; writes nothing.

        Parameters
        ----------
        batch
            Of `lay_out`, by the catalogue in use.
        states
            int64[P, STATE_WORDS], read-only: of `batch.positions`.
        """
        raise NotImplementedError

    def record(
        self,
        batch: Batch,
        states: NDArray[np.int64],
        profiles: NDArray[np.float64],
        *,
        now_ms: int,
        sequence: int,
    ) -> Recorded:
        """Carry out a batch that `check` has found right.

        Parameters
        ----------
        batch
            As for `check`.
        states
            int64[P, STATE_WORDS], written: of `batch.positions`.
        profiles
            float64[S, PROFILE_WORDS], written: of `batch.sites`.
        now_ms
            When the record was made, by the server's clock, milliseconds since 1970.
        sequence
            The number of the first transition.
        """
        raise NotImplementedError

    def look(
        self,
        places: NDArray[np.int64],
        states: NDArray[np.int64],
        profiles: NDArray[np.float64],
        *,
        now_ms: int,
        sequence: int,
    ) -> Recorded:
        """Carry out what the passing of time alone brings: periods end, alerts clear or escalate.

        Also brings positions under a new catalogue's policies.

        Parameters
        ----------
        places
            int64[P, 4], read-only: of `place`.
        states
            int64[P, STATE_WORDS], written.
        profiles
            float64[P, PROFILE_WORDS], read-only: of the positions' sites.
        now_ms, sequence
            As for `record`.
        """
        raise NotImplementedError

    def acknowledge(
        self, state: NDArray[np.int64], cause: Cause, *, now_ms: int, sequence: int
    ) -> Transition | None:
        """Mark an open alert as handled: it escalates no more for want of it.

        Returns None when it is acknowledged already. There is such an alert, see `describe`.

        Parameters
        ----------
        state
            int64[STATE_WORDS], written.
        """
        raise NotImplementedError

    def snooze(self, state: NDArray[np.int64], cause: Cause, *, until_ms: int) -> None:
        """Let an open alert not escalate before `until_ms` for want of acknowledgement.

        It still escalates when it becomes worse. There is such an alert, see `describe`.

        Parameters
        ----------
        state
            int64[STATE_WORDS], written.
        """
        raise NotImplementedError

    def find_due_ms(self, state: NDArray[np.int64]) -> int:
        """Return when to look at a position again, by the server's clock; 0 for never."""
        raise NotImplementedError

    def describe(
        self,
        place: NDArray[np.int64],
        state: NDArray[np.int64],
        profile: NDArray[np.float64],
        *,
        now_ms: int,
    ) -> Figures:
        """Return a position and the figures behind its alerts; writes nothing.

        Parameters
        ----------
        place
            int64[4], read-only: a row of `place`, or of a batch.
        state
            int64[STATE_WORDS], read-only.
        profile
            float64[PROFILE_WORDS], read-only: of its site.
        """
        raise NotImplementedError
