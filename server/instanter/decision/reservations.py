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

import fcntl
import mmap
import os
import struct
import threading
from hashlib import blake2b
from pathlib import Path
from typing import Final, NamedTuple

from instanter.clock import Clock, SystemClock
from instanter.decision.contacts import ContactKind, pack_row
from instanter.limits import OFFER_COUNT_MAX, RESERVATION_LOCK_NS_MAX, RESERVATION_NS

FILE_NAME: Final = "reservations-1"
"""Name of the file; another layout gets another name."""

BUCKET_COUNT: Final = 1 << 15
BUCKET_SIZE_BYTES: Final = 2_048

_PAGE_SIZE_BYTES: Final = mmap.PAGESIZE

_HEAD: Final = struct.Struct("<QQ")
"""Version of the bucket, bytes of its entries."""

_ENTRY: Final = struct.Struct("<QQ4I")
"""Owner, end, time in seconds, channel, tag, number of offers; see `Held` and `Entry`. Behind it
the codes of offers and groups."""

_SIZE_MAX: Final = BUCKET_SIZE_BYTES - _HEAD.size
_VERSION_MASK: Final = (1 << 64) - 1
_VERSION_STEP: Final = 2
"""Versions of one reservation: half-way it is odd."""

_PAIR: Final = struct.Struct("<II")
_OFFERS_SIZE_MAX: Final = (_SIZE_MAX - _ENTRY.size) // _PAIR.size * _PAIR.size
_AHEAD_NS_MAX: Final = 2 * RESERVATION_NS
"""An entry that ends later than this is none. Others have decided at a later moment than a turn
that is still at work: without room for that it would take no notice of what they reserved."""

_PRESENTED: Final = int(ContactKind.PRESENTED)

assert _PAIR.size * OFFER_COUNT_MAX * 2 <= _OFFERS_SIZE_MAX, "the longest lists of two tries fit"


class Entry(NamedTuple):
    """What one decision has reserved.

    Attributes
    ----------
    end_ns
        When it ends, nanoseconds since 1970.
    time_s, channel, tag
        Of its contacts, as in `Contact`.
    offers
        Codes of offer and group, uint32 each, one pair after the other.
    """

    end_ns: int
    time_s: int
    channel: int
    tag: int
    offers: bytes

    def pack_rows(self) -> bytes:
        """Return its contacts as rows for the kernel; half a pair of codes is left out."""
        return b"".join(
            pack_row((self.time_s, offer, group, self.channel, _PRESENTED, self.tag))
            for offer, group in _PAIR.iter_unpack(self.offers[: len(self.offers) & ~7])
        )


class Held(NamedTuple):
    """What is held for a customer.

    Attributes
    ----------
    place, owner
        Where the customer's bucket begins, and the hash that tells its owners apart.
    version
        Of the bucket; another one says that somebody has reserved.
    entries
        What decisions have reserved; some may have ended.
    """

    place: int
    owner: int
    version: int
    entries: tuple[Entry, ...]

    def pack_live(self, now_ns: int, own_tag: int | None = None) -> bytes:
        """Return what is held now as rows for the kernel.

        Parameters
        ----------
        now_ns
            Nanoseconds since 1970.
        own_tag
            Tag of a decision that is just being made, which does not see what it has reserved
            itself; None for a retry, which does.
        """
        last_ns = now_ns + _AHEAD_NS_MAX
        return b"".join(
            entry.pack_rows()
            for entry in self.entries
            if now_ns < entry.end_ns <= last_ns and entry.tag != own_tag
        )

    def add_earlier(self, tag: int, offers: bytes, now_ns: int) -> bytes:
        """Return what a retry has to hold: what it lists, and what earlier tries have listed.

        Either may be the list that is shown. When they are more than a bucket takes, the earliest
        are left out.

        Parameters
        ----------
        tag
            Names the decision.
        offers
            Codes of offer and group of what it lists, as in `Entry`.
        now_ns
            Nanoseconds since 1970.
        """
        # By offer alone: it may be in another group by now.
        listed = {offer for offer, _ in _PAIR.iter_unpack(offers)}
        last_ns = now_ns + _AHEAD_NS_MAX
        for entry in self.entries:
            if entry.tag == tag and now_ns < entry.end_ns <= last_ns:
                pairs = _PAIR.iter_unpack(entry.offers[: len(entry.offers) & ~7])
                offers += b"".join(_PAIR.pack(*pair) for pair in pairs if pair[0] not in listed)
        return offers[:_OFFERS_SIZE_MAX]

    def has_tag(self, tag: int) -> bool:
        """Return whether a decision has reserved something, ended or not."""
        return any(entry.tag == tag for entry in self.entries)

    def after(self, count: int) -> "Held":
        """Return this as who has reserved `count` times in the bucket since then has to show it."""
        version = (self.version + _VERSION_STEP * count) & _VERSION_MASK
        return self._replace(version=version)


