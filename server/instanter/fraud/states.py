"""The states of a transaction's five entities, from the book to the kernels and back."""

import math
import struct
from collections.abc import Callable
from itertools import accumulate
from typing import Final

import numpy as np
from numpy.typing import NDArray

from instanter.catalogue.currencies import find_minor_digits
from instanter.catalogue.fraud_plan import ATTEMPT
from instanter.catalogue.fraud_words import EntityKind
from instanter.fraud.book import EMPTY_STATE, EntityState
from instanter.fraud.encoding import NS_PER_MS, make_row
from instanter.fraud.questions import CountedTransaction, Transaction
from instanter.fraud.tables import FraudTables
from instanter.kernels.velocities import (
    CARD_BASELINE,
    CUSTOMER_BASELINE,
    ENTITIES,
    PLACE,
    SECTIONS,
    count_transaction,
)

FindState = Callable[[EntityKind, str], EntityState]
PutState = Callable[[EntityKind, str, EntityState], None]
"""The two doors of a `Book` that states go through."""

_CUT: Final = struct.Struct(f"<{SECTIONS + 1}q")
_NO_WORDS: Final = np.zeros(0, np.int64)
_KINDS: Final = tuple(EntityKind)


class EntityStates:
    """Reads and lays out states, and counts in them.

    Attributes
    ----------
    cut, known
        int64[9], uint8[5]: of the transaction read last, as `kernels/velocities` takes them.
    """

    __slots__ = ("_cut_bytes", "_known_bytes", "_out", "_out_cut", "_tables", "cut", "known")

    def __init__(self, tables: FraudTables) -> None:
        self._tables = tables
        self.cut = np.zeros(SECTIONS + 1, np.int64)
        self.known = np.zeros(ENTITIES, np.uint8)
        self._cut_bytes = self.cut.data.cast("B")
        self._known_bytes = self.known.data
        self._out = np.zeros(tables.plan.words_max, np.int64)
        self._out_cut = np.zeros(SECTIONS + 1, np.int64)

    def read(
        self, named: Transaction | CountedTransaction, find: FindState, wanted: tuple[bool, ...]
    ) -> list[EntityState]:
        """Return the states of the five entities, and note which of them are known.

        One that is not wanted counts as not known.
        """
        names = (named.card, named.customer, named.terminal, named.merchant, named.device)
        known = [wants and name != "" for wants, name in zip(wanted, names, strict=True)]
        self._known_bytes[:] = bytes(known)
        return [
            find(kind, name) if is_known else EMPTY_STATE
            for kind, name, is_known in zip(_KINDS, names, known, strict=True)
        ]

    def lay_out(self, states: list[EntityState]) -> NDArray[np.int64]:
        """Return the sections of the states end to end, int64, with their places in `cut`."""
        card, customer, terminal, merchant, device = states
        sections = (
            card.velocities,
            customer.velocities,
            terminal.velocities,
            merchant.velocities,
            device.velocities,
            card.baseline,
            customer.baseline,
            card.place,
        )
        ends = accumulate([len(section) >> 3 for section in sections])
        _CUT.pack_into(self._cut_bytes, 0, 0, *ends)
        words = b"".join(sections)
        return np.frombuffer(words, np.int64) if words else _NO_WORDS

    def count(
        self, counted: CountedTransaction, find: FindState, put: PutState, code: int, event: bytes
    ) -> None:
        """Count an event of a transaction in the states that it changes.

        Parameters
        ----------
        counted
            As for `FraudEngine.count`.
        find, put
            Where states come from and go to.
        code, event
            `ATTEMPT` or `LABEL`, and its patterns.
        """
        tables, plan = self._tables, self._tables.plan
        is_behaviour = code == ATTEMPT and counted.approved
        wanted = plan.counts[code]
        if is_behaviour:
            wanted = (True, True, *wanted[2:])
        states = self.read(counted, find, wanted)
        time_ms = counted.time_ns // NS_PER_MS
        latitude, longitude = counted.latitude, counted.longitude
        digits = find_minor_digits(counted.currency)
        assert digits is not None, "it was checked when it was assessed"
        count_transaction(
            self.lay_out(states),
            self.cut,
            self.known,
            make_row(event, time_ms, code),
            plan.plan,
            plan.plan_cut,
            plan.conditions.f64,
            plan.conditions.i32,
            plan.conditions.u8,
            plan.conditions.cut,
            is_behaviour,
            counted.amount_minor / 10**digits,
            counted.mcc,
            time_ms,
            tables.policy.settings.baseline_half_life_s * 1000,
            math.nan if latitude is None else latitude,
            math.nan if longitude is None else longitude,
            self._out,
            self._out_cut,
        )
        self._write(counted, put, states, wanted)

    def _write(
        self,
        counted: CountedTransaction,
        put: PutState,
        states: list[EntityState],
        wanted: tuple[bool, ...],
    ) -> None:
        """Keep what the kernel wrote of those entities that are known and wanted."""
        cut = self._out_cut.tolist()
        words = self._out[: cut[SECTIONS]].tobytes()
        sections = [words[8 * cut[s] : 8 * cut[s + 1]] for s in range(SECTIONS)]
        names = (counted.card, counted.customer, counted.terminal, counted.merchant, counted.device)
        behaviour = (
            (sections[CARD_BASELINE], sections[PLACE]),
            (sections[CUSTOMER_BASELINE], b""),
        )
        for e, (kind, name) in enumerate(zip(_KINDS, names, strict=True)):
            if not wanted[e] or not name:
                continue
            baseline, place = behaviour[e] if e < len(behaviour) else (b"", b"")
            state = EntityState(sections[e], baseline, place, states[e].snoozes)
            put(kind, name, state)
