"""The contact policy on one customer: consent, quiet hours, caps and cool-offs.

A customer's contacts arrive as one run of words (`decision/contacts.py` writes it): 8 words of
head, then rows of 6 words, those of contacts, those of answers, and behind them those of
reservations, which are contacts that other decisions may be about to cause.
"""

import math

import numpy as np
from numba import boolean, float64, int64, void

from instanter.kernels.arbitration import (
    REASON_CAPPED,
    REASON_COOLING_OFF,
    REASON_NO_CONSENT,
    REASON_NONE,
    REASON_QUIET_HOURS,
)
from instanter.kernels.array_types import (
    READ_I32,
    READ_I64,
    READ_U32,
    WRITE_F64,
    WRITE_I32,
    WRITE_U8,
)
from instanter.kernels.compilation import Kernel, inner_kernel, kernel

SCOPE_CUSTOMER = 1
SCOPE_OFFER = 2
SCOPE_GROUP = 3

HEAD_FORMAT, HEAD_CONTACTS, HEAD_ANSWERS, HEAD_CONTACTS_LOST_S, HEAD_ANSWERS_LOST_S = range(5)
HEAD_WORDS = 8
"""Words of the head: format; rows of contacts and of answers; times up to which rows of either
were dropped, seconds since 1970, 0 for never; 3 words of reserve, 0."""

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

_MISSING = np.uint32(0xFFFF_FFFF)
_DAY_S = 86_400

(
    _CAP_SCOPE, _CAP_COUNT_MAX, _CAP_WINDOW_S, _CAP_CHANNEL, _CAP_START,
    _REST_CAUSE, _REST_SCOPE, _REST_S,
    _QUIET_CHANNELS, _QUIET_START, _QUIET_END,
    _CONSENT_SLOT, _CONSENT_CHANNEL, _CONSENT_PURPOSE,
    _SURFACE_CHANNEL, _CHANNEL_CODE, _OFFER_CODE, _OFFER_SORTED, _GROUP_CODE,
    _GROUP_OF_OFFER, _PURPOSE_OF_OFFER,
    _ZONE_SLOT, _ZONE_START, _ZONE_UNTIL_S, _ZONE_OFFSET_S,
) = range(len(PACKED_POLICY))  # fmt: skip


@inner_kernel(READ_I64(READ_I64, int64))
def cut_policy(policy, n):  # type: ignore[no-untyped-def]
    """Return array `n` of the packed policy."""
    return policy[policy[n] : policy[n + 1]]


@kernel(int64(READ_I64))
def measure_room(policy):  # type: ignore[no-untyped-def]
    """Return the length of `room` that a packed policy needs; 0 for none."""
    if len(policy) == 0:
        return 0
    cap_start = cut_policy(policy, _CAP_START)
    return cap_start[len(cap_start) - 1]


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
        at = find_code(cut_policy(policy, _OFFER_CODE), offer)
        return cut_policy(policy, _OFFER_SORTED)[at] if at >= 0 else -1
    if scope == SCOPE_GROUP:
        return find_code(cut_policy(policy, _GROUP_CODE), group)
    return 0


@inner_kernel(int64(READ_I64, int64, int64))
def key_of_offer(policy, scope, o):  # type: ignore[no-untyped-def]
    """Return what offer `o` counts for in a scope, as `find_key`."""
    if scope == SCOPE_OFFER:
        return o
    if scope == SCOPE_GROUP:
        return cut_policy(policy, _GROUP_OF_OFFER)[o]
    return 0


@kernel(int64(READ_I64, READ_U32, float64))
def find_local_minute(policy, slots, now_s):  # type: ignore[no-untyped-def]
    """Return the minute of the customer's day, 0 to 1439.

    Parameters
    ----------
    policy
        int64, read-only, packed.
    slots
        uint32[S], read-only: the profile; a time zone that is missing or out of range is the
        policy's own.
    now_s
        Seconds since 1970.
    """
    zone_start = cut_policy(policy, _ZONE_START)
    zone = np.int64(0)
    slot = cut_policy(policy, _ZONE_SLOT)[0]
    if 0 <= slot < len(slots) and slots[slot] != _MISSING and slots[slot] < len(zone_start) - 2:
        zone = np.int64(slots[slot]) + 1
    second = np.int64(math.floor(now_s))
    low, high = zone_start[zone], zone_start[zone + 1] - 1
    until_s = cut_policy(policy, _ZONE_UNTIL_S)
    while low < high:
        middle = (low + high) // 2
        if second < until_s[middle]:
            high = middle
        else:
            low = middle + 1
    local = second + cut_policy(policy, _ZONE_OFFSET_S)[low]
    return local % _DAY_S // 60


