"""The contact policy, as a catalogue declares it: how often a customer may be contacted."""

from dataclasses import dataclass
from enum import IntEnum


class ContactScope(IntEnum):
    """Which contacts are counted together, or cooled off together."""

    CUSTOMER = 1
    """All contacts of the customer."""
    OFFER = 2
    """Those with the same offer."""
    GROUP = 3
    """Those with offers of the same group; an offer without a group is a group of its own."""


class CoolOffCause(IntEnum):
    """What makes an offer, a group or everything rest for a while."""

    REJECTED = 1
    ACCEPTED = 2
    IGNORED = 3
    """Presented, and no answer within the wait of the outcome rules."""


@dataclass(frozen=True, slots=True)
class Cap:
    """At most `count_max` contacts within a sliding window.

    Attributes
    ----------
    name
        A label, unique in the policy; explanations name it.
    scope
        What is counted together.
    count_max
        1 to 100.
    window_s
        60 to 7,776,000 (90 days).
    channel
        Counts and limits contacts in this channel only; empty for all channels together.
    """

    name: str
    scope: ContactScope
    count_max: int
    window_s: int
    channel: str = ""


@dataclass(frozen=True, slots=True)
class CoolOff:
    """After `cause`, nothing of the scope is offered for `rest_s` seconds.

    Attributes
    ----------
    cause
        What happened.
    scope
        What rests.
    rest_s
        60 to 7,776,000 (90 days).
    """

    cause: CoolOffCause
    scope: ContactScope
    rest_s: int


@dataclass(frozen=True, slots=True)
class QuietHours:
    """Nothing is offered in these channels between two times of the customer's day.

    Attributes
    ----------
    channels
        Declared channels; empty for all.
    start_minute, end_minute
        Minutes since local midnight, 0 to 1439; from start (included) to end (excluded), over
        midnight when start is later than end.
    """

    channels: tuple[str, ...]
    start_minute: int
    end_minute: int


@dataclass(frozen=True, slots=True)
class Consent:
    """Contacts need a yes: a flag attribute that is true. Unknown means no.

    Attributes
    ----------
    attribute
        Name of the flag in the schema, of the profile.
    slot
        Its slot.
    channel
        The channel that needs it; empty for all.
    purpose
        The offers' purpose that needs it; empty for all.
    """

    attribute: str
    slot: int
    channel: str = ""
    purpose: str = ""


@dataclass(frozen=True, slots=True)
class ContactPolicy:
    """All limits of contacts. A contact is an outcome `presented`.

    Attributes
    ----------
    caps, cool_offs, quiet_hours, consents
        As declared.
    time_zone
        IANA name of the time zone of customers whose own is not known.
    time_zone_slot
        Profile slot of the category attribute whose values are IANA names; −1 when all customers
        live in `time_zone`.
    """

    caps: tuple[Cap, ...] = ()
    cool_offs: tuple[CoolOff, ...] = ()
    quiet_hours: tuple[QuietHours, ...] = ()
    consents: tuple[Consent, ...] = ()
    time_zone: str = "UTC"
    time_zone_slot: int = -1


CONTACT_POLICY_EMPTY = ContactPolicy()
"""The policy of a catalogue that declares none: everything may be said at any time."""
