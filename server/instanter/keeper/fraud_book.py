"""The engine's book over a transaction of the store: what an assessment reads and counts.

What preparing a command has read, applying its record reads again, and so does the next group:
states are remembered from transaction to transaction, because nobody else writes them. Where one is
undone, or the overlay is thrown away, transactions have another lineage: nothing is remembered.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from instanter.catalogue.compiled import CompiledCatalogue
from instanter.catalogue.fraud_words import EntityKind, ListKind
from instanter.errors import DamagedError
from instanter.events.reading import DerivedReader
from instanter.fraud.book import DAMAGED_STATE, EMPTY_STATE, EntityState
from instanter.store.activity import copy_activity
from instanter.store.fraud_models import ModelStates, put_model_state
from instanter.store.fraud_rules import find_paused, read_paused
from instanter.store.fraud_states import delete_sections, entity_key, find_sections, put_sections
from instanter.store.hotlists import (
    NO_HEAD,
    NO_HEADS,
    Heads,
    find_present,
    is_listed,
    listed_key,
    load_heads,
    view_heads,
)
from instanter.store.profiles import load_profile
from instanter.store.records import key_of
from instanter.store.transaction import Transaction

_STATES_KEPT: Final = 4_096
"""States remembered at most, some megabytes: those of the terminals and merchants in use."""

_BIN_SIZE_MIN: Final = 6
_NOTHING: Final = np.zeros(0, np.uint32)


class StoreBook:
    """Implements `fraud.book.Book`. Belongs to the thread that carries out commands.

    `begin` comes before each use, `flush` after whatever was written.
    """

    __slots__ = (
        "_catalogue",
        "_derived",
        "_heads",
        "_heads_known",
        "_heads_stored",
        "_kept",
        "_kinds",
        "_lineage",
        "_model",
        "_models",
        "_now_ns",
        "_paused",
        "_paused_packed",
        "_prefixes",
        "_transaction",
        "_unwritten",
    )

    def __init__(self) -> None:
        self._transaction: Transaction | None = None
        self._lineage: object | None = None
        self._catalogue: CompiledCatalogue | None = None
        self._now_ns = 0
        self._kept: dict[bytes, EntityState] = {}
        self._unwritten: dict[bytes, EntityState] = {}
        self._models = ModelStates()
        self._model: tuple[int, bytes] | None = None
        self._heads: Heads = NO_HEADS
        self._heads_stored = b""
        self._heads_known = False
        self._prefixes = _list_prefixes(NO_HEADS)
        self._kinds = [kind for kind in ListKind if self._prefixes[kind]]
        self._paused: frozenset[str] = frozenset()
        self._paused_packed = b""
        self._derived = DerivedReader()

    def begin(self, transaction: Transaction, catalogue: CompiledCatalogue, now_ns: int) -> None:
        """Read and write through a transaction of the store, at a time of the server's clock."""
        if transaction is not self._transaction:
            self._transaction = transaction
            self._unwritten = {}
            self._model = None
            if transaction.lineage is None or transaction.lineage is not self._lineage:
                self._kept = {}
            self._lineage = transaction.lineage
        if len(self._kept) > _STATES_KEPT:
            self._kept = {}
        assert not self._unwritten, "what was written was flushed"
        self._catalogue = catalogue
        self._now_ns = now_ns
        self._heads_known = False

    def flush(self) -> None:
        """Write to the store what was put since `begin`."""
        transaction = self._in_use()
        put_sections(transaction, self._unwritten)
        self._unwritten = {}
        if self._model is not None:
            put_model_state(transaction, *self._model)
            self._model = None

    def forget(self, transaction: Transaction, kind: EntityKind, name: str) -> None:
        """Delete what is kept of an entity, a damaged state too; without `begin` before."""
        key = entity_key(kind, name)
        delete_sections(transaction, key)
        self._kept.pop(key, None)

    def find_state(self, kind: EntityKind, name: str) -> EntityState:
        """Return what is kept of an entity, see `Book`."""
        return self.find_state_at(entity_key(kind, name))

    def put_state(self, kind: EntityKind, name: str, state: EntityState) -> None:
        """Keep the state of an entity, see `Book`.

        A damaged one stays as it is: counted anew from nothing it would let pass what a limit
        forbids. The log has everything for the day the store is rebuilt.
        """
        self.put_state_at(entity_key(kind, name), state)

    def find_state_at(self, key: bytes) -> EntityState:
        """Do what `find_state` does, by the entity's key in the store."""
        known = self._kept.get(key)
        if known is not None:
            return known
        try:
            sections = find_sections(self._in_use(), key)
            state = EMPTY_STATE if sections is None else EntityState(*sections)
        except DamagedError:
            state = DAMAGED_STATE
        self._kept[key] = state
        return state

    def put_state_at(self, key: bytes, state: EntityState) -> None:
        """Do what `put_state` does, by the entity's key in the store."""
        if self.find_state_at(key) is not DAMAGED_STATE:
            self._kept[key] = self._unwritten[key] = state

    def find_model(self, model_id: int) -> bytes:
        """Return the state of the model, see `Book`."""
        if self._model is not None:
            return self._model[1] if self._model[0] == model_id else b""
        return self._models.find(self._in_use(), model_id)

    def put_model(self, model_id: int, state: bytes) -> None:
        """Keep the state of the model, see `Book`."""
        self._model = (model_id, state)

    def is_hotlisted(self, kind: ListKind, entry: str, time_ns: int) -> bool:
        """Return whether an entry counts, see `Book`.

        Entries end by the server's clock, whatever time the terminal's shows: `time_ns` is of no
        use here. A card number's beginning is listed when any beginning of it is. An entry that is
        damaged counts.

        Raises
        ------
        DamagedError
            What concerns all lists is damaged, in both of its places.
        """
        del time_ns
        self._read_heads()
        if not self._prefixes[kind]:
            return False
        return any(map(self._is_listed, self._list_keys(kind, entry)))

    def list_kinds(self) -> Sequence[ListKind]:
        """Return the lists that are to be looked at: they may have entries.

        Raises
        ------
        DamagedError
            As `is_hotlisted`.
        """
        self._read_heads()
        return self._kinds

    def count_unlisted(self, kind: ListKind, entries: Sequence[str]) -> int:
        """Return how many of the first entries are surely on no list; empty ones are.

        One that is found ends the count, whether it counts still or is damaged.
        """
        assert kind in self.list_kinds(), "the caller has looked"
        keys = [
            (at, key)
            for at, entry in enumerate(entries)
            if entry
            for key in self._list_keys(kind, entry)
        ]
        listed = find_present(self._in_use(), [key for _, key in keys])
        return len(entries) if listed is None else keys[listed][0]

    def find_hotlist_time_ns(self, kind: ListKind) -> int:
        """Return when a list was last loaded or changed, see `Book`.

        Raises
        ------
        DamagedError
            What concerns all lists is damaged, in both of its places.
        """
        return self._read_heads().get(kind, NO_HEAD).time_ns

    def find_paused_rules(self) -> frozenset[str]:
        """Return the names of the rules that the guard has paused, see `Book`."""
        packed = find_paused(self._in_use())
        if packed != self._paused_packed:
            self._paused, self._paused_packed = read_paused(packed), packed
        return self._paused

    def find_profile(self, customer: str, time_ns: int) -> NDArray[np.uint32]:
        """Return a customer's attributes by slot, uint32[S], see `Book`.

        Raises
        ------
        DamagedError
            The profile's record is damaged.
        """
        transaction, catalogue = self._in_use(), self._catalogue
        assert catalogue is not None
        key = key_of(customer)
        profile = load_profile(transaction, key, catalogue.schema.profile_slot_count)
        if profile is None:
            return _NOTHING
        sections = copy_activity(transaction, key)
        self._derived.write(catalogue, sections, time_ns, profile.slots)
        return profile.slots

    def _list_keys(self, kind: ListKind, entry: str) -> list[bytes]:
        """Return under which keys of a list something stands that is about an entry."""
        prefix = self._prefixes[kind]
        if kind is not ListKind.BINS:
            return [prefix + key_of(entry)]
        sizes = range(_BIN_SIZE_MIN, len(entry) + 1)
        return [prefix + key_of(entry[:size]) for size in sizes]

    def _is_listed(self, key: bytes) -> bool:
        try:
            return is_listed(self._in_use(), key, self._now_ns)
        except DamagedError:
            return True

    def _read_heads(self) -> Heads:
        if not self._heads_known:
            stored = view_heads(self._in_use())
            # What was checked before is right, so equal bytes need no checksum.
            if stored != self._heads_stored:
                self._heads = load_heads(self._in_use())
                self._heads_stored = bytes(stored)
                self._prefixes = _list_prefixes(self._heads)
                self._kinds = [kind for kind in ListKind if self._prefixes[kind]]
            self._heads_known = True
        return self._heads

    def _in_use(self) -> Transaction:
        assert self._transaction is not None, "a transaction was begun"
        return self._transaction


def _list_prefixes(heads: Heads) -> list[bytes]:
    """Return by list what the keys of its entries begin with, nothing for a list without any.

    Cards are looked up whatever the count says: no mistake there must let one through.
    """
    prefixes = [b""] * (max(ListKind) + 1)
    for kind in ListKind:
        head = heads.get(kind, NO_HEAD)
        if head.entry_count or kind is ListKind.CARDS:
            prefixes[kind] = listed_key(kind, head.generation, "")
    return prefixes