@inner_kernel(boolean(READ_I64, READ_U32, int64, float64))
def is_quiet(policy, slots, channel, now_s):  # type: ignore[no-untyped-def]
    """Return whether it is the customer's quiet time in a channel.

    Parameters
    ----------
    policy, slots, now_s
        As in `find_local_minute`, read-only.
    channel
        Index of the channel.
    """
    channels = cut_policy(policy, _QUIET_CHANNELS)
    start = cut_policy(policy, _QUIET_START)
    end = cut_policy(policy, _QUIET_END)
    minute = -1
    for q in range(len(channels)):
        if (channels[q] >> channel) & 1 == 0:
            continue
        if minute < 0:
            minute = find_local_minute(policy, slots, now_s)
        if start[q] <= end[q]:
            if start[q] <= minute < end[q]:
                return True
        elif minute >= start[q] or minute < end[q]:
            return True
    return False


@inner_kernel(void(READ_I64, READ_U32, int64, WRITE_U8))
def check_consents(policy, slots, channel, reason):  # type: ignore[no-untyped-def]
    """Stop the offers that a consent is missing for.

    Parameters
    ----------
    policy
        int64, read-only, packed.
    slots
        uint32[S], read-only: the profile; only a flag that is 1 is a yes.
    channel
        Index of the channel.
    reason
        uint8[O], read and written: NO_CONSENT where an offer stayed until now.
    """
    consent_slot = cut_policy(policy, _CONSENT_SLOT)
    consent_channel = cut_policy(policy, _CONSENT_CHANNEL)
    consent_purpose = cut_policy(policy, _CONSENT_PURPOSE)
    purpose = cut_policy(policy, _PURPOSE_OF_OFFER)
    for c in range(len(consent_slot)):
        if consent_channel[c] >= 0 and consent_channel[c] != channel:
            continue
        slot = consent_slot[c]
        if slot < len(slots) and slots[slot] == 1:
            continue
        for o in range(len(reason)):
            if reason[o] == REASON_NONE and consent_purpose[c] in (-1, purpose[o]):
                reason[o] = REASON_NO_CONSENT


@inner_kernel(boolean(READ_U32, int64, int64, int64))
def is_recorded(held, start, count, row):  # type: ignore[no-untyped-def]
    """Return whether a reservation has become a contact: same offer of the same decision.

    Parameters
    ----------
    held
        uint32, read-only: heads and rows.
    start, count
        Where the contacts begin and how many there are.
    row
        Where the reservation begins.
    """
    for n in range(count):
        at = start + n * ROW_WORDS
        if (
            held[at + ROW_TAG] == held[row + ROW_TAG]
            and held[at + ROW_OFFER] == held[row + ROW_OFFER]
        ):
            return True
    return False


@inner_kernel(void(READ_I64, int64, READ_U32, int64, int64, int64, int64, WRITE_I32))
def count_rows(policy, c, held, start, count, channel, oldest_s, room):  # type: ignore[no-untyped-def]
    """Count rows of contacts, or of reservations, towards one cap.

    Parameters
    ----------
    policy
        int64, read-only, packed.
    c
        The cap.
    held, start, count
        uint32, read-only: heads and rows; where the rows to count begin and how many there are.
    channel
        Index of the channel.
    oldest_s
        A row counts when its time is later, seconds since 1970.
    room
        int32, read and written: each row that counts takes one.
    """
    scope = cut_policy(policy, _CAP_SCOPE)[c]
    base = cut_policy(policy, _CAP_START)[c]
    own = cut_policy(policy, _CAP_CHANNEL)[c] >= 0
    code = cut_policy(policy, _CHANNEL_CODE)[channel]
    # Latest first: contacts stand in the order of their times.
    for n in range(count - 1, -1, -1):
        row = start + n * ROW_WORDS
        if np.int64(held[row + ROW_TIME_S]) <= oldest_s:
            break
        if own and np.int64(held[row + ROW_CHANNEL]) != code:
            continue
        offer, group = np.int64(held[row + ROW_OFFER]), np.int64(held[row + ROW_GROUP])
        key = find_key(policy, scope, offer, group)
        if key >= 0:
            room[base + key] -= np.int32(1)


