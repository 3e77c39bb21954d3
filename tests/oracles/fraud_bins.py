"""Slow twins of `kernels/fraud_bins`: the state as named parts, edges by counting."""

import math
from types import SimpleNamespace

import numpy as np


def count_samples(feature_count):
    return min(96, 4096 // feature_count)


def find_part(part, feature_count, pair_count):
    """Return where the part begins: the sum of the parts before it."""
    return sum(_sizes(feature_count, pair_count)[: part + 1])


def view_parts(state, feature_count, pair_count):
    """Return the parts of a state by name, as views into it."""
    f, p, s = feature_count, pair_count, count_samples(feature_count)
    cuts = np.cumsum(_sizes(f, p))
    head, moments, slopes, edges, weights, pairs, samples = np.split(state[: cuts[-1]], cuts[:-1])
    return SimpleNamespace(
        head=head.view(np.float64),
        moments=moments.view(np.float64).reshape(f, 3),
        slopes=slopes.reshape(f, 2),
        edges=edges.reshape(f, 22),
        weights=weights.reshape(f, 24, 2),
        pairs=pairs.reshape(p, 13, 13, 2),
        samples=samples.reshape(2, s, f),
    )


def find_bin(state, at, value):
    if math.isnan(value):
        return 0
    return 1 + sum(float(edge) < value for edge in state[at : at + 22])


def keep_sample(features, count, kind, pair_count, sample_count, state):
    parts = view_parts(state, len(features), pair_count)
    place = count - 1 if count <= sample_count else _draw_place(count, kind)
    if place < sample_count:
        parts.samples[kind, place] = features


def draw_edges(state, at, width, sample_count, counts, edges):
    """An edge is each value at which the mixture passes another 23rd; the greatest is none."""
    edges[:] = np.inf
    weighted = []
    for kind in (0, 1):
        first = at + kind * sample_count * width
        values = [float(state[first + i * width]) for i in range(counts[kind])]
        known = [value for value in values if not math.isnan(value)]
        weighted += [(value, 1 / len(known)) for value in known]
    if not weighted:
        return 0
    total = round(sum(weight for _, weight in weighted))
    found = []
    passed = 0
    for value in sorted({value for value, _ in weighted}):
        below = sum(weight for other, weight in weighted if other <= value)
        steps = math.floor((below + 1e-9) / total * 23)
        if steps > passed and len(found) < 22:
            found.append(value)
        passed = max(passed, steps)
    greatest = max(value for value, _ in weighted)
    found = [value for value in found if value < greatest]
    edges[: len(found) + 1] = [*found, greatest]
    return len(found)


def redraw_bins(feature_count, pairs, growth, ceiling, state):
    """New edges; the weights of a new bin are those of the old one at its upper edge."""
    parts = view_parts(state, feature_count, len(pairs))
    samples = parts.samples
    count = count_samples(feature_count)
    counts = [int(min(n, count)) for n in parts.head[:2]]
    origins = []
    for k in range(feature_count):
        edges = np.empty(23, np.float32)
        flat = samples.reshape(-1)
        used = draw_edges(flat, k, feature_count, count, counts, edges)
        old = parts.edges[k].copy()
        origins.append([0] + [find_bin(old, 0, float(edge)) for edge in edges[: used + 1]])
        parts.edges[k] = [*edges[:used], *[np.inf] * (22 - used)]
        before = parts.weights[k].copy()
        for b, origin in enumerate(origins[k]):
            parts.weights[k, b] = _grow(before[origin], growth, ceiling)
    for p, (first, second) in enumerate(pairs):
        before = parts.pairs[p].copy()
        for a in range(13):
            for b in range(13):
                rows, columns = _halve(origins[first], a), _halve(origins[second], b)
                if rows is not None and columns is not None:
                    parts.pairs[p, a, b] = _grow(before[rows, columns], growth, ceiling)


def _halve(origins, b):
    """Return the old bin of a pair from which one comes; None for an unused one."""
    for own in (2 * b - 1, 2 * b - 2) if b > 1 else (b,):
        if own < len(origins):
            return find_pair_bin(origins[own])
    return None


def find_pair_bin(own):
    """Missing and lowest alone, then two and two."""
    return [0, 1, *(2 + i // 2 for i in range(22))][own]


def _grow(weight, growth, ceiling):
    return weight[0], min(float(weight[1]) * growth, ceiling)


def _sizes(f, p):
    return [16, 6 * f, 2 * f, 22 * f, 48 * f, 338 * p, 2 * count_samples(f) * f]


def _draw_place(count, kind):
    mask = 2**64 - 1
    h = (2 * count + kind) * 0x9E3779B97F4A7C15 & mask
    h = (h ^ h >> 30) * 0xBF58476D1CE4E5B9 & mask
    h = (h ^ h >> 27) * 0x94D049BB133111EB & mask
    return (h ^ h >> 31) % count
