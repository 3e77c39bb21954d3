"""A customer's contacts: what was presented to them lately, and what they answered.

The bytes of section 1 of an activity record, all words uint32, little-endian: a head of 8 words,
then rows of 6 words, those of contacts before those of answers, each in the order of their times
(`kernels/packed_policy` names the words). At most `CONTACTS_KEPT` contacts and as many answers
are kept, the latest ones; the head says up to which time others have been dropped, so that nobody
takes a list that is not whole for one that is. Of several answers of one kind to one offer only
the latest matters, so only that is kept.

What is kept depends on what was recorded, not on the order of recording: late outcomes leave the
same rows as punctual ones.
"""

import hashlib
import struct
import zlib
from enum import IntEnum
from typing import Final, NamedTuple

from instanter.errors import DamagedError
from instanter.kernels.packed_policy import HEAD_WORDS, ROW_TAG, ROW_WORDS
from instanter.limits import CONTACTS_KEPT

HEAD_SIZE_BYTES: Final = 4 * HEAD_WORDS
ROW_SIZE_BYTES: Final = 4 * ROW_WORDS

_FORMAT: Final = 1
_HEAD: Final = struct.Struct(f"<{HEAD_WORDS}I")
_ROW: Final = struct.Struct(f"<{ROW_WORDS}I")
_SECOND_NS: Final = 1_000_000_000
_SECOND_MAX: Final = 0xFFFF_FFFF

EMPTY: Final = _HEAD.pack(_FORMAT, 0, 0, 0, 0, 0, 0, 0)
"""The section of a customer who was never contacted."""

IN_DOUBT: Final = _HEAD.pack(_FORMAT, 0, 0, _SECOND_MAX, _SECOND_MAX, 0, 0, 0)
"""Stands for a section that cannot be read: every cap counts as reached, and all offers rest."""


class ContactKind(IntEnum):
    """What happened; the answers' numbers are those of `catalogue.contact_policy.CoolOffCause`."""

    PRESENTED = 0
    REJECTED = 1
    ACCEPTED = 2
    """Accepted, or converted."""
    IGNORED = 3


class Contact(NamedTuple):
    """One contact or answer, as it is kept; the order is that of the rows.

    A tuple, because a frozen dataclass takes three times as long to make, and decisions make one
    for each offer that they reserve.

    Attributes
    ----------
    time_s
        Seconds since 1970, rounded up: a contact leaves a window late rather than early.
    offer, group, channel
        Codes, see `code_of`.
    kind
        `ContactKind`.
    tag
        Names the decision, see `tag_of`.
    """

    time_s: int
    offer: int
    group: int
    channel: int
    kind: int
    tag: int


def code_of(name: str) -> int:
    """Return the 32-bit code of an offer's, a group's or a channel's name.

    The hash of the name, so that it means the same under every catalogue. Two names of one
    catalogue that share a code (one catalogue of 2,000 offers in 2,000 has such a pair) are
    counted together: too few contacts, never too many.
    """
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest(), "little")


def group_code_of(offer: str, group: str) -> int:
    """Return the code of an offer's group; an offer without one is a group of its own."""
    return code_of(f"group\0{group}" if group else f"offer\0{offer}")


def tag_of(decision_id: bytes) -> int:
    """Return the 32-bit tag of a decision's id of 16 bytes."""
    return zlib.crc32(decision_id)


