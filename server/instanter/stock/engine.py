"""The engine of the stock side: positions, learned demand, and the transitions of alerts.

No clock, no randomness and nothing of the store: the caller loads rows of fixed size, and keeps
what the engine has written into them.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from instanter.catalogue.compiled import CompiledCatalogue
from instanter.catalogue.stock import Cause, Severity
from instanter.kernels.stock_alerts import ACKNOWLEDGED, TIER
from instanter.kernels.stock_moves import TAKEN, TRANSFER
from instanter.kernels.stock_rows import (
    ALERT_GRADE,
    ALERT_NUMBER,
    ALERT_RAISED_MS,
    ALERT_SNOOZED_MS,
    COMMITTED,
    DUE_MS,
    MOVE_KIND,
    ON_HAND,
    ON_ORDER,
    PLACE_COLUMNS,
    PLACE_PROFILE,
    PROFILE_WORDS,
    STATE_WORDS,
)
from instanter.kernels.stock_turns import check_movements, look_at_positions, record_movements
from instanter.stock.figures import make_figures
from instanter.stock.laying_out import lay_out_movements
from instanter.stock.outcomes import Work, view_alert
from instanter.stock.questions import (
    Batch,
    Figures,
    Movement,
    Recorded,
    Refusal,
    RefusalReason,
    Transition,
    TransitionKind,
)
from instanter.stock.tables import StockTables, make_stock_tables

STATE_SIZE_BYTES = 8 * STATE_WORDS
"""Of a position's state; a new one is all 0."""
PROFILE_SIZE_BYTES = 8 * PROFILE_WORDS
"""Of a site's profile; a new one is all 0."""


class StockEngine:
    """Works by the catalogue installed last. Belongs to one thread."""

    __slots__ = ("_tables",)

    def __init__(self) -> None:
        self._tables: StockTables | None = None

    def install(self, catalogue: CompiledCatalogue) -> None:
        """Use a catalogue from now on; costs nothing when it is the one in use.

        Raises
        ------
        PreconditionError
            It declares no stock; reason STOCK_MISSING.
        """
        if self._tables is None or self._tables.catalogue is not catalogue:
            self._tables = make_stock_tables(catalogue)

    def lay_out(self, movements: Sequence[Movement], field: str = "movements") -> Batch:
        """Return movements as kernels take them, and which rows to load for them.

        Raises
        ------
        InvalidFieldError
            A site or unit is unknown, or units cannot be; names `movements[3].units`.
        """
        return lay_out_movements(self._in_use(), movements, field)

    def place(self, positions: Sequence[tuple[str, str]]) -> NDArray[np.int64]:
        """Return the places of positions (site, unit), int64[P, PLACE_COLUMNS], writable.

        Row p has the profile p: the caller gives one profile a position. Positions of sites and
        units that the catalogue has no more are left to no policy: nothing is watched there.
        """
        tables = self._in_use()
        places = np.array([tables.find_place(site, unit) for site, unit in positions], np.int64)
        places = places.reshape(-1, PLACE_COLUMNS)
        places[:, PLACE_PROFILE] = np.arange(len(places))
        return places

    def check(self, batch: Batch, states: NDArray[np.int64]) -> Refusal | None:
        """Return why a batch must be refused, or None; writes nothing.

        Parameters
        ----------
        batch
            Of `lay_out`, by the catalogue in use.
        states
            int64[P, STATE_WORDS], read-only: of `batch.positions`.
        """
        scratch = states.copy()
        policies = self._in_use().policies
        reason, movement, position = check_movements(batch.rows, batch.places, policies, scratch)
        if reason == TAKEN:
            return None
        state = scratch[position].tolist()
        return Refusal(
            movement_index=movement,
            position_index=position,
            reason=RefusalReason(reason),
            on_hand=state[ON_HAND],
            committed=state[COMMITTED],
            on_order=state[ON_ORDER],
        )

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
        tables = self._in_use()
        sides = len(batch.rows) + int(np.count_nonzero(batch.rows[:, MOVE_KIND] == TRANSFER))
        work = Work(len(states), sides)
        count = record_movements(
            batch.rows,
            batch.places,
            tables.policies,
            tables.zone_start,
            tables.zone_until_s,
            tables.zone_offset_s,
            tables.period_days,
            now_ms,
            sequence,
            states,
            profiles,
            work.available,
            work.covers,
            work.out,
        )
        assert count >= 0, f"movement {-1 - count} was checked against the same states"
        return work.finish(states, count, now_ms=now_ms, sequence=sequence)

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
        tables = self._in_use()
        work = Work(len(states), len(states))
        count = look_at_positions(
            places,
            tables.policies,
            tables.zone_start,
            tables.zone_until_s,
            tables.zone_offset_s,
            tables.period_days,
            now_ms,
            sequence,
            states,
            profiles.copy(),
            work.available,
            work.covers,
            work.out,
        )
        return work.finish(states, count, now_ms=now_ms, sequence=sequence)

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
        alert = view_alert(state, cause)
        grade = int(alert[ALERT_GRADE])
        if grade & ACKNOWLEDGED:
            return None
        severity = Severity(grade & 7)
        alert[ALERT_GRADE] |= ACKNOWLEDGED
        return Transition(
            sequence=sequence,
            number=int(alert[ALERT_NUMBER]),
            position_index=0,
            movement_index=-1,
            cause=cause,
            kind=TransitionKind.ACKNOWLEDGED,
            severity=severity,
            previous_severity=severity,
            tier=grade // TIER,
            is_overdue=False,
            time_ms=now_ms,
            raised_ms=int(alert[ALERT_RAISED_MS]),
        )

    def snooze(self, state: NDArray[np.int64], cause: Cause, *, until_ms: int) -> None:
        """Let an open alert not escalate before `until_ms` for want of acknowledgement.

        It still escalates when it becomes worse. There is such an alert, see `describe`.

        Parameters
        ----------
        state
            int64[STATE_WORDS], written.
        """
        view_alert(state, cause)[ALERT_SNOOZED_MS] = until_ms

    def find_due_ms(self, state: NDArray[np.int64]) -> int:
        """Return when to look at a position again, by the server's clock; 0 for never.

        Parameters
        ----------
        state
            int64[STATE_WORDS], read-only.
        """
        return int(state[DUE_MS])

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
        return make_figures(self._in_use(), place, state, profile, now_ms)

    def _in_use(self) -> StockTables:
        assert self._tables is not None, "a catalogue is installed first"
        return self._tables
