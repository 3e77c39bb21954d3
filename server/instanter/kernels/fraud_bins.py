"""The bins of the fraud model: drawn anew from samples as labels arrive, without losing weights.

The state of the model is one array, float32[n]; this is where its parts begin, in this order.
F features and P pairs of them make it up to 64 kB long, 48 features and 12 pairs the most:

========== ====================== =========================================================
part       words                  what it holds
========== ====================== =========================================================
head       16                     float64: genuine labels, frauds, at which fraud bins are
                                  drawn next, intercept and its variance
moments    6 F                    float64: count, mean and squared deviations of `squash`
slopes     2 F                    weight of the standardised feature, its variance
edges      22 F                   rising; infinity behind the last
weights    48 F                   24 bins: weight, variance
pairs      338 P                  13 × 13 bins: weight, variance
samples    2 S F                  S genuine transactions, S frauds; S by `count_samples`
========== ====================== =========================================================

Bin 0 is the missing one; a value is in bin 1 + (number of edges below it). Frauds are rare, and
what tells them is often rarer still: most terminals have none. So the edges are quantiles of a
mixture of which frauds are one half. Both samples are uniform over all labels so far (Vitter,
"Random Sampling with a Reservoir", 1985); the edges are drawn at each doubling of the frauds, and
a new bin takes its weights from the old bin where its upper edge lies.
"""

import numpy as np
from numba import float64, int64, types, void

from instanter.kernels.array_types import READ_F32, READ_I32_2D, READ_I64, WRITE_F32
from instanter.kernels.compilation import Kernel, inner_kernel

HEAD = 16
HEAD_GENUINE = 0
HEAD_FRAUDS = 1
HEAD_NEXT_DRAW = 2
HEAD_INTERCEPT = 3
HEAD_VARIANCE = 4
"""Places in the float64 view of the head."""

MOMENTS = 6
"""Words of a feature's moments."""
BINS = 24
EDGES = 22
PAIR_BINS = 13
"""Two bins of a feature make one of a pair; the missing one and the lowest stay alone: among
counts that is 0."""
SAMPLES_MAX = 96
SAMPLE_WORDS_MAX = 4096
"""Words of all features' samples of one kind at most: 64 features have 64."""
FIRST_DRAW = 8.0
"""Frauds before the first edges."""

PART_MOMENTS = 0
PART_SLOPES = 1
PART_EDGES = 2
PART_WEIGHTS = 3
PART_PAIRS = 4
PART_SAMPLES = 5
PART_END = 6

_WRITE_I64 = types.Array(int64, 1, "C")


@inner_kernel(int64(int64))
def count_samples(feature_count):
    """Return how many transactions of each kind a sample holds."""
    return min(SAMPLES_MAX, SAMPLE_WORDS_MAX // max(feature_count, 1))


@inner_kernel(int64(int64, int64, int64))
def find_part(part, feature_count, pair_count):
    """Return the word at which a part of the state begins; of `PART_END`, how many there are."""
    at = HEAD
    if part > PART_MOMENTS:
        at += MOMENTS * feature_count
    if part > PART_SLOPES:
        at += 2 * feature_count
    if part > PART_EDGES:
        at += EDGES * feature_count
    if part > PART_WEIGHTS:
        at += 2 * BINS * feature_count
    if part > PART_PAIRS:
        at += 2 * PAIR_BINS * PAIR_BINS * pair_count
    if part > PART_SAMPLES:
        at += 2 * count_samples(feature_count) * feature_count
    return at


@inner_kernel(int64(READ_F32, int64, float64))
def find_bin(state, at, value):
    """Return the bin of a value: 0 when missing, else one more than there are edges below it.

    Parameters
    ----------
    state, at
        float32[n], read-only: the edges are at [at, at + 22).
    value
        NaN when missing.
    """
    if np.isnan(value):
        return 0
    low, high = 0, EDGES
    while low < high:
        middle = (low + high) // 2
        if state[at + middle] < value:
            low = middle + 1
        else:
            high = middle
    return low + 1


@inner_kernel(int64(int64))
def find_pair_bin(own):
    """Return in which bin of a pair a bin of one of its features is."""
    return own // 2 + 1 if own > 0 else 0


@inner_kernel(int64(int64, int64))
def draw_place(count, kind):
    """Return a place in [0, count) that the count itself decides, all about alike.

    The finaliser of SplitMix64 (Guy Steele, Doug Lea, Christine Flood, 2014).
    """
    h = np.uint64(2 * count + kind) * np.uint64(0x9E37_79B9_7F4A_7C15)
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58_476D_1CE4_E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D0_49BB_1331_11EB)
    h = h ^ (h >> np.uint64(31))
    return np.int64(h % np.uint64(count))


