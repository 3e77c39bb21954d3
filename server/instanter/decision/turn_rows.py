"""The arrays of one turn, and how a request gets into them."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from instanter.catalogue.schema import MISSING_CODE
from instanter.catalogue.values import encode_value
from instanter.decision.derived_rows import DerivedRows
from instanter.decision.questions import Question
from instanter.decision.request_mistakes import context_error, surface_error
from instanter.decision.reservations import Reservations
from instanter.decision.tables import DecisionTables
from instanter.decision.turn_contacts import make_turn_contacts
from instanter.decision.turn_stock import make_turn_stock
from instanter.kernels.decision import (
    ASKED_COUNT,
    ASKED_STATE,
    ASKED_SURFACE,
    ASKED_WANTED,
    LISTED_COUNT,
    TOLD_COUNT,
)
from instanter.limits import BATCH_TURN_MAX, OFFER_COUNT_MAX
from instanter.store.activity import DAMAGED_ACTIVITY, copy_activity
from instanter.store.profile_rows import ProfileRows
from instanter.store.transaction import Transaction

_INT32: Final = "i"


class TurnRows:
    """The arrays of one turn, made once for one set of tables and used again and again.

    Attributes
    ----------
    profiles
        The profile of each row.
    slots, context, asked, told, listed, revisions
        As in `recording.TurnArrays`.
    seed
        uint64[n]: what chance is drawn from.
    contacts, derived, stock
        Contacts, derived attributes and stock of the rows; None where the catalogue has no use for
        them.
    id_start
        int32[n + 1]: as in `decide_batch`.
    """

    __slots__ = (
        "_asked_cells",
        "asked",
        "contacts",
        "context",
        "derived",
        "id_start",
        "listed",
        "profiles",
        "revisions",
        "seed",
        "slots",
        "stock",
        "told",
    )

    def __init__(self, tables: DecisionTables, reservations: Reservations) -> None:
        count = BATCH_TURN_MAX
        self.profiles = ProfileRows(count, tables.profile_slot_count)
        self.slots = self.profiles.slots
        self.revisions = self.profiles.revisions
        self.context = np.full((count, tables.context_slot_count), MISSING_CODE, np.uint32)
        self.asked: NDArray[np.int32] = np.zeros((count, ASKED_COUNT), np.int32)
        # NumPy takes twice as long to write one number.
        self._asked_cells = self.asked.data.cast("B").cast(_INT32)
        self.seed = np.zeros(count, np.uint64)
        self.contacts = make_turn_contacts(tables, reservations)
        self.derived = None if tables.derivations.is_empty else DerivedRows(tables.derivations)
        self.stock = make_turn_stock(tables.stock)
        self.id_start = np.zeros(count + 1, np.int32)
        self.told: NDArray[np.int32] = np.zeros((count, TOLD_COUNT), np.int32)
        self.listed = np.zeros((count, OFFER_COUNT_MAX, LISTED_COUNT))

    def clear(self, count: int) -> None:
        """Begin a turn of at most `count` rows."""
        if self.contacts is not None:
            self.contacts.clear()
        if self.derived is not None:
            self.derived.clear()
        if self.context.shape[1]:
            self.context[:count] = MISSING_CODE

    def fill(self, tables: DecisionTables, row: int, question: Question) -> None:
        """Write a question's surface, count and context into a row.

        Raises
        ------
        InvalidFieldError
            One of them is not of the catalogue; the row is as if nothing had been asked.
        """
        surface = tables.surfaces.get((question.channel, question.placement))
        if surface is None:
            raise surface_error(tables, question)
        cells, first = self._asked_cells, row * ASKED_COUNT
        cells[first + ASKED_SURFACE] = surface
        cells[first + ASKED_WANTED] = question.offer_count
        if question.context:
            try:
                self._fill_context(tables, row, question)
            except BaseException:
                self.context[row] = MISSING_CODE
                raise

    def read(self, transaction: Transaction, row: int, key: bytes) -> tuple[int, bool]:
        """Read a customer's profile, and of their activity what is needed, into a row.

        Returns
        -------
        tuple
            The profile's state, a `ProfileState`; whether the activity record is undamaged.
        """
        state = self.profiles.read(transaction, key, row)
        self._asked_cells[row * ASKED_COUNT + ASKED_STATE] = state
        if self.contacts is None and self.derived is None:
            return state, True
        sections = copy_activity(transaction, key)
        if self.derived is not None:
            self.derived.add(sections)
        if self.contacts is not None:
            return state, self.contacts.add(key, sections)
        return state, sections is not DAMAGED_ACTIVITY

    def _fill_context(self, tables: DecisionTables, row: int, question: Question) -> None:
        for name, value in question.context.items():
            field = f'context["{name}"]'
            attribute = tables.context.get(name)
            if attribute is None:
                raise context_error(tables, name, field)
            self.context[row, attribute.slot] = encode_value(attribute, value, field)
