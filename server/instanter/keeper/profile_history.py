"""Profiles that are overwritten: until when they are kept, and that they go after it."""

from typing import Final

from instanter.limits import DECISION_INPUTS_KEPT_NS, EXPIRED_KEYS_PER_RECORD
from instanter.store.expiry import drop_expired
from instanter.store.history import HISTORY_QUEUE
from instanter.store.log.frames import LogRecord
from instanter.store.transaction import Transaction

_S_NS: Final = 1_000_000_000


def keep_until_s(record: LogRecord) -> int:
    """Return until when a profile that a record overwrites is kept, seconds since 1970."""
    return (record.time_ns + DECISION_INPUTS_KEPT_NS) // _S_NS


def drop_old_profiles(transaction: Transaction, record: LogRecord, written_count: int) -> None:
    """Drop profiles whose time had passed when a record was written, the oldest first.

    Parameters
    ----------
    transaction
        An open write transaction.
    record
        What was applied.
    written_count
        Profiles that it wrote. Twice as many may go, so that what a block kept a week ago is gone
        after a block half as large.
    """
    limit = max(EXPIRED_KEYS_PER_RECORD, 2 * written_count)
    drop_expired(transaction, HISTORY_QUEUE, record.time_ns, limit)
