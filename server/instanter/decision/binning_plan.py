"""The binning plan: which attributes are predictors, and where their values are cut into bins.

One plan serves all models, so that one binning of a customer serves all offers. It is made once
from a sample and kept with the models: the meaning of a bin must not move under what was learned
about it. Attributes that are added later become predictors when a new plan is made.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from instanter.catalogue.schema import Attribute, AttributeKind, Schema
from instanter.kernels.binning import (
    EDGE_LANES,
    SOURCE_CONTEXT_CODE,
    SOURCE_CONTEXT_NUMBER,
    SOURCE_PROFILE_CODE,
    SOURCE_PROFILE_NUMBER,
    SOURCE_SURFACE,
    bin_rows,
)
from instanter.kernels.learning import NEIGHBOUR_ABOVE, NEIGHBOUR_BELOW
from instanter.limits import PREDICTOR_BINS_MAX

BINS_DEFAULT = 10
"""Bins of a number beside the missing one: deciles."""


@dataclass(frozen=True, slots=True, eq=False)
class BinningPlan:
    """Predictors in the order of the score table, and their bins.

    Row r of a model is bin `r − row_start[p]` of predictor p; bin 0 is missing.

    Attributes
    ----------
    predictor_slot, predictor_source
        int32[P], uint8[P], as in `ScoreTable`; profile predictors come first, and numbers with
        many edges before those with few.
    edge_start, edges
        int32[P + 1], float32[E]: edges of predictor p are `edges[edge_start[p]:edge_start[p + 1]]`,
        strictly rising.
    bin_count, row_start
        int32[P], int32[P].
    frequency
        int64[R]: how many rows of the sample were in each bin.
    channels
        Bin 1 + c of the last predictor is channel `channels[c]`; empty when no predictor is one.
    """

    predictor_slot: NDArray[np.int32]
    predictor_source: NDArray[np.uint8]
    edge_start: NDArray[np.int32]
    edges: NDArray[np.float32]
    bin_count: NDArray[np.int32]
    row_start: NDArray[np.int32]
    frequency: NDArray[np.int64]
    channels: tuple[str, ...]

    @property
    def predictor_count(self) -> int:
        """How many predictors there are."""
        return len(self.predictor_slot)

    @property
    def profile_predictor_count(self) -> int:
        """How many of them read the profile."""
        return int(np.count_nonzero(self.predictor_source <= SOURCE_PROFILE_CODE))

    @property
    def row_count(self) -> int:
        """Rows of a model: all bins of all predictors."""
        return int(self.bin_count.sum())

    def bin_customers(
        self, slots: NDArray[np.uint32], context: NDArray[np.uint32], channel: str
    ) -> NDArray[np.int32]:
        """Return the rows of customers in one channel.

        Parameters
        ----------
        slots, context
            uint32[n, *], uint32[n, *], read-only; slots beyond their width are missing.
        channel
            Name of the channel; any other text reads as missing.

        Returns
        -------
        ndarray
            int32[n, P].
        """
        index = self.channels.index(channel) if channel in self.channels else -1
        rows = np.empty((len(slots), self.predictor_count), np.int32)
        bin_rows(
            np.ascontiguousarray(slots),
            np.ascontiguousarray(context),
            index,
            self.predictor_slot,
            self.predictor_source,
            self.profile_predictor_count,
            *interleave_edges(self.edge_start, self.edges),
            self.bin_count,
            self.row_start,
            rows,
        )
        return rows

    def find_rows(self, bins: bytes) -> NDArray[np.int32]:
        """Return the rows of one customer's bins, see `Binner`; int32[1, ≤ P].

        Bins that are too few for all predictors are those of the last ones.
        """
        found = np.frombuffer(bins, np.uint8).astype(np.int32)
        found += self.row_start[self.predictor_count - len(found) :]
        return found[None]

    def find_neighbours(self) -> NDArray[np.uint8]:
        """Return which rows have a bin of like meaning beside them; uint8[R].

        Bits are `kernels/learning.NEIGHBOUR_...`. Bins of a number are in order; the missing bin
        is beside none, and codes are in no order.
        """
        number = np.isin(self.predictor_source, (SOURCE_PROFILE_NUMBER, SOURCE_CONTEXT_NUMBER))
        predictor = np.repeat(np.arange(self.predictor_count), self.bin_count)
        bin_index = np.arange(self.row_count) - self.row_start[predictor]
        in_order = number[predictor] & (bin_index > 0)
        found = np.zeros(self.row_count, np.uint8)
        found[in_order & (bin_index > 1)] |= NEIGHBOUR_BELOW
        found[in_order & (bin_index < self.bin_count[predictor] - 1)] |= NEIGHBOUR_ABOVE
        return found

    def find_modal_bins(self) -> NDArray[np.int32]:
        """Return the most frequent bin of each predictor, the lowest of several; int32[P]."""
        ends = self.row_start + self.bin_count
        return np.array(
            [
                np.argmax(self.frequency[start:end])
                for start, end in zip(self.row_start, ends, strict=True)
            ],
            np.int32,
        )


def make_plan(
    schema: Schema,
    slots: NDArray[np.uint32],
    context: NDArray[np.uint32],
    *,
    channels: tuple[str, ...] = (),
    excluded: frozenset[str] = frozenset(),
    bins: int = BINS_DEFAULT,
) -> BinningPlan:
    """Choose predictors and edges from a sample.

    A number is cut so that each bin holds about the same share of the sample; a value that is
    frequent enough gets a bin of its own. Instants are no predictors: they move with the calendar
    and mean something else every day. A number that never varies in the sample still tells
    missing from present.

    Parameters
    ----------
    schema
        Attributes and slots; those derived from events are predictors like those loaded.
    slots, context
        uint32[n, S], uint32[n, T], read-only: the sample, missing is 0xFFFFFFFF. Neither is
        changed. May be empty: then numbers are only told from missing.
    channels
        Names of the channels, when the channel is to be a predictor.
    excluded
        Names of attributes that must not become predictors.
    bins
        Bins of a number, the missing one not counted, 1 to 63.

    Returns
    -------
    BinningPlan
        The same for the same sample, on every machine.
    """
    assert 1 <= bins < PREDICTOR_BINS_MAX
    found: list[tuple[int, int, int, NDArray[np.float32]]] = []
    for from_context, attributes, block in (
        (False, (*schema.loaded.values(), *schema.derived.values()), slots),
        (True, tuple(schema.context.values()), context),
    ):
        for attribute in attributes:
            if attribute.name in excluded or attribute.kind is AttributeKind.INSTANT:
                continue
            if attribute.kind is AttributeKind.NUMBER:
                source = SOURCE_CONTEXT_NUMBER if from_context else SOURCE_PROFILE_NUMBER
                edges = choose_edges(_read_column(block, attribute.slot), bins)
                found.append((source, attribute.slot, len(edges) + 2, edges))
            else:
                source = SOURCE_CONTEXT_CODE if from_context else SOURCE_PROFILE_CODE
                found.append((source, attribute.slot, _count_codes(attribute), _NO_EDGES))
    if channels:
        channel_bins = min(len(channels) + 1, PREDICTOR_BINS_MAX)
        found.append((SOURCE_SURFACE, 0, channel_bins, _NO_EDGES))
    # Many edges first: a block of the score table is as deep as its predictor with most edges.
    found.sort(key=lambda predictor: (predictor[0], -len(predictor[3]), predictor[1]))
    return _lay_out_plan(found, slots, context, channels)


_NO_EDGES = np.zeros(0, np.float32)


class Binner:
    """Bins single customers by one plan, laid out once: for what is learned while serving.

    Parameters
    ----------
    plan
        The plan.
    """

    __slots__ = ("_edges", "_profile_count", "_rows", "plan")

    def __init__(self, plan: BinningPlan) -> None:
        self.plan = plan
        self._profile_count = plan.profile_predictor_count
        self._edges = interleave_edges(plan.edge_start, plan.edges)
        self._rows = np.empty((1, plan.predictor_count), np.int32)

    def find_bins(
        self, slots: NDArray[np.uint32] | None, context: NDArray[np.uint32], channel: str
    ) -> bytes:
        """Return the bin of each predictor, a byte each.

        Parameters
        ----------
        slots
            uint32[*], read-only: the profile; None when there was none, and then its predictors
            are left out.
        context
            uint32[*], read-only.
        channel
            Name of the channel.
        """
        plan = self.plan
        index = plan.channels.index(channel) if channel in plan.channels else -1
        bin_rows(
            (_NO_SLOTS if slots is None else slots)[None],
            context[None],
            index,
            plan.predictor_slot,
            plan.predictor_source,
            self._profile_count,
            *self._edges,
            plan.bin_count,
            plan.row_start,
            self._rows,
        )
        bins: NDArray[np.uint8] = (self._rows[0] - plan.row_start).astype(np.uint8)
        return (bins[self._profile_count :] if slots is None else bins).tobytes()


_NO_SLOTS = np.zeros(0, np.uint32)


def _lay_out_plan(
    found: list[tuple[int, int, int, NDArray[np.float32]]],
    slots: NDArray[np.uint32],
    context: NDArray[np.uint32],
    channels: tuple[str, ...],
) -> BinningPlan:
    """Give the chosen predictors their rows and count how much of the sample each row has."""
    bin_count = np.array([predictor[2] for predictor in found], np.int32)
    edges = [predictor[3] for predictor in found]
    plan = BinningPlan(
        predictor_slot=np.array([predictor[1] for predictor in found], np.int32),
        predictor_source=np.array([predictor[0] for predictor in found], np.uint8),
        edge_start=np.cumsum([0, *map(len, edges)], dtype=np.int32),
        edges=np.concatenate([_NO_EDGES, *edges]),
        bin_count=bin_count,
        row_start=(np.cumsum(bin_count) - bin_count).astype(np.int32),
        frequency=np.zeros(int(bin_count.sum()), np.int64),
        channels=channels,
    )
    # The sample knows nothing of channels; any may be the modal one, so it is the first.
    rows = plan.bin_customers(slots, context, channels[0] if channels else "")
    counted = np.bincount(rows.ravel(), minlength=plan.row_count)
    return replace(plan, frequency=counted.astype(np.int64))


def interleave_edges(
    edge_start: NDArray[np.int32], edges: NDArray[np.float32]
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return edges in the layout of the score table.

    Parameters
    ----------
    edge_start, edges
        int32[P + 1], float32[E], as in `BinningPlan`.

    Returns
    -------
    tuple of ndarray
        int32[P + 1], float32[≥ E], as in `ScoreTable`.
    """
    count = len(edge_start) - 1
    starts, blocks, at = [], [_NO_EDGES], 0
    for first in range(0, count, EDGE_LANES):
        own = [
            edges[edge_start[p] : edge_start[p + 1]]
            for p in range(first, min(first + EDGE_LANES, count))
        ]
        block = np.full((max(map(len, own)), EDGE_LANES), np.nan, np.float32)
        for lane, cut in enumerate(own):
            block[: len(cut), lane] = cut
            starts.append(at + lane)
        blocks.append(block.ravel())
        at += block.size
    return np.array([*starts, at], np.int32), np.concatenate(blocks)


