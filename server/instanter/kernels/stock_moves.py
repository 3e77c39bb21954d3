"""Positions: what one movement does to units on hand, on order and committed.

On hand does not depend on the order in which movements arrive. The latest count is what there was
at its time; a movement that is older is in it already. A count that comes late is corrected by the
changes after it, of which a position remembers the last 32 with their times.
"""

import numpy as np
from numba import boolean, int64

from instanter.kernels.array_types import READ_F64, READ_I64, WRITE_I64
from instanter.kernels.compilation import Kernel, inner_kernel
from instanter.kernels.stock_policy import (
    COUNT_TOLERANCE_SHARE,
    COUNT_TOLERANCE_UNITS,
    NEGATIVE_ALLOWED,
)
from instanter.kernels.stock_rows import (
    COMMITTED,
    COUNTED_MS,
    DATA_ERRORS,
    ON_HAND,
    ON_ORDER,
    RING_LOST_MS,
    RING_NEXT,
    RING_SIZE,
    RING_TIMES,
    RING_UNITS,
    SHORTFALL,
)

SALE = 1
RETURN = 2
RECEIPT = 3
TRANSFER = 4
ADJUSTMENT = 5
COUNT = 6
RESERVATION = 7
RELEASE = 8
ORDER = 9
ORDER_CANCELLATION = 10
PRICE_CHANGE = 11
CONFLICT = 12
"""The kinds of `stock/questions.MovementKind`; a transfer is a movement of each of its two."""

TAKEN = 0
REFUSED_NEGATIVE = 1
REFUSED_NOT_AVAILABLE = 2
REFUSED_NOTHING_COMMITTED = 3
REFUSED_COUNT_TOO_OLD = 4
REFUSED_OVERFLOW = 5
"""The reasons of `stock/questions.RefusalReason`."""

ERROR_NEGATIVE = 1
ERROR_OVERCOMMITTED = 2
ERROR_COUNT = 4
ERROR_SHORTFALL = 8
ERROR_CONFLICT = 16
"""The bits of `stock/questions.DataError`."""

UNITS_MAX = 10**15
"""More units than that no position holds: sums of them stay exact in float64."""

_LASTING = ERROR_COUNT | ERROR_SHORTFALL | ERROR_CONFLICT


