"""What is published in the store, laid out for decisions; read again when it has changed."""

from dataclasses import dataclass

from instanter.catalogue import serialization
from instanter.catalogue.compiled import CompiledCatalogue
from instanter.decision.models import ModelSet
from instanter.decision.scoring import build_score_table
from instanter.decision.tables import DecisionTables, make_tables
from instanter.store.environment import Environment
from instanter.store.publications import CATALOGUE, MODELS, current_revision, load_current


@dataclass(frozen=True, slots=True)
class Revisions:
    """Revisions of the catalogue and of the models; 0 where nothing has been published."""

    catalogue: int
    models: int


NOTHING_PUBLISHED = Revisions(0, 0)
"""Before the first publication."""


def find_revisions(environment: Environment) -> Revisions:
    """Return the revisions that are published now. Costs a few µs, so it can be polled."""
    with environment.read() as transaction:
        return Revisions(
            current_revision(transaction, CATALOGUE), current_revision(transaction, MODELS)
        )


def load_catalogue(environment: Environment) -> CompiledCatalogue | None:
    """Return the published catalogue, or None before the first publication.

    Raises
    ------
    DamagedError
        Its bytes are damaged.
    PreconditionError
        A newer version wrote it.
    """
    with environment.read() as transaction:
        found = load_current(transaction, CATALOGUE)
    return serialization.from_bytes(found[1]) if found else None


def load_models(environment: Environment) -> tuple[int, ModelSet | None]:
    """Return the revision of the published models and the models; 0 and None where there are none.

    Raises
    ------
    DamagedError, PreconditionError
        As for the catalogue.
    """
    with environment.read() as transaction:
        found = load_current(transaction, MODELS)
    return (found[0], ModelSet.from_bytes(found[1])) if found else (0, None)


def load_tables(environment: Environment) -> DecisionTables | None:
    """Read what is published and lay it out; None while there is no catalogue.

    Takes tens of milliseconds, so it is not for the event loop.
    """
    catalogue = load_catalogue(environment)
    if catalogue is None:
        return None
    revision, models = load_models(environment)
    return make_tables(catalogue, build_score_table(models, catalogue, revision=revision))
