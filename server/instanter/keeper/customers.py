"""Changes of customers: what they write into the log, and what that does to the state."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from instanter.catalogue.fraud_words import EntityKind
from instanter.catalogue.schema import MISSING_CODE, Schema
from instanter.errors import CatalogueMissingError, DamagedError, NotFoundError, show
from instanter.keeper.commands import Answered, ApplyContext, pack_body, unpack_body
from instanter.keeper.profile_history import drop_old_profiles, keep_until_s
from instanter.keeper.records import RecordKind
from instanter.keeper.requests import RequestMark, find_answer, remember
from instanter.store.activity import NO_ACTIVITY, copy_activity, delete_activity
from instanter.store.fraud_states import entity_key, has_sections
from instanter.store.history import drop_customer, load_kept_profile
from instanter.store.log.frames import LogRecord
from instanter.store.profiles import Profile, delete_profile, load_profile, put_profile
from instanter.store.records import key_of
from instanter.store.transaction import Transaction

_MS_NS: Final = 1_000_000


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


@dataclass(frozen=True, slots=True, eq=False)
class Written:
    """A profile as a change left it.

    Attributes
    ----------
    profile
        The profile.
    schema
        The schema that its slots are of.
    """

    profile: Profile
    schema: Schema


@dataclass(frozen=True, slots=True, eq=False)
class UpdateCustomer:
    """Writes some or all attributes of one customer.

    Attributes
    ----------
    customer_id
        A checked id.
    read_change
        Returns what to write, encoded for the schema that is in force at that moment; raises an
        `InstanterError` for what does not fit it.
    allow_missing
        Whether to create the customer when there is none.
    mark
        Tells the request from others; None when its caller gave it no id.
    """

    customer_id: str
    read_change: Callable[[Schema], SlotChange]
    allow_missing: bool
    mark: RequestMark | None = None

    @property
    def kind(self) -> RecordKind:
        """Kind of its record."""
        return RecordKind.UPDATE_CUSTOMER

    def prepare(
        self, transaction: Transaction, now_ns: int, context: ApplyContext
    ) -> bytes | Answered:
        """Check the change against schema and profile, and return the body of its record.

        Raises
        ------
        CatalogueMissingError
            No catalogue has been published.
        NotFoundError
            There is no such customer and none may be created.
        DamagedError
            The record is damaged and not all of it is replaced.
        InvalidFieldError
            The change does not fit the schema.
        AlreadyExistsError
            The caller's id for the request was used for another one.
        """
        del now_ns
        if self.mark is not None:
            note = find_answer(transaction, self.mark)
            if note is not None:
                return Answered(self._find_written(transaction, note, context))
        schema = context.published.load_schema(transaction)
        if not schema.revision:
            raise CatalogueMissingError
        change = self.read_change(schema)
        self._check_present(transaction, partly=not change.replaces_all)
        return pack_body(
            {
                "customer": self.customer_id,
                "slots": np.array(change.slots, "<i4").tobytes(),
                "codes": np.array(change.codes, "<u4").tobytes(),
                "all": change.replaces_all,
                "mark": _pack_mark(self.mark),
            }
        )

    def _find_written(
        self, transaction: Transaction, note: bytes, context: ApplyContext
    ) -> Written:
        """Return the profile as the request left it, or as it is when that is kept no longer.

        Raises
        ------
        NotFoundError
            The customer has been deleted since.
        """
        schema = context.published.load_schema(transaction)
        key = key_of(self.customer_id)
        count = schema.profile_slot_count
        present = load_profile(transaction, key, count)
        revision = int.from_bytes(note, "little")
        if present is None:
            raise make_not_found(self.customer_id)
        if present.revision != revision:
            present = load_kept_profile(transaction, key, revision, count) or present
        return Written(present, schema)

    def _check_present(self, transaction: Transaction, *, partly: bool) -> None:
        """Refuse what cannot be written: a customer that is not there, or is damaged."""
        try:
            present = load_profile(transaction, key_of(self.customer_id), 0) is not None
        except DamagedError:
            if partly:
                raise
            present = True
        if not present and not self.allow_missing:
            raise make_not_found(self.customer_id)


def apply_update(transaction: Transaction, record: LogRecord, context: ApplyContext) -> Written:
    """Write a customer's attributes and return the profile as it now is."""
    body = unpack_body(record)
    schema = context.published.load_schema(transaction)
    slots = np.full(schema.stored_slot_count, MISSING_CODE, np.uint32)
    mask: NDArray[np.bool_] | None = None
    named = np.frombuffer(body["slots"], "<i4")
    slots[named] = np.frombuffer(body["codes"], "<u4")
    if not body["all"]:
        mask = np.zeros(schema.stored_slot_count, np.bool_)
        mask[named] = True
    profile = put_profile(
        transaction,
        key_of(body["customer"]),
        slots,
        schema_revision=schema.revision,
        now_ms=record.time_ns // _MS_NS,
        slot_mask=mask,
        keep_until_s=keep_until_s(record),
    )
    drop_old_profiles(transaction, record, 1)
    if body["mark"]:
        note = profile.revision.to_bytes(8, "little")
        remember(transaction, record, RequestMark(*body["mark"]), note)
    shown = np.full(schema.profile_slot_count, MISSING_CODE, np.uint32)
    shown[: len(profile.slots)] = profile.slots
    return Written(replace(profile, slots=shown), schema)


