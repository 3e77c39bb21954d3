"""`CustomerService`: check the requests, call store and writer, translate the profiles."""

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Final

import numpy as np
from google.protobuf.empty_pb2 import Empty
from google.protobuf.field_mask_pb2 import FieldMask

from instanter.catalogue.compiled import CompiledCatalogue
from instanter.catalogue.schema import MISSING_CODE, SCHEMA_EMPTY, Attribute, Schema
from instanter.catalogue.values import encode_value
from instanter.clock import Clock
from instanter.errors import ExhaustedError, InvalidFieldError
from instanter.events.reading import DerivedReader
from instanter.keeper.commands import Submit
from instanter.keeper.customers import (
    DeleteCustomer,
    SlotChange,
    UpdateCustomer,
    Written,
    make_not_found,
)
from instanter.keeper.published import PublishedCatalogue
from instanter.limits import BATCH_REQUESTS_MAX
from instanter.rpc.attribute_values import read_value, write_values
from instanter.rpc.batch_counts import check_count
from instanter.rpc.field_masks import expect_attribute, parse_attribute_mask
from instanter.rpc.front import BlockingMethod, CallContext, DeferredMethod, Lane, Service
from instanter.rpc.names import format_customer_name, parse_customer_name
from instanter.rpc.page_tokens import format_page_token, parse_page_token, read_page_size
from instanter.rpc.request_ids import read_request_mark
from instanter.rpc.timestamps import make_timestamp
from instanter.store.activity import DERIVED, copy_activity
from instanter.store.profiles import Profile, list_profiles, load_profile
from instanter.store.records import key_of
from instanter.store.transaction import Readable, Transaction
from instanter.v1.customer_service_pb2 import (
    BatchGetCustomersRequest,
    BatchGetCustomersResponse,
    Customer,
    DeleteCustomerRequest,
    GetCustomerRequest,
    ListCustomersRequest,
    ListCustomersResponse,
    UpdateCustomerRequest,
)
from instanter.wire_limits import PAGE_SIZE_BYTES_MAX, REPLY_SIZE_BYTES_MAX

READ_LANE: Final = Lane("read", threads=4, waiting_max=1_024)
"""Reading and translating a whole profile takes about a millisecond: too long for the loop."""

_MS_NS: Final = 1_000_000


