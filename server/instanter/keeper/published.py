"""The published catalogue as this process knows it, decoded once a revision."""

import threading

from instanter.catalogue import serialization
from instanter.catalogue.compiled import CompiledCatalogue
from instanter.catalogue.schema import SCHEMA_EMPTY, Schema
from instanter.store.publications import CATALOGUE, current_revision, load_current
from instanter.store.transaction import Transaction


class PublishedCatalogue:
    """Gives the catalogue that a transaction sees, for any thread.

    Asking costs a look at the store's current revision (1 µs), so that what was published is in
    force for the next call, without a wait for somebody's poll.
    """

    __slots__ = ("_catalogue", "_lock", "_revision")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._revision = 0
        self._catalogue: CompiledCatalogue | None = None

    def load(self, transaction: Transaction) -> CompiledCatalogue | None:
        """Return the catalogue in force in a transaction, or None before the first publication.

        Raises
        ------
        DamagedError
            Its bytes are damaged.
        """
        with self._lock:
            if current_revision(transaction, CATALOGUE) != self._revision:
                current = load_current(transaction, CATALOGUE)
                self._catalogue = serialization.from_bytes(current[1]) if current else None
                self._revision = current[0] if current else 0
            return self._catalogue

    def load_schema(self, transaction: Transaction) -> Schema:
        """Return the schema in force in a transaction; the empty one before the first."""
        catalogue = self.load(transaction)
        return SCHEMA_EMPTY if catalogue is None else catalogue.schema
