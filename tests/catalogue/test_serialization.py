"""A catalogue as bytes and back; bytes that are damaged or newer."""

import struct
from dataclasses import fields

import numpy as np
import pytest

from instanter.catalogue.serialization import FORMAT, from_bytes, to_bytes
from instanter.errors import DamagedError, PreconditionError
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
