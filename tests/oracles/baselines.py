"""Slow twins of `kernels/baselines`: a dictionary a baseline, Python's own exp and log."""

import math
import struct

import numpy as np

MISSING_CODE = 0xFFFF_FFFF


def fade(halvings):
    return 2.0**-halvings if halvings < 60 else 0.0


def take_logarithm(amount):
    return math.log(max(amount, 0.001))


def evaluate_baseline(state, amount, mcc, time_ms, half_life_ms, figures):
    """Deviation, hour share, category share, count."""
    figures[:] = [MISSING_CODE] * 3 + [0]
    if not len(state) or not state[1]:
        return
    own = _decode(state)
    faded = fade(max(time_ms - own["time"], 0) / half_life_ms)
    weight = own["weight"] * faded
    # The prior is three transactions that deviate by 0.7 each.
    variance = (own["squares"] * faded + 3 * 0.7**2) / (weight + 3)
    deviation = (math.log(max(amount, 0.001)) - own["mean"]) / math.sqrt(variance)
    near = sum(own["hours"][b] * share for b, share in _spread(time_ms)) * faded
    figures[0] = _pattern(deviation)
    figures[1] = _pattern((near + 1 / 12) / (weight + 1))
    figures[2] = _pattern(min(own["categories"].get(mcc, 0) / own["weight"], 1))
    figures[3] = _pattern(weight)


def update_baseline(amount, mcc, time_ms, half_life_ms, state):
    """Fade what is there, add the transaction."""
    own = _decode(state)
    age = (time_ms - own["time"]) / half_life_ms
    weight = 1.0
    if not own["weight"]:
        own["time"] = time_ms
    elif age < 0:
        weight = fade(-age)
    else:
        own["time"] = time_ms
        own["weight"] *= fade(age)
        own["squares"] *= fade(age)
        own["hours"] = [h * fade(age) for h in own["hours"]]
        own["places"] = [(c, w * fade(age)) for c, w in own["places"]]
    if weight:
        logarithm = math.log(max(amount, 0.001))
        own["weight"] += weight
        distance = logarithm - own["mean"]
        own["mean"] += distance * weight / own["weight"]
        own["squares"] += weight * distance * (logarithm - own["mean"])
        for b, share in _spread(time_ms):
            own["hours"][b] += weight * share
        _count(own["places"], mcc, weight)
    _encode(own, state)


def _count(places, mcc, weight):
    known = [i for i, (c, w) in enumerate(places) if c == mcc and w]
    if known:
        places[known[0]] = (mcc, places[known[0]][1] + weight)
        return
    rarest = min(range(6), key=lambda i: places[i][1])
    if weight > places[rarest][1]:
        places[rarest] = (mcc, weight)


def _spread(time_ms):
    """Yield the two bins around the hour, and how much of the transaction each gets."""
    hour = time_ms % 86_400_000 / 3_600_000
    for b in range(12):
        centre = 2 * b + 1
        away = min(abs(hour - centre), 24 - abs(hour - centre))
        if away < 2:
            yield b, 1 - away / 2


def _decode(state):
    parts = [float(x) for x in np.asarray(state).view(np.float32)]
    places = [(parts[i], parts[i + 1]) for i in range(20, 32, 2)]
    return {
        "time": float(state[0]),
        "weight": float(state[1]),
        "mean": float(state[2]),
        "squares": float(state[3]),
        "hours": parts[8:20],
        "places": places,
        "categories": {c: w for c, w in places if w},
    }


def _encode(own, state):
    state[:4] = [own["time"], own["weight"], own["mean"], own["squares"]]
    parts = state.view(np.float32)
    parts[8:20] = own["hours"]
    parts[20:] = [x for pair in own["places"] for x in pair]


def _pattern(number):
    return struct.unpack("<I", struct.pack("<f", number))[0]