@inner_kernel(void(READ_I64, int64, float64, READ_U32, int64, int64, WRITE_I32))
def fill_room(policy, channel, now_s, held, head, reserved_count, room):  # type: ignore[no-untyped-def]
    """Find how many contacts each cap still leaves.

    Where contacts within the window may have been dropped from the customer's list, the cap counts
    as reached: too few contacts are better than one too many.

    Parameters
    ----------
    policy
        int64, read-only, packed.
    channel
        Index of the channel; caps of other channels are left out.
    now_s
        Seconds since 1970.
    held, head
        uint32, read-only: heads and rows of all customers; where this customer's head begins.
    reserved_count
        Rows of reservations behind the customer's contacts and answers.
    room
        int32, written for the caps of this channel: `room[cap_start[c] + key]`.
    """
    count_max = cut_policy(policy, _CAP_COUNT_MAX)
    window_s = cut_policy(policy, _CAP_WINDOW_S)
    cap_channel = cut_policy(policy, _CAP_CHANNEL)
    cap_start = cut_policy(policy, _CAP_START)
    contacts = head + HEAD_WORDS
    contact_count = np.int64(held[head + HEAD_CONTACTS])
    reservations = contacts + (contact_count + np.int64(held[head + HEAD_ANSWERS])) * ROW_WORDS
    second = np.int64(math.floor(now_s))
    for c in range(len(count_max)):
        if cap_channel[c] >= 0 and cap_channel[c] != channel:
            continue
        oldest_s = second - window_s[c]
        lost = np.int64(held[head + HEAD_CONTACTS_LOST_S]) > oldest_s
        for k in range(cap_start[c], cap_start[c + 1]):
            room[k] = 0 if lost else np.int32(count_max[c])
        if lost:
            continue
        count_rows(policy, c, held, contacts, contact_count, channel, oldest_s, room)
        for n in range(reserved_count):
            row = reservations + n * ROW_WORDS
            if not is_recorded(held, contacts, contact_count, row):
                count_rows(policy, c, held, row, 1, channel, oldest_s, room)


@inner_kernel(void(READ_I64, int64, READ_I32, WRITE_U8))
def cap_offers(policy, channel, room, reason):  # type: ignore[no-untyped-def]
    """Stop the offers that a cap leaves no contact for.

    Parameters
    ----------
    policy, channel, room
        As in `fill_room`, read-only.
    reason
        uint8[O], read and written: CAPPED where an offer stayed until now.
    """
    scope = cut_policy(policy, _CAP_SCOPE)
    cap_channel = cut_policy(policy, _CAP_CHANNEL)
    cap_start = cut_policy(policy, _CAP_START)
    for c in range(len(scope)):
        if cap_channel[c] >= 0 and cap_channel[c] != channel:
            continue
        for o in range(len(reason)):
            key = key_of_offer(policy, scope[c], o)
            if reason[o] == REASON_NONE and room[cap_start[c] + key] <= 0:
                reason[o] = REASON_CAPPED


@inner_kernel(void(READ_I64, float64, READ_U32, int64, WRITE_U8))
def rest_offers(policy, now_s, held, head, reason):  # type: ignore[no-untyped-def]
    """Stop the offers that rest after an answer.

    Where an answer that may still matter was dropped from the customer's list, all of them rest.

    Parameters
    ----------
    policy, now_s, held, head
        As in `fill_room`, read-only.
    reason
        uint8[O], read and written: COOLING_OFF where an offer stayed until now.
    """
    cause = cut_policy(policy, _REST_CAUSE)
    scope = cut_policy(policy, _REST_SCOPE)
    rest_s = cut_policy(policy, _REST_S)
    count = np.int64(held[head + HEAD_ANSWERS])
    start = head + HEAD_WORDS + np.int64(held[head + HEAD_CONTACTS]) * ROW_WORDS
    second = np.int64(math.floor(now_s))
    for r in range(len(cause)):
        oldest_s = second - rest_s[r]
        lost = np.int64(held[head + HEAD_ANSWERS_LOST_S]) > oldest_s
        for n in range(1 if lost else count):
            row = start + n * ROW_WORDS
            key = np.int64(0)
            if not lost:
                if held[row + ROW_KIND] != cause[r] or np.int64(held[row]) <= oldest_s:
                    continue
                offer, group = np.int64(held[row + ROW_OFFER]), np.int64(held[row + ROW_GROUP])
                key = find_key(policy, scope[r], offer, group)
            for o in range(len(reason)):
                rests = lost or key_of_offer(policy, scope[r], o) == key
                if rests and reason[o] == REASON_NONE:
                    reason[o] = REASON_COOLING_OFF


