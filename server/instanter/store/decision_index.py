"""Where in the log each turn of decisions stands, for as long as outcomes of it are accepted.

Nothing here looks at a clock: times come from the records of the log, so that a replay keeps and
drops exactly the same.
"""

import contextlib
import struct
from typing import Final

from instanter.errors import DamagedError
from instanter.limits import DECISION_TRIES_MAX
from instanter.store.databases import (
    DATABASES,
    DECISION_EXPIRY,
    DECISION_NAMES,
    DECISIONS,
    META_KEY_DECISIONS_EXPIRED,
    Database,
)
from instanter.store.expiry import HOUR_SIZE_BYTES, ExpiryQueue, entry_key
from instanter.store.log.frames import LogPosition
from instanter.store.records import MARKER, seal, unseal
from instanter.store.transaction import Transaction

_PLACE = struct.Struct("<QQQ")
_NAME = struct.Struct("<8sQQ")
_INDEX_SIZE_BYTES: Final = 8
_KEY_AT: Final = HOUR_SIZE_BYTES + _INDEX_SIZE_BYTES


def put_turn(
    transaction: Transaction,
    prefix: bytes,
    turn: int,
    *,
    sequence: int,
    position: LogPosition,
    hour: int,
) -> None:
    """Write down where a turn's record stands.

    Parameters
    ----------
    transaction
        An open write transaction.
    prefix, turn
        The turn; prefix has 8 bytes.
    sequence, position
        Number and place of its record in the log.
    hour
        Hour since 1970 from which on nobody asks for it, see `expiry.entry_key`.
    """
    key = _turn_key(prefix, turn)
    value = _PLACE.pack(sequence, position.segment, position.offset)
    transaction.put(DECISIONS, key, seal(key, value))
    expire_key(transaction, DECISIONS, key, hour)


def find_turn(transaction: Transaction, prefix: bytes, turn: int) -> LogPosition | None:
    """Return where a turn's record stands in the log, or None when it is not known.

    Raises
    ------
    DamagedError
        The entry is damaged.
    """
    key = _turn_key(prefix, turn)
    value = transaction.get(DECISIONS, key)
    if value is None:
        return None
    _, segment, offset = _PLACE.unpack(unseal(key, value))
    return LogPosition(segment, offset)


def put_name(
    transaction: Transaction, decision_id: bytes, prefix: bytes, turn: int, row: int, hour: int
) -> bool:
    """Write down which row of which turn has an id of its own; return whether the id is new.

    What had the id before stays known behind it, as far as there is room: the offers of an
    earlier try may have been shown. The id is known for as long as its latest try.
    """
    before = transaction.get(DECISION_NAMES, decision_id)
    tries = _NAME.pack(prefix, turn, row)
    if before is not None:
        with contextlib.suppress(DamagedError):
            earlier, hour_before = _cut_hour(unseal(decision_id, before))
            tries += earlier[: _NAME.size * (DECISION_TRIES_MAX - 1)]
            hour = max(hour, hour_before)
            transaction.delete(DECISION_EXPIRY, _entry(DECISION_NAMES, decision_id, hour_before))
    packed = tries + hour.to_bytes(HOUR_SIZE_BYTES, "big")
    transaction.put(DECISION_NAMES, decision_id, seal(decision_id, packed))
    expire_key(transaction, DECISION_NAMES, decision_id, hour)
    return before is None


def find_name(transaction: Transaction, decision_id: bytes) -> list[tuple[bytes, int, int]]:
    """Return prefix, turn and row of each try of a decision with an id of its own, latest first.

    Raises
    ------
    DamagedError
        The entry is damaged.
    """
    value = transaction.get(DECISION_NAMES, decision_id)
    if value is None:
        return []
    tries, _ = _cut_hour(unseal(decision_id, value))
    return list(_NAME.iter_unpack(tries))


def expire_key(transaction: Transaction, database: Database, key: bytes, hour: int) -> None:
    """Write down from which hour on a key of a database may go."""
    transaction.put(DECISION_EXPIRY, _entry(database, key, hour), MARKER)


def _entry(database: Database, key: bytes, hour: int) -> bytes:
    return entry_key(hour, database.index.to_bytes(_INDEX_SIZE_BYTES, "big") + key)


def _cut_hour(packed: bytes) -> tuple[bytes, int]:
    """Return the tries of a name, and from which hour on it may go; 0 where that is not in it.

    Earlier builds did not write it.
    """
    cut = len(packed) - len(packed) % _NAME.size
    return packed[:cut], int.from_bytes(packed[cut:], "big")


def _turn_key(prefix: bytes, turn: int) -> bytes:
    return prefix + turn.to_bytes(8, "big")


def _list_key(entry: bytes, value: memoryview) -> list[tuple[Database, bytes]]:
    """Return what goes with an entry: the one key that it names with its database."""
    del value
    database, key = entry[HOUR_SIZE_BYTES:_KEY_AT], entry[_KEY_AT:]
    return [(DATABASES[int.from_bytes(database, "big")], key)]


DECISION_QUEUE: Final = ExpiryQueue(DECISION_EXPIRY, META_KEY_DECISIONS_EXPIRED, _list_key)
"""Turns, names of decisions and marks of outcomes, each an hour or less after its time."""