class Reservations:
    """The reservations of a data folder, for any thread.

    Parameters
    ----------
    folder
        Where the file is that all processes map, made when it is not there; None for
        reservations of this process alone.
    clock
        Tells how long a lock has been waited for; the machine's by default.
    """

    __slots__ = ("_clock", "_descriptor", "_lock", "_memory", "_private", "_roomy_pages")

    def __init__(self, folder: Path | None = None, *, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
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
        self._private = mmap.mmap(-1, size)
        self._roomy_pages: set[int] = set()

    def close(self) -> None:
        """Give the memory back; nothing may be using it."""
        self._memory.close()
        self._private.close()
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def view(self, key: bytes) -> Held:
        """Return what is held for a customer.

        What another process is just writing may be read half; `reserve` then refuses.
        """
        owner = int.from_bytes(blake2b(key, digest_size=8).digest(), "little")
        place = owner % BUCKET_COUNT * BUCKET_SIZE_BYTES
        version, entries = self._read(place)
        own = tuple(entry for other, entry in entries if other == owner) if entries else ()
        return Held(place, owner, version, own)

    def reserve(self, seen: Held, entry: Entry, now_ns: int) -> bool:
        """Hold what a decision may lead to.

        Parameters
        ----------
        seen
            What `view` returned before the decision.
        entry
            What to hold; takes the place of what the same decision has reserved before, see
            `Held.add_earlier`.
        now_ns
            The moment of the decision, nanoseconds since 1970.

        Returns
        -------
        bool
            False, and nothing is held, when somebody else has reserved since `view`, or has done
            so for a customer of the same bucket.
        """
        last_ns = now_ns + _AHEAD_NS_MAX
        with self._lock:
            self._lock_bucket(seen.place)
            try:
                version, entries = self._read(seen.place)
                if version != seen.version:
                    return False
                kept = [
                    (owner, other)
                    for owner, other in entries
                    if now_ns < other.end_ns <= last_ns
                    and not (owner == seen.owner and other.tag == entry.tag)
                ]
                if entry.offers:
                    kept.append((seen.owner, entry))
                self._write(seen.place, version, kept)
            finally:
                self._unlock_bucket(seen.place)
        return True

    def _find_memory(self, place: int) -> mmap.mmap:
        """Return the memory that has a bucket: the one of all processes if the disk has room.

        To touch a hole of a mapped file on a full disk is the end of the process (SIGBUS). Until
        there is room again, each process knows only what it has reserved itself.
        """
        page = place // _PAGE_SIZE_BYTES
        if self._descriptor < 0 or page in self._roomy_pages:
            return self._memory
        try:
            os.posix_fallocate(self._descriptor, page * _PAGE_SIZE_BYTES, _PAGE_SIZE_BYTES)
        except OSError:
            return self._private
        self._roomy_pages.add(page)
        return self._memory

    def _read(self, place: int) -> tuple[int, list[tuple[int, Entry]]]:
        """Return version and entries of a bucket, with their owners."""
        memory = self._find_memory(place)
        version, size = _HEAD.unpack_from(memory, place)
        entries: list[tuple[int, Entry]] = []
        place += _HEAD.size
        end = place + min(size, _SIZE_MAX)
        while place + _ENTRY.size <= end:
            owner, end_ns, time_s, channel, tag, count = _ENTRY.unpack_from(memory, place)
            place += _ENTRY.size
            offers = memory[place : min(place + _PAIR.size * count, end)]
            entries.append((owner, Entry(end_ns, time_s, channel, tag, offers)))
            place += _PAIR.size * count
        return version, entries

    def _write(self, place: int, version: int, entries: list[tuple[int, Entry]]) -> None:
        """Write a bucket; whoever reads meanwhile finds a version that will not be there later."""
        packed = [
            _ENTRY.pack(owner, *entry[:4], len(entry.offers) // _PAIR.size) + entry.offers
            for owner, entry in entries
        ]
        size = sum(map(len, packed))
        while size > _SIZE_MAX:
            first = min(range(len(packed)), key=lambda n: entries[n][1].end_ns)
            size -= len(packed.pop(first))
            entries.pop(first)
        memory = self._find_memory(place)
        _HEAD.pack_into(memory, place, (version + 1) & _VERSION_MASK, 0)
        start = place + _HEAD.size
        memory[start : start + size] = b"".join(packed)
        _HEAD.pack_into(memory, place, (version + _VERSION_STEP) & _VERSION_MASK, size)

    def _lock_bucket(self, place: int) -> None:
        """Take a bucket's lock against other processes.

        One that was stopped while it held the lock is not waited for: the supervisor kills it, and
        what it could still spoil ends by itself.
        """
        give_up_ns = 0
        while self._descriptor >= 0:
            try:
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
                return
            except OSError:
                now_ns = self._clock.monotonic_ns()
                give_up_ns = give_up_ns or now_ns + RESERVATION_LOCK_NS_MAX
                if now_ns > give_up_ns:
                    return

    def _unlock_bucket(self, place: int) -> None:
        if self._descriptor >= 0:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, place)
