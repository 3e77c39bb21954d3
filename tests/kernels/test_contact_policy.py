"""The contact policy: the kernel against its slow twin, and days on which clocks do odd things."""

import dataclasses
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from instanter.catalogue.contact_policy import (
    Cap,
    Consent,
    ContactPolicy,
    ContactScope,
    CoolOff,
    CoolOffCause,
    QuietHours,
)
from instanter.decision.contacts import (
    EMPTY,
    IN_DOUBT,
    Contact,
    ContactKind,
    code_of,
    group_code_of,
    pack_row,
    record_contact,
)
from instanter.decision.policy_tables import NO_POLICY, pack_policy
from instanter.kernels import contact_policy, packed_policy
from instanter.kernels.packed_policy import HEAD_OWN_TAG, measure_room
from instanter.limits import CONTACTS_KEPT
from tests.decision.worlds import make_catalogue
from tests.oracles import contact_policy as oracle
from tests.oracles import packed_policy as packed_oracle

NOW_S = 1_790_000_000.25
HOUR = 3_600
DAY = 86_400
ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "Pacific/Kiritimati",
    "Pacific/Pago_Pago",
    "Asia/Kathmandu",
    "Africa/Casablanca",
    "Australia/Lord_Howe",
    "Nowhere/Atlantis",
)
FILES = {
    "shop.yaml": f"""
currency: EUR
channels: {{web: [home], store: [], mail: []}}
attributes:
  - {{name: zone, kind: category, values: [{", ".join(ZONES)}]}}
  - {{name: mail_yes, kind: flag}}
  - {{name: loans_yes, kind: flag}}
offers:
"""
    + "".join(
        f"""
  - name: {name}
    value_minor: 100
    treatments: [{{channel: web}}, {{channel: store}}, {{channel: mail}}]
    {f"group: {group}" if group else ""}
"""
        for name, group in [("a", "x"), ("b", "x"), ("c", "y"), ("d", ""), ("e", "")]
    )
}
SCOPES, CAUSES = list(ContactScope), list(CoolOffCause)


@pytest.fixture(scope="module")
def catalogue():
    return make_catalogue(FILES)


def pack(catalogue, purpose="", **policy):
    offers = tuple(
        dataclasses.replace(o, purpose=purpose if o.name == "a" else "") for o in catalogue.offers
    )
    return pack_policy(
        dataclasses.replace(catalogue, offers=offers, contact_policy=ContactPolicy(**policy))
    )


def contact(catalogue, time_s, offer, channel="web", kind=ContactKind.PRESENTED, tag=0):
    group = next((o.group for o in catalogue.offers if o.name == offer), "")
    return Contact(
        int(time_s), code_of(offer), group_code_of(offer, group), code_of(channel), int(kind), tag
    )


def section_of(contacts):
    section = b""
    for one in contacts:
        section = record_contact(section, one)
    return section or EMPTY


def run(
    policy,
    section,
    *,
    reserved=(),
    now_s=NOW_S,
    surface=0,
    slots=None,
    own_tag=0,
    module=contact_policy,
):
    at = 4 * HEAD_OWN_TAG
    section = section[:at] + own_tag.to_bytes(4, "little") + section[at + 4 :]
    held = np.frombuffer(EMPTY + section + b"".join(map(pack_row, reserved)), np.uint32)
    slots = np.full(3, 0xFFFF_FFFF, np.uint32) if slots is None else np.array(slots, np.uint32)
    slots.setflags(write=False)
    reason = np.zeros(5, np.uint8)
    room = np.full(measure_room(policy), 99, np.int32)
    kept = module.apply_policy(
        now_s, slots, surface, held, len(EMPTY) // 4, len(reserved), policy, reason, room
    )
    return kept, reason.tolist(), room.tolist()


