"""A customer's list of contacts: bounded, whole or known not to be, the same in any order."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instanter.decision.contacts import (
    EMPTY,
    HEAD_SIZE_BYTES,
    IN_DOUBT,
    ROW_SIZE_BYTES,
    Contact,
    ContactKind,
    code_of,
    group_code_of,
    is_whole,
    make_contact,
    mark_own,
    read_contacts,
    record_contact,
    tag_of,
)
from instanter.errors import DamagedError
from instanter.kernels.packed_policy import (
    HEAD_ANSWERS_LOST_S,
    HEAD_CONTACTS_LOST_S,
    HEAD_OWN_TAG,
)
from instanter.limits import CONTACTS_KEPT

DECISION = bytes(range(16))
CONTACTS = st.builds(
    Contact,
    time_s=st.integers(1_000, 1_050),
    offer=st.integers(0, 3),
    group=st.just(9),
    channel=st.integers(0, 1),
    kind=st.sampled_from([int(kind) for kind in ContactKind]),
    tag=st.integers(0, 2**32 - 1),
)


def record(contacts, section=b""):
    for contact in contacts:
        section = record_contact(section, contact)
    return section


def lost_s(section, word):
    return int.from_bytes(section[4 * word : 4 * word + 4], "little")


def test_an_outcome_becomes_a_contact_that_leaves_a_window_late_rather_than_early():
    contact = make_contact(5_000_000_001, "loan", "money", "web", ContactKind.PRESENTED, DECISION)
    assert contact == Contact(
        6, code_of("loan"), code_of("group\0money"), code_of("web"), 0, tag_of(DECISION)
    )
    assert make_contact(6_000_000_000, "", "", "", ContactKind.IGNORED, DECISION).time_s == 6


def test_codes_are_stable_because_they_stand_in_stored_records():
    assert [code_of(name) for name in ("loan", "web", "")] == [1402073811, 1716580139, 634351890]
    assert group_code_of("loan", "money") == group_code_of("card", "money") != code_of("money")
    assert group_code_of("loan", "") != group_code_of("card", "")
    assert tag_of(DECISION) == 0xCECEE288


@given(contacts=st.lists(CONTACTS, max_size=30), seed=st.integers(0, 99))
def test_late_outcomes_leave_the_same_bytes_as_punctual_ones(contacts, seed):
    shuffled = random.Random(seed).sample(contacts, len(contacts))
    assert record(shuffled) == record(sorted(contacts, key=lambda c: (c.time_s, c.tag)))


@given(contacts=st.lists(CONTACTS, max_size=30))
def test_all_contacts_and_the_latest_answers_are_kept_in_the_order_of_time(contacts):
    section = record(contacts) or EMPTY
    assert is_whole(section)
    presented = sorted(c for c in contacts if c.kind == 0)
    answers = {}
    for contact in sorted(contacts):
        if contact.kind:
            answers[contact.offer, contact.kind] = contact
    assert read_contacts(section) == presented + sorted(answers.values())


@pytest.mark.parametrize("order", ["rising", "falling", "mixed"])
def test_a_full_list_keeps_the_latest_and_remembers_until_when_others_were_lost(order):
    contacts = [Contact(1_000 + n, n % 7, 1, 1, 0, n) for n in range(CONTACTS_KEPT + 40)]
    if order == "falling":
        contacts.reverse()
    if order == "mixed":
        random.Random(1).shuffle(contacts)
    section = record(contacts)
    assert read_contacts(section) == sorted(contacts)[-CONTACTS_KEPT:]
    assert lost_s(section, HEAD_CONTACTS_LOST_S) == 1_000 + 39
    assert lost_s(section, HEAD_ANSWERS_LOST_S) == 0
    assert len(section) == HEAD_SIZE_BYTES + CONTACTS_KEPT * ROW_SIZE_BYTES


def test_answers_have_a_bound_of_their_own():
    answers = [Contact(1_000 + n, n, 1, 1, 1, n) for n in range(CONTACTS_KEPT + 5)]
    section = record([*answers, Contact(1, 1, 1, 1, 0, 1)])
    assert len(read_contacts(section)) == CONTACTS_KEPT + 1
    assert lost_s(section, HEAD_ANSWERS_LOST_S) == 1_004
    assert lost_s(section, HEAD_CONTACTS_LOST_S) == 0


@given(st.lists(CONTACTS.map(lambda c: c._replace(tag=c.tag % 3)), max_size=20))
def test_a_retry_sees_which_contacts_are_its_own_and_no_answer_to_them(contacts):
    whole = record(contacts) or EMPTY
    seen = mark_own(whole, 1)
    assert is_whole(seen)
    assert read_contacts(seen) == [c for c in read_contacts(whole) if c.tag != 1 or not c.kind]
    assert lost_s(seen, HEAD_OWN_TAG) == 1
    assert mark_own(seen, 1) == seen
    assert read_contacts(mark_own(IN_DOUBT, 0xFFFF_FFFF)) == []


def test_what_is_left_out_for_a_retry_does_not_make_a_list_whole_again():
    answers = [Contact(1_000 + n, n, 1, 1, 1, 0) for n in range(CONTACTS_KEPT + 5)]
    section = mark_own(record([*answers, Contact(9_999, 1, 1, 1, 2, 7)]), 7)
    assert len(read_contacts(section)) == CONTACTS_KEPT - 1
    assert lost_s(section, HEAD_ANSWERS_LOST_S) == 1_005


def test_a_late_answer_does_not_bring_an_older_state_back():
    first = Contact(1_000, 1, 1, 1, 1, 7)
    later = Contact(2_000, 1, 1, 1, 1, 8)
    assert read_contacts(record([later, first])) == [later]


@pytest.mark.parametrize(
    "section", [EMPTY[:-4], EMPTY + b"\0" * 4, b"\x07" + EMPTY[1:], EMPTY[:4] + b"\x01" + EMPTY[5:]]
)
def test_a_section_that_is_not_one_is_refused_and_never_indexed(section):
    assert not is_whole(section)
    with pytest.raises(DamagedError):
        record_contact(section, Contact(1, 1, 1, 1, 0, 1))


def test_the_stand_ins_are_whole():
    assert is_whole(EMPTY)
    assert is_whole(IN_DOUBT)
    assert not is_whole(b"")
