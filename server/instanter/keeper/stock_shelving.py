"""What decisions read of stock, when a catalogue ties offers to other units than the one before.

The rows of `store/stock_shelves` hold only the units that offers are tied to, as long as they are.
So a publication takes out what nobody has kept up, and puts in what is new.
"""

from typing import Final

import numpy as np

from instanter.catalogue.compiled import CompiledCatalogue
from instanter.catalogue.stock import StockPlan
from instanter.keeper.stock_desk import NO_MOVES, StockDesk, gather, load_table
from instanter.keeper.stock_effects import MS_NS, Effects
from instanter.stock_limits import RESHELVED_POSITIONS_MAX
from instanter.store.log.frames import LogRecord
from instanter.store.stock_positions import has_position, position_key
from instanter.store.stock_shelves import keep_units
from instanter.store.transaction import Transaction

_ANY_SEQUENCE: Final = 1
"""What is looked at here is not written, and tells nothing."""


def reshelve(
    transaction: Transaction,
    record: LogRecord,
    desk: StockDesk,
    before: CompiledCatalogue | None,
    after: CompiledCatalogue,
) -> None:
    """Bring the rows that decisions read under another catalogue.

    Where that would be more positions than `RESHELVED_POSITIONS_MAX`, new units stay unknown until
    something moves, or the sweep that follows each publication has come to them.

    Parameters
    ----------
    transaction, record
        The publication's.
    desk
        Is given the new catalogue.
    before, after
        The catalogue in force until now, None for none, and the one that is published.
    """
    known = _list_stocked(before)
    wanted = _list_stocked(after)
    keep_units(transaction, np.array(sorted(known.values()), np.uint32))
    new = sorted(wanted.keys() - known.keys())
    if after.stock is None or not new:
        return
    sites = after.stock.sites
    if len(sites) * len(new) > RESHELVED_POSITIONS_MAX:
        return
    desk.open(after)
    for site in sites:
        positions = [
            (site.name, unit)
            for unit in new
            if has_position(transaction, position_key(site.name, unit))
        ]
        if not positions:
            continue
        table = load_table(transaction, gather(desk.engine, positions, NO_MOVES))
        found = desk.engine.look(
            table.batch.places,
            table.states,
            table.profile_words,
            now_ms=record.time_ns // MS_NS,
            sequence=_ANY_SEQUENCE,
        )
        Effects(transaction, desk, record, table).put_shelves(found)


def _list_stocked(catalogue: CompiledCatalogue | None) -> dict[str, int]:
    """Return name to code of the units that a catalogue's offers are tied to."""
    plan: StockPlan | None = None if catalogue is None else catalogue.stock
    if plan is None:
        return {}
    units = [plan.units[unit] for unit in plan.stocked_units]
    return {unit.name: unit.code for unit in units}