def draw_policy(draw, catalogue):
    channels = list(catalogue.channels)
    pick = lambda values: values[draw.integers(len(values))]  # noqa: E731 - a draw, said shortly
    return {
        "caps": tuple(
            Cap(
                f"cap{n}",
                pick(SCOPES),
                int(draw.integers(1, 5)),
                int(pick([60, HOUR, DAY, 90 * DAY])),
                pick(["", *channels]),
            )
            for n in range(draw.integers(0, 4))
        ),
        "cool_offs": tuple(
            CoolOff(pick(CAUSES), pick(SCOPES), int(pick([60, HOUR, DAY])))
            for _ in range(draw.integers(0, 3))
        ),
        "quiet_hours": tuple(
            QuietHours(
                pick([(), ("web",), ("web", "mail")]),
                int(draw.integers(1440)),
                int(draw.integers(1440)),
            )
            for _ in range(draw.integers(0, 2))
        ),
        "consents": tuple(
            Consent("x", int(draw.integers(1, 3)), pick(["", "mail"]), pick(["", "loans"]))
            for _ in range(draw.integers(0, 2))
        ),
        "time_zone": pick(ZONES[:-1]),
        "time_zone_slot": int(pick([-1, 0])),
    }


@pytest.mark.parametrize("seed", range(150))
def test_what_the_policy_stops_is_what_the_oracle_stops(catalogue, seed):
    draw = np.random.default_rng(seed)
    policy = pack(catalogue, "loans", **draw_policy(draw, catalogue))
    if not len(policy):
        return
    names = ["a", "b", "c", "d", "e", "withdrawn"]
    contacts = [
        contact(
            catalogue,
            NOW_S - draw.choice([-1, 0, 30, 60, 61, HOUR, DAY, 5 * DAY]),
            names[draw.integers(6)],
            ["web", "store", "gone"][draw.integers(3)],
            draw.choice([0, 0, 0, 1, 2, 3]),
            int(draw.integers(8)),
        )
        for _ in range(draw.integers(0, 12))
    ]
    section = section_of(contacts)
    if draw.random() < 0.1:
        section = IN_DOUBT
    reserved = [
        contact(catalogue, NOW_S - 5, names[draw.integers(5)], "web", 0, int(draw.integers(8)))
        for _ in range(draw.integers(0, 3))
    ]
    slots = draw.choice([0xFFFF_FFFF, 0, 1, 2, 7], 3)
    surface = int(draw.integers(len(catalogue.surfaces)))
    own_tag = int(draw.integers(8))
    options = {"reserved": reserved, "slots": slots, "surface": surface, "own_tag": own_tag}
    found = run(policy, section, **options)
    assert found == run(policy, section, **options, module=oracle)
    _compare_lists(policy, found, surface, draw)


def _compare_lists(policy, found, surface, draw):
    _, reason, room = found
    results = []
    score = draw.choice([0.0, 0.5, 0.5, 1.0, 2.0], 5)
    wanted = int(draw.integers(1, 6))
    for module in (contact_policy, oracle):
        rooms, scores = np.array(room, np.int32), score.copy()
        reasons, best = np.array(reason, np.uint8), np.full(5, -1, np.int32)
        count = module.list_within_caps(policy, surface, wanted, rooms, scores, reasons, best)
        results.append((count, best.tolist(), reasons.tolist()))
    assert results[0] == results[1]


@pytest.mark.parametrize("scope", SCOPES)
def test_what_counts_for_what_is_what_the_oracle_says(catalogue, scope):
    policy = pack(catalogue, caps=(Cap("a", scope, 1, DAY), Cap("b", scope, 2, DAY)))
    assert measure_room(policy) == packed_oracle.measure_room(policy)
    for o, offer in enumerate(catalogue.offers):
        codes = code_of(offer.name), group_code_of(offer.name, offer.group)
        key = packed_policy.key_of_offer(policy, int(scope), o)
        assert key == packed_oracle.key_of_offer(policy, scope, o)
        assert key == packed_policy.find_key(policy, int(scope), *codes)
        assert key == packed_oracle.find_key(policy, scope, *codes)
    for module in (packed_policy, packed_oracle):
        unknown = module.find_key(policy, int(scope), 1, 1)
        assert unknown == (0 if scope == ContactScope.CUSTOMER else -1)


def test_a_catalogue_without_a_policy_has_none(catalogue):
    assert pack(catalogue) is NO_POLICY
    assert measure_room(NO_POLICY) == 0


@pytest.mark.parametrize(
    ("age_s", "stopped"), [(0, 1), (3_599, 1), (3_600, 0), (3_601, 0), (-1, 1)]
)
def test_a_contact_counts_until_the_window_has_passed_and_no_second_longer(
    catalogue, age_s, stopped
):
    policy = pack(catalogue, caps=(Cap("once", ContactScope.OFFER, 1, HOUR),))
    section = section_of([contact(catalogue, int(NOW_S) - age_s, "a")])
    assert run(policy, section)[1] == [10 * stopped, 0, 0, 0, 0]


