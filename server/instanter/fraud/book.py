"""Where the engine's states come from: the keeper's store, or the dictionaries of a back-test."""

from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from instanter.catalogue.fraud_words import EntityKind, ListKind


class EntityState(NamedTuple):
    """What is kept of one card, customer, terminal, merchant or device.

    All sections are little-endian and of lengths that are multiples of 8; empty for none.

    Attributes
    ----------
    velocities
        int64 words, as `kernels/derived_state` explains them.
    baseline
        Own behaviour (`kernels/baselines`), of cards and customers.
    place
        Where it was last (`kernels/travel`), of cards.
    snoozes
        Rules that are silent for it (`fraud/snoozes`), of cards.
    """

    velocities: bytes = b""
    baseline: bytes = b""
    place: bytes = b""
    snoozes: bytes = b""


EMPTY_STATE: Final = EntityState()
"""Of what was never seen."""

DAMAGED_STATE: Final = EntityState(b"", b"", b"", b"")
"""Stands for a record that is not what was written; compare with `is`."""


class Book(Protocol):
    """What the engine reads and, when it counts, writes.

    What is written here is read back at once; nothing else changes it meanwhile.
    """

    def find_state(self, kind: EntityKind, name: str) -> EntityState:
        """Return what is kept: `EMPTY_STATE` for nothing, `DAMAGED_STATE` when it is damaged."""
        ...

    def put_state(self, kind: EntityKind, name: str, state: EntityState) -> None:
        """Keep a state; one without any section may be dropped."""
        ...

    def find_model(self, model_id: int) -> bytes:
        """Return the state of a model, empty for none.

        Raises
        ------
        DamagedError
            It is not what was written.
        """
        ...

    def put_model(self, model_id: int, state: bytes) -> None:
        """Keep the state of a model in the place of what was kept of any."""
        ...

    def is_hotlisted(self, kind: ListKind, entry: str, time_ns: int) -> bool:
        """Return whether an entry stands on a list at a time, expired ones left out.

        Raises
        ------
        DamagedError
            What is stored of it cannot be read.
        """
        ...

    def find_hotlist_time_ns(self, kind: ListKind) -> int:
        """Return when a list was last loaded, changed or confirmed; 0 for never."""
        ...

    def find_paused_rules(self) -> frozenset[str]:
        """Return the names of the rules that the guard has paused; the same object if unchanged."""
        ...

    def find_profile(self, customer: str, time_ns: int) -> NDArray[np.uint32]:
        """Return a customer's attributes by slot as uint32 patterns; empty when unknown.

        Derived ones included, as of a time in nanoseconds since 1970.

        Raises
        ------
        DamagedError
            The profile is not what was written.
        """
        ...
