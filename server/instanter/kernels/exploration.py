"""Chance in a decision: random choice, exploration, and how likely a choice was.

All chance comes from hashes of the decision's seed, so that any process draws the same at any time
and a decision can be repeated from its id.
"""

import math

import numpy as np
from numba import float64, int64, types, uint64, void

from instanter.kernels.array_types import (
    READ_F64,
    READ_F64_2D,
    READ_U8,
    WRITE_F64,
    WRITE_F64_2D,
)
from instanter.kernels.compilation import Kernel, inner_kernel

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_SHIFT_11 = np.uint64(11)
_UNIT = 1.0 / 9007199254740992.0
_TWO = np.uint64(2)
_ONE = np.uint64(1)

# How `find_first_chance` integrates: over so many standard deviations on either side (7e-6 of
# the probability lies beyond), a rival that varies less than so much of the first offer's spread
# being taken for a step (moves the result by less than 0.001), in steps that lose nothing of the
# steepest rival left: the trapezoidal rule's loss on a normal curve of width r is of the order
# exp(−2π² (r / width)²).
_REACH = 4.5
_STEP_RATIO = 0.08
_WIDTH_MIN = 0.09
_WIDTH_MAX = 0.45
_WIDTH_BEHIND_STEP_MAX = 0.12
_LOGIT_MAX = 30.0
_HAIR = 1e-9
_CHANCE_MIN = 1e-9


@inner_kernel(uint64(uint64, uint64))
def draw_word(seed, index):  # type: ignore[no-untyped-def]
    """Return word `index` of the stream of random 64-bit words that belongs to `seed`.

    Source: SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014),
    entered at its `index`-th step after the seed has been mixed once itself, because the seeds of
    one turn are neighbours.
    """
    word = seed + _GAMMA
    word = (word ^ (word >> np.uint64(30))) * _MIX_1
    word = (word ^ (word >> np.uint64(27))) * _MIX_2
    word = (word ^ (word >> np.uint64(31))) + _GAMMA * (index + _ONE)
    word = (word ^ (word >> np.uint64(30))) * _MIX_1
    word = (word ^ (word >> np.uint64(27))) * _MIX_2
    return word ^ (word >> np.uint64(31))


@inner_kernel(float64(uint64, uint64))
def draw_uniform(seed, index):  # type: ignore[no-untyped-def]
    """Return number `index` of the stream of `seed`, uniform in [0, 1), a multiple of 2⁻⁵³."""
    return float64(draw_word(seed, index) >> _SHIFT_11) * _UNIT


@inner_kernel(float64(uint64, uint64))
def draw_normal(seed, index):  # type: ignore[no-untyped-def]
    """Return number `index` of the stream of `seed`, drawn from N(0, 1).

    Source: Box and Muller, A note on the generation of random normal deviates, 1958. Takes words
    2 × index and 2 × index + 1.
    """
    radius = math.sqrt(-2.0 * math.log(1.0 - draw_uniform(seed, _TWO * index)))
    return radius * math.cos(2.0 * math.pi * draw_uniform(seed, _TWO * index + _ONE))


@inner_kernel(int64(uint64, READ_U8, WRITE_F64))
def shuffle_offers(seed, reason, score):  # type: ignore[no-untyped-def]
    """Give each offer that stays a random score, so that each order is equally likely.

    Parameters
    ----------
    seed
        The decision's.
    reason
        uint8[O], read-only: 0 for offers that stay.
    score
        float64[O], written where the offer stays: uniform in [0, 1).

    Returns
    -------
    int
        How many offers stay.
    """
    kept = 0
    for o in range(reason.shape[0]):
        if reason[o] == 0:
            score[o] = draw_uniform(seed, np.uint64(o))
            kept += 1
    return kept


@inner_kernel(float64(float64))
def logit_of(chance):  # type: ignore[no-untyped-def]
    """Return the log-odds of a probability in [0, 1], kept within ±30."""
    if chance <= 0.0:
        return -_LOGIT_MAX
    if chance >= 1.0:
        return _LOGIT_MAX
    return min(max(math.log(chance / (1.0 - chance)), -_LOGIT_MAX), _LOGIT_MAX)


@inner_kernel(void(uint64, float64, READ_F64, READ_U8, READ_F64, READ_F64, WRITE_F64))
def explore_offers(seed, exploration, doubt, reason, propensity, priority, score):  # type: ignore[no-untyped-def]
    """Vary each offer's priority as far as its propensity is in doubt.

    Parameters
    ----------
    seed
        The decision's.
    exploration
        Standard deviations of the noise in units of the doubt, ≥ 0.
    doubt
        float64[≥ O], read-only: standard deviation of each offer's log-odds, ≥ 0.
    reason, propensity, priority
        uint8[O], float64[O], float64[O], read-only: from `prioritise_offers`.
    score
        float64[O], written where the offer stays: the priority that it has when the log-odds of
        its propensity are drawn from N(log-odds, exploration × doubt).
    """
    for o in range(reason.shape[0]):
        if reason[o] == 0:
            spread = exploration * doubt[o]
            score[o] = priority[o]
            if spread > 0.0:
                logit = logit_of(propensity[o]) + spread * draw_normal(seed, np.uint64(o))
                score[o] *= 1.0 / (1.0 + math.exp(-logit)) / propensity[o]


