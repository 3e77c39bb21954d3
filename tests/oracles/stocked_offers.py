"""Slow twins of `kernels/stocked_offers`, one unit and one offer after the other."""

import itertools
import math
import struct

import numpy as np

UNKNOWN, EMPTY = -1, -2


def find_cover_factor(cover_days, curve_days, curve_factor):
    """Between two points a straight line, outside the nearest point."""
    points = list(zip(curve_days.tolist(), curve_factor.tolist(), strict=True))
    if not points:
        return 1.0
    if cover_days <= points[0][0]:
        return points[0][1]
    for (from_days, low), (to_days, high) in itertools.pairwise(points):
        if cover_days < to_days:
            return low + (cover_days - from_days) / (to_days - from_days) * (high - low)
    return points[-1][1]


def lay_out_shelf(row, codes, curve_days, curve_factor, unknown, shelf):
    """Read the row as a table of unit, available and cover; look every unit up."""
    body, count = row.tobytes(), len(row) // 3
    columns = struct.unpack(f"<{count}I{count}i{count}f", body)
    table = {columns[n]: (columns[count + n], columns[2 * count + n]) for n in range(count)}
    for u, code in enumerate(codes.tolist()):
        available, cover_days = table.get(code, (0, math.nan))
        if math.isnan(cover_days):
            shelf[u] = unknown
        elif available <= 0:
            shelf[u] = EMPTY
        else:
            shelf[u] = find_cover_factor(cover_days, curve_days, curve_factor)


def find_shelves(count, held, shelf_place):
    """The last words of what is held, cut into one shelf a customer."""
    width = int(shelf_place[0]) if len(shelf_place) else 0
    words = held.tolist()[len(held) - count * width :]
    floats = [struct.unpack("<f", struct.pack("<I", word))[0] for word in words]
    return np.array(floats, np.float32).reshape(count, width)


def withhold_offers(shelf_place, shelf, reason):
    """An offer stays when its unit has a factor, or when it has no unit."""
    for o, place in enumerate(shelf_place[1:].tolist()):
        if reason[o] == 0 and place >= 0:
            reason[o] = {EMPTY: 12, UNKNOWN: 13}.get(float(shelf[place]), 0)
    return int(sum(1 for r in reason if r == 0))


def weigh_stock(shelf_place, shelf, reason, weight):
    """The factor of its unit, times each weight."""
    for o, place in enumerate(shelf_place[1:].tolist()):
        if reason[o] == 0 and place >= 0:
            weight[o] = weight[o] * float(shelf[place])
