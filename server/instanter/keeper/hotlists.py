"""Changes of single entries of hotlists, and of batches of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from instanter.catalogue.fraud_words import ListKind
from instanter.errors import (
    AlreadyExistsError,
    ExhaustedError,
    show,
)
from instanter.fraud_limits import HOTLIST_ENTRIES_MAX
from instanter.keeper.commands import Answered, ApplyContext, pack_body
from instanter.keeper.hotlist_views import make_not_found, name_list
from instanter.keeper.records import RecordKind
from instanter.store.hotlists import (
    NO_HEAD,
    Head,
    HotlistEntry,
    delete_entry,
    find_entry,
    listed_key,
    load_heads,
    put_entry,
    put_head,
)
from instanter.store.transaction import Transaction


class EntriesCreated(NamedTuple):
    """What became of entries.

    Attributes
    ----------
    entries
        As they are kept, in the order of the request.
    created_count
        Those that were not there before.
    """

    entries: tuple[HotlistEntry, ...]
    created_count: int


@dataclass(frozen=True, slots=True, eq=False)
class CreateHotlistEntries:
    """Adds entries to a list, all of them or none; its result is `EntriesCreated`.

    An entry that is there with the same reason, source and end is left as it is, so that a retry
    has the same effect as one call.

    Attributes
    ----------
    list_kind
        Which list.
    entries
        1 to `fraud_limits.HOTLIST_BATCH_MAX`, checked; their times of creation are set here.
    """

    list_kind: ListKind
    entries: Sequence[HotlistEntry]

    @property
    def kind(self) -> RecordKind:
        """Kind of its record."""
        return RecordKind.HOTLIST_CHANGES

    def prepare(
        self, transaction: Transaction, now_ns: int, context: ApplyContext
    ) -> bytes | Answered:
        """Check the entries against the list, and return the body of the record.

        Raises
        ------
        AlreadyExistsError
            One is there with another reason, source or end; reason HOTLIST_ENTRY_EXISTS.
        ExhaustedError
            The list would be too long.
        DamagedError
            What concerns all lists is damaged.
        """
        del context
        head = load_heads(transaction).get(self.list_kind, NO_HEAD)
        kept = []
        fresh: dict[str, tuple[str, str, str, int]] = {}
        for index, entry in enumerate(self.entries):
            key = listed_key(self.list_kind, head.generation, entry.entry)
            present = find_entry(transaction, key)
            if present is None or present.is_over(now_ns) or present.is_damaged:
                parts = (entry.entry, entry.reason, entry.source, entry.expire_time_ns)
                if fresh.setdefault(entry.entry, parts) != parts:
                    raise _exists(self.list_kind, entry.entry, index)
                kept.append(_with_time(entry, now_ns))
            elif _is_same(present, entry):
                kept.append(present)
            else:
                raise _exists(self.list_kind, entry.entry, index)
        if not fresh:
            return Answered(EntriesCreated(tuple(kept), 0))
        check_room(self.list_kind, head.entry_count + len(fresh))
        return pack_body(
            {
                "change": "create",
                "list": int(self.list_kind),
                "entries": list(fresh.values()),
                "kept": [_pack(entry) for entry in kept],
            }
        )


@dataclass(frozen=True, slots=True)
class DeleteHotlistEntry:
    """Takes an entry off a list, a damaged one too; its result is None.

    Attributes
    ----------
    list_kind, entry
        Which one.
    allow_missing
        Whether it is right when it is not there.
    """

    list_kind: ListKind
    entry: str
    allow_missing: bool = False

    @property
    def kind(self) -> RecordKind:
        """Kind of its record."""
        return RecordKind.HOTLIST_CHANGES

    def prepare(
        self, transaction: Transaction, now_ns: int, context: ApplyContext
    ) -> bytes | Answered:
        """Look whether the entry is there, and return the body of the record.

        Raises
        ------
        NotFoundError
            It is not on the list.
        """
        del now_ns, context
        head = load_heads(transaction).get(self.list_kind, NO_HEAD)
        key = listed_key(self.list_kind, head.generation, self.entry)
        if find_entry(transaction, key) is None:
            if self.allow_missing:
                return Answered(None)
            raise make_not_found(self.list_kind, self.entry)
        return pack_body({"change": "delete", "list": int(self.list_kind), "entry": self.entry})


def create_entries(
    transaction: Transaction, kind: ListKind, body: dict[str, Any], now_ns: int
) -> EntriesCreated:
    """Add the entries of a record, also to a list that is about to take this one's place."""
    head = load_heads(transaction).get(kind, NO_HEAD)
    count, staged_count = head.entry_count, head.staged_count
    for name, reason, source, expire_ns in body["entries"]:
        entry = HotlistEntry(name, reason, source, now_ns, expire_ns)
        count += put_entry(transaction, listed_key(kind, head.generation, name), entry)
        if head.staged:
            staged_count += put_entry(transaction, listed_key(kind, head.staged, name), entry)
    head = head._replace(entry_count=count, staged_count=staged_count)
    put_head(transaction, kind, _touch(head, now_ns))
    return EntriesCreated(tuple(map(_unpack, body["kept"])), len(body["entries"]))


def remove_entry(
    transaction: Transaction, kind: ListKind, body: dict[str, Any], now_ns: int
) -> None:
    """Take the entry of a record off, also off a list that is about to take this one's place."""
    head = load_heads(transaction).get(kind, NO_HEAD)
    name = body["entry"]
    count = head.entry_count - delete_entry(transaction, listed_key(kind, head.generation, name))
    staged_count = head.staged_count
    if head.staged:
        staged_count -= delete_entry(transaction, listed_key(kind, head.staged, name))
    head = head._replace(entry_count=count, staged_count=staged_count)
    put_head(transaction, kind, _touch(head, now_ns))


def _touch(head: Head, now_ns: int) -> Head:
    """Return a head whose list has changed; one that is replaced now and then is no fresher."""
    return head if head.was_replaced else head._replace(time_ns=now_ns)


def _is_same(present: HotlistEntry, given: HotlistEntry) -> bool:
    return (present.reason, present.source, present.expire_time_ns) == (
        given.reason,
        given.source,
        given.expire_time_ns,
    )


def _with_time(entry: HotlistEntry, now_ns: int) -> HotlistEntry:
    return HotlistEntry(entry.entry, entry.reason, entry.source, now_ns, entry.expire_time_ns)


def _pack(entry: HotlistEntry) -> tuple[str, str, str, int, int]:
    return (entry.entry, entry.reason, entry.source, entry.create_time_ns, entry.expire_time_ns)


def _unpack(parts: Sequence[Any]) -> HotlistEntry:
    return HotlistEntry(*parts)


def _exists(kind: ListKind, entry: str, index: int) -> AlreadyExistsError:
    return AlreadyExistsError(
        f"entries[{index}]: {show(entry)} is on hotlist {name_list(kind)} with another reason, "
        "source or end; delete it first to change these",
        reason="HOTLIST_ENTRY_EXISTS",
        metadata={"entry": entry},
    )


def check_room(kind: ListKind, count: int) -> None:
    """Refuse a list that would be too long.

    Raises
    ------
    ExhaustedError
        It would have more than `fraud_limits.HOTLIST_ENTRIES_MAX` entries.
    """
    if count > HOTLIST_ENTRIES_MAX:
        raise ExhaustedError(
            f"hotlist {name_list(kind)} would have {count:,} entries, at most "
            f"{HOTLIST_ENTRIES_MAX:,} are kept",
            reason="HOTLIST_TOO_LONG",
        )
