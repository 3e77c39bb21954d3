"""Offers that were listed a moment ago and are not presented yet: they count as contacts.

Without them, decisions that come before the first presentation is recorded would all find the
same caps unreached and hand out more offers than the caps allow. A reservation ends when its
contact is recorded, which the kernel sees by the decision's tag, or after `RESERVATION_NS`.

They stand in memory that all deciding processes of a data folder map, so that caps are exact
whichever worker decides, without a way to the keeper: 32,768 buckets of 2 KiB, each with a
version, a size, and one entry for each decision. A decision takes three steps: see what is held,
decide, reserve. To reserve takes the bucket's lock for some microseconds and fails when the
version is another one; then the decision is made again. So nobody waits for a decision of somebody
else. A process that dies leaves nothing behind but entries that end by themselves.

A bucket that is full loses the entry that ends first. One holds 36 decisions of three offers, so
with more than about 30,000 such decisions a second reservations end before their time.
"""

import array
import fcntl
import mmap
import os
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Final, NamedTuple

from instanter.decision.contacts import Contact, ContactKind
from instanter.limits import OFFER_COUNT_MAX, RESERVATION_LOCK_NS_MAX, RESERVATION_NS

FILE_NAME: Final = "reservations-1"
"""Name of the file; another layout gets another name."""

BUCKET_COUNT: Final = 1 << 15
BUCKET_SIZE_BYTES: Final = 2_048

_HEAD: Final = struct.Struct("<QQ")
"""Version of the bucket, bytes of its entries."""

_ENTRY: Final = struct.Struct("<QQ4I")
"""Hash of the key, end, time in seconds, channel, tag, number of offers. Behind it, two words for
each offer: its code and its group's."""

_SIZE_MAX: Final = BUCKET_SIZE_BYTES - _HEAD.size
_VERSION_MASK: Final = (1 << 64) - 1
_WORD: Final = "I"

assert array.array(_WORD).itemsize == 4
assert _ENTRY.size + 8 * OFFER_COUNT_MAX <= _SIZE_MAX, "the longest list fits"


class Held(NamedTuple):
    """What is held for a customer.

    Attributes
    ----------
    version
        Of the bucket; another one says that somebody has reserved.
    entries
        Pairs of the moment at which a reservation ends, nanoseconds since 1970, and its contact.
        Some may have ended.
    """

    version: int
    entries: tuple[tuple[int, Contact], ...]


class _Entry(NamedTuple):
    """What one decision has reserved; see `_ENTRY`."""

    owner: int
    end_ns: int
    time_s: int
    channel: int
    tag: int
    words: bytes

    def list_contacts(self) -> list[Contact]:
        """Return the contacts; a half-written pair of words is left out."""
        words = iter(array.array(_WORD, self.words[: len(self.words) & ~7]))
        return [
            Contact(self.time_s, offer, group, self.channel, ContactKind.PRESENTED, self.tag)
            for offer, group in zip(words, words, strict=True)
        ]

    def pack(self) -> bytes:
        """Return its bytes."""
        return _ENTRY.pack(*self[:5], len(self.words) >> 3) + self.words


