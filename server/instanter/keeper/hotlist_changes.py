"""The effect of any change of a hotlist."""

from collections.abc import Callable
from typing import Any, Final

from instanter.catalogue.fraud_words import ListKind
from instanter.keeper.commands import ApplyContext, unpack_body
from instanter.keeper.hotlist_replacement import add_block, begin_list, replace_list
from instanter.keeper.hotlists import create_entries, remove_entry
from instanter.store.hotlist_removal import drop_dead, drop_expired_entries
from instanter.store.log.frames import LogRecord
from instanter.store.transaction import Transaction

_DROPPED_MIN: Final = 64
"""Entries of replaced lists that go with each change, or twice as many as came."""

_Change = Callable[[Transaction, ListKind, dict[str, Any], int], Any]

_CHANGES: Final[dict[str, _Change]] = {
    "create": create_entries,
    "delete": remove_entry,
    "begin": begin_list,
    "add": add_block,
    "replace": replace_list,
}


def apply_hotlist_change(transaction: Transaction, record: LogRecord, context: ApplyContext) -> Any:
    """Change a list, and take away a few entries that no list needs any more."""
    del context
    body = unpack_body(record)
    change = _CHANGES[body["change"]]
    result = change(transaction, ListKind(body["list"]), body, record.time_ns)
    limit = max(_DROPPED_MIN, 2 * len(body.get("entries", ())))
    drop_expired_entries(transaction, record.time_ns, limit)
    drop_dead(transaction, limit)
    return result
