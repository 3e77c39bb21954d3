"""Resource names: the one module that parses and formats them (AIP-122)."""

import re
import unicodedata
from typing import Final

from instanter.errors import InvalidFieldError
from instanter.limits import CUSTOMER_ID_SIZE_BYTES_MAX, NAME_SIZE_MAX

CATALOGUE_NAME: Final = "catalogue"
"""The one catalogue."""

_CUSTOMERS: Final = "customers/"
_CUSTOMERS_SIZE: Final = len(_CUSTOMERS)
_OFFERS: Final = "offers/"
_DECISIONS: Final = "decisions/"
_DECISION: Final = re.compile("decisions/[0-9a-f]{32}")
_ASCII_SIZE_MAX: Final = CUSTOMER_ID_SIZE_BYTES_MAX
_EXPECTED: Final = (
    f"customers/{{customer}}, the id 1 to {CUSTOMER_ID_SIZE_BYTES_MAX} bytes of UTF-8 without"
    " control characters and without '/'"
)


def parse_customer_name(name: str, field: str) -> str:
    """Return the id within a customer's resource name.

    Parameters
    ----------
    name
        `customers/{customer}` as the caller gave it.
    field
        Path of the field in the request, for the error.

    Returns
    -------
    str
        The id, 1 to 256 bytes of UTF-8 without control characters and without `/`.

    Raises
    ------
    InvalidFieldError
        The name is not of that form; reason `CUSTOMER_NAME_INVALID`.
    """
    customer_id = name[_CUSTOMERS_SIZE:]
    # Nearly every id is short printable ASCII, and `isprintable` is false for all controls; the
    # way below looks at each character and takes 30 times as long.
    if (
        name.startswith(_CUSTOMERS)
        and 0 < len(customer_id) <= _ASCII_SIZE_MAX
        and customer_id.isascii()
        and customer_id.isprintable()
        and "/" not in customer_id
    ):
        return customer_id
    mistake = _find_mistake(name, customer_id)
    if mistake:
        raise InvalidFieldError(
            field, name, f"{_EXPECTED}; {mistake}", reason="CUSTOMER_NAME_INVALID"
        )
    return customer_id


def format_customer_name(customer_id: str) -> str:
    """Return the resource name of a customer."""
    return _CUSTOMERS + customer_id


def format_offer_name(offer: str) -> str:
    """Return the resource name of an offer."""
    return _OFFERS + offer


def format_decision_name(decision_id: str) -> str:
    """Return the resource name of a decision."""
    return _DECISIONS + decision_id


def parse_offer_name(name: str, field: str) -> str:
    """Return the offer's name within its resource name, `offers/{offer}`.

    Raises
    ------
    InvalidFieldError
        It is not of that form; reason `OFFER_NAME_INVALID`.
    """
    offer = name.removeprefix(_OFFERS)
    if not name.startswith(_OFFERS) or not 1 <= len(offer) <= NAME_SIZE_MAX or "/" in offer:
        raise InvalidFieldError(
            field,
            name,
            f"offers/{{offer}}, the offer's name of 1 to {NAME_SIZE_MAX} characters",
            reason="OFFER_NAME_INVALID",
        )
    return offer


def parse_decision_name(name: str, field: str) -> bytes:
    """Return the id of 16 bytes within a decision's resource name, `decisions/{decision}`.

    Raises
    ------
    InvalidFieldError
        It is not of that form; reason `DECISION_NAME_INVALID`.
    """
    if not _DECISION.fullmatch(name):
        raise InvalidFieldError(
            field,
            name,
            "decisions/{decision}, the id 32 hex digits as a response gave them",
            reason="DECISION_NAME_INVALID",
        )
    return bytes.fromhex(name.removeprefix(_DECISIONS))


def check_catalogue_name(name: str, field: str) -> None:
    """Raise unless `name` is the name of the one catalogue.

    Raises
    ------
    InvalidFieldError
        It is another name; reason `CATALOGUE_NAME_INVALID`.
    """
    if name != CATALOGUE_NAME:
        raise InvalidFieldError(field, name, f"'{CATALOGUE_NAME}'", reason="CATALOGUE_NAME_INVALID")


def _find_mistake(name: str, customer_id: str) -> str:
    """Say what is wrong with a customer's name, or return an empty text when nothing is."""
    if not name.startswith(_CUSTOMERS):
        return "it does not start with 'customers/'"
    if not customer_id:
        return "the id is empty"
    if len(customer_id) > CUSTOMER_ID_SIZE_BYTES_MAX:
        return f"the id has {len(customer_id):,} characters"
    try:
        size = len(customer_id.encode())
    except UnicodeEncodeError:
        return "the id is not valid Unicode"
    if size > CUSTOMER_ID_SIZE_BYTES_MAX:
        return f"the id has {size} bytes"
    if "/" in customer_id:
        return "the id contains '/'"
    for place, character in enumerate(customer_id):
        if unicodedata.category(character) == "Cc":
            return f"the id contains the control character U+{ord(character):04X} at {place}"
    return ""