def make_contact(
    time_ns: int, offer: str, group: str, channel: str, kind: ContactKind, decision_id: bytes
) -> Contact:
    """Return what to record of an outcome.

    Parameters
    ----------
    time_ns
        When it happened, nanoseconds since 1970.
    offer, group, channel
        Names of what was offered and where; group "" when the offer has none.
    kind
        What happened.
    decision_id
        The decision's id, 16 bytes.
    """
    time_s = min(-(-time_ns // _SECOND_NS), _SECOND_MAX)
    return Contact(
        time_s,
        code_of(offer),
        group_code_of(offer, group),
        code_of(channel),
        int(kind),
        tag_of(decision_id),
    )


def record_contact(section: bytes, contact: Contact) -> bytes:
    """Return a section with one more contact or answer.

    Parameters
    ----------
    section
        What there is; empty for a customer who was never contacted.
    contact
        What to add.

    Raises
    ------
    DamagedError
        The section is not one.
    """
    contacts, answers, contacts_lost_s, answers_lost_s = _cut(section)
    row = pack_row(contact)
    if contact.kind == ContactKind.PRESENTED:
        contacts = _insert(contacts, row)
        contacts, contacts_lost_s = _shorten(contacts, contacts_lost_s)
    else:
        answers = _replace(answers, contact, row)
        answers, answers_lost_s = _shorten(answers, answers_lost_s)
    return _join(contacts, answers, contacts_lost_s, answers_lost_s)


def mark_own(section: bytes, tag: int) -> bytes:
    """Return a section as a retry of a decision must see it.

    The tag in its head tells the kernel which contacts are the decision's own; the answers to
    these are left out, as if they had not been given yet.

    Parameters
    ----------
    section
        A whole section.
    tag
        Names the decision, see `tag_of`. Two decisions of a customer with the same tag, one in
        four thousand million, are taken for one.
    """
    contacts, answers, contacts_lost_s, answers_lost_s = _cut(section)
    if tag.to_bytes(4, "little") in answers:
        rows = _ROW.iter_unpack(answers)
        answers = b"".join(_ROW.pack(*row) for row in rows if row[ROW_TAG] != tag)
    return _join(contacts, answers, contacts_lost_s, answers_lost_s, tag)


def read_contacts(section: bytes) -> list[Contact]:
    """Return the contacts of a section, then its answers, each in the order of their times.

    Raises
    ------
    DamagedError
        The section is not one.
    """
    contacts, answers, _, _ = _cut(section)
    return [Contact(*row) for row in _ROW.iter_unpack(contacts + answers)]


def may_have_contact(section: bytes, contact: Contact) -> bool:
    """Return whether a contact of this decision and offer is there, or was and made way for others.

    Parameters
    ----------
    section
        What there is; empty for a customer who was never contacted.
    contact
        What is looked for, by tag, offer and kind; its time or some time before.

    Raises
    ------
    DamagedError
        The section is not one.
    """
    contacts, _, contacts_lost_s, _ = _cut(section)
    if contacts_lost_s and contact.time_s <= contacts_lost_s:
        return True
    wanted = (contact.offer, contact.kind, contact.tag)
    rows = _ROW.iter_unpack(contacts)
    return any((offer, kind, tag) == wanted for _, offer, _, _, kind, tag in rows)


def pack_row(contact: tuple[int, int, int, int, int, int]) -> bytes:
    """Return the row of a contact, or of what a contact consists of."""
    return _ROW.pack(*contact)


def is_whole(section: bytes) -> bool:
    """Return whether a section's size is what its head says: kernels do not check an index."""
    if len(section) < HEAD_SIZE_BYTES:
        return False
    form, contacts, answers, *_ = _HEAD.unpack_from(section)
    size: int = HEAD_SIZE_BYTES + (contacts + answers) * ROW_SIZE_BYTES
    return bool(form == _FORMAT and len(section) == size)


def _cut(section: bytes) -> tuple[bytes, bytes, int, int]:
    """Return the rows of contacts and of answers, and up to when others were dropped."""
    if not section:
        return b"", b"", 0, 0
    if not is_whole(section):
        raise DamagedError("a customer's list of contacts is not what was written")
    _, count, _, contacts_lost_s, answers_lost_s, *_ = _HEAD.unpack_from(section)
    end = HEAD_SIZE_BYTES + count * ROW_SIZE_BYTES
    return section[HEAD_SIZE_BYTES:end], section[end:], contacts_lost_s, answers_lost_s


def _join(
    contacts: bytes,
    answers: bytes,
    contacts_lost_s: int,
    answers_lost_s: int,
    own_tag: int = 0,
) -> bytes:
    """Return the section of which `_cut` makes these parts."""
    head = _HEAD.pack(
        _FORMAT,
        len(contacts) // ROW_SIZE_BYTES,
        len(answers) // ROW_SIZE_BYTES,
        contacts_lost_s,
        answers_lost_s,
        own_tag,
        0,
        0,
    )
    return b"".join((head, contacts, answers))


def _insert(rows: bytes, row: bytes) -> bytes:
    """Return rows with one more in its place, which is mostly the last."""
    wanted = _ROW.unpack(row)
    at = len(rows)
    while at and _ROW.unpack_from(rows, at - ROW_SIZE_BYTES) > wanted:
        at -= ROW_SIZE_BYTES
    return rows[:at] + row + rows[at:]


def _replace(rows: bytes, contact: Contact, row: bytes) -> bytes:
    """Return rows with the later one of this answer and of the same that was there before."""
    same = (contact.offer, contact.group, contact.kind)
    for at in range(0, len(rows), ROW_SIZE_BYTES):
        found = _ROW.unpack_from(rows, at)
        if (found[1], found[2], found[4]) == same:
            if found >= _ROW.unpack(row):
                return rows
            rows = rows[:at] + rows[at + ROW_SIZE_BYTES :]
            break
    return _insert(rows, row)


def _shorten(rows: bytes, lost_s: int) -> tuple[bytes, int]:
    """Return the latest rows, and up to when others were dropped."""
    if len(rows) <= CONTACTS_KEPT * ROW_SIZE_BYTES:
        return rows, lost_s
    (oldest_s, *_) = _ROW.unpack_from(rows)
    return rows[ROW_SIZE_BYTES:], max(lost_s, oldest_s)
