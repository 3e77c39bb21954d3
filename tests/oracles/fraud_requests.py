"""Requests of `AssessTransaction`, read and packed by what does so one by one."""

from itertools import pairwise

from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from instanter.catalogue.fraud_figures import encode_currency
from instanter.errors import InvalidFieldError
from instanter.fraud.checks import check_transaction
from instanter.fraud.encoding import hash_name
from instanter.keeper.transaction_records import pack_transaction
from instanter.kernels import fraud_columns as columns
from instanter.rpc.assessing import read_transaction
from instanter.rpc.card_numbers import may_hold_card_data
from instanter.store.fraud_states import entity_key
from instanter.v1.fraud_service_pb2 import AssessTransactionRequest

NAN = float("nan")


def read_transactions(
    data, cut, count, currencies, usual, numbers, places, texts, packed, packed_cut, keys, key_cut
):
    to = key_at = 0
    packed_cut[0] = key_cut[0] = 0
    for r, (start, end) in enumerate(pairwise(cut[: count + 1].tolist())):
        wire = bytes(data[start:end])
        found = _read(wire)
        usual[r] = found is not None
        numbers[r], places[r], texts[r] = 0, NAN, 0
        if found is not None:
            request, transaction, digits = found
            numbers[r] = list_numbers(transaction, digits)
            if request.HasField("place"):
                places[r] = transaction.latitude, transaction.longitude
            texts[r] = _find_texts(wire, start, transaction)
            written = pack_transaction(transaction)
            packed[to : to + len(written)] = list(written)
            to += len(written)
        packed_cut[r + 1] = to
        for e, key in enumerate(list_keys(found[1]) if found else [b""] * 5):
            keys[key_at : key_at + len(key)] = list(key)
            key_at += len(key)
            key_cut[5 * r + e + 1] = key_at


def _read(wire):
    """Return message, transaction and digits of a usual request, None for another one."""
    try:
        request = AssessTransactionRequest.FromString(wire)
        transaction = read_transaction(request)
        digits = check_transaction(transaction)
    except (DecodeError, InvalidFieldError):
        return None
    # Unknown fields are kept, and written again.
    if any(map(len, map(UnknownFieldSet, (request, request.transaction_time, request.place)))):
        return None
    listed = [value for _, value in request.ListFields() if isinstance(value, str)]
    amounts = (request.amount_minor, request.transaction_time.seconds)
    closer = may_hold_card_data(listed, amounts) or not all(map(str.isascii, listed))
    if closer or transaction.fields or request.SerializeToString() != wire:
        return None
    return request, transaction, digits


def list_numbers(transaction, digits):
    """Return the numbers of a transaction by their columns."""
    device = transaction.device
    found = {
        columns.AMOUNT_MINOR: transaction.amount_minor,
        columns.DIGITS: digits,
        columns.CURRENCY: encode_currency(transaction.currency),
        columns.MCC: transaction.mcc,
        columns.GIVEN_NS: transaction.time_ns,
        columns.PRESENT: int(transaction.present),
        columns.TERMINAL_HASH: hash_name(transaction.terminal),
        columns.MERCHANT_HASH: hash_name(transaction.merchant),
        columns.DEVICE_HASH: hash_name(device) if device else 0xFFFF_FFFF,
    }
    return [found[column] for column in range(columns.NUMBERS)]


def list_names(transaction):
    """Return the texts of a transaction by their columns."""
    found = {
        columns.TRANSACTION_ID: transaction.transaction_id,
        columns.CARD: transaction.card,
        columns.CUSTOMER: transaction.customer,
        columns.TERMINAL: transaction.terminal,
        columns.MERCHANT: transaction.merchant,
        columns.DEVICE: transaction.device,
        columns.CURRENCY_TEXT: transaction.currency,
        columns.BIN: transaction.bin,
    }
    return [found[column] for column in range(columns.TEXTS)]


def list_keys(transaction):
    """Return the keys of a transaction's entities by their kinds, empty for none."""
    names = (
        transaction.card,
        transaction.customer,
        transaction.terminal,
        transaction.merchant,
        transaction.device,
    )
    return [entity_key(kind, name) if name else b"" for kind, name in enumerate(names, 1)]


def _find_texts(wire, start, transaction):
    """Return where the texts are: each is the end of its field, which are found by their tags."""
    spans = dict.fromkeys(range(1, 15), (0, 0))
    at = 0
    while at < len(wire):
        field, kind = divmod(wire[at], 8)
        size, at = _read_number(wire, at + 1)
        if kind == 2:
            at += size
            spans[field] = at - size, at
    fields = {columns.DEVICE: 12, columns.CURRENCY_TEXT: 8, columns.BIN: 13}
    found = []
    for column, name in enumerate(list_names(transaction)):
        _, end = spans[fields.get(column, column + 1)]
        assert wire[end - len(name) : end].decode() == name
        found.append((start + end - len(name), start + end) if name else (0, 0))
    return found


def _read_number(wire, at):
    number = shift = 0
    while wire[at] > 0x7F:
        number |= (wire[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
    return number | wire[at] << shift, at + 1