@inner_kernel(int64(READ_I64, int64))
def sum_later_changes(state, time_ms):
    """Return the changes of on hand after a time, as far as the position remembers them.

    Parameters
    ----------
    state
        int64[STATE_WORDS], read-only.
    time_ms
        Milliseconds since 1970.
    """
    changes = state[RING_UNITS : RING_UNITS + RING_SIZE // 2].view(np.int32)
    total = 0
    for slot in range(min(state[RING_NEXT], RING_SIZE)):
        if state[RING_TIMES + slot] > time_ms:
            total += changes[slot]
    return total


@inner_kernel(int64(int64, int64, WRITE_I64))
def change_on_hand(units, time_ms, state):
    """Change on hand, and remember it, unless the latest count knows of it already.

    Parameters
    ----------
    units
        The change, −10^9 to 10^9.
    time_ms
        When it happened.
    state
        int64[STATE_WORDS], written.

    Returns
    -------
    int
        The change of on hand: `units`, or 0.
    """
    if time_ms <= state[COUNTED_MS]:
        return 0
    state[ON_HAND] += units
    slot = state[RING_NEXT] % RING_SIZE
    if state[RING_NEXT] >= RING_SIZE:
        state[RING_LOST_MS] = max(state[RING_LOST_MS], state[RING_TIMES + slot])
    state[RING_TIMES + slot] = time_ms
    changes = state[RING_UNITS : RING_UNITS + RING_SIZE // 2].view(np.int32)
    changes[slot] = units
    state[RING_NEXT] += 1
    return units


@inner_kernel(int64(int64, int64, READ_F64, WRITE_I64))
def take_count(units, time_ms, policy, state):
    """Take a count: what was there at its time, and what has changed since.

    Parameters
    ----------
    units
        Counted, 0 to 10^9.
    time_ms
        When.
    policy
        float64[COLUMN_COUNT], read-only.
    state
        int64[STATE_WORDS], written; as it was when the count is refused.

    Returns
    -------
    int
        `TAKEN` or `REFUSED_COUNT_TOO_OLD`. A count older than the latest one says nothing.
    """
    if time_ms <= state[COUNTED_MS]:
        return TAKEN
    if state[RING_LOST_MS] > time_ms:
        return REFUSED_COUNT_TOO_OLD
    later = sum_later_changes(state, time_ms)
    expected = state[ON_HAND] - later
    is_known = state[COUNTED_MS] > 0 or state[RING_NEXT] > 0
    tolerance = max(policy[COUNT_TOLERANCE_UNITS], policy[COUNT_TOLERANCE_SHARE] * abs(expected))
    state[DATA_ERRORS] &= ~_LASTING
    if is_known and abs(units - expected) > tolerance:
        state[DATA_ERRORS] |= ERROR_COUNT
    state[SHORTFALL] = 0
    state[COUNTED_MS] = time_ms
    state[ON_HAND] = units + later
    return TAKEN


@inner_kernel(int64(int64, int64, boolean, READ_F64, WRITE_I64))
def take_units(units, time_ms, is_fact, policy, state):
    """Take units off on hand: a sale, a transfer's source, an adjustment downwards.

    Parameters
    ----------
    units
        Above 0.
    time_ms
        When.
    is_fact
        Whether it has happened whatever the books say: what is not there becomes shortfall.
    policy
        float64[COLUMN_COUNT], read-only.
    state
        int64[STATE_WORDS], written; as it was when the movement is refused.

    Returns
    -------
    int
        `TAKEN`, or why not.
    """
    if time_ms <= state[COUNTED_MS]:
        return TAKEN
    taken = units
    if policy[NEGATIVE_ALLOWED] == 0.0:
        left = state[ON_HAND] - units
        if is_fact:
            taken = min(units, max(state[ON_HAND], 0))
            if taken < units:
                state[SHORTFALL] += units - taken
                state[DATA_ERRORS] |= ERROR_SHORTFALL
        elif left < 0:
            return REFUSED_NEGATIVE
        elif left < state[COMMITTED]:
            return REFUSED_NOT_AVAILABLE
    change_on_hand(-taken, time_ms, state)
    return TAKEN


@inner_kernel(int64(int64, int64, boolean, READ_F64, WRITE_I64))
def commit_units(kind, units, is_fact, policy, state):
    """Carry out a reservation, a release, an order or the cancellation of one.

    Parameters
    ----------
    kind
        Which of them.
    units
        Above 0.
    is_fact
        As for `take_units`.
    policy
        float64[COLUMN_COUNT], read-only.
    state
        int64[STATE_WORDS], written; as it was when the movement is refused.

    Returns
    -------
    int
        `TAKEN`, or why not.
    """
    if kind == ORDER:
        state[ON_ORDER] += units
    elif kind == RESERVATION:
        is_free = policy[NEGATIVE_ALLOWED] != 0.0 or is_fact
        if not is_free and state[COMMITTED] + units > state[ON_HAND]:
            return REFUSED_NOT_AVAILABLE
        state[COMMITTED] += units
    else:
        word = COMMITTED if kind == RELEASE else ON_ORDER
        if units > state[word] and not is_fact:
            return REFUSED_NOTHING_COMMITTED
        state[word] -= min(units, state[word])
    return TAKEN


@inner_kernel(int64(int64, int64, int64, boolean, READ_F64, WRITE_I64))
def move_units(kind, units, time_ms, is_fact, policy, state):
    """Carry out one movement of one position.

    Parameters
    ----------
    kind
        Of `stock/questions.MovementKind`; a transfer's source is a `TRANSFER`, its destination a
        `RETURN`.
    units, time_ms
        As in `stock/questions.Movement`.
    is_fact
        As for `take_units`.
    policy
        float64[COLUMN_COUNT], read-only.
    state
        int64[STATE_WORDS], written.

    Returns
    -------
    int
        `TAKEN`, or why not; then the state is as it was.
    """
    reason = TAKEN
    if max(abs(state[ON_HAND]), state[ON_ORDER], state[COMMITTED]) + abs(units) > UNITS_MAX:
        return REFUSED_OVERFLOW
    if kind in (SALE, TRANSFER) or (kind == ADJUSTMENT and units < 0):
        reason = take_units(abs(units), time_ms, is_fact, policy, state)
    elif kind in (RETURN, RECEIPT, ADJUSTMENT):
        change_on_hand(units, time_ms, state)
        if kind == RECEIPT:
            state[ON_ORDER] -= min(units, state[ON_ORDER])
    elif kind == COUNT:
        reason = take_count(units, time_ms, policy, state)
    elif kind == CONFLICT:
        state[DATA_ERRORS] |= ERROR_CONFLICT
    elif kind != PRICE_CHANGE:
        reason = commit_units(kind, units, is_fact, policy, state)
    if reason == TAKEN:
        errors = state[DATA_ERRORS] & _LASTING
        if state[ON_HAND] < 0:
            errors |= ERROR_NEGATIVE
        if state[COMMITTED] > max(state[ON_HAND], 0):
            errors |= ERROR_OVERCOMMITTED
        state[DATA_ERRORS] = errors
    return reason


KERNELS = (Kernel("move_units", move_units, ("state",)),)
