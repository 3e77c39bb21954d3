"""Movements checked one by one, and laid out as kernels take them."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from instanter.errors import InvalidFieldError, nearest
from instanter.kernels.stock_rows import MOVE_COLUMNS, PLACE_PROFILE
from instanter.stock.questions import Batch, Movement, MovementKind
from instanter.stock.tables import StockTables
from instanter.stock_limits import STOCK_UNITS_AMOUNT_MAX

_NO_UNITS: Final = frozenset({MovementKind.PRICE_CHANGE, MovementKind.CONFLICT})


def lay_out_movements(
    tables: StockTables, movements: Sequence[Movement], field: str = "movements"
) -> Batch:
    """Return movements as kernels take them, and which rows to load for them.

    Parameters
    ----------
    tables
        Of the catalogue in use.
    movements
        In the order in which they are carried out.
    field
        What errors call them.

    Raises
    ------
    InvalidFieldError
        A site or unit is unknown, or units cannot be; names `movements[3].units`.
    """
    positions: dict[tuple[str, str], int] = {}
    rows: list[int] = []
    for index, movement in enumerate(movements):
        kind = movement.kind
        _check_movement(tables, movement, field, index)
        position = positions.setdefault((movement.site, movement.unit), len(positions))
        destination = -1
        if kind == MovementKind.TRANSFER:
            key = (movement.destination_site, movement.unit)
            destination = positions.setdefault(key, len(positions))
        units = 0 if kind in _NO_UNITS else movement.units
        row = (kind, position, destination, units, movement.time_ms, movement.is_fact)
        rows.extend(row)
    sites: dict[str, int] = {}
    places: list[tuple[int, ...]] = []
    for site, unit in positions:
        place = tables.find_place(site, unit)
        profile = sites.setdefault(site, len(sites))
        places.append((*place[:PLACE_PROFILE], profile, *place[PLACE_PROFILE + 1 :]))
    return Batch(
        rows=np.array(rows, np.int64).reshape(-1, MOVE_COLUMNS),
        places=np.array(places, np.int64),
        positions=tuple(positions),
        sites=tuple(sites),
    )


def _check_movement(tables: StockTables, movement: Movement, field: str, index: int) -> None:
    plan, kind, units = tables.plan, movement.kind, movement.units
    if movement.site not in plan.site_index:
        raise _name_unknown(f"{field}[{index}].site", movement.site, plan.site_index)
    if movement.unit not in plan.unit_index:
        raise _name_unknown(f"{field}[{index}].stock_keeping_unit", movement.unit, plan.unit_index)
    if not 1 <= units <= STOCK_UNITS_AMOUNT_MAX:
        _check_unusual_units(kind, units, f"{field}[{index}].units")
    if kind == MovementKind.TRANSFER:
        path = f"{field}[{index}].destination_site"
        if movement.destination_site not in plan.site_index:
            raise _name_unknown(path, movement.destination_site, plan.site_index)
        if movement.destination_site == movement.site:
            raise InvalidFieldError(
                path, movement.destination_site, "another site than the one it comes from"
            )


def _check_unusual_units(kind: MovementKind, units: int, path: str) -> None:
    most = f"{STOCK_UNITS_AMOUNT_MAX:,}"
    if kind in _NO_UNITS:
        return
    if kind == MovementKind.ADJUSTMENT:
        if units == 0 or abs(units) > STOCK_UNITS_AMOUNT_MAX:
            raise InvalidFieldError(path, units, f"−{most} to {most}, and not 0")
    elif kind == MovementKind.COUNT:
        if not 0 <= units <= STOCK_UNITS_AMOUNT_MAX:
            raise InvalidFieldError(path, units, f"0 to {most}")
    else:
        raise InvalidFieldError(path, units, f"1 to {most}")


def _name_unknown(path: str, name: str, known: dict[str, int]) -> InvalidFieldError:
    expected = "one that the catalogue declares"
    meant = nearest(name, known)
    if meant is not None:
        expected += f"; did you mean {meant!r}?"
    return InvalidFieldError(path, name, expected)
