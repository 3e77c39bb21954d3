"""Slow twins of `kernels/packed_policy`: what stands where in a packed policy."""

from tests.oracles.contact_policy import CUSTOMER, OFFER, unpack


def measure_room(policy):
    """A cell for each counter of the caps; one for earlier tries, and one for each offer."""
    if not len(policy):
        return 0
    p = unpack(policy)
    return p.cap_start[-1] + 1 + len(p.group_of_offer)


def find_key(policy, scope, offer, group):
    """What a row counts for."""
    p = unpack(policy)
    if scope == CUSTOMER:
        return 0
    codes, code = (p.offer_code_sorted, offer) if scope == OFFER else (p.group_code_sorted, group)
    if code not in codes:
        return -1
    at = codes.index(code)
    return p.offer_sorted[at] if scope == OFFER else at


def key_of_offer(policy, scope, o):
    """What an offer counts for."""
    if scope == CUSTOMER:
        return 0
    return o if scope == OFFER else unpack(policy).group_of_offer[o]
