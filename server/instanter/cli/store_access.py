"""Opens a store's folder in the command's own process, beside a running server or without one."""

from pathlib import Path

from instanter.catalogue import serialization
from instanter.catalogue.compiled import CompiledCatalogue
from instanter.catalogue.schema import Schema
from instanter.cli.failures import CommandError
from instanter.store.environment import Environment
from instanter.store.publications import CATALOGUE, load_current


def check_store(folder: Path) -> None:
    """Refuse a folder that is not there, lest a misspelt one becomes a new, empty store.

    Raises
    ------
    CommandError
        When there is no such folder.
    """
    if not folder.is_dir():
        raise CommandError(
            f"{folder}: there is no store in this folder",
            hint="name the store's folder with --data DIR, or make one: "
            f"`instanter apply -f DIR --data {folder}`",
        )


def load_catalogue(environment: Environment) -> CompiledCatalogue:
    """Return the catalogue that is published in a store.

    Raises
    ------
    CommandError
        When nothing has been published yet.
    DamagedError
        The catalogue's bytes are damaged.
    """
    with environment.read() as transaction:
        found = load_current(transaction, CATALOGUE)
    if found is None:
        raise CommandError(
            f"{environment.folder}: no catalogue has been published in this store yet",
            hint=f"`instanter apply -f DIR --data {environment.folder}` publishes one",
        )
    return serialization.from_bytes(found[1])


def load_schema(environment: Environment) -> Schema:
    """Return the schema of the catalogue that is published in a store.

    Raises
    ------
    CommandError, DamagedError
        As for the catalogue.
    """
    return load_catalogue(environment).schema
