"""Takes away what no hotlist needs any more: a few entries at a time, so that nobody waits."""

from typing import Final

import msgpack

from instanter.errors import DamagedError
from instanter.store.databases import (
    HOTLIST_EXPIRY,
    HOTLISTS,
    META_KEY_HOTLISTS_EXPIRED,
    Database,
)
from instanter.store.expiry import HOUR_SIZE_BYTES, ExpiryQueue, drop_expired
from instanter.store.hotlists import (
    NO_HEAD,
    NO_HEADS,
    Heads,
    find_entry,
    listed_key,
    load_heads,
    put_head,
)
from instanter.store.records import seal, unseal
from instanter.store.transaction import Transaction

__all__ = ["add_dead", "drop_dead", "drop_expired_entries"]

_NUMBER_SIZE_BYTES: Final = 4


def add_dead(transaction: Transaction, number: int, generation: int) -> None:
    """Note that the entries of a list's generation may go; its head must say `has_dead`."""
    generations, reached = _load_dead(transaction, number)
    _put_dead(transaction, number, [*generations, generation], reached)


def drop_dead(transaction: Transaction, limit: int) -> int:
    """Delete entries of dead generations, and return how many.

    How far it has come is written down, because a scan from the beginning would walk, each time,
    over all that was deleted since the overlay was last folded.

    Parameters
    ----------
    transaction
        An open write transaction.
    limit
        At most so many entries.
    """
    dropped_count = 0
    for number, head in _find_heads(transaction).items():
        if head.has_dead and dropped_count < limit:
            dropped_count += _drop_dead_of(transaction, number, limit - dropped_count)
    return dropped_count


def _drop_dead_of(transaction: Transaction, number: int, limit: int) -> int:
    generations, reached = _load_dead(transaction, number)
    if not generations:
        head = load_heads(transaction).get(number, NO_HEAD)
        put_head(transaction, number, head._replace(has_dead=False))
        return 0
    prefix = listed_key(number, generations[0], "")
    keys = []
    for key, _ in transaction.scan(HOTLISTS, reached or prefix, after=True):
        if not key.startswith(prefix):
            break
        keys.append(key)
        if len(keys) == limit:
            break
    for key in keys:
        transaction.delete(HOTLISTS, key)
    if len(keys) == limit:
        _put_dead(transaction, number, generations, keys[-1])
    else:
        _put_dead(transaction, number, generations[1:], b"")
    return len(keys)


def drop_expired_entries(transaction: Transaction, now_ns: int, limit: int) -> None:
    """Delete entries that have expired by a time, `limit` or a few more, and count them off."""
    gone: dict[int, int] = {}

    def list_key(entry: bytes, value: memoryview) -> list[tuple[Database, bytes]]:
        del value
        key = entry[HOUR_SIZE_BYTES:]
        found = find_entry(transaction, key)
        number = int.from_bytes(key[:_NUMBER_SIZE_BYTES], "big")
        generation = int.from_bytes(key[_NUMBER_SIZE_BYTES : 2 * _NUMBER_SIZE_BYTES], "big")
        head = heads.get(number, NO_HEAD)
        # What was written again with another end, or cannot be read, stays; and what is about to
        # take a list's place is not counted off meanwhile.
        if found is None or not found.is_over(now_ns) or generation == head.staged > 0:
            return []
        if generation == head.generation:
            gone[number] = gone.get(number, 0) + 1
        return [(HOTLISTS, key)]

    heads = _find_heads(transaction)
    if not heads:
        return
    queue = ExpiryQueue(HOTLIST_EXPIRY, META_KEY_HOTLISTS_EXPIRED, list_key)
    drop_expired(transaction, queue, now_ns, limit)
    for number, count in gone.items():
        head = heads[number]
        put_head(transaction, number, head._replace(entry_count=head.entry_count - count))


def _find_heads(transaction: Transaction) -> Heads:
    """Return the heads of all lists, none when they are damaged: then nothing goes."""
    try:
        return load_heads(transaction)
    except DamagedError:
        return NO_HEADS


def _load_dead(transaction: Transaction, number: int) -> tuple[list[int], bytes]:
    """Return a list's dead generations and the last key that was dropped, none of a damaged note.

    What is not noted any more stays and costs room, until the store is rebuilt from the log.
    """
    key = listed_key(0, number, "")
    found = transaction.get(HOTLISTS, key)
    if found is None:
        return [], b""
    try:
        generations, reached = msgpack.unpackb(unseal(key, found))
    except DamagedError:
        return [], b""
    return generations, reached


def _put_dead(
    transaction: Transaction, number: int, generations: list[int], reached: bytes
) -> None:
    key = listed_key(0, number, "")
    if generations:
        transaction.put(HOTLISTS, key, seal(key, msgpack.packb((generations, reached))))
        return
    transaction.delete(HOTLISTS, key)
    head = load_heads(transaction).get(number, NO_HEAD)
    put_head(transaction, number, head._replace(has_dead=False))
