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
from instanter.kernels.packed_policy import (
    CAP_CHANNEL,
    CAP_COUNT_MAX,
    CAP_SCOPE,
    CAP_START,
    CAP_WINDOW_S,
    CHANNEL_CODE,
    CONSENT_CHANNEL,
    CONSENT_PURPOSE,
    CONSENT_SLOT,
    HEAD_ANSWERS,
    HEAD_ANSWERS_LOST_S,
    HEAD_CONTACTS,
    HEAD_CONTACTS_LOST_S,
    HEAD_OWN_TAG,
    HEAD_WORDS,
    PURPOSE_OF_OFFER,
    QUIET_CHANNELS,
    QUIET_END,
    QUIET_START,
    REST_CAUSE,
    REST_S,
    REST_SCOPE,
    ROW_CHANNEL,
    ROW_GROUP,
    ROW_KIND,
    ROW_OFFER,
    ROW_TAG,
    ROW_TIME_S,
    ROW_WORDS,
    SCOPE_OFFER,
    SURFACE_CHANNEL,
    ZONE_OFFSET_S,
    ZONE_SLOT,
    ZONE_START,
    ZONE_UNTIL_S,
    cut_policy,
    find_key,
    find_own,
    key_of_offer,
)

_MISSING = np.uint32(0xFFFF_FFFF)
_DAY_S = 86_400
_AGE_MAX_S = np.int64(2**31 - 1)


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
    zone_start = cut_policy(policy, ZONE_START)
    zone = np.int64(0)
    slot = cut_policy(policy, ZONE_SLOT)[0]
    if 0 <= slot < len(slots) and slots[slot] != _MISSING and slots[slot] < len(zone_start) - 2:
        zone = np.int64(slots[slot]) + 1
    second = np.int64(math.floor(now_s))
    low, high = zone_start[zone], zone_start[zone + 1] - 1
    until_s = cut_policy(policy, ZONE_UNTIL_S)
    while low < high:
        middle = (low + high) // 2
        if second < until_s[middle]:
            high = middle
        else:
            low = middle + 1
    local = second + cut_policy(policy, ZONE_OFFSET_S)[low]
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
    channels = cut_policy(policy, QUIET_CHANNELS)
    start = cut_policy(policy, QUIET_START)
    end = cut_policy(policy, QUIET_END)
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
    consent_slot = cut_policy(policy, CONSENT_SLOT)
    consent_channel = cut_policy(policy, CONSENT_CHANNEL)
    consent_purpose = cut_policy(policy, CONSENT_PURPOSE)
    purpose = cut_policy(policy, PURPOSE_OF_OFFER)
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
    scope = cut_policy(policy, CAP_SCOPE)[c]
    base = cut_policy(policy, CAP_START)[c]
    own = cut_policy(policy, CAP_CHANNEL)[c] >= 0
    code = cut_policy(policy, CHANNEL_CODE)[channel]
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
    count_max = cut_policy(policy, CAP_COUNT_MAX)
    window_s = cut_policy(policy, CAP_WINDOW_S)
    cap_channel = cut_policy(policy, CAP_CHANNEL)
    cap_start = cut_policy(policy, CAP_START)
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


@inner_kernel(void(READ_I64, float64, READ_U32, int64, int64, WRITE_I32))
def note_own(policy, now_s, held, head, reserved_count, room):  # type: ignore[no-untyped-def]
    """Write down what earlier tries of the decision have listed or led to.

    Parameters
    ----------
    policy, now_s, held, head, reserved_count
        As in `fill_room`, read-only.
    room
        int32, written behind the caps, see `measure_room`; the offers only if there were any tries.
    """
    own = find_own(policy)
    tag = held[head + HEAD_OWN_TAG]
    room[own] = tag != 0
    if tag == 0:
        return
    room[own + 1 :] = -1
    second = np.int64(math.floor(now_s))
    count = np.int64(held[head + HEAD_CONTACTS]) + np.int64(held[head + HEAD_ANSWERS])
    for n in range(count + reserved_count):
        row = head + HEAD_WORDS + n * ROW_WORDS
        if held[row + ROW_TAG] != tag or held[row + ROW_KIND] != 0:
            continue
        o = find_key(policy, SCOPE_OFFER, np.int64(held[row + ROW_OFFER]), 0)
        if o < 0:
            continue
        # Cut to what `room` holds: a contact may be told of some minutes ahead of its time.
        age_s = max(np.int64(0), min(second - np.int64(held[row + ROW_TIME_S]), _AGE_MAX_S))
        if room[own + 1 + o] < 0 or age_s < room[own + 1 + o]:
            room[own + 1 + o] = np.int32(age_s)