@inner_kernel(void(READ_F32, int64, int64, int64, int64, WRITE_F32))
def keep_sample(features, count, kind, pair_count, sample_count, state):
    """Keep a labelled transaction in the sample of its kind, or not.

    Parameters
    ----------
    features
        float32[F], read-only; NaN where missing.
    count
        Labels of the kind, this one included.
    kind
        0 for a genuine transaction, 1 for a fraud.
    pair_count, sample_count
        P, S.
    state
        float32[n], written.
    """
    place = count - 1 if count <= sample_count else draw_place(count, kind)
    if place < sample_count:
        width = len(features)
        at = find_part(PART_SAMPLES, width, pair_count) + (kind * sample_count + place) * width
        for k in range(width):
            state[at + k] = features[k]


@inner_kernel(int64(READ_F32, int64, int64, int64, READ_I64, WRITE_F32))
def draw_edges(state, at, width, sample_count, counts, edges):
    """Draw one feature's edges from its samples.

    Parameters
    ----------
    state, at, width, sample_count
        float32[n], read-only: the feature's samples are at `at`, `at + width` and so on, S
        genuine ones, then S frauds.
    counts
        int64[2], read-only: how many of the places of each kind are taken.
    edges
        float32[23], written: the edges in ascending order, behind them the greatest value of the
        samples, which no edge reaches, and infinities.

    Returns
    -------
    int
        The number of edges: none when the samples have not two values.
    """
    values = np.empty(2 * sample_count, np.float32)
    shares = np.empty(2 * sample_count, np.float64)
    size = 0
    kinds = 0
    for kind in range(2):
        first = size
        for i in range(counts[kind]):
            value = state[at + (kind * sample_count + i) * width]
            if not np.isnan(value):
                values[size] = value
                size += 1
        shares[first:size] = 1.0 / max(size - first, 1)
        kinds += size > first
    edges[:] = np.inf
    order = np.argsort(values[:size], kind="mergesort")
    reached = 0.0
    found = 0
    # A share of 1/23 lies between two edges; rounding must not lose one.
    step = kinds / (EDGES + 1.0)
    wanted = step
    for place in order:
        reached += shares[place]
        if reached >= wanted - 1e-9 and found < EDGES:
            while reached >= wanted - 1e-9:
                wanted += step
            if found == 0 or edges[found - 1] < values[place]:
                edges[found] = values[place]
                found += 1
    if size:
        last = values[order[size - 1]]
        found -= found > 0 and edges[found - 1] >= last
        edges[found] = last
    return found


@inner_kernel(void(int64, int64, int64, READ_I64, float64, float64, WRITE_F32))
def move_weights(at, rows, columns, source, growth, ceiling, state):
    """Give each bin the weight and variance of the bin it comes from; variances grow.

    Parameters
    ----------
    at, rows, columns
        The bins are at [at, at + 2 × rows × columns): weight, variance.
    source
        int64[rows × columns], read-only: the bin from which each comes; −1 for an unused one.
    growth, ceiling
        What variances are multiplied by, and what they are at most.
    state
        float32[n], written.
    """
    before = state[at : at + 2 * rows * columns].copy()
    for i in range(rows * columns):
        if source[i] >= 0:
            variance = min(np.float64(before[2 * source[i] + 1]) * growth, ceiling)
            state[at + 2 * i] = before[2 * source[i]]
            state[at + 2 * i + 1] = np.float32(variance)


