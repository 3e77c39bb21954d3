"""Where in the log each turn of decisions stands, for as long as outcomes of it are accepted.

Nothing here looks at a clock: times come from the records of the log, so that a replay keeps and
drops exactly the same.
"""

import struct
from typing import Final

from instanter.store.databases import (
    DATABASES,
    DECISION_EXPIRY,
    DECISION_NAMES,
    DECISIONS,
    Database,
)
from instanter.store.log.frames import LogPosition
from instanter.store.records import MARKER, seal, unseal
from instanter.store.transaction import Transaction

HOUR_NS: Final = 3_600_000_000_000
"""Width of one bucket of expiry: what is kept stays up to this much longer."""

_PLACE = struct.Struct("<QQQ")
_NAME = struct.Struct("<8sQQ")


def expiry_hour(until_ns: int) -> int:
    """Return the hour from which on something that is kept until `until_ns` may go."""
    return -(-until_ns // HOUR_NS)


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
        Hour since 1970 from which on nobody asks for it.
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
    """Write down which row of which turn has an id of its own; return whether the id is new."""
    known = transaction.get(DECISION_NAMES, decision_id) is not None
    value = seal(decision_id, _NAME.pack(prefix, turn, row))
    transaction.put(DECISION_NAMES, decision_id, value)
    expire_key(transaction, DECISION_NAMES, decision_id, hour)
    return not known


def find_name(transaction: Transaction, decision_id: bytes) -> tuple[bytes, int, int] | None:
    """Return prefix, turn and row of a decision with an id of its own, or None.

    Raises
    ------
    DamagedError
        The entry is damaged.
    """
    value = transaction.get(DECISION_NAMES, decision_id)
    if value is None:
        return None
    prefix, turn, row = _NAME.unpack(unseal(decision_id, value))
    return prefix, turn, row


def expire_key(transaction: Transaction, database: Database, key: bytes, hour: int) -> None:
    """Write down from which hour on a key of a database may go."""
    entry = hour.to_bytes(8, "big") + database.index.to_bytes(8, "big") + key
    transaction.put(DECISION_EXPIRY, entry, MARKER)


def drop_expired(transaction: Transaction, now_ns: int, limit: int) -> int:
    """Drop what needs to be kept no longer, the oldest first, and return how many keys went.

    A key that was written again with a later hour goes with its first hour; only ids that are
    used again long after are, and their turns went with it.

    Parameters
    ----------
    transaction
        An open write transaction.
    now_ns
        Nanoseconds since 1970.
    limit
        At most this many: bounds how long other writes wait.
    """
    end = (now_ns // HOUR_NS + 1).to_bytes(8, "big")
    expired: list[bytes] = []
    for entry, _ in transaction.scan(DECISION_EXPIRY):
        if entry >= end or len(expired) == limit:
            break
        expired.append(entry)
    for entry in expired:
        transaction.delete(DECISION_EXPIRY, entry)
        transaction.delete(DATABASES[int.from_bytes(entry[8:16], "big")], entry[16:])
    return len(expired)


def _turn_key(prefix: bytes, turn: int) -> bytes:
    return prefix + turn.to_bytes(8, "big")