@inner_kernel(boolean(READ_I64, int64, int64, READ_I32))
def is_counted(policy, c, o, room):  # type: ignore[no-untyped-def]
    """Return whether cap `c` counts offer `o` for an earlier try: to list it again takes nothing.

    Parameters
    ----------
    policy
        int64, read-only, packed.
    c, o
        Cap and offer.
    room
        int32, read-only: from `note_own`.
    """
    own = find_own(policy)
    return room[own] != 0 and 0 <= room[own + 1 + o] < cut_policy(policy, CAP_WINDOW_S)[c]


@inner_kernel(void(READ_I64, int64, READ_I32, WRITE_U8))
def cap_offers(policy, channel, room, reason):  # type: ignore[no-untyped-def]
    """Stop the offers that a cap leaves no contact for.

    What earlier tries of the decision have listed has its contact already.

    Parameters
    ----------
    policy, channel, room
        As in `fill_room` and `note_own`, read-only.
    reason
        uint8[O], read and written: CAPPED where an offer stayed until now.
    """
    scope = cut_policy(policy, CAP_SCOPE)
    cap_channel = cut_policy(policy, CAP_CHANNEL)
    cap_start = cut_policy(policy, CAP_START)
    for c in range(len(scope)):
        if cap_channel[c] >= 0 and cap_channel[c] != channel:
            continue
        for o in range(len(reason)):
            key = key_of_offer(policy, scope[c], o)
            open_still = reason[o] == REASON_NONE and room[cap_start[c] + key] <= 0
            if open_still and not is_counted(policy, c, o, room):
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
    cause = cut_policy(policy, REST_CAUSE)
    scope = cut_policy(policy, REST_SCOPE)
    rest_s = cut_policy(policy, REST_S)
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
        int32, written, as in `fill_room` and `note_own`; `list_within_caps` goes on with it.

    Returns
    -------
    int
        How many offers stay.
    """
    channel = cut_policy(policy, SURFACE_CHANNEL)[surface]
    check_consents(policy, slots, channel, reason)
    if is_quiet(policy, slots, channel, now_s):
        for o in range(len(reason)):
            if reason[o] == REASON_NONE:
                reason[o] = REASON_QUIET_HOURS
    fill_room(policy, channel, now_s, held, head, reserved_count, room)
    note_own(policy, now_s, held, head, reserved_count, room)
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
        int32, read and written: from `apply_policy`; each listed offer takes one of every cap that
        does not count it already.
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
    channel = cut_policy(policy, SURFACE_CHANNEL)[surface]
    scope = cut_policy(policy, CAP_SCOPE)
    cap_channel = cut_policy(policy, CAP_CHANNEL)
    cap_start = cut_policy(policy, CAP_START)
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
            if is_counted(policy, c, found, room):
                continue
            key = key_of_offer(policy, scope[c], found)
            room[cap_start[c] + key] -= np.int32(1)
            if room[cap_start[c] + key] > 0:
                continue
            for o in range(len(reason)):
                open_still = reason[o] == REASON_NONE and score[o] >= 0.0
                same = open_still and key_of_offer(policy, scope[c], o) == key
                if same and not is_counted(policy, c, o, room):
                    reason[o] = REASON_CAPPED
    return wanted


KERNELS = (
    Kernel("find_local_minute", find_local_minute, ()),
    Kernel("apply_policy", apply_policy, ("reason", "room")),
    Kernel("list_within_caps", list_within_caps, ("room", "score", "reason", "best")),
)
