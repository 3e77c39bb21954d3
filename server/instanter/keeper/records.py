"""The kinds of records that the log holds: everything that changes anything is one of them."""

from enum import IntEnum
from typing import Final


class RecordKind(IntEnum):
    """What a record of the log does. A number is never reused, lest an old log reads wrongly."""

    UPDATE_CUSTOMER = 1
    """Creates a customer's profile or changes attributes of it."""

    DELETE_CUSTOMER = 2
    """Removes a customer's profile."""

    PUBLISH_CATALOGUE = 3
    """Makes another catalogue the current one."""

    PUBLISH_MODELS = 4
    """Makes other propensity models the current ones."""

    LOAD_BLOCK = 5
    """Profiles of one block of a bulk load."""

    EVENTS = 6
    """What customers did: a batch of events."""

    DECISIONS = 7
    """What was decided in one turn, with its inputs."""

    OUTCOMES = 8
    """How customers answered decisions."""

    TICK = 9
    """Time has passed without another record: presentations that nobody answered are due."""

    PLAN = 10
    """How attributes are cut into bins when no model was ever fitted."""

    VOID = 11
    """A record before it, named by its sequence, could not be applied and has no effect."""

    ASSESSMENTS = 12
    """A card transaction, with what the rules saw and what it was answered."""

    TRANSACTION_OUTCOMES = 13
    """What assessed transactions turned out to be."""

    HOTLIST_CHANGES = 14
    """Entries of a hotlist, or a whole list in several records."""

    CASE_CHANGES = 15
    """What somebody did with a case."""

    FRAUD_RULE_CHANGES = 16
    """A rule that was paused goes on, or one is silent for a card."""

    STOCK_MOVEMENTS = 17
    """Units that were sold, received, moved, counted, promised or ordered: a batch of movements."""

    STOCK_ALERT_CHANGES = 18
    """What somebody did with a stock alert."""

    STOCK_TICK = 19
    """Time has passed: positions whose alerts it changes."""


HEAVY_KINDS: Final = frozenset(
    {RecordKind.PUBLISH_CATALOGUE, RecordKind.PUBLISH_MODELS, RecordKind.LOAD_BLOCK}
)
"""Kinds whose effect is megabytes: they go straight to the base, between two folds."""

PATIENT_KINDS: Final = frozenset({RecordKind.DECISIONS})
"""Kinds that nobody waits for."""
