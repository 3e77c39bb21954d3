"""Slow twins of `kernels/binning`, one predictor at a time in plain words."""

import math
import struct

MISSING = 0xFFFFFFFF
LANES = 64


def _number(pattern):
    return struct.unpack("<f", struct.pack("<I", int(pattern)))[0]


def _slot(slots, index):
    return int(slots[index]) if index < len(slots) else MISSING


def read_predictors(
    slots, predictor_slot, predictor_source, bin_count, surface_index, start, stop, value, bin_index
):
    """A number waits for its edges; a code is binned at once; missing is bin 0."""
    for p in range(start, stop):
        value[p] = math.nan
        pattern = _slot(slots, predictor_slot[p])
        if predictor_source[p] in (0, 2):
            value[p] = _number(pattern)
            bin_index[p] = 0 if math.isnan(value[p]) else 1
        elif predictor_source[p] == 4:
            bin_index[p] = 0 if surface_index < 0 else min(surface_index + 1, bin_count[p] - 1)
        else:
            bin_index[p] = 0 if pattern == MISSING else min(pattern + 1, bin_count[p] - 1)


def edges_of(edge_start, edges, p):
    """The edges of one predictor, in rising order."""
    block_end = min((p // LANES + 1) * LANES, len(edge_start) - 1)
    own = [float(e) for e in edges[edge_start[p] : edge_start[block_end] : LANES]]
    return [e for e in own if not math.isnan(e)]


def count_edges(edge_start, edges, start, stop, value, bin_index):
    """Each edge at or below the value moves it one bin up."""
    for p in range(start, stop):
        bin_index[p] += sum(edge <= value[p] for edge in edges_of(edge_start, edges, p))


def select_rows(
    slots, context, surface_index, known, predictor_slot, predictor_source,
    profile_predictor_count, edge_start, edges, bin_count, row_start, modal_bin, value, rows,
):  # fmt: skip
    """The rows of all predictors that are in another bin than most customers."""
    found = []
    scratch_value, scratch_bin = [0.0] * len(rows), [0] * len(rows)
    for p in range(len(predictor_slot)):
        in_profile = p < profile_predictor_count
        if in_profile and not known:
            continue
        read_predictors(
            slots if in_profile else context, predictor_slot, predictor_source, bin_count,
            surface_index, p, p + 1, scratch_value, scratch_bin,
        )  # fmt: skip
        count_edges(edge_start, edges, p, p + 1, scratch_value, scratch_bin)
        if scratch_bin[p] != modal_bin[p]:
            found.append(int(row_start[p]) + int(scratch_bin[p]))
    rows[: len(found)] = found
    return len(found)


def bin_rows(
    slots, context, surface_index, predictor_slot, predictor_source, profile_predictor_count,
    edge_start, edges, bin_count, row_start, rows,
):  # fmt: skip
    """Each customer's bins, one after the other."""
    for i in range(len(rows)):
        # No bin is the modal one, so every row is listed.
        none_modal = [-1] * len(predictor_slot)
        select_rows(
            slots[i], context[i], surface_index, True, predictor_slot, predictor_source,
            profile_predictor_count, edge_start, edges, bin_count, row_start, none_modal,
            [0.0] * len(predictor_slot), rows[i],
        )  # fmt: skip
