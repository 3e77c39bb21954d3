"""Slow twins of `kernels/contact_policy`: the policy as somebody would explain it."""

from types import SimpleNamespace

import numpy as np

from instanter.kernels.packed_policy import PACKED_POLICY

CUSTOMER, OFFER, GROUP = 1, 2, 3
NO_CONSENT, QUIET_HOURS, CAPPED, COOLING_OFF = 8, 9, 10, 11
MISSING = 0xFFFF_FFFF


def unpack(policy):
    """Take a packed policy apart, by name."""
    return SimpleNamespace(
        **{name: policy[policy[n] : policy[n + 1]].tolist() for n, name in enumerate(PACKED_POLICY)}
    )


def read_held(held, head, reserved_count):
    """Take one customer's words apart: contacts, answers, reservations, and what was dropped."""
    _, contact_count, answer_count, contacts_lost_s, answers_lost_s, own_tag = held[
        head : head + 6
    ].tolist()
    rows = held[head + 8 :][: (contact_count + answer_count + reserved_count) * 6]
    rows = [
        SimpleNamespace(time_s=t, offer=o, group=g, channel=c, kind=k, tag=d)
        for t, o, g, c, k, d in rows.reshape(-1, 6).tolist()
    ]
    return SimpleNamespace(
        contacts=rows[:contact_count],
        answers=rows[contact_count : contact_count + answer_count],
        reserved=rows[contact_count + answer_count :],
        contacts_lost_s=contacts_lost_s,
        answers_lost_s=answers_lost_s,
        own_tag=own_tag,
    )


def find_local_minute(policy, slots, now_s):
    """The minute of the customer's day."""
    p = unpack(policy)
    zone, slot = 0, p.zone_slot[0]
    if 0 <= slot < len(slots) and slots[slot] != MISSING and slots[slot] < len(p.zone_start) - 2:
        zone = int(slots[slot]) + 1
    mine = range(p.zone_start[zone], p.zone_start[zone + 1])
    at = next((n for n in mine if now_s < p.zone_until_s[n]), mine[-1])
    return (int(now_s // 1) + p.zone_offset_s[at]) % 86_400 // 60


def _is_quiet(p, policy, slots, channel, now_s):
    for channels, start, end in zip(
        p.quiet_channels, p.quiet_start_minute, p.quiet_end_minute, strict=True
    ):
        if not channels >> channel & 1:
            continue
        minute = find_local_minute(policy, slots, now_s)
        if start <= end and start <= minute < end:
            return True
        if start > end and not end <= minute < start:
            return True
    return False


def _lacks_consent(p, slots, channel, o):
    for slot, of_channel, of_purpose in zip(
        p.consent_slot, p.consent_channel, p.consent_purpose, strict=True
    ):
        concerns = of_channel in (-1, channel) and of_purpose in (-1, p.purpose_of_offer[o])
        if concerns and not (slot < len(slots) and slots[slot] == 1):
            return True
    return False


def _same(p, scope, row, o):
    """Whether a row counts for offer o in a scope."""
    if scope == CUSTOMER:
        return True
    if scope == OFFER:
        return (
            o
            in [
                p.offer_sorted[n] for n, code in enumerate(p.offer_code_sorted) if code == row.offer
            ][:1]
        )
    return p.group_code_sorted[p.group_of_offer[o]] == row.group


def _room(p, c, h, channel, now_s, o):
    """How many contacts cap c leaves for offer o."""
    oldest_s = int(now_s // 1) - p.cap_window_s[c]
    if h.contacts_lost_s > oldest_s:
        return 0
    recorded = {(row.tag, row.offer) for row in h.contacts}
    rows = h.contacts + [row for row in h.reserved if (row.tag, row.offer) not in recorded]
    counted = [
        row
        for row in rows
        if row.time_s > oldest_s
        and (p.cap_channel[c] < 0 or row.channel == p.channel_code[channel])
        and _same(p, p.cap_scope[c], row, o)
    ]
    return p.cap_count_max[c] - len(counted)


def _ages_of_own(p, h, now_s):
    """How long ago earlier tries of the decision listed or presented each offer; None for never."""
    ages = {}
    for o in range(len(p.group_of_offer)):
        times = [
            row.time_s
            for row in h.contacts + h.reserved
            if h.own_tag and row.tag == h.own_tag and _same(p, OFFER, row, o)
        ]
        ages[o] = max(int(now_s // 1) - max(times), 0) if times else None
    return ages


def _caps(p, channel):
    return [c for c in range(len(p.cap_scope)) if p.cap_channel[c] in (-1, channel)]


def _rests(p, h, now_s, o):
    second = int(now_s // 1)
    for cause, scope, rest_s in zip(p.rest_cause, p.rest_scope, p.rest_s, strict=True):
        if h.answers_lost_s > second - rest_s:
            return True
        for row in h.answers:
            if row.kind == cause and row.time_s > second - rest_s and _same(p, scope, row, o):
                return True
    return False


def _key(p, scope, o):
    return {CUSTOMER: 0, OFFER: o, GROUP: p.group_of_offer[o]}[scope]


def apply_policy(now_s, slots, surface, held, head, reserved_count, policy, reason, room):
    """Consent, quiet hours, caps, cool-offs: the first that stops each offer."""
    p = unpack(policy)
    h = read_held(held, head, reserved_count)
    channel = p.surface_channel[surface]
    for c in _caps(p, channel):
        for o in range(len(reason)):
            room[p.cap_start[c] + _key(p, p.cap_scope[c], o)] = _room(p, c, h, channel, now_s, o)
    ages, own = _ages_of_own(p, h, now_s), p.cap_start[-1]
    room[own] = h.own_tag != 0
    if h.own_tag:
        room[own + 1 :] = [-1 if age is None else age for age in ages.values()]
    for o in range(len(reason)):
        if reason[o]:
            continue
        if _lacks_consent(p, slots, channel, o):
            reason[o] = NO_CONSENT
        elif _is_quiet(p, policy, slots, channel, now_s):
            reason[o] = QUIET_HOURS
        elif any(
            _room(p, c, h, channel, now_s, o) <= 0
            and not (ages[o] is not None and ages[o] < p.cap_window_s[c])
            for c in _caps(p, channel)
        ):
            reason[o] = CAPPED
        elif _rests(p, h, now_s, o):
            reason[o] = COOLING_OFF
    return int(np.sum(reason == 0))


def list_within_caps(policy, surface, wanted, room, score, reason, best):
    """One offer after the other, the best first, while there is room for it."""
    p = unpack(policy)
    channel = p.surface_channel[surface]
    order = sorted((o for o in range(len(reason)) if reason[o] == 0), key=lambda o: (-score[o], o))
    own = p.cap_start[-1]

    def find_counters(o):
        """The counters that listing an offer takes from: not those that count it already."""
        age_s = room[own + 1 + o] if room[own] else -1
        return [
            p.cap_start[c] + _key(p, p.cap_scope[c], o)
            for c in _caps(p, channel)
            if not 0 <= age_s < p.cap_window_s[c]
        ]

    listed = []
    for o in order:
        if len(listed) == wanted:
            break
        counters = find_counters(o)
        if all(room[n] > 0 for n in counters):
            listed.append(o)
            for n in counters:
                room[n] -= 1
    for o in order:
        used_up = any(room[n] <= 0 for n in find_counters(o))
        if o in listed:
            score[o] = -1.0
        elif used_up:
            reason[o] = CAPPED
    best[: len(listed)] = listed
    return len(listed)
