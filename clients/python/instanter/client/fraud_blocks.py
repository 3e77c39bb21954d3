"""Cuts a hotlist into the blocks that replace the old one."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from instanter.client.fraud_requests import make_entry
from instanter.client.fraud_values import HotlistEntry
from instanter.v1 import hotlist_service_pb2 as hotlist_messages

BLOCK_ENTRIES: Final = 1_000
"""Entries of one block: what the server takes."""


def begin(hotlist: str) -> hotlist_messages.ReplaceHotlistEntriesRequest:
    """Return the request that begins a replacement."""
    return hotlist_messages.ReplaceHotlistEntriesRequest(parent=f"hotlists/{hotlist}")


def make_blocks(
    hotlist: str, replacement: str, entries: Iterable[HotlistEntry], *, allow_shrink: bool
) -> Iterator[hotlist_messages.ReplaceHotlistEntriesRequest]:
    """Yield the further requests in their order.

    The last one makes the list hold: it is made only when all entries have been read, so that
    entries that end with an error change nothing.
    """
    parent = f"hotlists/{hotlist}"
    rest = iter(entries)
    index = 0
    while block := list(islice(rest, BLOCK_ENTRIES)):
        yield hotlist_messages.ReplaceHotlistEntriesRequest(
            parent=parent,
            replacement=replacement,
            hotlist_entries=[make_entry(hotlist, entry) for entry in block],
            block_index=index,
        )
        index += 1
    yield hotlist_messages.ReplaceHotlistEntriesRequest(
        parent=parent,
        replacement=replacement,
        commit=True,
        block_count=index,
        allow_shrink=allow_shrink,
    )