def test_scopes_count_the_offer_its_group_or_everything(catalogue):
    section = section_of([contact(catalogue, NOW_S - 60, "a")])
    reasons = {
        scope: run(pack(catalogue, caps=(Cap("c", scope, 1, HOUR),)), section)[1]
        for scope in SCOPES
    }
    assert reasons == {
        ContactScope.CUSTOMER: [10, 10, 10, 10, 10],
        ContactScope.OFFER: [10, 0, 0, 0, 0],
        ContactScope.GROUP: [10, 10, 0, 0, 0],
    }


def test_offers_without_a_group_are_groups_of_their_own(catalogue):
    section = section_of([contact(catalogue, NOW_S - 60, "d")])
    policy = pack(catalogue, caps=(Cap("c", ContactScope.GROUP, 1, HOUR),))
    assert run(policy, section)[1] == [0, 0, 0, 10, 0]


def test_a_cap_of_a_channel_counts_and_limits_there_only(catalogue):
    policy = pack(catalogue, caps=(Cap("c", ContactScope.CUSTOMER, 1, HOUR, "store"),))
    surface = {channel: n for n, (channel, _) in enumerate(catalogue.surfaces)}
    in_store = section_of([contact(catalogue, NOW_S - 60, "a", "store")])
    on_web = section_of([contact(catalogue, NOW_S - 60, "a", "web")])
    assert run(policy, in_store, surface=surface["store"])[0] == 0
    assert run(policy, in_store, surface=surface["web"])[0] == 5
    assert run(policy, on_web, surface=surface["store"])[0] == 5


def test_a_reservation_counts_until_its_contact_is_recorded_and_then_once(catalogue):
    policy = pack(catalogue, caps=(Cap("c", ContactScope.OFFER, 2, HOUR),))
    reserved = [contact(catalogue, NOW_S, "a", tag=7)]
    assert run(policy, EMPTY, reserved=reserved)[2][0] == 1
    recorded = section_of([contact(catalogue, NOW_S + 1, "a", tag=7)])
    assert run(policy, recorded, reserved=reserved)[2][0] == 1
    other = section_of([contact(catalogue, NOW_S + 1, "a", tag=8)])
    assert run(policy, other, reserved=reserved)[2][0] == 0


def test_what_an_earlier_try_listed_may_be_listed_again_and_counts_against_all_else(catalogue):
    """Tag 7 is the decision's own: it listed a and presented d, an hour and a day ago."""
    caps = (Cap("c", ContactScope.CUSTOMER, 2, DAY), Cap("h", ContactScope.CUSTOMER, 1, HOUR))
    policy = pack(catalogue, caps=caps)
    presented = section_of([contact(catalogue, NOW_S - DAY + 1, "d", tag=7)])
    reserved = [contact(catalogue, NOW_S - HOUR + 1, "a", tag=7)]
    options = {"reserved": reserved, "own_tag": 7}
    for module in (contact_policy, oracle):
        _, reason, room = run(policy, presented, **options, module=module)
        assert reason == [0, 10, 10, 10, 10]
        _, late, _ = run(policy, presented, **options, now_s=NOW_S + 1, module=module)
        assert late == [0] * 5
        other = run(policy, presented, reserved=reserved, own_tag=8, module=module)
        assert other[1] == [10] * 5
    one = pack(catalogue, caps=caps[:1])
    _, reason, room = run(one, presented, **options)
    assert reason == [0, 10, 10, 0, 10]
    results = []
    for module in (contact_policy, oracle):
        reasons, best = np.array(reason, np.uint8), np.zeros(5, np.int32)
        score, rooms = np.array([1.0, 2.0, 9.0, 0.5, 0.7]), np.array(room, np.int32)
        count = module.list_within_caps(one, 0, 5, rooms, score, reasons, best)
        results.append((best[:count].tolist(), reasons.tolist()))
    assert results == [([0, 3], [0, 10, 10, 0, 10])] * 2


