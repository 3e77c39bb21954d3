"""Opens a store's folder in the command's own process, beside a running server or without one."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instanter.catalogue import serialization
from instanter.catalogue.compiled import CompiledCatalogue
from instanter.catalogue.schema import Schema
from instanter.cli.failures import CommandError
from instanter.cli.output import print_note
from instanter.clock import Clock
from instanter.data.load import WriteBlock
from instanter.errors import PreconditionError
from instanter.keeper.loading import LoadBlock
from instanter.keeper.opening import KeptStore
from instanter.keeper.tools_door import ToolsClient
from instanter.metrics import Metrics
from instanter.store.log.retention import KEEP_EVERYTHING
from instanter.store.profiles import BlockResult
from instanter.store.publications import CATALOGUE, load_current
from instanter.store.state import State


@dataclass(frozen=True, slots=True, eq=False)
class WritableStore:
    """A store that a command may write into.

    Attributes
    ----------
    folder
        Where it lives.
    readable
        Reads it.
    submit
        Carries out a keeper's command: by this process, or by the server that keeps the store.
    """

    folder: Path
    readable: State
    submit: Callable[..., Future[Any]]


class _ToolLog:
    """Says what a keeper logs in the words of a command: one line each, and only what matters."""

    __slots__ = ()

    def info(self, event: str, **facts: object) -> None:
        """Say nothing: a command that works is quiet."""

    def warning(self, event: str, **facts: object) -> None:
        """Say what somebody should look at."""
        print_note(f"warning: {_describe(event, facts)}")

    def error(self, event: str, **facts: object) -> None:
        """Say what somebody must look at."""
        print_note(f"warning: {_describe(event, facts)}")


def _describe(event: str, facts: dict[str, object]) -> str:
    """Return an event with its facts as one line."""
    shown = ", ".join(f"{name} {value}" for name, value in facts.items())
    return f"{event.replace('_', ' ')}: {shown}" if shown else event.replace("_", " ")


@contextmanager
def open_to_write(folder: Path, clock: Clock) -> Iterator[WritableStore]:
    """Open a store for writing, through the server that keeps it or by being its keeper.

    Raises
    ------
    PreconditionError
        Another command writes it at the moment, or the folder holds something else.
    LogDamagedError
        Records of its log are lost.
    """
    try:
        kept = KeptStore.open(
            folder,
            clock=clock,
            metrics=Metrics(),
            events_log=_ToolLog(),
            lock_wait_ns=0,
            # What the server was told is not known here.
            retention=KEEP_EVERYTHING,
        )
    except PreconditionError as error:
        if error.reason != "STORE_LOCKED":
            raise
    else:
        with kept:
            yield WritableStore(folder, kept.state, kept.keeper.submit)
        return
    with (
        closing(ToolsClient(folder)) as client,
        State.open(folder, writable=False) as state,
    ):
        yield WritableStore(folder, state, client.submit)


def make_block_writer(store: WritableStore, schema: Schema) -> WriteBlock:
    """Return what a load writes its blocks with, encoded for `schema`."""

    def write_block(
        keys: Sequence[bytes], slots: NDArray[np.uint32], mask: NDArray[np.bool_] | None
    ) -> BlockResult:
        result: BlockResult = store.submit(LoadBlock(keys, slots, mask, schema.revision)).result()
        return result

    return write_block


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


def load_catalogue(store: State) -> CompiledCatalogue:
    """Return the catalogue that is published in a store.

    Raises
    ------
    CommandError
        When nothing has been published yet.
    DamagedError
        The catalogue's bytes are damaged.
    """
    with store.read() as transaction:
        found = load_current(transaction, CATALOGUE)
    if found is None:
        raise CommandError(
            f"{store.folder}: no catalogue has been published in this store yet",
            hint=f"`instanter apply -f DIR --data {store.folder}` publishes one",
        )
    return serialization.from_bytes(found[1])


def load_schema(store: State) -> Schema:
    """Return the schema of the catalogue that is published in a store.

    Raises
    ------
    CommandError, DamagedError
        As for the catalogue.
    """
    return load_catalogue(store).schema
