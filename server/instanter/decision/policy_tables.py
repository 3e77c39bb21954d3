"""The contact policy of a catalogue, laid out for `kernels/packed_policy`: one array of int64."""

from bisect import bisect_left
from typing import Final

import numpy as np
from numpy.typing import NDArray

from instanter.catalogue.compiled import CompiledCatalogue
from instanter.catalogue.contact_policy import ContactPolicy, ContactScope
from instanter.catalogue.zones import find_offsets
from instanter.decision.contacts import code_of, group_code_of
from instanter.kernels.packed_policy import PACKED_POLICY

NO_POLICY: Final = np.zeros(0, np.int64)
"""The array of a catalogue without a contact policy."""


def limits_contacts(policy: ContactPolicy) -> bool:
    """Return whether a policy limits anything."""
    return bool(policy.caps or policy.cool_offs or policy.quiet_hours or policy.consents)


def pack_policy(catalogue: CompiledCatalogue) -> NDArray[np.int64]:
    """Lay out the contact policy of a catalogue.

    Returns
    -------
    ndarray
        int64: cuts, then the arrays that `PACKED_POLICY` names, array n being
        `policy[policy[n]:policy[n + 1]]`. Empty when there is no policy.

        cap_scope, cap_count_max, cap_window_s, cap_channel
            [caps]: numbers of `ContactScope`; contacts; seconds; index of the channel, −1 for all.
        cap_start
            [caps + 1]: where the cap's counters begin, one for the customer, each offer, or each
            group.
        rest_cause, rest_scope, rest_s
            [cool-offs]: numbers of `CoolOffCause` and `ContactScope`; seconds.
        quiet_channels, quiet_start_minute, quiet_end_minute
            [quiet hours]: a bit for each channel; minutes since midnight.
        consent_slot, consent_channel, consent_purpose
            [consents]: profile slot; index of the channel and of the purpose, −1 for all.
        surface_channel, channel_code
            [surfaces], [channels]: index of the surface's channel; code of the channel.
        offer_code_sorted, offer_sorted
            [offers]: codes, rising, and the index of the offer that has each.
        group_code_sorted
            [groups]: codes, rising; the position is the group's index.
        group_of_offer, purpose_of_offer
            [offers]: indices; the purpose is −2 for one that no consent names.
        zone_slot
            [1]: profile slot of the customer's time zone, −1 for none.
        zone_start
            [zones + 1]: the zones' parts of the next two; zone 0 is the policy's own, zone 1 + c
            that of code c.
        zone_until_s, zone_offset_s
            Until when, seconds since 1970, a zone's clocks are how many seconds ahead of UTC.
    """
    policy = catalogue.contact_policy
    if not limits_contacts(policy):
        return NO_POLICY
    channels = list(catalogue.channels)
    groups = sorted({group_code_of(offer.name, offer.group) for offer in catalogue.offers})
    purposes = sorted({consent.purpose for consent in policy.consents if consent.purpose})
    codes = sorted((code_of(offer.name), o) for o, offer in enumerate(catalogue.offers))
    width = {
        ContactScope.CUSTOMER: 1,
        ContactScope.OFFER: len(catalogue.offers),
        ContactScope.GROUP: len(groups),
    }
    arrays: dict[str, list[int]] = {
        "cap_scope": [int(cap.scope) for cap in policy.caps],
        "cap_count_max": [cap.count_max for cap in policy.caps],
        "cap_window_s": [cap.window_s for cap in policy.caps],
        "cap_channel": [_index(channels, cap.channel) for cap in policy.caps],
        "cap_start": _start([width[cap.scope] for cap in policy.caps]),
        "rest_cause": [int(rest.cause) for rest in policy.cool_offs],
        "rest_scope": [int(rest.scope) for rest in policy.cool_offs],
        "rest_s": [rest.rest_s for rest in policy.cool_offs],
        "quiet_channels": [
            sum(1 << channels.index(channel) for channel in quiet.channels or channels)
            for quiet in policy.quiet_hours
        ],
        "quiet_start_minute": [quiet.start_minute for quiet in policy.quiet_hours],
        "quiet_end_minute": [quiet.end_minute for quiet in policy.quiet_hours],
        "consent_slot": [consent.slot for consent in policy.consents],
        "consent_channel": [_index(channels, consent.channel) for consent in policy.consents],
        "consent_purpose": [_index(purposes, consent.purpose) for consent in policy.consents],
        "surface_channel": [channels.index(channel) for channel, _ in catalogue.surfaces],
        "channel_code": [code_of(channel) for channel in channels],
        "offer_code_sorted": [code for code, _ in codes],
        "offer_sorted": [o for _, o in codes],
        "group_code_sorted": groups,
        "group_of_offer": [
            bisect_left(groups, group_code_of(offer.name, offer.group))
            for offer in catalogue.offers
        ],
        "purpose_of_offer": [
            purposes.index(offer.purpose) if offer.purpose in purposes else -2
            for offer in catalogue.offers
        ],
        **_lay_out_zones(catalogue),
    }
    return _pack(arrays)


def _index(names: list[str], name: str) -> int:
    return names.index(name) if name else -1


def _start(counts: list[int]) -> list[int]:
    """Return where runs of these lengths begin, and where the last ends."""
    return [sum(counts[:n]) for n in range(len(counts) + 1)]


def _lay_out_zones(catalogue: CompiledCatalogue) -> dict[str, list[int]]:
    """Return the time zones' part of the policy; nothing but UTC where nothing needs a zone."""
    policy = catalogue.contact_policy
    names = [policy.time_zone]
    schema = catalogue.schema
    for attribute in (*schema.loaded.values(), *schema.derived.values()):
        if attribute.slot == policy.time_zone_slot:
            names += attribute.values
    zones = [find_offsets(name, policy.time_zone) for name in names] if policy.quiet_hours else []
    return {
        "zone_slot": [policy.time_zone_slot if policy.quiet_hours else -1],
        "zone_start": _start([len(zone) for zone in zones]),
        "zone_until_s": [until_s for zone in zones for until_s, _ in zone],
        "zone_offset_s": [offset_s for zone in zones for _, offset_s in zone],
    }


def _pack(arrays: dict[str, list[int]]) -> NDArray[np.int64]:
    """Lay the arrays end to end, behind the cuts between them."""
    assert tuple(arrays) == PACKED_POLICY
    cuts = _start([len(array) for array in arrays.values()])
    first = len(cuts)
    return np.array(
        [first + cut for cut in cuts] + [value for array in arrays.values() for value in array],
        np.int64,
    )
