"""How a contact policy, a customer's contacts and what caps leave are laid out for kernels."""

from numba import int64

from instanter.kernels.array_types import READ_I64
from instanter.kernels.compilation import Kernel, inner_kernel, kernel

SCOPE_CUSTOMER = 1
SCOPE_OFFER = 2
SCOPE_GROUP = 3

(
    HEAD_FORMAT, HEAD_CONTACTS, HEAD_ANSWERS, HEAD_CONTACTS_LOST_S, HEAD_ANSWERS_LOST_S,
    HEAD_OWN_TAG,
) = range(6)  # fmt: skip
HEAD_WORDS = 8
"""Words of the head: format; rows of contacts and of answers; times up to which rows of either
were dropped, seconds since 1970, 0 for never; the tag of the decision itself when earlier tries of
it are among the rows, 0 otherwise and in the store; 2 words of reserve, 0."""

ROW_TIME_S, ROW_OFFER, ROW_GROUP, ROW_CHANNEL, ROW_KIND, ROW_TAG = range(6)
ROW_WORDS = 6
"""Words of a row: time in seconds since 1970; codes of offer, group and channel; kind; the tag of
the decision."""

PACKED_POLICY = (
    "cap_scope", "cap_count_max", "cap_window_s", "cap_channel", "cap_start",
    "rest_cause", "rest_scope", "rest_s",
    "quiet_channels", "quiet_start_minute", "quiet_end_minute",
    "consent_slot", "consent_channel", "consent_purpose",
    "surface_channel", "channel_code", "offer_code_sorted", "offer_sorted", "group_code_sorted",
    "group_of_offer", "purpose_of_offer",
    "zone_slot", "zone_start", "zone_until_s", "zone_offset_s",
)  # fmt: skip
"""What the packed policy holds, in order; `decision/policy_tables.py` explains each. In front of
them stand the cuts between them, one more than there are arrays."""

(
    CAP_SCOPE, CAP_COUNT_MAX, CAP_WINDOW_S, CAP_CHANNEL, CAP_START,
    REST_CAUSE, REST_SCOPE, REST_S,
    QUIET_CHANNELS, QUIET_START, QUIET_END,
    CONSENT_SLOT, CONSENT_CHANNEL, CONSENT_PURPOSE,
    SURFACE_CHANNEL, CHANNEL_CODE, OFFER_CODE, OFFER_SORTED, GROUP_CODE,
    GROUP_OF_OFFER, PURPOSE_OF_OFFER,
    ZONE_SLOT, ZONE_START, ZONE_UNTIL_S, ZONE_OFFSET_S,
) = range(len(PACKED_POLICY))  # fmt: skip


@inner_kernel(READ_I64(READ_I64, int64))
def cut_policy(policy, n):  # type: ignore[no-untyped-def]
    """Return array `n` of the packed policy."""
    return policy[policy[n] : policy[n + 1]]


@inner_kernel(int64(READ_I64))
def find_own(policy):  # type: ignore[no-untyped-def]
    """Return where in `room` it stands what earlier tries of the decision have listed."""
    cap_start = cut_policy(policy, CAP_START)
    return cap_start[len(cap_start) - 1]


@kernel(int64(READ_I64))
def measure_room(policy):  # type: ignore[no-untyped-def]
    """Return the length of `room` that a packed policy needs; 0 for none.

    Behind the contacts that the caps leave it has whether there were earlier tries of the decision,
    and how long ago each offer was listed or presented by one, in seconds, −1 for never.
    """
    if len(policy) == 0:
        return 0
    return find_own(policy) + 1 + len(cut_policy(policy, GROUP_OF_OFFER))


@inner_kernel(int64(READ_I64, int64))
def find_code(sorted_codes, code):  # type: ignore[no-untyped-def]
    """Return the position of a code among sorted ones, −1 when it is not there."""
    low, high = 0, len(sorted_codes)
    while low < high:
        middle = (low + high) // 2
        if sorted_codes[middle] < code:
            low = middle + 1
        else:
            high = middle
    return low if low < len(sorted_codes) and sorted_codes[low] == code else -1


@inner_kernel(int64(READ_I64, int64, int64, int64))
def find_key(policy, scope, offer, group):  # type: ignore[no-untyped-def]
    """Return what a row counts for: 0 for the customer, or its offer's or group's index.

    It is −1 when the catalogue does not have that offer or group.

    Parameters
    ----------
    policy
        int64, read-only, packed.
    scope
        1 customer, 2 offer, 3 group.
    offer, group
        Codes.
    """
    if scope == SCOPE_OFFER:
        at = find_code(cut_policy(policy, OFFER_CODE), offer)
        return cut_policy(policy, OFFER_SORTED)[at] if at >= 0 else -1
    if scope == SCOPE_GROUP:
        return find_code(cut_policy(policy, GROUP_CODE), group)
    return 0


@inner_kernel(int64(READ_I64, int64, int64))
def key_of_offer(policy, scope, o):  # type: ignore[no-untyped-def]
    """Return what offer `o` counts for in a scope, as `find_key`."""
    if scope == SCOPE_OFFER:
        return o
    if scope == SCOPE_GROUP:
        return cut_policy(policy, GROUP_OF_OFFER)[o]
    return 0


KERNELS = (
    Kernel("measure_room", measure_room, ()),
    Kernel("find_key", find_key, ()),
    Kernel("key_of_offer", key_of_offer, ()),
)