@kernel(int64(float64, READ_U32, int64, READ_U32, int64, int64, READ_I64, WRITE_U8, WRITE_I32))
def apply_policy(now_s, slots, surface, held, head, reserved_count, policy, reason, room):  # type: ignore[no-untyped-def]
    """Stop what the contact policy does not allow: consent, quiet hours, caps, cool-offs.

    Parameters
    ----------
    now_s
        The decision's time, seconds since 1970.
    slots
        uint32[S], read-only: the profile.
    surface
        Index of the request's surface.
    held, head, reserved_count
        As in `fill_room`, read-only.
    policy
        int64, read-only, packed, see `PACKED_POLICY`.
    reason
        uint8[O], read and written: becomes the first reason of the policy where an offer stayed
        until now.
    room
        int32, written, as in `fill_room`; `list_within_caps` goes on with it.

    Returns
    -------
    int
        How many offers stay.
    """
    channel = cut_policy(policy, _SURFACE_CHANNEL)[surface]
    check_consents(policy, slots, channel, reason)
    if is_quiet(policy, slots, channel, now_s):
        for o in range(len(reason)):
            if reason[o] == REASON_NONE:
                reason[o] = REASON_QUIET_HOURS
    fill_room(policy, channel, now_s, held, head, reserved_count, room)
    cap_offers(policy, channel, room, reason)
    rest_offers(policy, now_s, held, head, reason)
    kept = 0
    for o in range(len(reason)):
        kept += reason[o] == REASON_NONE
    return kept


@inner_kernel(int64(READ_I64, int64, int64, WRITE_I32, WRITE_F64, WRITE_U8, WRITE_I32))
def list_within_caps(policy, surface, wanted, room, score, reason, best):  # type: ignore[no-untyped-def]
    """List the best offers, and no more of them than the caps leave contacts for.

    Parameters
    ----------
    policy
        int64, read-only, packed.
    surface, wanted
        Index of the request's surface; how many to list at most, ≤ len(best).
    room
        int32, read and written: from `apply_policy`; each listed offer takes one of every cap.
    score
        float64[O], read and written: ranked by, ≥ 0 where the offer stays; −1 once it is listed.
    reason
        uint8[O], read and written: CAPPED where the listed ones have used up a cap.
    best
        int32[≥ wanted], written: indices of the offers.

    Returns
    -------
    int
        How many offers are listed.
    """
    channel = cut_policy(policy, _SURFACE_CHANNEL)[surface]
    scope = cut_policy(policy, _CAP_SCOPE)
    cap_channel = cut_policy(policy, _CAP_CHANNEL)
    cap_start = cut_policy(policy, _CAP_START)
    for count in range(wanted):
        top, found = -0.5, -1
        for o in range(len(reason)):
            if reason[o] == REASON_NONE and score[o] > top:
                top, found = score[o], o
        if found < 0:
            return count
        best[count] = found
        score[found] = -1.0
        for c in range(len(scope)):
            if cap_channel[c] >= 0 and cap_channel[c] != channel:
                continue
            key = key_of_offer(policy, scope[c], found)
            room[cap_start[c] + key] -= np.int32(1)
            if room[cap_start[c] + key] > 0:
                continue
            for o in range(len(reason)):
                open_still = reason[o] == REASON_NONE and score[o] >= 0.0
                if open_still and key_of_offer(policy, scope[c], o) == key:
                    reason[o] = REASON_CAPPED
    return wanted


KERNELS = (
    Kernel("find_local_minute", find_local_minute, ()),
    Kernel("apply_policy", apply_policy, ("reason", "room")),
    Kernel("list_within_caps", list_within_caps, ("room", "score", "reason", "best")),
)