def _count_codes(attribute: Attribute) -> int:
    """Return the bins of a code: missing, each known one, and one for those still to come."""
    known = 2 if attribute.kind is AttributeKind.FLAG else len(attribute.values) + 1
    return min(known + 1, PREDICTOR_BINS_MAX)


def _read_column(block: NDArray[np.uint32], slot: int) -> NDArray[np.float32]:
    """Return the present numbers of one slot; empty when the sample does not reach so far."""
    if slot >= block.shape[1]:
        return _NO_EDGES
    column = np.ascontiguousarray(block[:, slot]).view(np.float32)
    return column[~np.isnan(column)]


def choose_edges(values: NDArray[np.float32], bins: int) -> NDArray[np.float32]:
    """Cut values into at most `bins` bins of about equal counts.

    Each bin in turn takes its share of what is left, ending at the distinct value that comes
    nearest to it; so a frequent value takes one bin, and the others still share the rest evenly,
    where plain quantiles would fall together.

    Parameters
    ----------
    values
        float32[n], no NaN; any order.
    bins
        At least 1.

    Returns
    -------
    ndarray
        float32[≤ bins − 1], strictly rising: each edge is the smallest value of its bin.
    """
    distinct, counts = np.unique(values, return_counts=True)
    through = np.cumsum(counts)
    edges: list[np.float32] = []
    first = 0
    taken = 0
    while len(edges) < bins - 1:
        wanted = taken + (len(values) - taken) / (bins - len(edges))
        last = int(np.searchsorted(through, wanted))
        if last > first and wanted - through[last - 1] < through[last] - wanted:
            last -= 1
        if last >= len(distinct) - 1:
            break
        first = last + 1
        taken = int(through[last])
        edges.append(distinct[first])
    return np.array(edges, np.float32)