class CustomerService:
    """Answers the methods of `CustomerService`.

    Parameters
    ----------
    store
        The store that is read.
    submit
        Carries out a command, as `Keeper.submit` does.
    published
        Knows the schema in force.
    clock
        Tells the moment that derived attributes are evaluated at.
    """

    def __init__(
        self, store: Readable, *, submit: Submit, published: PublishedCatalogue, clock: Clock
    ) -> None:
        self._store = store
        self._submit = submit
        self._published = published
        self._clock = clock
        self._derived = DerivedReader()

    def describe(self) -> Service:
        """Return the service as fronts serve it."""
        return Service(
            "instanter.v1.CustomerService",
            (
                BlockingMethod(
                    "GetCustomer", GetCustomerRequest, Customer, self.get_customer, READ_LANE
                ),
                BlockingMethod(
                    "BatchGetCustomers",
                    BatchGetCustomersRequest,
                    BatchGetCustomersResponse,
                    self.batch_get_customers,
                    READ_LANE,
                ),
                DeferredMethod(
                    "UpdateCustomer",
                    UpdateCustomerRequest,
                    Customer,
                    self.update_customer,
                    self.translate_written,
                    READ_LANE,
                ),
                DeferredMethod(
                    "DeleteCustomer",
                    DeleteCustomerRequest,
                    Empty,
                    self.delete_customer,
                    _translate_deleted,
                    None,
                ),
                BlockingMethod(
                    "ListCustomers",
                    ListCustomersRequest,
                    ListCustomersResponse,
                    self.list_customers,
                    READ_LANE,
                ),
            ),
        )

    def get_customer(self, request: GetCustomerRequest, context: CallContext) -> Customer:
        """Return one customer.

        Raises
        ------
        InvalidFieldError
            The name or the mask is wrong.
        NotFoundError, DamagedError
            There is no such customer, or its record is damaged.
        """
        del context
        customer_id = parse_customer_name(request.name, "name")
        with self._store.read() as transaction:
            catalogue = self._published.load(transaction)
            shown = _read_mask(request.read_mask, catalogue)
            profile = self._load_customer(transaction, catalogue, customer_id)
        if profile is None:
            raise make_not_found(customer_id)
        return _translate_profile(profile, shown)

    def batch_get_customers(
        self, request: BatchGetCustomersRequest, context: CallContext
    ) -> BatchGetCustomersResponse:
        """Return several customers of one snapshot, and the names without one.

        Raises
        ------
        InvalidFieldError
            There are none or too many names, or one or the mask is wrong.
        DamagedError
            The record of one of them is damaged.
        ExhaustedError
            The response would be longer than a message may be.
        """
        del context
        count = len(request.names)
        check_count("names", count, BATCH_REQUESTS_MAX, reason="REQUEST_COUNT_INVALID")
        ids = [parse_customer_name(n, f"names[{i}]") for i, n in enumerate(request.names)]
        response = BatchGetCustomersResponse()
        size_bytes = 0
        with self._store.read() as transaction:
            catalogue = self._published.load(transaction)
            shown = _read_mask(request.read_mask, catalogue)
            for customer_id in ids:
                profile = self._load_customer(transaction, catalogue, customer_id)
                if profile is None:
                    response.not_found_names.append(format_customer_name(customer_id))
                    continue
                customer = _translate_profile(profile, shown)
                size_bytes += customer.ByteSize() + 8
                if size_bytes > REPLY_SIZE_BYTES_MAX:
                    raise _too_long(count)
                response.customers.append(customer)
        return response

    def update_customer(
        self, request: UpdateCustomerRequest, context: CallContext
    ) -> Future[Written]:
        """Queue a change of one customer.

        The attributes are checked against the schema that is in force when the change runs, so
        a catalogue published a moment before counts.

        Raises
        ------
        InvalidFieldError
            The customer's name is wrong; the future raises it for everything else.
        """
        customer_id = parse_customer_name(request.customer.name, "customer.name")

        command = UpdateCustomer(
            customer_id,
            partial(_read_change, request),
            allow_missing=request.allow_missing,
            mark=read_request_mark(request, f"update {customer_id}"),
        )
        return self._submit(command, context.deadline_ns)

    def translate_written(self, written: Written) -> Customer:
        """Return a customer as a change left it, with what is derived from events now."""
        profile, schema = written.profile, written.schema
        with self._store.read() as transaction:
            catalogue = self._published.load(transaction)
            if catalogue is None or catalogue.schema.revision != schema.revision:
                return _translate_profile(profile, schema.loaded.values())
            sections = copy_activity(transaction, key_of(profile.customer_id))
        self._write_derived(catalogue, sections, profile)
        return _translate_profile(profile, (*schema.loaded.values(), *schema.derived.values()))

    def delete_customer(self, request: DeleteCustomerRequest, context: CallContext) -> Future[None]:
        """Queue the deletion of one customer.

        Raises
        ------
        InvalidFieldError
            The name is wrong.
        """
        customer_id = parse_customer_name(request.name, "name")
        command = DeleteCustomer(
            customer_id,
            allow_missing=request.allow_missing,
            mark=read_request_mark(request, f"delete {customer_id}"),
        )
        return self._submit(command, context.deadline_ns)

    def list_customers(
        self, request: ListCustomersRequest, context: CallContext
    ) -> ListCustomersResponse:
        """Return a page of customers; shorter than asked for when it would get too long.

        Raises
        ------
        InvalidFieldError
            The page size is negative, or the token or the mask is wrong.
        """
        del context
        wanted = read_page_size(request.page_size)
        after = parse_page_token(request.page_token, "page_token")
        with self._store.read() as transaction:
            catalogue = self._published.load(transaction)
            shown = _read_mask(request.read_mask, catalogue)
            # One more than wanted says whether there is a next page.
            rows = list_profiles(
                transaction,
                key_of(after) if after else b"",
                wanted + 1,
                0 if catalogue is None else catalogue.schema.profile_slot_count,
            )
            for row in rows[:wanted]:
                if catalogue is not None and row.profile is not None:
                    sections = copy_activity(transaction, key_of(row.customer_id))
                    self._write_derived(catalogue, sections, row.profile)
        response = ListCustomersResponse()
        size_bytes = 0
        last = ""
        for row in rows[:wanted]:
            if row.profile is None:
                response.damaged_count += 1
            else:
                customer = _translate_profile(row.profile, shown)
                size_bytes += customer.ByteSize() + 8
                if size_bytes > PAGE_SIZE_BYTES_MAX and response.customers:
                    break
                response.customers.append(customer)
            last = row.customer_id
        if last and last != rows[-1].customer_id:
            response.next_page_token = format_page_token(last)
        return response

    def _load_customer(
        self, transaction: Transaction, catalogue: CompiledCatalogue | None, customer_id: str
    ) -> Profile | None:
        """Return a customer's profile with derived attributes, or None when there is nothing.

        A customer without a profile of whom events were recorded has one of revision 0.
        """
        key = key_of(customer_id)
        if catalogue is None:
            return load_profile(transaction, key, 0)
        schema = catalogue.schema
        profile = load_profile(transaction, key, schema.profile_slot_count)
        sections = copy_activity(transaction, key)
        if profile is None and DERIVED in sections:
            slots = np.full(schema.profile_slot_count, MISSING_CODE, np.uint32)
            profile = Profile(customer_id, slots, schema.revision, 0, 0, 0)
        if profile is not None:
            self._write_derived(catalogue, sections, profile)
        return profile

    def _write_derived(
        self, catalogue: CompiledCatalogue, sections: Mapping[int, bytes], profile: Profile
    ) -> None:
        """Write what is derived from a customer's events into the copy of the profile."""
        self._derived.write(catalogue, sections, self._clock.now_ns(), profile.slots)


