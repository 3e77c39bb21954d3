"""Requests that are known by an id of their caller's: sent again, they have the same answer."""

from dataclasses import dataclass
from typing import Final

from instanter.errors import AlreadyExistsError
from instanter.limits import EXPIRED_KEYS_PER_RECORD, IDS_KEPT_NS
from instanter.store.event_ids import EVENT_ID_QUEUE, find_event_digest, put_event_ids
from instanter.store.expiry import drop_expired
from instanter.store.log.frames import LogRecord
from instanter.store.transaction import Transaction

DIGEST_SIZE_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class RequestMark:
    """What tells a request from others.

    Attributes
    ----------
    key
        16 bytes that stand for the id and what it is scoped to.
    digest
        16 bytes that stand for everything else in the request.
    """

    key: bytes
    digest: bytes


def find_answer(transaction: Transaction, mark: RequestMark) -> bytes | None:
    """Return what was remembered of a request that was carried out, or None when it was not.

    Raises
    ------
    AlreadyExistsError
        The id came with another content.
    """
    found = find_event_digest(transaction, mark.key)
    if found is None:
        return None
    if found[:DIGEST_SIZE_BYTES] != mark.digest:
        raise AlreadyExistsError(
            "request_id: this id was used for another request within the last day; give each "
            "request an id of its own, and the same id to its retries only",
            reason="REQUEST_ID_CONFLICT",
            field="request_id",
        )
    return found[DIGEST_SIZE_BYTES:]


def remember(transaction: Transaction, record: LogRecord, mark: RequestMark, note: bytes) -> None:
    """Remember a request for a day, with a note from which its answer can be made again."""
    put_event_ids(
        transaction,
        [(mark.key, mark.digest + note)],
        sequence=record.sequence,
        until_ns=record.time_ns + IDS_KEPT_NS,
    )
    drop_expired(transaction, EVENT_ID_QUEUE, record.time_ns, EXPIRED_KEYS_PER_RECORD)
