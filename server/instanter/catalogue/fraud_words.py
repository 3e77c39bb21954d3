"""The words of the check at the till that catalogue, engine, store and contract share.

The numbers are those of the contract (`fraud_service.proto`), so that a translation is a copy.
"""

from enum import IntEnum


class Disposition(IntEnum):
    """What a terminal is answered; the greater of two is the more severe."""

    APPROVE = 1
    REFER = 2
    """Let the customer prove more, or call."""
    DECLINE = 3


class Source(IntEnum):
    """What a verdict comes from."""

    RULES = 1
    MODEL = 2
    """The thresholds, which the rules' points alone would not have reached."""
    HOTLIST = 3
    STAND_IN = 4


class ListKind(IntEnum):
    """The hotlists."""

    CARDS = 1
    TERMINALS = 2
    MERCHANTS = 3
    DEVICES = 4
    BINS = 5
    """Entries of 6 to 8 digits: what the card numbers of one issuer begin with."""


class EntityKind(IntEnum):
    """What a state is kept of."""

    CARD = 1
    CUSTOMER = 2
    TERMINAL = 3
    MERCHANT = 4
    DEVICE = 5


class StandInCause(IntEnum):
    """Why a transaction is answered by the stand-in table."""

    HOTLIST_MISSING = 1
    """An expected hotlist was never loaded, or cannot be read."""
    HOTLIST_STALE = 2
    STATE_DAMAGED = 3
    """A stored state does not match its checksum, or assessing failed unexpectedly."""
    PLACE_MISSING = 4
    """A card-present transaction has no place, of its own or of its terminal."""
    CLOCK_JUMPED = 5
    """The transaction's time is too far from the server's."""
    DEADLINE_SHORT = 6
    """The caller's deadline leaves no time for rules."""
