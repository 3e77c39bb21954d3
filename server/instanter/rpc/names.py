"""Resource names: the one module that parses and formats them (AIP-122)."""

import re
import unicodedata
from typing import Final

from instanter.catalogue.fraud_words import ListKind
from instanter.errors import InvalidFieldError
from instanter.fraud_limits import FRAUD_ID_SIZE_MAX, TRANSACTION_ID_SIZE_MAX
from instanter.limits import CUSTOMER_ID_SIZE_BYTES_MAX, NAME_SIZE_MAX
from instanter.stock_limits import STOCK_KEEPING_UNIT_SIZE_MAX

CATALOGUE_NAME: Final = "catalogue"
"""The one catalogue."""

_CUSTOMERS: Final = "customers/"
_CUSTOMERS_SIZE: Final = len(_CUSTOMERS)
_OFFERS: Final = "offers/"
_DECISIONS: Final = "decisions/"
_DECISION: Final = re.compile("decisions/[0-9a-f]{32}")
TRANSACTIONS: Final = "transactions/"
TERMINALS: Final = "terminals/"
MERCHANTS: Final = "merchants/"
FRAUD_RULES: Final = "fraudRules/"
SITES: Final = "sites/"
DISTRIBUTORS: Final = "distributors/"
"""Collections of plain ids, for `parse_plain_name`."""

_CASES: Final = "cases/"
_CASE: Final = re.compile("cases/([1-9][0-9]{0,18})")
_STOCK_ALERTS: Final = "stockAlerts/"
_STOCK_ALERT: Final = re.compile("stockAlerts/([1-9][0-9]{0,18})")
_POSITIONS: Final = "/positions/"
_HOTLISTS: Final = "hotlists/"
_ENTRIES: Final = "/entries/"
_HOTLIST_KINDS: Final = {kind.name.lower(): kind for kind in ListKind}
_ID_SIZES: Final = {
    TRANSACTIONS: TRANSACTION_ID_SIZE_MAX,
    TERMINALS: FRAUD_ID_SIZE_MAX,
    MERCHANTS: FRAUD_ID_SIZE_MAX,
    FRAUD_RULES: NAME_SIZE_MAX,
    SITES: NAME_SIZE_MAX,
    DISTRIBUTORS: NAME_SIZE_MAX,
}
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


def is_plain_id(text: str, size_max: int) -> bool:
    """Return whether a text is 1 to `size_max` printable ASCII characters without `/`."""
    return 0 < len(text) <= size_max and text.isascii() and text.isprintable() and "/" not in text


def parse_plain_name(name: str, collection: str, field: str) -> str:
    """Return the id within a resource name of one of the collections above.

    Parameters
    ----------
    name
        The collection and the id, as the caller gave it.
    collection
        `TERMINALS` for example.
    field
        Path of the field in the request, for the error.

    Raises
    ------
    InvalidFieldError
        It is not of that form; reason `RESOURCE_NAME_INVALID`.
    """
    size_max = _ID_SIZES[collection]
    plain_id = name[len(collection) :]
    if not name.startswith(collection) or not is_plain_id(plain_id, size_max):
        raise InvalidFieldError(
            field,
            name,
            f"{collection}{{id}}, the id 1 to {size_max} printable ASCII characters without '/'",
            reason="RESOURCE_NAME_INVALID",
        )
    return plain_id


def format_plain_name(collection: str, plain_id: str) -> str:
    """Return the resource name of an id of one of the collections above."""
    return collection + plain_id


def parse_case_name(name: str, field: str) -> int:
    """Return the number within a case's resource name, `cases/{case}`.

    Raises
    ------
    InvalidFieldError
        It is not of that form; reason `CASE_NAME_INVALID`.
    """
    found = _CASE.fullmatch(name)
    if found is None:
        raise InvalidFieldError(
            field,
            name,
            "cases/{case}, the number as an assessment gave it",
            reason="CASE_NAME_INVALID",
        )
    return int(found[1])


def format_case_name(number: int) -> str:
    """Return the resource name of a case."""
    return f"{_CASES}{number}"