@pytest.mark.parametrize("cause", CAUSES)
def test_an_answer_lets_its_own_cool_off_begin_and_no_other(catalogue, cause):
    policy = pack(catalogue, cool_offs=(CoolOff(cause, ContactScope.GROUP, HOUR),))
    for kind in (ContactKind.REJECTED, ContactKind.ACCEPTED, ContactKind.IGNORED):
        section = section_of([contact(catalogue, int(NOW_S) - 3_599, "a", kind=kind)])
        stopped = 11 * (kind == int(cause))
        assert run(policy, section)[1] == [stopped, stopped, 0, 0, 0]
        assert run(policy, section, now_s=NOW_S + 1)[0] == 5


def test_what_is_lost_to_a_full_list_counts_as_long_as_it_could_matter(catalogue):
    contacts = [contact(catalogue, NOW_S - HOUR + n, "a") for n in range(CONTACTS_KEPT + 1)]
    section = section_of(contacts)
    caps = {
        window: pack(catalogue, caps=(Cap("c", ContactScope.OFFER, 100, window),))
        for window in (HOUR // 2, 2 * HOUR)
    }
    # The offer b may have been among what was lost an hour ago, but not half an hour ago.
    assert run(caps[HOUR // 2], section)[1] == [0, 0, 0, 0, 0]
    assert run(caps[2 * HOUR], section)[1] == [10, 10, 10, 10, 10]
    assert run(caps[2 * HOUR], section, now_s=NOW_S + 2 * HOUR)[1] == [0, 0, 0, 0, 0]


def test_answers_lost_to_a_full_list_let_everything_rest_while_they_could_matter(catalogue):
    answers = [
        Contact(int(NOW_S) - HOUR + n, n, n, 0, ContactKind.REJECTED, 0)
        for n in range(CONTACTS_KEPT + 1)
    ]
    section = section_of(answers)
    rest = {s: CoolOff(CoolOffCause.REJECTED, ContactScope.OFFER, s) for s in (HOUR // 2, 2 * HOUR)}
    assert run(pack(catalogue, cool_offs=(rest[HOUR // 2],)), section)[0] == 5
    assert run(pack(catalogue, cool_offs=(rest[2 * HOUR],)), section)[0] == 0


def test_a_damaged_list_stops_what_is_capped_and_nothing_where_nothing_is(catalogue):
    capped = pack(catalogue, caps=(Cap("c", ContactScope.OFFER, 100, 60),))
    assert run(capped, IN_DOUBT)[1] == [10] * 5
    free = pack(catalogue, quiet_hours=(QuietHours((), 0, 0),))
    assert run(free, IN_DOUBT)[0] == 5


def test_consent_is_a_flag_that_is_true_for_the_channel_and_the_purpose(catalogue):
    slot = {a.name: a.slot for a in catalogue.schema.loaded.values()}
    policy = pack(
        catalogue,
        "loans",
        consents=(
            Consent("mail_yes", slot["mail_yes"], "mail", ""),
            Consent("loans_yes", slot["loans_yes"], "", "loans"),
        ),
    )
    surface = {channel: n for n, (channel, _) in enumerate(catalogue.surfaces)}

    def ask(channel, mail, loans):
        slots = np.full(3, 0xFFFF_FFFF, np.uint32)
        slots[slot["mail_yes"]], slots[slot["loans_yes"]] = mail, loans
        return run(policy, EMPTY, slots=slots, surface=surface[channel])[1]

    unknown = 0xFFFF_FFFF
    assert ask("web", unknown, unknown) == [8, 0, 0, 0, 0]
    assert ask("web", unknown, 1) == [0, 0, 0, 0, 0]
    assert ask("mail", 0, 1) == [8, 8, 8, 8, 8]
    assert ask("mail", 1, 0) == [8, 0, 0, 0, 0]
    assert ask("mail", 1, 1) == [0, 0, 0, 0, 0]


def _minute(policy, slots, moment):
    slots = np.array(slots, np.uint32)
    found = contact_policy.find_local_minute(policy, slots, moment.timestamp())
    assert found == oracle.find_local_minute(policy, slots, moment.timestamp())
    return found


@pytest.mark.parametrize("zone", range(len(ZONES) - 1))
@pytest.mark.parametrize("year", [2024, 2026, 2031, 2044])
def test_the_minute_of_the_day_is_that_of_the_zone_all_year_round(catalogue, zone, year):
    policy = pack(catalogue, quiet_hours=(QuietHours((), 60, 0),), time_zone_slot=0)
    draw = np.random.default_rng(year)
    start = datetime(year, 1, 1, tzinfo=UTC).timestamp()
    for second in start + draw.integers(0, 365 * DAY, 150):
        moment = datetime.fromtimestamp(int(second), UTC)
        local = moment.astimezone(ZoneInfo(ZONES[zone]))
        assert _minute(policy, [zone, 0, 0], moment) == local.hour * 60 + local.minute


def test_both_hours_of_a_change_of_clocks_are_told_apart(catalogue):
    policy = pack(catalogue, quiet_hours=(QuietHours((), 60, 0),), time_zone="Europe/Berlin")
    unknown = [0xFFFF_FFFF] * 3
    # In March 2027 the hour from 2 to 3 does not exist, in October the one from 2 to 3 does twice.
    spring = datetime(2027, 3, 28, 1, 0, tzinfo=UTC)
    autumn = datetime(2027, 10, 31, 1, 0, tzinfo=UTC)
    before = timedelta(seconds=1)
    assert _minute(policy, unknown, spring - before) == 119
    assert _minute(policy, unknown, spring) == 180
    assert _minute(policy, unknown, autumn - before) == 179
    assert _minute(policy, unknown, autumn) == 120


@pytest.mark.parametrize(
    ("start", "end", "minute", "quiet"),
    [
        (1320, 480, 1319, False),
        (1320, 480, 1320, True),
        (1320, 480, 1439, True),
        (1320, 480, 0, True),
        (1320, 480, 479, True),
        (1320, 480, 480, False),
        (480, 600, 479, False),
        (480, 600, 480, True),
        (480, 600, 599, True),
        (480, 600, 600, False),
        (480, 480, 480, False),
    ],
)
def test_quiet_hours_begin_and_end_to_the_minute_and_may_cross_midnight(
    catalogue, start, end, minute, quiet
):
    policy = pack(catalogue, quiet_hours=(QuietHours((), start, end),))
    midnight = datetime(2026, 11, 3, tzinfo=UTC).timestamp()
    for module in (contact_policy, oracle):
        found = run(policy, EMPTY, now_s=midnight + minute * 60 + 59.9, module=module)
        assert found[1] == [9 * quiet] * 5


def test_on_either_side_of_the_date_line_it_is_another_hour_of_another_day(catalogue):
    policy = pack(
        catalogue, quiet_hours=(QuietHours((), 1320, 480),), time_zone_slot=0, time_zone="UTC"
    )
    noon = datetime(2026, 11, 3, 12, tzinfo=UTC).timestamp()
    quiet = {
        zone: run(policy, EMPTY, now_s=noon, slots=[ZONES.index(zone), 0, 0])[0] == 0
        for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago", "Asia/Kathmandu")
    }
    # 02:00 of the next day, 01:00 of this day, 17:45.
    assert quiet == {
        "Pacific/Kiritimati": True,
        "Pacific/Pago_Pago": True,
        "Asia/Kathmandu": False,
    }


def test_a_zone_that_is_missing_or_unknown_is_the_policys_own(catalogue):
    policy = pack(
        catalogue,
        quiet_hours=(QuietHours((), 60, 0),),
        time_zone_slot=0,
        time_zone="America/New_York",
    )
    moment = datetime(2026, 11, 3, 12, tzinfo=UTC)
    for code in (0xFFFF_FFFF, ZONES.index("Nowhere/Atlantis"), 4_000):
        assert _minute(policy, [code, 0, 0], moment) == 7 * 60


def test_one_list_never_offers_more_than_the_caps_leave(catalogue):
    policy = pack(
        catalogue,
        caps=(
            Cap("all", ContactScope.CUSTOMER, 3, DAY),
            Cap("group", ContactScope.GROUP, 1, DAY),
        ),
    )
    _, reason, room = run(policy, section_of([contact(catalogue, NOW_S - 60, "c")]))
    assert reason == [0, 0, 10, 0, 0]
    reasons, best = np.array(reason, np.uint8), np.zeros(5, np.int32)
    score = np.array([1.0, 2.0, 9.0, 0.5, 0.7])
    count = contact_policy.list_within_caps(
        policy, 0, 5, np.array(room, np.int32), score, reasons, best
    )
    assert best[:count].tolist() == [1, 4]
    assert reasons.tolist() == [10, 0, 10, 10, 0]
