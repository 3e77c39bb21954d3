"""A catalogue as bytes and back; bytes that are damaged or newer."""

import struct
import zlib
from dataclasses import fields, replace

import hypothesis
import msgpack
import numpy as np
import pytest
from hypothesis import strategies as st

from instanter.catalogue.contact_policy import (
    CONTACT_POLICY_EMPTY,
    Cap,
    Consent,
    ContactPolicy,
    ContactScope,
    CoolOff,
    CoolOffCause,
    QuietHours,
)
from instanter.catalogue.events import Aggregation, Derivation, EventField, EventKind
from instanter.catalogue.response import Arms, LearningRules, OutcomeRules
from instanter.catalogue.schema import AttributeKind
from instanter.catalogue.serialization import FORMAT, from_bytes, to_bytes
from instanter.errors import DamagedError, PreconditionError
from tests.catalogue.event_worlds import EVENT_FILES
from tests.catalogue.worlds import ATTRIBUTES, FILES, OFFER, compile_files, evaluate_rules


@pytest.fixture(scope="module")
def catalogue():
    full = OFFER + (
        "    eligibility: now - profile.last_visit > duration('1h') || profile.age / 2 > 3\n"
        "    context_weights: [{when: context.basket_value > 10, weight: 2}]\n"
    )
    first = compile_files(FILES).catalogue
    files = {
        **FILES,
        "attributes.yaml": ATTRIBUTES.replace("[bronze, silver,", "[").replace("member", "premium"),
        "offers.yaml": full.replace("espresso", "r0"),
    }
    return compile_files(files, first, revision=7).catalogue


def _equal(one, other):
    for field in fields(one):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if isinstance(a, np.ndarray):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)
        elif field.name == "program":
            _equal(a, b)
        elif field.name == "event_programs":
            assert a.keys() == b.keys()
            for name in a:
                _equal(a[name], b[name])
        elif field.name == "schema":
            assert (a.revision, a.attributes, a.withdrawn) == (
                b.revision,
                b.attributes,
                b.withdrawn,
            )
            assert a.profile_slot_count == b.profile_slot_count
            assert a.context_slot_count == b.context_slot_count
            assert a.loaded == b.loaded
        else:
            assert a == b, field.name


def test_a_catalogue_comes_back_whole(catalogue):
    _equal(catalogue, from_bytes(to_bytes(catalogue)))


def test_it_is_compiled_against_as_the_original_is(catalogue):
    back = from_bytes(to_bytes(catalogue))
    assert compile_files(back.files, back).changes == ()
    assert evaluate_rules(back, {"age": 8}, 5.0) == [2]


def test_arrays_come_back_read_only_and_contiguous(catalogue):
    back = from_bytes(to_bytes(catalogue))
    arrays = [getattr(back.program, field.name) for field in fields(back.program)]
    arrays += [back.rule_literal, back.treatment_index, back.treatment_weight, back.value]
    for array in arrays:
        assert array.flags.c_contiguous
        assert array.flags.aligned
        assert not array.flags.writeable


