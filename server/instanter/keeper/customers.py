"""Changes of customers as pure functions of a transaction and a time given to them.

No clock, no randomness and nothing of the wire: the same change on the same state gives the same
bytes, so that a log of such changes can be folded into a store again.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instanter.catalogue.schema import MISSING_CODE, Schema
from instanter.errors import DamagedError, NotFoundError, show
from instanter.store.profiles import Profile, delete_profile, load_profile, put_profile
from instanter.store.records import key_of
from instanter.store.transaction import Transaction

_MS_NS = 1_000_000


@dataclass(frozen=True, slots=True)
class SlotChange:
    """What to write into a profile.

    Attributes
    ----------
    slots, codes
        Slot numbers, and for each the uint32 pattern to write; `MISSING_CODE` clears it.
    replaces_all
        Every slot that is not named becomes missing.
    """

    slots: tuple[int, ...]
    codes: tuple[int, ...]
    replaces_all: bool


def update_customer(
    transaction: Transaction,
    now_ns: int,
    *,
    customer_id: str,
    change: SlotChange,
    schema: Schema,
    allow_missing: bool,
) -> Profile:
    """Write some or all attributes of one customer and return the profile as it now is.

    Parameters
    ----------
    transaction
        An open write transaction.
    now_ns
        The time of the change, nanoseconds since 1970.
    customer_id
        A checked id.
    change
        What to write, encoded for `schema`.
    schema
        The schema in force.
    allow_missing
        Whether to create the customer when there is none.

    Raises
    ------
    NotFoundError
        There is no such customer and none may be created.
    DamagedError
        The record is damaged and not all of it is replaced.
    """
    key = key_of(customer_id)
    if not allow_missing and not _has_customer(transaction, key):
        raise make_not_found(customer_id)
    slots = np.full(schema.profile_slot_count, MISSING_CODE, np.uint32)
    mask: NDArray[np.bool_] | None = None
    named = list(change.slots)
    slots[named] = change.codes
    if not change.replaces_all:
        mask = np.zeros(schema.profile_slot_count, np.bool_)
        mask[named] = True
    return put_profile(
        transaction,
        key,
        slots,
        schema_revision=schema.revision,
        now_ms=now_ns // _MS_NS,
        slot_mask=mask,
    )


def delete_customer(
    transaction: Transaction, now_ns: int, *, customer_id: str, allow_missing: bool
) -> None:
    """Delete one customer with the whole profile, a damaged one too.

    Raises
    ------
    NotFoundError
        There is no such customer, and that is not allowed.
    """
    del now_ns  # every change is given its time; a deletion leaves nothing to write it on
    if not delete_profile(transaction, key_of(customer_id)) and not allow_missing:
        raise make_not_found(customer_id)


def make_not_found(customer_id: str) -> NotFoundError:
    """Return the error for a customer that does not exist."""
    return NotFoundError(
        f"there is no customer {show(customer_id)}",
        reason="CUSTOMER_NOT_FOUND",
        metadata={"customer": customer_id},
    )


def _has_customer(transaction: Transaction, key: bytes) -> bool:
    """Return whether there is a record, be it damaged."""
    try:
        return load_profile(transaction, key, 0) is not None
    except DamagedError:
        return True