@inner_kernel(
    types.Tuple((int64, float64, float64))(
        int64, float64, READ_F64, READ_F64, READ_F64, WRITE_F64_2D
    )
)
def find_rivals(first, exploration, doubt, propensity, priority, rival):  # type: ignore[no-untyped-def]
    """List the offers that can come before the first one.

    Parameters
    ----------
    first, exploration, doubt, propensity, priority
        As in `find_first_chance`, read-only.
    rival
        float64[O, 3], written up to the returned count: of each rival that varies, its worth
        (priority ÷ propensity), and mean and standard deviation of its log-odds.

    Returns
    -------
    int, float, float
        How many rivals vary; how many standard deviations the first offer must reach to beat
        those that do not, at least −4.5; and the smallest spread of a rival beside the first
        offer's.
    """
    spread = max(exploration * doubt[first], _HAIR)
    logit = logit_of(propensity[first])
    worth = priority[first] / propensity[first]
    lowest = worth / (1.0 + math.exp(_REACH * spread - logit))
    low, ratio = -_REACH, np.inf
    count = 0
    for o in range(priority.shape[0]):
        if priority[o] <= 0.0 or o == first:
            continue
        own = exploration * doubt[o]
        if own <= _STEP_RATIO * spread:
            # Where nothing varies, the first offer has beaten it for good.
            if spread > _HAIR:
                low = max(low, (logit_of(priority[o] / worth) - logit) / spread)
            continue
        rival_worth = priority[o] / propensity[o]
        rival_logit = logit_of(propensity[o])
        if rival_worth > lowest * (1.0 + math.exp(-rival_logit - _REACH * own)):
            rival[count, 0] = rival_worth
            rival[count, 1] = rival_logit
            rival[count, 2] = own
            ratio = min(ratio, own / spread)
            count += 1
    return count, low, ratio


@inner_kernel(float64(READ_F64_2D, int64, float64))
def find_chance_at(rival, count, reached):  # type: ignore[no-untyped-def]
    """Return the probability that no rival exceeds `reached`.

    Parameters
    ----------
    rival, count
        float64[≥ count, 3], read-only, from `find_rivals`.
    reached
        The first offer's varied priority.
    """
    chance = 1.0
    for r in range(count):
        share = reached / rival[r, 0]
        if share < 1.0:
            distance = (rival[r, 1] - logit_of(share)) / rival[r, 2]
            chance *= 0.5 * math.erfc(distance * math.sqrt(0.5))
            if chance < _CHANCE_MIN:
                return 0.0
    return chance


@inner_kernel(float64(int64, float64, READ_F64, READ_F64, READ_F64))
def find_first_chance(first, exploration, doubt, propensity, priority):  # type: ignore[no-untyped-def]
    """Return the probability with which the offer ranked first was to be ranked first.

    It is ∫ φ(z) Π P(rival stays below the first offer's priority at z) dz, by the trapezoidal
    rule. Source: probability matching, Russo et al., A tutorial on Thompson sampling, 2018,
    section 4; the integral is that of the maximum of independent variables.

    Parameters
    ----------
    first
        The offer that was ranked first.
    exploration, doubt
        As in `explore_offers`, read-only.
    propensity, priority
        float64[O], read-only: from `prioritise_offers`; offers whose priority is 0 do not compete.

    Returns
    -------
    float
        In (0, 1], right to about 0.002.
    """
    rival = np.empty((priority.shape[0], 3), np.float64)
    spread = max(exploration * doubt[first], _HAIR)
    worth = priority[first] / propensity[first]
    logit = logit_of(propensity[first])
    count, low, ratio = find_rivals(first, exploration, doubt, propensity, priority, rival)
    if low >= _REACH:
        return _CHANCE_MIN
    if count == 0 and low == -_REACH:
        return 1.0
    # A rival that is worth less is beaten for good at some z, in a bend that is the sharper the
    # more the log-odds vary.
    width_max = _WIDTH_MAX if low == -_REACH else _WIDTH_BEHIND_STEP_MAX
    width = max(min(ratio, width_max) / (1.0 + spread), _WIDTH_MIN)
    steps = math.ceil((_REACH - low) / width)
    width = (_REACH - low) / steps
    total = 0.0
    for point in range(steps + 1):
        z = low + point * width
        reached = worth / (1.0 + math.exp(-(logit + spread * z)))
        weight = 0.5 if point in (0, steps) else 1.0
        density = math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
        total += weight * density * find_chance_at(rival, count, reached)
    return min(max(total * width, _CHANCE_MIN), 1.0)


KERNELS = (
    Kernel("draw_word", draw_word, ()),
    Kernel("draw_uniform", draw_uniform, ()),
    Kernel("draw_normal", draw_normal, ()),
    Kernel("shuffle_offers", shuffle_offers, ("score",)),
    Kernel("explore_offers", explore_offers, ("score",)),
    Kernel("find_first_chance", find_first_chance, ()),
)
