"""A list that takes another's place: begun, filled block by block, put into force at once.

Until the last step nothing has changed for anybody. An entry that is created or deleted meanwhile
by itself is so in both lists.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from instanter.catalogue.fraud_words import ListKind
from instanter.errors import PreconditionError
from instanter.fraud_limits import HOTLIST_SHRINK_RATE_MAX
from instanter.keeper.commands import Answered, ApplyContext, pack_body
from instanter.keeper.hotlist_views import name_list
from instanter.keeper.hotlists import check_room
from instanter.keeper.records import RecordKind
from instanter.store.hotlist_removal import add_dead
from instanter.store.hotlists import (
    NO_HEAD,
    Head,
    HotlistEntry,
    listed_key,
    load_heads,
    put_entry,
    put_head,
)
from instanter.store.transaction import Transaction


class HotlistReplaced(NamedTuple):
    """What became of a list.

    Attributes
    ----------
    entry_count
        Entries now.
    replaced_count
        Entries before.
    """

    entry_count: int
    replaced_count: int


@dataclass(frozen=True, slots=True)
class BeginHotlist:
    """Begins a list that is to take another's place; its result is the new generation.

    Another one that was begun and is not in force yet is given up.

    Attributes
    ----------
    list_kind
        Which list.
    """

    list_kind: ListKind

    @property
    def kind(self) -> RecordKind:
        """Kind of its record."""
        return RecordKind.HOTLIST_CHANGES

    def prepare(self, transaction: Transaction, now_ns: int, context: ApplyContext) -> bytes:
        """Return the body of the record.

        Raises
        ------
        DamagedError
            What concerns all lists is damaged.
        """
        del now_ns, context
        load_heads(transaction)
        return pack_body({"change": "begin", "list": int(self.list_kind)})


@dataclass(frozen=True, slots=True, eq=False)
class AddHotlistBlock:
    """Adds entries to a list that was begun; its result is how many it has by now.

    An entry that comes twice counts once, and says what its last place says.

    Attributes
    ----------
    list_kind
        Which list.
    generation
        From `BeginHotlist`.
    index
        Number of the block, from 0 without gaps. The last one may be sent again.
    entries
        1 to `fraud_limits.HOTLIST_BATCH_MAX`, checked.
    """

    list_kind: ListKind
    generation: int
    index: int
    entries: Sequence[HotlistEntry]

    @property
    def kind(self) -> RecordKind:
        """Kind of its record."""
        return RecordKind.HOTLIST_CHANGES

    def prepare(
        self, transaction: Transaction, now_ns: int, context: ApplyContext
    ) -> bytes | Answered:
        """Check that it is the list's next block, and return the body of the record.

        Raises
        ------
        PreconditionError
            The list was not begun or was given up (HOTLIST_NOT_BEGUN), or another block is the
            next (HOTLIST_INCOMPLETE).
        ExhaustedError
            The list would be too long.
        """
        del now_ns, context
        head = _check_begun(transaction, self.list_kind, self.generation)
        if self.index == head.block_count - 1:
            return Answered(head.staged_count)
        _check_blocks(self.list_kind, head, self.index)
        check_room(self.list_kind, head.staged_count + len(self.entries))
        entries = [(e.entry, e.reason, e.source, e.expire_time_ns) for e in self.entries]
        return pack_body({"change": "add", "list": int(self.list_kind), "entries": entries})


@dataclass(frozen=True, slots=True)
class ReplaceHotlist:
    """Puts a list into force that was begun; its result is `HotlistReplaced`.

    Attributes
    ----------
    list_kind
        Which list.
    generation
        From `BeginHotlist`.
    block_count
        How many blocks it has, so that one that was cut changes nothing.
    allow_shrinking
        Whether it may be shorter by more than `fraud_limits.HOTLIST_SHRINK_RATE_MAX`.
    """

    list_kind: ListKind
    generation: int
    block_count: int
    allow_shrinking: bool = False

    @property
    def kind(self) -> RecordKind:
        """Kind of its record."""
        return RecordKind.HOTLIST_CHANGES

    def prepare(
        self, transaction: Transaction, now_ns: int, context: ApplyContext
    ) -> bytes | Answered:
        """Check that the list is whole, and return the body of the record.

        Raises
        ------
        PreconditionError
            It was not begun, or was given up (HOTLIST_NOT_BEGUN); has another number of blocks
            (HOTLIST_INCOMPLETE); or is too short (HOTLIST_SHRINKS).
        """
        del now_ns, context
        head = load_heads(transaction).get(self.list_kind, NO_HEAD)
        if head.generation == self.generation != 0:
            return Answered(HotlistReplaced(head.entry_count, head.entry_count))
        head = _check_begun(transaction, self.list_kind, self.generation)
        _check_blocks(self.list_kind, head, self.block_count)
        least = head.entry_count * (1.0 - HOTLIST_SHRINK_RATE_MAX)
        if head.staged_count < least and not self.allow_shrinking:
            raise PreconditionError(
                f"hotlist {name_list(self.list_kind)} would shrink from {head.entry_count:,} to "
                f"{head.staged_count:,} entries, by more than {HOTLIST_SHRINK_RATE_MAX:.0%}; "
                "nothing was replaced; if that is right, say that it may shrink",
                reason="HOTLIST_SHRINKS",
                metadata={"before": str(head.entry_count), "after": str(head.staged_count)},
            )
        return pack_body({"change": "replace", "list": int(self.list_kind)})


def begin_list(transaction: Transaction, kind: ListKind, body: dict[str, Any], now_ns: int) -> int:
    """Begin a list, give up another that was begun, and return the generation."""
    del body, now_ns
    head = load_heads(transaction).get(kind, NO_HEAD)
    if head.staged:
        add_dead(transaction, kind, head.staged)
    generation = head.last + 1
    head = head._replace(
        staged=generation,
        last=generation,
        has_dead=head.has_dead or head.staged > 0,
        staged_count=0,
        block_count=0,
    )
    put_head(transaction, kind, head)
    return generation


def add_block(transaction: Transaction, kind: ListKind, body: dict[str, Any], now_ns: int) -> int:
    """Add the entries of a record, and return how many the list has by now."""
    head = load_heads(transaction).get(kind, NO_HEAD)
    count = head.staged_count
    for name, reason, source, expire_ns in body["entries"]:
        entry = HotlistEntry(name, reason, source, now_ns, expire_ns)
        count += put_entry(transaction, listed_key(kind, head.staged, name), entry)
    head = head._replace(staged_count=count, block_count=head.block_count + 1)
    put_head(transaction, kind, head)
    return count


def replace_list(
    transaction: Transaction, kind: ListKind, body: dict[str, Any], now_ns: int
) -> HotlistReplaced:
    """Put a list into force; the one before goes by and by."""
    del body
    head = load_heads(transaction).get(kind, NO_HEAD)
    add_dead(transaction, kind, head.generation)
    now = Head(
        generation=head.staged,
        last=head.last,
        has_dead=True,
        entry_count=head.staged_count,
        time_ns=now_ns,
    )
    put_head(transaction, kind, now)
    return HotlistReplaced(now.entry_count, head.entry_count)


def _check_begun(transaction: Transaction, kind: ListKind, generation: int) -> Head:
    """Return the head of a list whose next generation is `generation`."""
    head = load_heads(transaction).get(kind, NO_HEAD)
    if not generation or head.staged != generation:
        raise PreconditionError(
            f"hotlist {name_list(kind)}: replacement {generation} was not begun, or another one "
            "was begun since; begin again",
            reason="HOTLIST_NOT_BEGUN",
        )
    return head


def _check_blocks(kind: ListKind, head: Head, count: int) -> None:
    if head.block_count != count:
        raise PreconditionError(
            f"hotlist {name_list(kind)}: {head.block_count} blocks have come, not {count}; "
            "nothing was replaced, load the list again",
            reason="HOTLIST_INCOMPLETE",
        )