@inner_kernel(int64(READ_I64, int64))
def find_pair_source(source, b):
    """Return from which bin of a pair one comes on the side of one feature; −1 for an unused one.

    Parameters
    ----------
    source
        int64[24], read-only: the feature's own bins, from which old ones they come.
    b
        Bin of the pair on this side, 0 to 12; of the two that it is made of, the higher one that
        is used decides.
    """
    own = max(2 * b - 1, 0)
    if b > 0 and source[own] < 0:
        own -= 1
    return find_pair_bin(source[own]) if source[own] >= 0 else -1


@inner_kernel(void(READ_I64, READ_I64, _WRITE_I64))
def match_pair_bins(first, second, source):
    """Find from which bin each bin of a pair comes.

    Parameters
    ----------
    first, second
        int64[24], read-only: from which old bin each bin of the two features comes, −1 unused.
    source
        int64[169], written: for `move_weights`.
    """
    for a in range(PAIR_BINS):
        from_first = find_pair_source(first, a)
        for b in range(PAIR_BINS):
            from_second = find_pair_source(second, b)
            known = from_first >= 0 and from_second >= 0
            source[a * PAIR_BINS + b] = from_first * PAIR_BINS + from_second if known else -1


@inner_kernel(void(int64, READ_I32_2D, float64, float64, WRITE_F32))
def redraw_bins(feature_count, pairs, growth, ceiling, state):
    """Draw the edges of all features anew, and move the weights to the new bins.

    Parameters
    ----------
    feature_count, pairs
        F; int32[P, 2], read-only.
    growth, ceiling
        As for `move_weights`.
    state
        float32[n], written.
    """
    pair_count = len(pairs)
    sample_count = count_samples(feature_count)
    head = state[:HEAD].view(np.float64)
    counts = np.empty(2, np.int64)
    counts[0] = min(np.int64(head[HEAD_GENUINE]), sample_count)
    counts[1] = min(np.int64(head[HEAD_FRAUDS]), sample_count)
    source = np.full((feature_count, BINS), -1, np.int64)
    edges = np.empty(EDGES + 1, np.float32)
    samples_at = find_part(PART_SAMPLES, feature_count, pair_count)
    edges_at = find_part(PART_EDGES, feature_count, pair_count)
    weights_at = find_part(PART_WEIGHTS, feature_count, pair_count)
    for k in range(feature_count):
        at = edges_at + k * EDGES
        found = draw_edges(state, samples_at + k, feature_count, sample_count, counts, edges)
        source[k, 0] = 0
        for b in range(found + 1):
            # A bin's upper edge belongs to it; that of the last one is the greatest value.
            source[k, b + 1] = find_bin(state, at, np.float64(edges[b]))
        if found < EDGES + 1:
            edges[found] = np.inf
        for b in range(EDGES):
            state[at + b] = edges[b]
        move_weights(weights_at + 2 * k * BINS, 1, BINS, source[k], growth, ceiling, state)
    pairs_at = find_part(PART_PAIRS, feature_count, pair_count)
    own = np.empty(PAIR_BINS * PAIR_BINS, np.int64)
    for p in range(pair_count):
        match_pair_bins(source[pairs[p, 0]], source[pairs[p, 1]], own)
        at = pairs_at + 2 * PAIR_BINS * PAIR_BINS * p
        move_weights(at, PAIR_BINS, PAIR_BINS, own, growth, ceiling, state)


KERNELS = (
    Kernel("count_samples", count_samples, ()),
    Kernel("find_pair_bin", find_pair_bin, ()),
    Kernel("find_part", find_part, ()),
    Kernel("find_bin", find_bin, ()),
    Kernel("keep_sample", keep_sample, ("state",)),
    Kernel("draw_edges", draw_edges, ("edges",)),
    Kernel("redraw_bins", redraw_bins, ("state",)),
)
