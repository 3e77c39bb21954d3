"""Refuses transactions that cannot be: amounts, currencies, places, declared fields."""

import math
from collections.abc import Mapping

from instanter.catalogue.currencies import find_minor_digits
from instanter.catalogue.schema import MISSING_CODE, Attribute, AttributeKind
from instanter.catalogue.values import encode_value
from instanter.errors import InvalidFieldError, nearest
from instanter.fraud.questions import FieldValue, Transaction
from instanter.fraud_limits import FRAUD_AMOUNT_MINOR_MAX, FRAUD_MCC_MAX


def check_transaction(transaction: Transaction) -> int:
    """Check what needs no catalogue, and return the digits of the currency's minor unit.

    Raises
    ------
    InvalidFieldError
        An amount, category, currency, time or place is not one.
    """
    amount = transaction.amount_minor
    if not 1 <= amount <= FRAUD_AMOUNT_MINOR_MAX:
        expected = f"a whole number of minor units, 1 to {FRAUD_AMOUNT_MINOR_MAX:,}"
        raise InvalidFieldError("amount_minor", amount, expected)
    if not 1 <= transaction.mcc <= FRAUD_MCC_MAX:
        expected = f"a merchant category code (ISO 18245), 1 to {FRAUD_MCC_MAX}"
        raise InvalidFieldError("mcc", transaction.mcc, expected)
    digits = find_minor_digits(transaction.currency)
    if digits is None:
        expected = "the ISO 4217 code of a currency with a minor unit, EUR for example"
        raise InvalidFieldError("currency", transaction.currency, expected)
    if transaction.time_ns < 0:
        expected = "a time that is not before 1970"
        raise InvalidFieldError("transaction_time", transaction.time_ns, expected)
    if transaction.latitude is not None or transaction.longitude is not None:
        _check_place(transaction)
    return digits


def _check_place(transaction: Transaction) -> None:
    for field, value, most in (
        ("place.latitude", transaction.latitude, 90.0),
        ("place.longitude", transaction.longitude, 180.0),
    ):
        # A NaN is in no range.
        if value is None or not -most <= value <= most:
            raise InvalidFieldError(field, value, f"degrees, {-most:g} to {most:g}")


def encode_fields(
    given: Mapping[str, FieldValue],
    declared: Mapping[str, Attribute],
    required: tuple[str, ...],
    count: int,
) -> list[int]:
    """Return the patterns of the declared fields by their indexes.

    Parameters
    ----------
    given
        Values by name.
    declared
        Fields by name, whose slots are their indexes.
    required
        Names of those that must be given.
    count
        Fields, withdrawn ones included.

    Raises
    ------
    InvalidFieldError
        A field is not declared, one that is required is missing, or a value is of another kind,
        out of range or not among the declared ones.
    """
    patterns = [MISSING_CODE] * count
    for name, value in given.items():
        attribute = declared.get(name)
        if attribute is None:
            near = nearest(name, declared)
            hint = f"; did you mean '{near}'?" if near else ""
            raise InvalidFieldError(
                f'fields["{name}"]',
                name,
                f"a field that `fraud.fields` of the catalogue declares{hint}",
                reason="TRANSACTION_FIELD_UNKNOWN",
            )
        patterns[attribute.slot] = encode_value(attribute, value, f'fields["{name}"]')
    for name in required:
        if name not in given:
            raise InvalidFieldError(
                f'fields["{name}"]',
                "",
                "a value: `fraud.fields` of the catalogue requires it",
                reason="TRANSACTION_FIELD_MISSING",
            )
    return patterns


def fit_fields(
    given: Mapping[str, FieldValue],
    declared: Mapping[str, Attribute],
    required: tuple[str, ...],
    count: int,
) -> tuple[list[int], bool]:
    """Return the patterns of declared fields as far as a transaction of the past has them.

    Fields that are not declared are left out; values that do not fit are missing.

    Parameters
    ----------
    given
        Values by name, as another catalogue took them; instants as seconds since 1970.
    declared, required, count
        As for `encode_fields`.

    Returns
    -------
    patterns, fits
        As `encode_fields` returns them, and whether it would have taken these values.
    """
    patterns = [MISSING_CODE] * count
    fits = all(name in given for name in required)
    for name, value in given.items():
        attribute = declared.get(name)
        if attribute is None:
            fits = False
            continue
        if attribute.kind is AttributeKind.INSTANT and isinstance(value, float):
            # The log has fractions of a second; slots never do.
            value = math.floor(value)
        try:
            patterns[attribute.slot] = encode_value(attribute, value, name)
        except InvalidFieldError:
            fits = False
    return patterns, fits
