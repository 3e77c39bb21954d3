"""A position's state and a site's profile as plain values, for the slow twins of stock kernels."""

from types import SimpleNamespace

import numpy as np

ALERT_FIELDS = ("number", "grade", "raised_ms", "told_ms", "snoozed_ms")
INTEGERS = {
    "on_hand": 0, "on_order": 1, "committed": 2, "shortfall": 3, "errors": 4, "counted_ms": 5,
    "latest_ms": 6, "recorded_ms": 7, "due_ms": 8, "changes": 39, "lost_ms": 40, "period": 89,
    "sold_bits": 90, "arrived_ms": 91, "run_ms": 92, "run_units": 93, "run_sales": 94,
}  # fmt: skip
NUMBERS = {
    "units": 95, "arrivals": 96, "age": 97, "slow": 98, "middle": 99, "fast": 100, "chance": 101,
    "size": 102, "variance": 103, "shape": 104, "exposure": 105,
}  # fmt: skip
SITE = {
    "period": 0, "units": 1, "squares": 2, "age": 3, "slow": 4, "middle": 5, "fast": 6, "noise": 7,
    "arrivals": 8, "recent": 9, "expected": 10, "recent_ms": 11, "exposure": 12, "week": 13,
}  # fmt: skip


def decode(state):
    """Return a state as named values; `ring` has the remembered changes as (time, units)."""
    numbers = state.view(np.float64)
    own = SimpleNamespace(**{name: int(state[at]) for name, at in INTEGERS.items()})
    for name, at in NUMBERS.items():
        setattr(own, name, float(numbers[at]))
    own.alerts = [
        SimpleNamespace(**dict(zip(ALERT_FIELDS, map(int, state[at : at + 5]), strict=True)))
        for at in range(9, 39, 5)
    ]
    units = state[73:89].view(np.int32)
    own.ring = [(int(state[41 + i]), int(units[i])) for i in range(min(own.changes, 32))]
    own.evidence = [float(numbers[106 + i]) for i in range(3)]
    return own


def encode(own, state):
    """Write named values back into a state."""
    numbers = state.view(np.float64)
    for name, at in INTEGERS.items():
        state[at] = getattr(own, name)
    for name, at in NUMBERS.items():
        numbers[at] = getattr(own, name)
    for i, alert in enumerate(own.alerts):
        state[9 + 5 * i : 14 + 5 * i] = [getattr(alert, name) for name in ALERT_FIELDS]
    units = state[73:89].view(np.int32)
    for i, (time_ms, change) in enumerate(own.ring):
        state[41 + i], units[i] = time_ms, change
    numbers[106:109] = own.evidence


def decode_site(profile):
    """Return a profile as named values; `hours` and `present` have 168 arrivals each."""
    site = SimpleNamespace(**{name: float(profile[at]) for name, at in SITE.items()})
    site.hours = profile[14:98].view(np.float32).astype(float).tolist()
    site.present = profile[98:182].view(np.float32).astype(float).tolist()
    return site


def encode_site(site, profile):
    """Write named values back into a profile."""
    for name, at in SITE.items():
        profile[at] = getattr(site, name)
    profile[14:98].view(np.float32)[:] = site.hours
    profile[98:182].view(np.float32)[:] = site.present