class Reservations:
    """The reservations of a data folder, for any thread.

    Parameters
    ----------
    folder
        Where the file is that all processes map, made when it is not there; None for
        reservations of this process alone.
    """

    __slots__ = ("_descriptor", "_lock", "_memory")

    def __init__(self, folder: Path | None = None) -> None:
        size = BUCKET_COUNT * BUCKET_SIZE_BYTES
        self._lock = threading.Lock()
        self._descriptor = -1
        if folder is not None:
            folder.mkdir(mode=0o700, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            self._descriptor = os.open(folder / FILE_NAME, flags, 0o600)
            # A file with holes: only buckets that are used take room.
            os.ftruncate(self._descriptor, size)
        self._memory = mmap.mmap(self._descriptor, size)

    def close(self) -> None:
        """Give the memory back; nothing may be using it."""
        self._memory.close()
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def view(self, key: bytes) -> Held:
        """Return what is held for a customer. Costs 2 µs.

        What another process is just writing may be read half; `reserve` then refuses.
        """
        at, owner = _find(key)
        version, entries = self._read(at)
        return Held(
            version,
            tuple(
                (entry.end_ns, contact)
                for entry in entries
                if entry.owner == owner
                for contact in entry.list_contacts()
            ),
        )

    def reserve(
        self, key: bytes, seen: Held, tag: int, contacts: Sequence[Contact], now_ns: int
    ) -> bool:
        """Hold further contacts for a customer.

        Parameters
        ----------
        key
            The customer's key.
        seen
            What `view` returned before the decision.
        tag, contacts
            Tag of the decision, and what it may lead to, of one time and channel, which takes the
            place of what the same decision has reserved before.
        now_ns
            The moment of the decision, nanoseconds since 1970.

        Returns
        -------
        bool
            False, and nothing is held, when somebody else has reserved since `view`, or has done
            so for a customer of the same bucket.
        """
        at, owner = _find(key)
        with self._lock, self._locked(at):
            version, entries = self._read(at)
            if version != seen.version:
                return False
            kept = [
                entry
                for entry in entries
                if now_ns < entry.end_ns <= now_ns + RESERVATION_NS
                and not (entry.owner == owner and entry.tag == tag)
            ]
            if contacts:
                kept.append(_make_entry(owner, now_ns + RESERVATION_NS, tag, contacts))
            self._write(at, version, kept)
        return True

    def _read(self, at: int) -> tuple[int, list[_Entry]]:
        """Return version and entries of a bucket."""
        memory = self._memory
        version, size = _HEAD.unpack_from(memory, at)
        entries: list[_Entry] = []
        place = at + _HEAD.size
        end = place + min(size, _SIZE_MAX)
        while place + _ENTRY.size <= end:
            owner, end_ns, time_s, channel, tag, count = _ENTRY.unpack_from(memory, place)
            place += _ENTRY.size
            words = memory[place : min(place + 8 * count, end)]
            entries.append(_Entry(owner, end_ns, time_s, channel, tag, words))
            place += 8 * count
        return version, entries

    def _write(self, at: int, version: int, entries: list[_Entry]) -> None:
        """Write a bucket; whoever reads meanwhile finds a version that will not be there later."""
        packed = [entry.pack() for entry in sorted(entries, key=lambda entry: entry.end_ns)]
        size = sum(map(len, packed))
        while size > _SIZE_MAX:
            size -= len(packed.pop(0))
        memory = self._memory
        _HEAD.pack_into(memory, at, (version + 1) & _VERSION_MASK, 0)
        memory[at + _HEAD.size : at + _HEAD.size + size] = b"".join(packed)
        _HEAD.pack_into(memory, at, (version + 2) & _VERSION_MASK, size)

    @contextmanager
    def _locked(self, at: int) -> Iterator[None]:
        """Hold a bucket's lock against other processes.

        One that was stopped while it held the lock is not waited for: the supervisor kills it, and
        what it could still spoil ends by itself.
        """
        if self._descriptor < 0:
            yield
            return
        give_up_ns = 0
        while True:
            try:
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, at)
                break
            except OSError:
                now_ns = time.monotonic_ns()
                give_up_ns = give_up_ns or now_ns + RESERVATION_LOCK_NS_MAX
                if now_ns > give_up_ns:
                    break
        try:
            yield
        finally:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, at)


def list_live(held: Held, now_ns: int, own_tag: int) -> list[Contact]:
    """Return the contacts that are held now, without those of the decision itself.

    Parameters
    ----------
    held
        From `Reservations.view`.
    now_ns
        Nanoseconds since 1970.
    own_tag
        Tag of the decision that asks: a retry must find what the first try found.
    """
    last_ns = now_ns + RESERVATION_NS
    return [
        contact
        for end_ns, contact in held.entries
        if now_ns < end_ns <= last_ns and contact.tag != own_tag
    ]


def _make_entry(owner: int, end_ns: int, tag: int, contacts: Sequence[Contact]) -> _Entry:
    words = array.array(_WORD)
    for contact in contacts:
        words.append(contact.offer)
        words.append(contact.group)
    first = contacts[0]
    return _Entry(owner, end_ns, first.time_s, first.channel, tag, words.tobytes())


def _find(key: bytes) -> tuple[int, int]:
    """Return where a customer's bucket begins, and the hash that tells its owners apart."""
    owner = int.from_bytes(blake2b(key, digest_size=8).digest(), "little")
    return owner % BUCKET_COUNT * BUCKET_SIZE_BYTES, owner
