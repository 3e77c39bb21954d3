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
    group_code_of,
    is_whole,
    mark_own,
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
        "_own",
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
        self._own: set[int] = set()

    def clear(self) -> None:
        """Begin another turn."""
        self._keys.clear()
        self._sections.clear()

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

    def fill(
        self,
        asked: NDArray[np.int32],
        questions: Sequence[Question],
        decision_ids: Sequence[bytes],
        now_ns: int,
    ) -> NDArray[np.uint32]:
        """Lay out contacts and reservations of all rows for the kernel.

        A retry may list again what an earlier try has listed, which counts already, and with it
        only what the caps leave beside that: whichever list is shown, or both, no cap is exceeded.
        Only who has a request id can be one.

        Parameters
        ----------
        asked
            As in `decide_batch`; the columns HEAD and RESERVED are written.
        questions
            What was asked, a row each.
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
        self._own.clear()
        parts: list[bytes] = []
        at = 0
        for row, section in enumerate(self._sections):
            seen, tag = self._seen[row], self._tags[row]
            if not questions[row].request_id:
                live = seen.pack_live(now_ns, tag)
            else:
                live = seen.pack_live(now_ns)
                if seen.has_tag(tag) or tag.to_bytes(4, "little") in section:
                    section = mark_own(section, tag)
                    self._own.add(row)
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
            False when another decision has reserved for one of the customers since `fill`: then
            the turn must be filled and decided again.
        """
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
            if row in self._own:
                offers = seen.add_earlier(tag, offers, now_ns)
            entry = Entry(now_ns + RESERVATION_NS, time_s, channel, tag, offers)
            own_count = own_counts.get(seen.place, 0)
            if own_count:
                seen = seen.after(own_count)
            if self._reservations.reserve(seen, entry, now_ns):
                own_counts[seen.place] = own_count + 1
            else:
                alone = False
        return alone


def make_turn_contacts(tables: DecisionTables, reservations: Reservations) -> TurnContacts | None:
    """Return the contacts of turns under these tables; None when there is no contact policy."""
    return TurnContacts(tables, reservations) if tables.has_policy else None
