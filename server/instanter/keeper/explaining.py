"""Explains past decisions: finds what they were made of, in the log and in the store."""

import time
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from instanter.catalogue import serialization
from instanter.decision.explanation import Explanation, explain_decision
from instanter.decision.models import ModelSet
from instanter.decision.recording import RecordedDecision
from instanter.decision.scoring import build_score_table
from instanter.decision.tables import DecisionTables, make_tables, with_scores
from instanter.errors import DamagedError, LogDamagedError, NotFoundError, PreconditionError
from instanter.keeper.decisions import DecisionArchive
from instanter.keeper.learning_inputs import is_newer
from instanter.limits import OUTCOME_DECISION_NS_MAX
from instanter.store.activity import CONTACTS, copy_activity
from instanter.store.history import load_kept_profile
from instanter.store.log.frames import LogPosition, LogRecord
from instanter.store.profiles import ProfileState, load_profile
from instanter.store.publications import (
    CATALOGUE,
    MODELS,
    current_revision,
    load_revision,
)
from instanter.store.records import key_of
from instanter.store.transaction import Readable, Transaction

_LOOK_S: Final = 0.01
_LOOKS: Final = OUTCOME_DECISION_NS_MAX // 10_000_000
_LOOKS_AT_DAMAGE: Final = 20
"""After so many looks what is not right is damaged."""


class DecisionExplainer:
    """Explains decisions of the past. Belongs to one thread.

    Parameters
    ----------
    store
        Holds the profiles, the publications and where each decision stands in the log.
    read_at
        Reads a record of the log.
    current_tables
        Returns the tables that decide now.
    wait
        Waits for some seconds; `time.sleep` by default.
    """

    def __init__(
        self,
        store: Readable,
        read_at: Callable[[LogPosition], LogRecord],
        *,
        current_tables: Callable[[], DecisionTables | None],
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self._store = store
        self._archive = DecisionArchive(read_at)
        self._current_tables = current_tables
        self._wait = wait

    def explain(self, decision_id: bytes) -> Explanation:
        """Return why a decision was made.

        Parameters
        ----------
        decision_id
            16 bytes.

        Raises
        ------
        NotFoundError
            No such decision was made, or the log does not know it any longer.
        PreconditionError
            What it was made of is gone; reason DECISION_INPUTS_GONE.
        DamagedError
            What it was made of is damaged.
        """
        decision = self._find(decision_id)
        key = key_of(decision.customer_id)
        with self._store.read() as transaction:
            tables = self._load_tables(transaction, decision)
            profile = _load_profile(transaction, key, decision, tables.profile_slot_count)
            section = copy_activity(transaction, key).get(CONTACTS, b"")
        live = tables.live
        if live is None:
            return explain_decision(tables, decision, profile, section)
        while True:
            generation = live.generation
            learned = with_scores(tables, live.view(generation))
            found = explain_decision(learned, decision, profile, section)
            if live.holds(generation):
                return found

    def _find(self, decision_id: bytes) -> RecordedDecision:
        """Return a decision; one that was just made has a moment to reach the log."""
        for look in range(_LOOKS):
            if look:
                self._wait(_LOOK_S)
            try:
                with self._store.read() as transaction:
                    decision = self._archive.find(transaction, decision_id)
            except LogDamagedError:
                # The store shows it a moment before the log's file has it.
                if look == _LOOKS_AT_DAMAGE:
                    raise
                continue
            if decision is not None:
                return decision
        raise NotFoundError(
            f"decision {decision_id.hex()} was never made, or is no longer known",
            reason="DECISION_NOT_FOUND",
            metadata={"decision": decision_id.hex()},
        )

    def _load_tables(self, transaction: Transaction, decision: RecordedDecision) -> DecisionTables:
        """Return the tables of the catalogue that decided, with the nearest models there are."""
        current = self._current_tables()
        if (
            current is not None
            and current.catalogue.revision == decision.catalogue_revision
            and current.score_table.revision == decision.model_revision
        ):
            return current
        published = load_revision(transaction, CATALOGUE, decision.catalogue_revision)
        if published is None:
            raise _gone(
                f"revision {decision.catalogue_revision} of the catalogue is no longer kept",
            )
        catalogue = serialization.from_bytes(published.body)
        revision, models = _load_models(transaction, decision.model_revision)
        return make_tables(catalogue, build_score_table(models, catalogue, revision=revision))


def _load_models(transaction: Transaction, revision: int) -> tuple[int, ModelSet | None]:
    """Return a revision of the models, or the present one when that is not kept."""
    for wanted in (revision, current_revision(transaction, MODELS)):
        published = load_revision(transaction, MODELS, wanted) if wanted else None
        if published is not None:
            return wanted, ModelSet.from_bytes(published.body)
        if not wanted:
            break
    return 0, None


def _load_profile(
    transaction: Transaction, key: bytes, decision: RecordedDecision, slot_count: int
) -> NDArray[np.uint32] | None:
    """Return the slots of the profile that was used, or None when none was."""
    if decision.profile_state != ProfileState.KNOWN:
        return None
    try:
        profile = load_profile(transaction, key, slot_count)
    except DamagedError:
        profile = None
    if profile is None or profile.revision != decision.profile_revision:
        profile = load_kept_profile(transaction, key, decision.profile_revision, slot_count)
    if profile is None or is_newer(profile, decision):
        raise _gone(f"revision {decision.profile_revision} of the profile is no longer kept")
    return profile.slots


def _gone(what: str) -> PreconditionError:
    return PreconditionError(
        f"{what}, so the decision cannot be made anew", reason="DECISION_INPUTS_GONE"
    )
