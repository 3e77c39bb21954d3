"""What time alone does to stock: alerts that clear or escalate, periods that end.

Positions stand in a queue by the time at which something may change. After another catalogue was
published all are looked at once, some at a time, because their policies may be others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from instanter.catalogue.compiled import CompiledCatalogue
from instanter.keeper.commands import Answered, ApplyContext, pack_body, unpack_body
from instanter.keeper.records import RecordKind
from instanter.keeper.stock_desk import NO_MOVES, StockDesk, Table, gather, load_table
from instanter.keeper.stock_effects import MS_NS, Effects, drop_old
from instanter.stock_limits import STOCK_TICK_POSITIONS_MAX
from instanter.store.log.frames import LogRecord
from instanter.store.stock_alert_log import has_older
from instanter.store.stock_positions import (
    HEAD_DUE_MS,
    delete_due,
    load_due,
    load_swept,
    put_swept,
    scan_positions,
    split_key,
)
from instanter.store.transaction import Transaction

_S_NS: Final = 1_000_000_000


def is_stock_due(
    transaction: Transaction, catalogue: CompiledCatalogue | None, now_ns: int
) -> bool:
    """Return whether a `StockTick` has something to do."""
    if catalogue is None or catalogue.stock is None:
        return False
    return (
        load_swept(transaction) != (catalogue.revision, b"")
        or bool(load_due(transaction, now_ns // MS_NS, 1))
        or has_older(transaction, now_ns - catalogue.stock.retention_s * _S_NS)
    )


@dataclass(frozen=True, slots=True)
class StockTick:
    """Looks at positions whose time has come; its result is how many."""

    @property
    def kind(self) -> RecordKind:
        """Kind of its record."""
        return RecordKind.STOCK_TICK

    def prepare(
        self, transaction: Transaction, now_ns: int, context: ApplyContext
    ) -> bytes | Answered:
        """Return the body of the record: which positions, and how far all were looked through."""
        catalogue = context.published.load(transaction)
        if catalogue is None or not is_stock_due(transaction, catalogue, now_ns):
            return Answered(0)
        due = load_due(transaction, now_ns // MS_NS, STOCK_TICK_POSITIONS_MAX)
        room = STOCK_TICK_POSITIONS_MAX - len(due)
        keys, reached = _sweep(transaction, catalogue.revision, room)
        return pack_body(
            {"due": due, "revision": catalogue.revision, "swept": keys, "reached": reached}
        )


def _sweep(transaction: Transaction, revision: int, limit: int) -> tuple[list[bytes], bytes]:
    """Return keys of the next positions to look at for a revision of the catalogue.

    Returns
    -------
    tuple
        The keys, and the last that has been looked at then; empty when there are no more.
    """
    known, reached = load_swept(transaction)
    if known == revision and not reached:
        return [], b""
    start = reached if known == revision else b""
    keys = list(islice(scan_positions(transaction, start, after=True), limit + 1))
    if len(keys) <= limit:
        return keys, b""
    return keys[:limit], keys[limit - 1] if limit else start


def apply_stock_tick(transaction: Transaction, record: LogRecord, context: ApplyContext) -> int:
    """Look at positions, and drop transitions that need to be kept no longer."""
    body = unpack_body(record)
    desk = context.stock
    plan = desk.open(context.published.load(transaction))
    due = {key: due_ms for due_ms, key in body["due"]}
    for key, due_ms in due.items():
        delete_due(transaction, due_ms, key)
    put_swept(transaction, body["revision"], body["reached"])
    keys = list(dict.fromkeys((*due, *body["swept"])))
    table = _load(transaction, desk, keys)
    for index, key in enumerate(table.positions.keys):
        if key in due:
            table.positions.words[index, HEAD_DUE_MS] = 0
    effects = Effects(transaction, desk, record, table)
    if table.batch.positions:
        effects.keep(
            desk.engine.look(
                table.batch.places,
                table.states,
                table.profile_words,
                now_ms=record.time_ns // MS_NS,
                sequence=effects.next_sequence(),
            )
        )
    drop_old(transaction, plan, record.time_ns)
    return len(keys)


def _load(transaction: Transaction, desk: StockDesk, keys: Sequence[bytes]) -> Table:
    """Return positions to look at, without those that are damaged: they stay as they are."""
    while True:
        positions = [split_key(key) for key in keys]
        table = load_table(transaction, gather(desk.engine, positions, NO_MOVES))
        damaged = {table.positions.keys[index] for index in table.positions.damaged}
        if not damaged:
            return table
        keys = [key for key in keys if key not in damaged]
