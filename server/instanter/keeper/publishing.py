"""Publishes catalogues: compile on top of what is in force, compare, write atomically."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from instanter.catalogue import serialization
from instanter.catalogue.changes import Change
from instanter.catalogue.compiled import CompiledCatalogue
from instanter.clock import Clock
from instanter.errors import ConflictError, DamagedError
from instanter.keeper.commands import ApplyContext, Submit, pack_body, unpack_body
from instanter.keeper.compiler import CatalogueCompiler
from instanter.keeper.published import PublishedCatalogue
from instanter.keeper.records import RecordKind
from instanter.keeper.stock_shelving import reshelve
from instanter.store.log.frames import LogRecord
from instanter.store.publications import (
    CATALOGUE,
    MODELS,
    check_revision,
    load_current,
    publish,
)
from instanter.store.transaction import Readable, Transaction

_TRIES: Final = 3

_DOCUMENTS: Final[dict[int, str]] = {
    RecordKind.PUBLISH_CATALOGUE: CATALOGUE,
    RecordKind.PUBLISH_MODELS: MODELS,
}
"""What a record of each kind publishes."""


@dataclass(frozen=True, slots=True, eq=False)
class Publication:
    """What a publication did, or would do.

    Attributes
    ----------
    catalogue
        The catalogue in force now; None when there is none (only with `validate_only`).
    changes
        The differences.
    warnings
        What is allowed but deserves a look.
    """

    catalogue: CompiledCatalogue | None
    changes: tuple[Change, ...]
    warnings: tuple[str, ...]


class CataloguePublisher:
    """Publishes catalogues into one store. Blocks; for a thread of its own.

    Parameters
    ----------
    store
        The store that is read.
    compiler
        Compiles.
    submit
        Carries out a command, as `Keeper.submit` does.
    published
        Knows what is in force.
    clock
        Tells when a catalogue is published.
    on_published
        Called after each publication, before it is acknowledged, so that whoever publishes finds
        the next decision of this server made by it.
    """

    def __init__(
        self,
        store: Readable,
        *,
        compiler: CatalogueCompiler,
        submit: Submit,
        published: PublishedCatalogue,
        clock: Clock,
        on_published: Callable[[], object] = lambda: None,
    ) -> None:
        self._store = store
        self._compiler = compiler
        self._submit = submit
        self._published = published
        self._clock = clock
        self._on_published = on_published

    def apply(
        self,
        files: Mapping[str, str],
        *,
        validate_only: bool,
        expected_revision: int | None,
        deadline_ns: int | None,
    ) -> Publication:
        """Compile a catalogue and publish it, unless it means the same as the one in force.

        Parameters
        ----------
        files
            The whole catalogue, path to text.
        validate_only
            Compile and compare, publish nothing.
        expected_revision
            Publish only on top of this revision; None for any.
        deadline_ns
            Time of the clock's `monotonic_ns` after which nothing is published any more.

        Raises
        ------
        CatalogueInvalidError
            With everything that is wrong.
        ConflictError
            Another revision than the expected one is in force.
        ExhaustedError
            Compiling it took too much, or the disk is full.
        """
        for tried in range(_TRIES):
            try:
                return self._try_apply(files, validate_only, expected_revision, deadline_ns)
            except ConflictError:
                # Somebody published while this one compiled: compile on top of that, unless the
                # caller said that it wants to know.
                if expected_revision is not None or tried == _TRIES - 1:
                    raise
        raise AssertionError("the last try returns or raises")

    def _try_apply(
        self,
        files: Mapping[str, str],
        validate_only: bool,  # noqa: FBT001 - handed on
        expected_revision: int | None,
        deadline_ns: int | None,
    ) -> Publication:
        with self._store.read() as transaction:
            found = load_current(transaction, CATALOGUE)
            in_force = self._published.load(transaction)
        revision, body = found or (0, None)
        _check_expected(revision, expected_revision)
        compiled = self._compiler.compile(
            files, body, revision=revision + 1, publish_time_ns=self._clock.now_ns()
        )
        if not validate_only and (compiled.changes or not revision):
            command = PublishDocument(RecordKind.PUBLISH_CATALOGUE, compiled.body, revision)
            self._submit(command, deadline_ns).result()
            self._on_published()
            with self._store.read() as transaction:
                in_force = self._published.load(transaction)
        return Publication(in_force, compiled.changes, compiled.warnings)


@dataclass(frozen=True, slots=True, eq=False)
class PublishDocument:
    """Makes a compiled catalogue, or propensity models, the current ones.

    Attributes
    ----------
    kind
        Which of them: `PUBLISH_CATALOGUE` or `PUBLISH_MODELS`.
    body
        The document, serialized.
    expected_revision
        The revision that it goes on from, 0 for none; None to publish in any case.
    """

    kind: RecordKind
    body: bytes
    expected_revision: int | None = None

    def prepare(self, transaction: Transaction, now_ns: int, context: ApplyContext) -> bytes:
        """Check the revision, and return the body of its record.

        Raises
        ------
        ConflictError
            The current revision is another one.
        """
        del now_ns, context
        if self.expected_revision is not None:
            check_revision(transaction, _DOCUMENTS[self.kind], self.expected_revision)
        return pack_body({"document": self.body})


def apply_document(transaction: Transaction, record: LogRecord, context: ApplyContext) -> int:
    """Publish a document and return its revision."""
    document = _DOCUMENTS[record.kind]
    body = unpack_body(record)["document"]
    if document != CATALOGUE:
        return publish(transaction, document, body, record.time_ns)
    before = _find_in_force(transaction, context)
    context.published.forget()
    # Not through `published`, which must not know what may still be taken back.
    reshelve(transaction, record, context.stock, before, serialization.from_bytes(body))
    return publish(transaction, document, body, record.time_ns)


def _find_in_force(transaction: Transaction, context: ApplyContext) -> CompiledCatalogue | None:
    """Return the catalogue in force, None when it is damaged: another one must still be taken."""
    try:
        return context.published.load(transaction)
    except DamagedError:
        return None


def _check_expected(revision: int, expected_revision: int | None) -> None:
    """Refuse before compiling what would be refused after it."""
    if expected_revision is not None and expected_revision != revision:
        raise ConflictError(
            f"the catalogue is at revision {revision}, not {expected_revision}; look at the"
            " changes and apply again",
            metadata={"current": str(revision), "expected": str(expected_revision)},
        )
