"""The figures of one transaction: which slot holds what, and how rules name them.

All that rules, velocities and the model see of a transaction is one array of uint32 patterns, as
attributes' slots are: float32 for numbers, codes for categories and flags, all bits set when
missing. It begins with the **event**, what velocities look at and what is kept until the label
comes; its slots are never reused.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from itertools import product
from string import ascii_uppercase
from typing import Final

from instanter.catalogue.events import EventField, as_attribute
from instanter.catalogue.schema import Attribute, AttributeKind, AttributeSource

AMOUNT_MINOR: Final = 0
TERMINAL: Final = 1
"""CRC-32 of the terminal's name; so for merchant and device."""
MERCHANT: Final = 2
MCC: Final = 3
CHANNEL: Final = 4
APPROVED: Final = 5
"""Whether it was approved: missing while it is assessed."""
FRAUD: Final = 6
"""Whether it is known to be fraud: missing until its label comes."""
CURRENCY: Final = 7
DEVICE: Final = 8
HOUR: Final = 9
AMOUNT: Final = 10
WEEKDAY: Final = 11
HAS_PLACE: Final = 12
DEVICE_KNOWN: Final = 13
CUSTOMER_KNOWN: Final = 14
DELAY_S: Final = 15
FIELD_FIRST: Final = 16
"""Slot of the declared field with index 0."""

TRAVEL_COUNT: Final = 4
BASELINE_COUNT: Final = 4
CHANNELS: Final = ("card_not_present", "card_present")
TERMINAL_VELOCITIES: Final = ("terminal.fraud_count", "terminal.label_count")
"""Velocities of the catalogue's own, behind the declared ones."""

_TRAVEL: Final = ("impossible", "speed_kmh", "distance_km", "hours")
_BASELINE: Final = ("amount_deviation", "hour_share", "category_share", "count")
_FIXED: Final = (
    ("amount", AMOUNT, AttributeKind.NUMBER),
    ("amount_minor", AMOUNT_MINOR, AttributeKind.NUMBER),
    ("mcc", MCC, AttributeKind.NUMBER),
    ("currency", CURRENCY, AttributeKind.CATEGORY),
    ("channel", CHANNEL, AttributeKind.CATEGORY),
    ("hour", HOUR, AttributeKind.NUMBER),
    ("weekday", WEEKDAY, AttributeKind.NUMBER),
    ("has_place", HAS_PLACE, AttributeKind.FLAG),
    ("device_known", DEVICE_KNOWN, AttributeKind.FLAG),
    ("customer_known", CUSTOMER_KNOWN, AttributeKind.FLAG),
    ("delay_s", DELAY_S, AttributeKind.NUMBER),
)
FIXED_NAMES: Final = frozenset(name for name, _, _ in _FIXED)
"""Names that no declared field may have."""

OPERANDS: Final = {
    "amount": AMOUNT_MINOR,
    "amount_minor": AMOUNT_MINOR,
    "terminal": TERMINAL,
    "merchant": MERCHANT,
    "device": DEVICE,
    "mcc": MCC,
}
"""What velocities may look at beside declared fields."""


def travel_slot(field_count: int) -> int:
    """Return the first slot of the figures of travel, behind those of all fields."""
    return FIELD_FIRST + field_count


def card_baseline_slot(field_count: int) -> int:
    """Return the first slot of the card's baseline; the customer's follows."""
    return travel_slot(field_count) + TRAVEL_COUNT


def fraud_rate_slot(field_count: int) -> int:
    """Return the slot of `terminal.fraud_rate`."""
    return card_baseline_slot(field_count) + 2 * BASELINE_COUNT


def velocity_slot(field_count: int) -> int:
    """Return the slot of the first velocity; the others follow."""
    return fraud_rate_slot(field_count) + 1


@cache
def list_currencies() -> tuple[str, ...]:
    """Return all words of three letters, in order: a currency's code is its index among them.

    So a code is computed, and stays what it is when currencies come and go.
    """
    return tuple("".join(letters) for letters in product(ascii_uppercase, repeat=3))


def encode_currency(currency: str) -> int:
    """Return the code of a currency: three upper-case letters, checked already."""
    first, second, third = currency.encode()
    return (first - 65) * 676 + (second - 65) * 26 + third - 65


def make_transaction_room(fields: Iterable[EventField]) -> dict[str, Attribute]:
    """Return what rules and conditions may name as `transaction.x`.

    Parameters
    ----------
    fields
        The declared ones, those withdrawn included.
    """
    room = {name: _make(name, slot, kind) for name, slot, kind in _FIXED}
    for field in fields:
        if not field.withdrawn:
            attribute = as_attribute(field)
            room[field.name] = _move(attribute, FIELD_FIRST + field.index)
    return room


def make_rooms(
    fields: tuple[EventField, ...],
    velocities: Iterable[str],
    profile: Mapping[str, Attribute],
) -> dict[str, Mapping[str, Attribute]]:
    """Return what rules may name.

    Parameters
    ----------
    fields
        As declared, those withdrawn included.
    velocities
        Names of the declared ones, in their order.
    profile
        Loaded and derived attributes by name.
    """
    count = len(fields)
    number = AttributeKind.NUMBER
    names = tuple(velocities)
    first = velocity_slot(count)
    travel = {
        name: _make(name, travel_slot(count) + i, number if i else AttributeKind.FLAG)
        for i, name in enumerate(_TRAVEL)
    }
    baseline = {
        f"{whose}_{name}": _make(name, card_baseline_slot(count) + BASELINE_COUNT * w + i, number)
        for w, whose in enumerate(("card", "customer"))
        for i, name in enumerate(_BASELINE)
    }
    terminal = {
        "fraud_rate": _make("fraud_rate", fraud_rate_slot(count), number),
        "fraud_count": _make("fraud_count", first + len(names), number),
        "label_count": _make("label_count", first + len(names) + 1, number),
    }
    return {
        "transaction": make_transaction_room(fields),
        "velocity": {name: _make(name, first + i, number) for i, name in enumerate(names)},
        "baseline": baseline,
        "travel": travel,
        "terminal": terminal,
        "profile": profile,
    }


def _make(name: str, slot: int, kind: AttributeKind) -> Attribute:
    values: tuple[str, ...] = ()
    if slot == CURRENCY:
        values = list_currencies()
    elif slot == CHANNEL:
        values = CHANNELS
    return Attribute(name, kind, AttributeSource.CONTEXT, slot, values=values)


def _move(attribute: Attribute, slot: int) -> Attribute:
    return Attribute(
        attribute.name,
        attribute.kind,
        attribute.source,
        slot,
        unit=attribute.unit,
        range_min=attribute.range_min,
        range_max=attribute.range_max,
        values=attribute.values,
        withdrawn_codes=attribute.withdrawn_codes,
    )
