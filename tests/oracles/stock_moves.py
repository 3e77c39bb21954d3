"""Slow twins of `kernels/stock_moves`: books that a storekeeper could keep."""

from tests.oracles.stock_state import decode, encode

SALE, RETURN, RECEIPT, TRANSFER, ADJUSTMENT, COUNT = range(1, 7)
RESERVATION, RELEASE, ORDER, CANCELLATION, PRICE, CONFLICT = range(7, 13)
NEGATIVE, NOT_AVAILABLE, NOTHING_COMMITTED, TOO_OLD, OVERFLOW = range(1, 6)


def move_units(kind, units, time_ms, is_fact, policy, state):
    """Carry out one movement, or say why not and leave everything as it was."""
    own = decode(state)
    reason = _move(own, kind, units, time_ms, is_fact, policy)
    if reason:
        return reason
    lasting = own.errors & (4 | 8 | 16)
    own.errors = lasting | (own.on_hand < 0) | 2 * (own.committed > max(own.on_hand, 0))
    encode(own, state)
    return 0


def _move(own, kind, units, time_ms, is_fact, policy):
    largest = max(abs(own.on_hand), own.on_order, own.committed)
    if largest + abs(units) > 10**15:
        return OVERFLOW
    is_allowed = policy[17] == 1
    if kind in (SALE, TRANSFER) or (kind == ADJUSTMENT and units < 0):
        return _take(own, abs(units), time_ms, is_fact, is_allowed)
    if kind == COUNT:
        return _count(own, units, time_ms, policy)
    if kind in (RETURN, RECEIPT, ADJUSTMENT):
        _change(own, units, time_ms)
        if kind == RECEIPT:
            own.on_order = max(own.on_order - units, 0)
        return 0
    return _promise(own, kind, units, is_fact, is_allowed)


def _promise(own, kind, units, is_fact, is_allowed):
    if kind == ORDER:
        own.on_order += units
    elif kind == CANCELLATION:
        if units > own.on_order and not is_fact:
            return NOTHING_COMMITTED
        own.on_order = max(own.on_order - units, 0)
    elif kind == RELEASE:
        if units > own.committed and not is_fact:
            return NOTHING_COMMITTED
        own.committed = max(own.committed - units, 0)
    elif kind == RESERVATION:
        if own.committed + units > own.on_hand and not (is_allowed or is_fact):
            return NOT_AVAILABLE
        own.committed += units
    elif kind == CONFLICT:
        own.errors |= 16
    return 0


def _take(own, units, time_ms, is_fact, is_allowed):
    if time_ms <= own.counted_ms:
        return 0  # The count was after it.
    if is_allowed:
        _change(own, -units, time_ms)
    elif is_fact:
        there = max(min(units, own.on_hand), 0)
        _change(own, -there, time_ms)
        if there < units:
            own.shortfall += units - there
            own.errors |= 8
    elif own.on_hand < units:
        return NEGATIVE
    elif own.on_hand - units < own.committed:
        return NOT_AVAILABLE
    else:
        _change(own, -units, time_ms)
    return 0


def _change(own, units, time_ms):
    if time_ms <= own.counted_ms:
        return
    own.on_hand += units
    place = own.changes % 32
    if place < len(own.ring):
        own.lost_ms = max(own.lost_ms, own.ring[place][0])
        own.ring[place] = (time_ms, units)
    else:
        own.ring.append((time_ms, units))
    own.changes += 1


def _count(own, units, time_ms, policy):
    if time_ms <= own.counted_ms:
        return 0
    if own.lost_ms > time_ms:
        return TOO_OLD
    since = sum(change for at, change in own.ring if at > time_ms)
    expected = own.on_hand - since
    is_first = own.counted_ms == 0 and own.changes == 0
    is_off = abs(units - expected) > max(policy[15], policy[16] * abs(expected))
    own.errors = 4 if is_off and not is_first else 0
    own.shortfall = 0
    own.counted_ms = time_ms
    own.on_hand = units + since
    return 0