@dataclass(frozen=True, slots=True)
class DeleteCustomer:
    """Deletes one customer with the whole profile, a damaged one too, and all activity.

    Attributes
    ----------
    customer_id
        A checked id.
    allow_missing
        Whether it is right when there is no such customer.
    mark
        As in `UpdateCustomer`.
    """

    customer_id: str
    allow_missing: bool
    mark: RequestMark | None = None

    @property
    def kind(self) -> RecordKind:
        """Kind of its record."""
        return RecordKind.DELETE_CUSTOMER

    def prepare(
        self, transaction: Transaction, now_ns: int, context: ApplyContext
    ) -> bytes | Answered:
        """Check that the customer is there, and return the body of its record.

        Raises
        ------
        NotFoundError
            There is no such customer, and that is not allowed.
        AlreadyExistsError
            The caller's id for the request was used for another one.
        """
        del now_ns, context
        if self.mark is not None and find_answer(transaction, self.mark) is not None:
            return Answered(None)
        if not self.allow_missing and not _has_customer(transaction, self.customer_id):
            raise make_not_found(self.customer_id)
        return pack_body({"customer": self.customer_id, "mark": _pack_mark(self.mark)})


def apply_delete(transaction: Transaction, record: LogRecord, context: ApplyContext) -> None:
    """Delete a customer, with what past decisions were made of: forgotten is forgotten.

    Card transactions stay for as long as `store/transactions` keeps them, own behaviour does not.
    """
    body = unpack_body(record)
    key = key_of(body["customer"])
    delete_profile(transaction, key)
    delete_activity(transaction, key)
    drop_customer(transaction, key)
    context.fraud.book.forget(transaction, EntityKind.CUSTOMER, body["customer"])
    if body["mark"]:
        remember(transaction, record, RequestMark(*body["mark"]), b"")


def _pack_mark(mark: RequestMark | None) -> tuple[bytes, bytes] | None:
    return None if mark is None else (mark.key, mark.digest)


def make_not_found(customer_id: str) -> NotFoundError:
    """Return the error for a customer that does not exist."""
    return NotFoundError(
        f"there is no customer {show(customer_id)}",
        reason="CUSTOMER_NOT_FOUND",
        metadata={"customer": customer_id},
    )


def _has_customer(transaction: Transaction, customer_id: str) -> bool:
    """Return whether anything is stored of a customer, be it damaged."""
    key = key_of(customer_id)
    try:
        if load_profile(transaction, key, 0) is not None:
            return True
    except DamagedError:
        return True
    return copy_activity(transaction, key) is not NO_ACTIVITY or has_sections(
        transaction, entity_key(EntityKind.CUSTOMER, customer_id)
    )
