"""Slow twins of `kernels/exploration`: chance in plain Python, the integral by drawing."""

import math

import numpy as np

WORD = 2**64
GAMMA = 0x9E3779B97F4A7C15


def _mix(word):
    """SplitMix64's finaliser, in Python's own whole numbers."""
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 % WORD
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB % WORD
    return word ^ (word >> 31)


def draw_word(seed, index):
    """SplitMix64, seeded with the mixed seed, at its index-th step."""
    start = _mix((int(seed) + GAMMA) % WORD)
    return _mix((start + GAMMA * (int(index) + 1)) % WORD)


def draw_uniform(seed, index):
    """The top 53 bits as a number in [0, 1)."""
    return (draw_word(seed, index) >> 11) / 2**53


def draw_normal(seed, index):
    """Box and Muller."""
    radius = math.sqrt(-2 * math.log(1 - draw_uniform(seed, 2 * int(index))))
    return radius * math.cos(2 * math.pi * draw_uniform(seed, 2 * int(index) + 1))


def shuffle_offers(seed, reason, score):
    """A uniform number for each offer that stays."""
    kept = [o for o in range(len(reason)) if reason[o] == 0]
    for o in kept:
        score[o] = draw_uniform(seed, o)
    return len(kept)


def _logit(chance):
    if chance <= 0:
        return -30.0
    if chance >= 1:
        return 30.0
    return max(-30.0, min(30.0, math.log(chance / (1 - chance))))


def explore_offers(seed, exploration, doubt, reason, propensity, priority, score):
    """The priority with the log-odds moved by normal noise."""
    for o in range(len(reason)):
        if reason[o] == 0:
            spread = exploration * doubt[o]
            score[o] = priority[o]
            if spread > 0:
                logit = _logit(propensity[o]) + spread * draw_normal(seed, o)
                score[o] = priority[o] / propensity[o] / (1 + math.exp(-logit))


def find_first_chance(first, exploration, doubt, propensity, priority):
    """How often the first offer comes first in 200,000 draws."""
    stays = [o for o in range(len(priority)) if priority[o] > 0]
    noise = np.random.default_rng(1).standard_normal((200_000, len(stays)))
    spread = exploration * np.array([doubt[o] for o in stays])
    logit = np.array([_logit(propensity[o]) for o in stays])
    worth = np.array([priority[o] / propensity[o] for o in stays])
    varied = worth / (1 + np.exp(-(logit + spread * noise)))
    # Offers that do not vary keep their priorities, so that equal ones rank by name.
    varied[:, spread == 0] = np.array([priority[o] for o in stays])[spread == 0]
    return float((np.argmax(varied, axis=1) == stays.index(first)).mean())