def parse_position_name(name: str, field: str) -> tuple[str, str]:
    """Return site and unit within a position's resource name, `sites/{site}/positions/{position}`.

    Raises
    ------
    InvalidFieldError
        It is not of that form; reason `POSITION_NAME_INVALID`.
    """
    site, _, unit = name.removeprefix(SITES).partition(_POSITIONS)
    if (
        not name.startswith(SITES)
        or not is_plain_id(site, NAME_SIZE_MAX)
        or not is_plain_id(unit, STOCK_KEEPING_UNIT_SIZE_MAX)
    ):
        raise InvalidFieldError(
            field,
            name,
            "sites/{site}/positions/{position}, site and stock-keeping unit as the catalogue"
            " declares them",
            reason="POSITION_NAME_INVALID",
        )
    return site, unit


def format_position_name(site: str, unit: str) -> str:
    """Return the resource name of the position of a unit at a site."""
    return f"{SITES}{site}{_POSITIONS}{unit}"


def parse_stock_alert_name(name: str, field: str) -> int:
    """Return the number within a stock alert's resource name, `stockAlerts/{stock_alert}`.

    Raises
    ------
    InvalidFieldError
        It is not of that form; reason `STOCK_ALERT_NAME_INVALID`.
    """
    found = _STOCK_ALERT.fullmatch(name)
    if found is None or int(found[1]) >= 1 << 63:
        raise InvalidFieldError(
            field,
            name,
            "stockAlerts/{stock_alert}, the number as a message of WatchStockAlerts gave it",
            reason="STOCK_ALERT_NAME_INVALID",
        )
    return int(found[1])


def format_stock_alert_name(number: int) -> str:
    """Return the resource name of a stock alert."""
    return f"{_STOCK_ALERTS}{number}"


def parse_hotlist_name(name: str, field: str) -> ListKind:
    """Return which list a hotlist's resource name means, `hotlists/{hotlist}`.

    Raises
    ------
    InvalidFieldError
        It is none of them; reason `HOTLIST_NAME_INVALID`.
    """
    kind = _HOTLIST_KINDS.get(name.removeprefix(_HOTLISTS))
    if kind is None or not name.startswith(_HOTLISTS):
        raise InvalidFieldError(
            field,
            name,
            f"one of {', '.join(_HOTLISTS + kind for kind in _HOTLIST_KINDS)}",
            reason="HOTLIST_NAME_INVALID",
        )
    return kind


def parse_entry_name(name: str, field: str) -> tuple[ListKind, str]:
    """Return list and id within the name of an entry, `hotlists/{hotlist}/entries/{entry}`.

    Raises
    ------
    InvalidFieldError
        It is not of that form; reason `HOTLIST_NAME_INVALID` or `HOTLIST_ENTRY_ID_INVALID`.
    """
    hotlist, _, entry = name.partition(_ENTRIES)
    kind = parse_hotlist_name(hotlist, field)
    check_entry_id(kind, entry, field)
    return kind, entry


def check_entry_id(kind: ListKind, entry: str, field: str) -> None:
    """Raise unless an id is one that entries of a list have.

    Raises
    ------
    InvalidFieldError
        It is not; reason `HOTLIST_ENTRY_ID_INVALID`.
    """
    if kind is ListKind.BINS:
        right = is_bin(entry)
        expected = "6 to 8 digits, the first ones of card numbers"
    else:
        right = is_plain_id(entry, FRAUD_ID_SIZE_MAX)
        expected = f"1 to {FRAUD_ID_SIZE_MAX} printable ASCII characters without '/'"
    if not right:
        raise InvalidFieldError(field, entry, expected, reason="HOTLIST_ENTRY_ID_INVALID")


def is_bin(text: str) -> bool:
    """Return whether a text is 6 to 8 digits, as card numbers begin with."""
    return 6 <= len(text) <= 8 and text.isascii() and text.isdecimal()


def format_entry_name(kind: ListKind, entry: str) -> str:
    """Return the resource name of an entry of a hotlist."""
    return f"{_HOTLISTS}{kind.name.lower()}{_ENTRIES}{entry}"


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
