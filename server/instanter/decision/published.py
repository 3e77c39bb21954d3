"""What is published in the store, laid out for decisions; read again when it has changed."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from instanter.catalogue import serialization
from instanter.catalogue.compiled import CompiledCatalogue
from instanter.decision.learner import ONLINE_SETTINGS
from instanter.decision.live_table import LiveTable, live_path
from instanter.decision.models import ModelSet, digest_of, plan_from_bytes, plan_to_bytes
from instanter.decision.online_models import OnlineModels
from instanter.decision.scoring import build_score_table, make_blank_table
from instanter.decision.tables import DecisionTables, make_tables
from instanter.errors import DamagedError, InstanterError, PreconditionError
from instanter.store.model_states import load_plan, load_plan_digest, load_states
from instanter.store.publications import (
    CATALOGUE,
    MODELS,
    current_revision,
    kept_revisions,
    load_current,
    load_revision,
)
from instanter.store.transaction import Readable

OnRefused = Callable[[InstanterError], None]
"""Is told why a publication is not used."""


@dataclass(frozen=True, slots=True)
class Revisions:
    """Revisions of the catalogue and of the models; 0 where nothing has been published.

    `plan` is the digest of the plan that the keeper made while no models are; empty for none.
    """

    catalogue: int
    models: int
    plan: bytes = b""


NOTHING_PUBLISHED = Revisions(0, 0)
"""Before the first publication."""


def find_revisions(store: Readable) -> Revisions:
    """Return the revisions that are published now. Costs a few µs, so it can be polled."""
    with store.read() as transaction:
        models = current_revision(transaction, MODELS)
        plan = b"" if models else load_plan_digest(transaction)
        return Revisions(current_revision(transaction, CATALOGUE), models, plan)


def load_catalogue(store: Readable) -> CompiledCatalogue | None:
    """Return the published catalogue, or None before the first publication.

    Raises
    ------
    DamagedError
        Its bytes are damaged.
    PreconditionError
        A newer version wrote it.
    """
    with store.read() as transaction:
        found = load_current(transaction, CATALOGUE)
    return serialization.from_bytes(found[1]) if found else None


def load_models(
    store: Readable, on_refused: OnRefused | None = None
) -> tuple[int, ModelSet | None]:
    """Return the revision of the published models and the models; 0 and None where there are none.

    Parameters
    ----------
    store
        The store.
    on_refused
        Called with the error of each revision that cannot be read, and the one before it is taken:
        models that are a revision old decide better than none. None to raise instead.

    Raises
    ------
    DamagedError, PreconditionError
        As for the catalogue, without `on_refused`.
    """
    with store.read() as transaction:
        kept = kept_revisions(transaction, MODELS)
    for revision in reversed(kept):
        try:
            with store.read() as transaction:
                found = load_revision(transaction, MODELS, revision)
            # A publication in between may have dropped the oldest.
            if found is not None:
                return revision, ModelSet.from_bytes(found.body)
        except (DamagedError, PreconditionError) as error:
            if on_refused is None:
                raise
            on_refused(error)
    return 0, None


def load_tables(
    store: Readable, on_refused: OnRefused | None = None, live_folder: Path | None = None
) -> DecisionTables | None:
    """Read what is published and lay it out; None while there is no catalogue.

    Takes tens of milliseconds, so it is not for the event loop. Models that cannot be read are
    told to `on_refused`, see `load_models`; a catalogue that cannot be read is raised.

    Parameters
    ----------
    store
        The store.
    on_refused
        As in `load_models`.
    live_folder
        Where live tables are. When the one of this catalogue and these models is there, the tables
        follow it; otherwise they say where it will be. None for tables that follow nothing: they
        know what had been learned when the store was last folded.
    """
    catalogue = load_catalogue(store)
    if catalogue is None:
        return None
    revision, models = load_models(store, on_refused)
    states: dict[str, bytes] = {}
    try:
        with store.read() as transaction:
            plan = load_plan(transaction) if models is None else None
            states = load_states(transaction)
        if plan is not None:
            models = ModelSet(plan_from_bytes(plan), ONLINE_SETTINGS, {})
    except DamagedError as error:
        # What was published decides without what has been learned since.
        if on_refused is None:
            raise
        on_refused(error)
    path = None
    if models is not None and live_folder is not None:
        digest = digest_of(plan_to_bytes(models.plan))
        path = live_path(live_folder, catalogue.revision, revision, digest)
        table, _ = make_blank_table(models.plan, catalogue, revision=revision)
        live = LiveTable.find(path, table)
        if live is not None:
            return replace(make_tables(catalogue, table), live=live)
    if models is not None and states:
        models = _restore(models, states, on_refused)
    tables = make_tables(catalogue, build_score_table(models, catalogue, revision=revision))
    return replace(tables, live_path=path)


def _restore(models: ModelSet, states: dict[str, bytes], on_refused: OnRefused | None) -> ModelSet:
    """Return models with what has been learned since they were published."""
    online = OnlineModels(models)
    try:
        online.restore(states)
    except DamagedError as error:
        if on_refused is None:
            raise
        on_refused(error)
    served = {name: online.find_served(name) for name in online.models}
    return ModelSet(
        models.plan, models.settings, {n: model for n, model in served.items() if model is not None}
    )
