"""Offers whose unit has to be in stock: who is withheld, and how low cover lowers priorities.

A *shelf* is what the site of one customer has of the stocked units: a factor each, by which the
priority of the unit's offers is multiplied, or one of two codes below 0.
"""

import numpy as np
from numba import float32, float64, int64, types, void

from instanter.kernels.arbitration import (
    REASON_NONE,
    REASON_OUT_OF_STOCK,
    REASON_STOCK_UNKNOWN,
)
from instanter.kernels.array_types import (
    READ_F32,
    READ_F64,
    READ_I32,
    READ_U8,
    READ_U32,
    WRITE_F32,
    WRITE_F64,
    WRITE_U8,
)
from instanter.kernels.compilation import Kernel, inner_kernel, kernel

SHELF_UNKNOWN = -1.0
"""In the place of a factor: whether there is any is not known, and that withholds the offer."""

SHELF_EMPTY = -2.0
"""In the place of a factor: there is none."""

_NO_PLACE = -1
_WORDS_PER_UNIT = 3
_READ_F32_2D = types.Array(types.float32, 2, "C", readonly=True)


@inner_kernel(float64(float64, READ_F64, READ_F64))
def find_cover_factor(cover_days, curve_days, curve_factor):  # type: ignore[no-untyped-def]
    """Return the factor of a number of days of cover: straight between points, flat outside.

    Parameters
    ----------
    cover_days
        At least 0, or infinite.
    curve_days, curve_factor
        float64[N], float64[N], read-only: days, rising, and factors, 0 to 1. Without points: 1.
    """
    count = len(curve_days)
    if count == 0:
        return 1.0
    if cover_days <= curve_days[0]:
        return curve_factor[0]
    for n in range(1, count):
        if cover_days < curve_days[n]:
            share = (cover_days - curve_days[n - 1]) / (curve_days[n] - curve_days[n - 1])
            return curve_factor[n - 1] + share * (curve_factor[n] - curve_factor[n - 1])
    return curve_factor[count - 1]


@kernel(void(READ_U32, READ_U32, READ_F64, READ_F64, float64, WRITE_F32))
def lay_out_shelf(row, codes, curve_days, curve_factor, unknown, shelf):  # type: ignore[no-untyped-def]
    """Turn a row of `store/stock_shelves` into factors.

    Parameters
    ----------
    row
        uint32[3 K], read-only: the codes of K units, rising; what is available of each, int32; the
        days of cover, float32. NaN counts as unknown.
    codes
        uint32[U], read-only: the codes of the stocked units, rising.
    curve_days, curve_factor
        As in `find_cover_factor`.
    unknown
        What a unit that is not in the row gets: `SHELF_UNKNOWN`, or a factor.
    shelf
        float32[U], written: factors and codes.
    """
    count = len(row) // _WORDS_PER_UNIT
    known = row[:count]
    available = row[count : 2 * count].view(np.int32)
    cover_days = row[2 * count : 3 * count].view(np.float32)
    at = 0
    for u in range(len(codes)):
        while at < count and known[at] < codes[u]:
            at += 1
        if at == count or known[at] != codes[u] or np.isnan(cover_days[at]):
            shelf[u] = float32(unknown)
        elif available[at] <= 0:
            shelf[u] = float32(SHELF_EMPTY)
        else:
            factor = find_cover_factor(float64(cover_days[at]), curve_days, curve_factor)
            shelf[u] = float32(factor)


@inner_kernel(_READ_F32_2D(int64, READ_U32, READ_I32))
def find_shelves(count, held, shelf_place):  # type: ignore[no-untyped-def]
    """Find the shelves of a turn's customers behind their contacts.

    They travel there and not as an argument of their own, which would cost every decision 0.09 µs,
    stock or not.

    Parameters
    ----------
    count
        Customers of the turn.
    held
        uint32, read-only: anything, then count × U words, the bits of float32.
    shelf_place
        int32[O + 1], read-only: U, then each offer's place; empty when stock does not tell.

    Returns
    -------
    ndarray
        float32[count, U], a view; U is 0 when stock does not tell.
    """
    width = int64(shelf_place[0]) if len(shelf_place) else int64(0)
    return held[len(held) - count * width :].view(np.float32).reshape((count, width))


@kernel(int64(READ_I32, READ_F32, WRITE_U8))
def withhold_offers(shelf_place, shelf, reason):  # type: ignore[no-untyped-def]
    """Stop the offers of units that the customer's site does not have.

    Parameters
    ----------
    shelf_place
        int32[O + 1], read-only: U, then for each offer the place of its unit on the shelf; −1 for
        an offer that is not stocked.
    shelf
        float32[U], read-only: factors, `SHELF_EMPTY` or `SHELF_UNKNOWN`.
    reason
        uint8[O], read and written: 0 for offers that stay; becomes OUT_OF_STOCK or STOCK_UNKNOWN.

    Returns
    -------
    int
        How many offers stay.
    """
    staying = 0
    for o in range(len(reason)):
        if reason[o] != REASON_NONE:
            continue
        place = shelf_place[o + 1]
        if place == _NO_PLACE or shelf[place] >= 0.0:
            staying += 1
        elif shelf[place] == SHELF_EMPTY:
            reason[o] = REASON_OUT_OF_STOCK
        else:
            reason[o] = REASON_STOCK_UNKNOWN
    return staying


@inner_kernel(void(READ_I32, READ_F32, READ_U8, WRITE_F64))
def weigh_stock(shelf_place, shelf, reason, weight):  # type: ignore[no-untyped-def]
    """Multiply the context weights of offers that stay by the factors of their units.

    Parameters
    ----------
    shelf_place, shelf
        As in `withhold_offers`, read-only.
    reason
        uint8[O], read-only: 0 for offers that stay.
    weight
        float64[O], read and written.
    """
    for o in range(len(reason)):
        place = shelf_place[o + 1]
        if reason[o] == REASON_NONE and place != _NO_PLACE:
            weight[o] *= float64(shelf[place])


KERNELS = (
    Kernel("find_cover_factor", find_cover_factor, ()),
    Kernel("lay_out_shelf", lay_out_shelf, ("shelf",)),
    Kernel("find_shelves", find_shelves, ()),
    Kernel("withhold_offers", withhold_offers, ("reason",)),
    Kernel("weigh_stock", weigh_stock, ("weight",)),
)