def test_every_flipped_bit_is_noticed(catalogue):
    data = to_bytes(catalogue)
    for position in range(0, 8 * len(data), max(1, len(data) // 25)):
        damaged = bytearray(data)
        damaged[position // 8] ^= 1 << (position % 8)
        with pytest.raises((DamagedError, PreconditionError)):
            from_bytes(bytes(damaged))


@pytest.mark.parametrize("size", [0, 7, 15, 16, 100])
def test_cut_off_bytes_are_damaged(catalogue, size):
    with pytest.raises(DamagedError):
        from_bytes(to_bytes(catalogue)[:size])


def test_a_newer_format_asks_for_an_upgrade(catalogue):
    data = bytearray(to_bytes(catalogue))
    struct.pack_into("<I", data, 8, FORMAT + 1)
    with pytest.raises(PreconditionError, match="upgrade this program"):
        from_bytes(bytes(data))


def _as_format_1(catalogue):
    """Return the bytes of a catalogue as the program wrote them that knew no events."""
    data = to_bytes(catalogue)
    document = msgpack.unpackb(data[16:], strict_map_key=False)
    for name in (
        "events", "event_programs", "derivations", "state_id_next", "contact_policy", "arms",
        "outcome_rules", "learning_rules",
    ):  # fmt: skip
        del document[name]
    for offer in document["offers"]:
        assert offer.pop() == "", "the purpose is the last field"
    body = msgpack.packb(document)
    return struct.pack("<8sII", data[:8], 1, zlib.crc32(body)) + body


def test_format_1_is_read_with_the_defaults_of_what_it_did_not_know(catalogue):
    back = from_bytes(_as_format_1(catalogue))
    _equal(catalogue, back)
    assert back.contact_policy == CONTACT_POLICY_EMPTY
    assert back.state_id_next == 1
    assert compile_files(back.files, back).changes == ()


def test_format_2_is_read_without_a_check_at_the_till(catalogue):
    data = to_bytes(catalogue)
    document = msgpack.unpackb(data[16:], strict_map_key=False)
    assert document.pop("fraud") is None
    body = msgpack.packb(document)
    back = from_bytes(struct.pack("<8sII", data[:8], 2, zlib.crc32(body)) + body)
    _equal(catalogue, back)
    assert back.fraud is None


def test_bytes_that_hold_other_fields_are_damaged(catalogue):
    data = to_bytes(catalogue)
    for name, value in (("offers", [[1] * 99]), ("arms", 3), ("derivations", [["a"]])):
        document = {**msgpack.unpackb(data[16:], strict_map_key=False), name: value}
        body = msgpack.packb(document)
        with pytest.raises(DamagedError):
            from_bytes(struct.pack("<8sII", data[:8], FORMAT, zlib.crc32(body)) + body)


_words = st.text(max_size=12)
_whole = st.integers(-1, 1 << 40)
_floats = st.one_of(st.none(), st.floats(allow_nan=False))
_codes = st.frozensets(st.integers(0, 9))
_event_fields = st.builds(
    EventField, _words, st.sampled_from(AttributeKind), _whole, _words, _floats, _floats,
    st.lists(_words).map(tuple), st.booleans(), _codes, st.booleans(),
)  # fmt: skip


def _many(one):
    return st.lists(one, max_size=3).map(tuple)


_later = st.fixed_dictionaries(
    {
        "events": _many(
            st.builds(EventKind, _words, _whole, _many(_event_fields), _words, st.booleans())
        ),
        "derivations": _many(
            st.builds(
                Derivation,
                _words,
                _whole,
                _whole,
                st.sampled_from(Aggregation),
                _words,
                _whole,
                _whole,
                _words,
                _whole,
                _whole,
                _whole,
                _whole,
            )
        ),
        "contact_policy": st.builds(
            ContactPolicy,
            _many(st.builds(Cap, _words, st.sampled_from(ContactScope), _whole, _whole, _words)),
            _many(
                st.builds(
                    CoolOff, st.sampled_from(CoolOffCause), st.sampled_from(ContactScope), _whole
                )
            ),
            _many(st.builds(QuietHours, _many(_words), _whole, _whole)),
            _many(st.builds(Consent, _words, _whole, _words, _words)),
            _words,
            _whole,
        ),
        "arms": st.builds(Arms, st.floats(0, 1), _words),
        "outcome_rules": st.builds(OutcomeRules, _whole, _whole),
        "learning_rules": st.builds(
            LearningRules, st.booleans(), _whole, st.floats(0, 10), st.booleans()
        ),
        "state_id_next": _whole,
    }
)
_WITH_EVENTS = compile_files(EVENT_FILES).catalogue


@hypothesis.given(_later)
def test_whatever_is_declared_of_events_and_contacts_comes_back(later):
    whole = replace(_WITH_EVENTS, **later)
    back = from_bytes(to_bytes(whole))
    _equal(whole, back)
    for old, new in zip(whole.derivations, back.derivations, strict=True):
        assert type(old.aggregation) is type(new.aggregation)
    for kind in back.events:
        assert all(isinstance(field.withdrawn_codes, frozenset) for field in kind.fields)
        assert all(isinstance(field.kind, AttributeKind) for field in kind.fields)
