"""Hotlists: cards, terminals, merchants, devices and issuers that something is to be done about.

An entry stands under its list and the list's *generation*, so that another list takes the place of
the present one by one changed number, however long both are. What all lists are in, their
*heads*, is one small value, kept twice: no single damaged byte makes a listed card unknown.

Nothing here looks at a clock: who asks says when.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple

from instanter.errors import DamagedError
from instanter.store.databases import HOTLIST_EXPIRY, HOTLISTS
from instanter.store.expiry import entry_key, expiry_hour
from instanter.store.records import MARKER, key_of, seal, unseal
from instanter.store.transaction import Transaction

_PREFIX: Final = struct.Struct(">II")
_HEAD: Final = struct.Struct("<IIIIQQQq")
_TIMES: Final = struct.Struct("<qq")
_NOTHING: Final = memoryview(b"")
_HEADS_KEYS: Final = (_PREFIX.pack(0, 0), _PREFIX.pack(0xFFFF_FFFF, 0))
"""The two places of the heads, at both ends of the database."""


class Head(NamedTuple):
    """What concerns one list as a whole.

    Attributes
    ----------
    generation
        Of the entries that count.
    staged
        Generation of the list that is about to take its place, 0 for none.
    last
        The last generation that was begun.
    has_dead
        Whether there may be entries of generations that are neither.
    entry_count, staged_count
        Entries of both, those included that have expired and are still to be dropped.
    block_count
        Blocks that the staged list was given so far.
    time_ns
        When it was last replaced; of a list that never was, when it last changed; 0 for never.
    """

    generation: int = 0
    staged: int = 0
    last: int = 0
    has_dead: bool = False
    entry_count: int = 0
    staged_count: int = 0
    block_count: int = 0
    time_ns: int = 0

    @property
    def was_replaced(self) -> bool:
        """Whether the list was ever loaded as a whole."""
        return self.generation > 0


NO_HEAD: Final = Head()
"""Of a list that was never touched."""

Heads = Mapping[int, Head]
"""Heads by the numbers of their lists; `NO_HEAD` for one that is not there."""

NO_HEADS: Final[Heads] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class HotlistEntry:
    """One entry of a hotlist.

    Attributes
    ----------
    entry
        What is listed: a card's token, a name, the first digits of card numbers.
    reason, source
        Why it is listed, and who says so; text without NUL.
    create_time_ns
        When it was added, nanoseconds since 1970.
    expire_time_ns
        From when on it does not count any more; 0 for never.
    is_damaged
        Whether its value is not what was written. It counts, and can be deleted.
    """

    entry: str
    reason: str = ""
    source: str = ""
    create_time_ns: int = 0
    expire_time_ns: int = 0
    is_damaged: bool = False

    def is_over(self, now_ns: int) -> bool:
        """Return whether it has expired."""
        return 0 < self.expire_time_ns <= now_ns


def load_heads(transaction: Transaction) -> Heads:
    """Return the heads of all lists.

    Raises
    ------
    DamagedError
        Both copies are damaged.
    """
    damage: DamagedError | None = None
    for key in _HEADS_KEYS:
        found = transaction.get(HOTLISTS, key)
        if found is not None:
            try:
                return _read_heads(unseal(key, found))
            except DamagedError as error:
                damage = error
    if damage is not None:
        raise damage
    return NO_HEADS


def view_heads(transaction: Transaction) -> memoryview:
    """Return a view of the first of the heads' two places, unchecked; empty when there is none.

    While these bytes are the same, so is what `load_heads` returns. It is not to be used after the
    next change made through the transaction.
    """
    found = transaction.get(HOTLISTS, _HEADS_KEYS[0])
    return _NOTHING if found is None else found


def _read_heads(packed: bytes) -> Heads:
    heads = {}
    size = 4 + _HEAD.size
    for at in range(0, len(packed), size):
        number = int.from_bytes(packed[at : at + 4], "little")
        generation, staged, last, has_dead, *rest = _HEAD.unpack_from(packed, at + 4)
        heads[number] = Head(generation, staged, last, bool(has_dead), *rest)
    return heads


def put_head(transaction: Transaction, number: int, head: Head) -> None:
    """Write the head of one list."""
    heads = {**load_heads(transaction), number: head}
    packed = b"".join(
        each.to_bytes(4, "little") + _HEAD.pack(*heads[each]) for each in sorted(heads)
    )
    for key in _HEADS_KEYS:
        transaction.put(HOTLISTS, key, seal(key, packed))


def listed_key(number: int, generation: int, entry: str) -> bytes:
    """Return the key of an entry, or, for an empty one, what its list's keys begin with.

    That and `records.key_of` of an entry make the entry's key.
    """
    return _PREFIX.pack(number, generation) + key_of(entry)


def is_listed(transaction: Transaction, key: bytes, now_ns: int) -> bool:
    """Return whether an entry counts at a time.

    Raises
    ------
    DamagedError
        Its value is damaged; only that it is there is certain.
    """
    found = transaction.get(HOTLISTS, key)
    if found is None:
        return False
    _, expire_time_ns = _TIMES.unpack_from(unseal(key, found))
    return not 0 < expire_time_ns <= now_ns


def find_present(transaction: Transaction, keys: Sequence[bytes]) -> int | None:
    """Return the index of the first key with an entry, be it over or damaged; None for none."""
    for at, found in enumerate(transaction.get_each(HOTLISTS, keys)):
        if len(found):
            return at
    return None


def find_entry(transaction: Transaction, key: bytes) -> HotlistEntry | None:
    """Return an entry, a damaged one too, or None when there is none."""
    found = transaction.get(HOTLISTS, key)
    return None if found is None else _read(key, found)


def put_entry(transaction: Transaction, key: bytes, entry: HotlistEntry) -> bool:
    """Write an entry over any that is there; return whether there was none."""
    before = find_entry(transaction, key)
    if before is not None:
        _forget_expiry(transaction, key, before)
    times = _TIMES.pack(entry.create_time_ns, entry.expire_time_ns)
    value = times + f"{entry.reason}\0{entry.source}".encode()
    transaction.put(HOTLISTS, key, seal(key, value))
    if entry.expire_time_ns:
        transaction.put(HOTLIST_EXPIRY, _expiry_key(key, entry.expire_time_ns), MARKER)
    return before is None


def delete_entry(transaction: Transaction, key: bytes) -> bool:
    """Delete an entry, damaged or not; return whether there was one."""
    before = find_entry(transaction, key)
    if before is None:
        return False
    _forget_expiry(transaction, key, before)
    return transaction.delete(HOTLISTS, key)


def scan_entries(
    transaction: Transaction, number: int, generation: int, after: str = ""
) -> Iterator[HotlistEntry]:
    """Yield the entries of a list behind one of them, in the byte order of their names."""
    prefix = listed_key(number, generation, "")
    start = listed_key(number, generation, after)
    for key, value in transaction.scan(HOTLISTS, start, after=True):
        if not key.startswith(prefix):
            return
        yield _read(key, value)


def _read(key: bytes, value: memoryview) -> HotlistEntry:
    name = key[_PREFIX.size :].rstrip(b"\0").decode("utf-8", "replace")
    try:
        unsealed = unseal(key, value)
    except DamagedError:
        return HotlistEntry(name, is_damaged=True)
    created_ns, expire_ns = _TIMES.unpack_from(unsealed)
    reason, _, source = unsealed[_TIMES.size :].decode().partition("\0")
    return HotlistEntry(name, reason, source, created_ns, expire_ns)


def _forget_expiry(transaction: Transaction, key: bytes, entry: HotlistEntry) -> None:
    if entry.expire_time_ns:
        transaction.delete(HOTLIST_EXPIRY, _expiry_key(key, entry.expire_time_ns))


def _expiry_key(key: bytes, expire_time_ns: int) -> bytes:
    return entry_key(expiry_hour(expire_time_ns), key)