def _read_mask(mask: FieldMask, catalogue: CompiledCatalogue | None) -> Iterable[Attribute]:
    """Return the attributes that a read mask asks for; all of them when it is unset."""
    schema = SCHEMA_EMPTY if catalogue is None else catalogue.schema
    if mask.paths:
        named = parse_attribute_mask(mask, schema, "read_mask", with_derived=True)
        if named is not None:
            return named
    return (*schema.loaded.values(), *schema.derived.values())


def _read_change(request: UpdateCustomerRequest, schema: Schema) -> SlotChange:
    """Check the attributes of an update and return what to write.

    Raises
    ------
    InvalidFieldError
        A name is not in the schema, a value is wrong, or a path of the mask is.
    """
    given = request.customer.attributes
    mask = request.update_mask
    named = parse_attribute_mask(mask, schema, "update_mask") if mask.paths else []
    slots: list[int] = []
    codes: list[int] = []
    loaded = schema.loaded
    if mask.paths and named is not None:
        # Sorted out by the mask: what the customer carries beside it is not looked at (AIP-134).
        for attribute in named:
            slots.append(attribute.slot)
            carried = attribute.name in given
            codes.append(_encode(attribute, request) if carried else MISSING_CODE)
        return SlotChange(tuple(slots), tuple(codes), replaces_all=False)
    for name in given:
        attribute_or_none = loaded.get(name)
        if attribute_or_none is None:
            raise _unknown_attribute(name, schema)
        slots.append(attribute_or_none.slot)
        codes.append(_encode(attribute_or_none, request))
    return SlotChange(tuple(slots), tuple(codes), replaces_all=named is None)


def _encode(attribute: Attribute, request: UpdateCustomerRequest) -> int:
    """Return the slot pattern of one attribute of the request."""
    field = f'customer.attributes["{attribute.name}"]'
    value = read_value(request.customer.attributes[attribute.name], field)
    return MISSING_CODE if value is None else encode_value(attribute, value, field)


def _unknown_attribute(name: str, schema: Schema) -> InvalidFieldError:
    """Return the error for an attribute that is not in the schema."""
    expected = expect_attribute(name, schema.loaded)
    if name in schema.context:
        expected = "a loaded attribute; this one is given with each request and is not stored"
    if name in schema.derived:
        expected = "a loaded attribute; this one is derived from events and cannot be written"
    return InvalidFieldError(
        f'customer.attributes["{name}"]', name, expected, reason="ATTRIBUTE_UNKNOWN"
    )


def _too_long(count: int) -> ExhaustedError:
    return ExhaustedError(
        f"the {count} customers take more than {REPLY_SIZE_BYTES_MAX:,} bytes; ask for fewer, or"
        " for fewer attributes with read_mask",
        reason="REPLY_TOO_LONG",
        field="names",
    )


def _translate_deleted(_: None) -> Empty:
    return Empty()


def _translate_profile(profile: Profile, shown: Iterable[Attribute]) -> Customer:
    """Return the message of a profile with the attributes to show."""
    customer = Customer(
        name=format_customer_name(profile.customer_id),
        revision=profile.revision,
    )
    if profile.revision:
        customer.create_time.CopyFrom(make_timestamp(profile.create_time_ms * _MS_NS))
        customer.update_time.CopyFrom(make_timestamp(profile.update_time_ms * _MS_NS))
    write_values(customer.attributes, shown, profile.slots)
    return customer
