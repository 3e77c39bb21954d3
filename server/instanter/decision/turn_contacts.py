"""The contacts of the customers of one turn: handed to the kernel, and reserved after it."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from instanter.decision.contacts import (
    EMPTY,
    IN_DOUBT,
    ROW_SIZE_BYTES,
    code_of,
    find_presented,
    group_code_of,
    is_whole,
    leave_out,
    tag_of,
)
from instanter.decision.questions import Question
from instanter.decision.reservations import Entry, Held, Reservations
from instanter.decision.tables import DecisionTables
from instanter.kernels.decision import (
    ASKED_HEAD,
    ASKED_RESERVED,
    ASKED_SURFACE,
    LISTED_OFFER,
    TOLD_KEPT,
)
from instanter.limits import RESERVATION_NS
from instanter.store.activity import CONTACTS, DAMAGED_ACTIVITY

NO_CONTACTS: Final = np.zeros(0, np.uint32)
"""Stands for the contacts of a turn under a catalogue without a contact policy."""

_WORD_SIZE_BYTES: Final = 4
_SECOND_NS: Final = 1_000_000_000


class TurnContacts:
    """The contacts of one turn's customers, under the policy of one set of tables.

    Parameters
    ----------
    tables
        Says which offers are capped on which surface.
    reservations
        What other decisions have listed and nobody has presented yet.
    """

    __slots__ = (
        "_codes",
        "_keys",
        "_left_out",
        "_reservations",
        "_sections",
        "_seen",
        "_tags",
        "capped",
    )

    def __init__(self, tables: DecisionTables, reservations: Reservations) -> None:
        catalogue = tables.catalogue
        every = any(not cap.channel for cap in catalogue.contact_policy.caps)
        channels = {cap.channel for cap in catalogue.contact_policy.caps}
        self.capped = [
            code_of(channel) if every or channel in channels else None
            for channel, _ in catalogue.surfaces
        ]
        self._codes = [
            code_of(o.name).to_bytes(4, "little")
            + group_code_of(o.name, o.group).to_bytes(4, "little")
            for o in tables.offers
        ]
        self._reservations = reservations
        self._keys: dict[bytes, None] = {}
        self._sections: list[bytes] = []
        self._seen: list[Held] = []
        self._tags: list[int] = []
        # By row of a retry: the whole list, and of which offers the contacts are left out.
        self._left_out: dict[int, tuple[bytes, frozenset[int]]] = {}

    def clear(self) -> None:
        """Begin another turn."""
        self._keys.clear()
        self._sections.clear()
        self._left_out.clear()

    def has(self, key: bytes) -> bool:
        """Return whether a customer is in this turn: nobody may be in it twice under caps."""
        return key in self._keys

    def add(self, key: bytes, activity: Mapping[int, bytes]) -> bool:
        """Add a customer's contacts as the turn's next row.

        Parameters
        ----------
        key
            The customer's key.
        activity
            The sections of the customer's activity record, from `copy_activity`.

        Returns
        -------
        bool
            False when the record or the list in it is damaged: then nothing that the policy
            limits is offered.
        """
        section = activity.get(CONTACTS, EMPTY)
        good = activity is not DAMAGED_ACTIVITY and is_whole(section)
        self._keys[key] = None
        self._sections.append(section if good else IN_DOUBT)
        return good

    def leave_out_own(self, questions: Sequence[Question], decision_ids: Sequence[bytes]) -> None:
        """Leave out what became of the decisions themselves, as if they had not been made yet.

        A retry must find what the first try found; only who has a request id can be one.

        Parameters
        ----------
        questions
            What was asked, a row each.
        decision_ids
            16 bytes for each row.
        """
        for row, question in enumerate(questions):
            if question.request_id:
                section, tag = self._sections[row], tag_of(decision_ids[row])
                rest = leave_out(section, tag)
                if rest is not section:
                    self._sections[row] = rest
                    self._left_out[row] = section, find_presented(section, tag)

    def fill(
        self, asked: NDArray[np.int32], decision_ids: Sequence[bytes], now_ns: int
    ) -> NDArray[np.uint32]:
        """Lay out contacts and reservations of all rows for the kernel.

        Parameters
        ----------
        asked
            As in `decide_batch`; the columns HEAD and RESERVED are written.
        decision_ids
            16 bytes for each row.
        now_ns
            The moment of the decisions, nanoseconds since 1970.

        Returns
        -------
        ndarray
            uint32: `held` of `decide_batch`.
        """
        self._seen = [self._reservations.view(key) for key in self._keys]
        self._tags = [tag_of(decision_id) for decision_id in decision_ids]
        parts: list[bytes] = []
        at = 0
        for row, section in enumerate(self._sections):
            live = self._seen[row].pack_live(now_ns, self._tags[row])
            asked[row, ASKED_HEAD] = at // _WORD_SIZE_BYTES
            asked[row, ASKED_RESERVED] = len(live) // ROW_SIZE_BYTES
            parts += (section, live)
            at += len(section) + len(live)
        return np.frombuffer(b"".join(parts), np.uint32)

    def reserve(
        self,
        asked: NDArray[np.int32],
        told: NDArray[np.int32],
        listed: NDArray[np.float64],
        now_ns: int,
    ) -> bool:
        """Reserve what the kernel has listed.

        Parameters
        ----------
        asked, told, listed
            As in `decide_batch`, read-only.
        now_ns
            The moment of the decisions, nanoseconds since 1970.

        Returns
        -------
        bool
            False when another decision has reserved for one of the customers since `fill`, or a
            retry lists others than what was presented already: then the turn must be filled and
            decided again.
        """
        if self._left_out and self._takes_back(asked, told, listed):
            return False
        time_s = -(-now_ns // _SECOND_NS)
        alone = True
        # Two customers of a turn may have one bucket: the second must know what the first has done
        # to its version, or the turn would be in its own way for ever.
        own_counts: dict[int, int] = {}
        kept = told[: len(self._keys), TOLD_KEPT].tolist()
        for row, count in enumerate(kept):
            channel = self.capped[asked[row, ASKED_SURFACE]]
            seen, tag = self._seen[row], self._tags[row]
            if channel is None or not (count or seen.has_tag(tag)):
                continue
            listed_offers = listed[row, :count, LISTED_OFFER].tolist()
            offers = b"".join([self._codes[int(o)] for o in listed_offers])
            entry = Entry(now_ns + RESERVATION_NS, time_s, channel, tag, offers)
            own_count = own_counts.get(seen.place, 0)
            if own_count:
                seen = seen.after(own_count)
            if self._reservations.reserve(seen, entry, now_ns):
                own_counts[seen.place] = own_count + 1
            else:
                alone = False
        return alone

    def _takes_back(
        self, asked: NDArray[np.int32], told: NDArray[np.int32], listed: NDArray[np.float64]
    ) -> bool:
        """Let contacts count that were left out of a retry whose list does not have them again.

        With other inputs than the first try's, a profile that was changed for example, it would
        offer others beside those that the customer has seen, and more than a cap allows.

        Returns
        -------
        bool
            Whether there are any; each time fewer are left.
        """
        found = False
        for row, (section, left_out) in self._left_out.items():
            if not left_out or self.capped[asked[row, ASKED_SURFACE]] is None:
                continue
            places = listed[row, : told[row, TOLD_KEPT], LISTED_OFFER].tolist()
            codes = {int.from_bytes(self._codes[int(o)][:4], "little") for o in places}
            if left_out <= codes:
                continue
            found = True
            tag, again = self._tags[row], left_out & codes
            self._left_out[row] = section, again
            self._sections[row] = leave_out(section, tag, find_presented(section, tag) - again)
        return found


def make_turn_contacts(tables: DecisionTables, reservations: Reservations) -> TurnContacts | None:
    """Return the contacts of turns under these tables; None when there is no contact policy."""
    return TurnContacts(tables, reservations) if tables.has_policy else None
