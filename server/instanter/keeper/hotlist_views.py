"""Hotlists as they are read: one entry, a page of them, and what concerns a list as a whole."""

from typing import NamedTuple

from instanter.catalogue.fraud_words import ListKind
from instanter.errors import NotFoundError, show
from instanter.limits import LIST_ROWS_MAX
from instanter.store.hotlists import (
    NO_HEAD,
    HotlistEntry,
    find_entry,
    listed_key,
    load_heads,
    scan_entries,
)
from instanter.store.transaction import Transaction


class HotlistFigures(NamedTuple):
    """One list as a whole.

    Attributes
    ----------
    entry_count
        Its entries, expired ones included for about an hour.
    update_time_ns
        When it was last replaced; of a list that never was, when it last changed; 0 for never.
    """

    entry_count: int
    update_time_ns: int


class EntryPage(NamedTuple):
    """Entries of a page.

    Attributes
    ----------
    entries
        In the byte order of their names.
    after
        Where the next page begins; empty when there is none.
    """

    entries: tuple[HotlistEntry, ...]
    after: str


def get_figures(transaction: Transaction, kind: ListKind) -> HotlistFigures:
    """Return what concerns a list as a whole.

    Raises
    ------
    DamagedError
        It is damaged.
    """
    head = load_heads(transaction).get(kind, NO_HEAD)
    return HotlistFigures(head.entry_count, head.time_ns)


def get_entry(transaction: Transaction, kind: ListKind, entry: str, now_ns: int) -> HotlistEntry:
    """Return an entry.

    Raises
    ------
    NotFoundError
        It is not on the list, or has expired.
    """
    head = load_heads(transaction).get(kind, NO_HEAD)
    found = find_entry(transaction, listed_key(kind, head.generation, entry))
    if found is None or found.is_over(now_ns):
        raise make_not_found(kind, entry)
    return found


def list_entries(
    transaction: Transaction, kind: ListKind, *, after: str, limit: int, now_ns: int
) -> EntryPage:
    """Return a page of a list's entries, expired ones left out.

    Parameters
    ----------
    transaction
        An open read transaction.
    kind
        Which list.
    after
        `EntryPage.after` of the page before, empty for the first.
    limit
        At most so many. A page may have fewer: `limits.LIST_ROWS_MAX` are looked at.
    now_ns
        By which time entries have expired.
    """
    head = load_heads(transaction).get(kind, NO_HEAD)
    entries: list[HotlistEntry] = []
    seen = scan_entries(transaction, kind, head.generation, after)
    for seen_count, entry in enumerate(seen):
        if len(entries) == limit or seen_count == LIST_ROWS_MAX:
            return EntryPage(tuple(entries), after)
        after = entry.entry
        if not entry.is_over(now_ns):
            entries.append(entry)
    return EntryPage(tuple(entries), "")


def name_list(kind: ListKind) -> str:
    """Return a list's name as messages show it."""
    return f"'{kind.name.lower()}'"


def make_not_found(kind: ListKind, entry: str) -> NotFoundError:
    """Return the error for an entry that is not on a list."""
    return NotFoundError(
        f"{show(entry)} is not on hotlist {name_list(kind)}",
        reason="HOTLIST_ENTRY_NOT_FOUND",
        metadata={"entry": entry},
    )
