"""The record of a turn: everything that was asked and answered can be read back."""

from contextlib import contextmanager
from dataclasses import replace

import msgpack
import numpy as np
import pytest

from instanter.clock import SystemClock
from instanter.decision.decision_ids import hash_question, parse_decision_id
from instanter.decision.engine import DecisionEngine
from instanter.decision.questions import Question
from instanter.decision.recording import (
    ARM_DECIDED,
    ARM_HOLDOUT,
    decode_turn,
    outline_turn,
)
from instanter.decision.tables import make_tables
from instanter.errors import DamagedError
from instanter.store.environment import Environment
from instanter.store.profiles import put_profile
from instanter.store.records import key_of
from tests.decision.worlds import draw_slots, make_catalogue, make_score_table

PREFIX = "0123456789abcdef"


@pytest.fixture
def world(tmp_path):
    """An engine over twenty profiles, and the list of what it recorded."""
    with make_world(tmp_path) as made:
        yield made


@contextmanager
def make_world(folder, call_later=None):
    """Yield an engine over twenty profiles, and the list of what it recorded."""
    catalogue = make_catalogue()
    recorded = []
    with Environment.open(folder) as environment:

        def write(transaction):
            for number, slots in enumerate(draw_slots(catalogue, 20, 1)):
                for _ in range(number + 1):
                    put_profile(
                        transaction,
                        key_of(f"c{number}"),
                        slots,
                        schema_revision=1,
                        now_ms=1,
                        keep_until_s=0,
                    )

        environment.write(write)
        engine = DecisionEngine(
            environment,
            SystemClock(),
            decision_id_prefix=PREFIX,
            on_damaged=lambda customer: None,
            record=recorded.append,
            call_later=call_later,
        )
        engine.install(make_tables(catalogue, make_score_table(catalogue, 3)))
        yield engine, recorded


def ask(number, request_id="", **context):
    """Return a question of a customer."""
    return Question(f"c{number}", "web", "home", 3, context, request_id)


def test_a_turn_can_be_read_back_with_everything_that_was_answered(world):
    engine, recorded = world
    questions = [ask(n, basket=60.0 + n, device="phone") for n in range(22)]
    questions[5] = ask(5, "retry")
    decisions = engine.decide(questions)
    (body,) = recorded
    turn = decode_turn(body)
    assert turn.rows == 22
    assert turn.prefix.hex() == PREFIX
    arms = set()
    for row, (question, decision) in enumerate(zip(questions, decisions, strict=True)):
        found = turn.decision(row)
        assert found.decision_id.hex() == decision.decision_id
        assert (found.customer_id, found.request_id) == (question.customer_id, question.request_id)
        assert (found.channel, found.placement, found.offer_count) == ("web", "home", 3)
        assert found.profile_state == decision.profile_state
        assert found.profile_revision == (row + 1 if row < 20 else 0)
        assert found.catalogue_revision == decision.catalogue_revision
        assert found.model_revision == decision.model_revision
        assert (found.arm == ARM_HOLDOUT) == decision.in_holdout
        arms.add(found.arm)
        shown = [(o.name, o.propensity, o.priority, o.value_minor) for o in found.offers]
        assert shown == [
            (o.offer, o.propensity, o.priority, o.value_minor) for o in decision.offers
        ]
        if decision.exclusions:
            counts = {r: n for r, n in enumerate(found.reason_counts) if r and n}
            assert counts == dict(decision.exclusions)
        codes = {0: int(np.float32(60.0 + row).view(np.uint32)), 1: 0}
        assert found.context == ({} if row == 5 else codes)
    assert arms == {ARM_DECIDED, ARM_HOLDOUT}


def test_ids_tell_turn_and_row_and_a_request_id_makes_its_own(world):
    engine, recorded = world
    engine.decide([ask(1)])
    first, second = engine.decide([ask(1), ask(2, "again")])
    turn = decode_turn(recorded[1])
    assert parse_decision_id(bytes.fromhex(first.decision_id)) == (
        bytes.fromhex(PREFIX),
        turn.turn,
        0,
    )
    assert turn.turn == decode_turn(recorded[0]).turn + 1
    assert second.decision_id == hash_question(ask(2, "again"), b"").hex()
    assert turn.id_of(1).hex() == second.decision_id


def test_a_request_id_makes_one_decision_of_what_asks_the_same_and_of_nothing_else(world):
    engine, recorded = world
    question = ask(2, "page-1", basket=60.0, device="phone")
    others = [
        replace(question, customer_id="c3"),
        replace(question, request_id="page-2"),
        replace(question, placement="basket"),
        replace(question, channel="store", placement=""),
        replace(question, offer_count=1),
        replace(question, context={"basket": 60.0, "device": "till"}),
        replace(question, context={}),
    ]
    retry = replace(question, context={"device": "phone", "basket": 60.0})
    ids = [answer.decision_id for answer in engine.decide([question, *others, retry])]
    assert len(set(ids)) == 1 + len(others)
    assert ids[-1] == ids[0]
    turn = decode_turn(recorded[0])
    assert [turn.id_of(row).hex() for row in range(turn.rows)] == ids


def test_a_context_attribute_that_is_declared_meanwhile_makes_no_other_question():
    given, missing = b"\x01\0\0\0", b"\xff" * 4
    once = hash_question(ask(1, "r"), missing + given)
    assert once == hash_question(ask(1, "r"), missing + given + missing * 3)
    assert once != hash_question(ask(1, "r"), given + missing)


def test_a_record_of_the_first_format_keeps_the_ids_that_were_answered(world):
    engine, recorded = world
    engine.decide([ask(1), ask(2, "again")])
    # Format 1 had no ids: a request id stood for one question of a customer.
    form, *fields = msgpack.unpackb(recorded[0])
    assert (form, len(fields.pop(21))) == (2, 16)
    first = msgpack.packb([1, *fields])
    turn, outline = decode_turn(first), outline_turn(first)
    known = bytes.fromhex("f73c4564aae8864b36fc86d5fc97a92c")
    assert turn.id_of(1) == turn.decision(1).decision_id == outline.decision_ids[1] == known
    assert parse_decision_id(turn.id_of(0))[2] == 0
    assert turn.decision(1).offers == decode_turn(recorded[0]).decision(1).offers
    for form, wrong in ((1, [*fields, b""]), (2, fields), (2, [*fields, b"\0" * 15]), (3, fields)):
        body = msgpack.packb([form, *wrong])
        for read in (decode_turn, outline_turn):
            if (form, read) == (1, outline_turn):
                continue
            with pytest.raises(DamagedError):
                read(body)


def test_turns_that_are_recorded_later_say_the_same_and_none_is_left_out(tmp_path):
    later = []
    with make_world(tmp_path, later.append) as (engine, recorded):
        answers = [engine.decide([ask(number), ask(number + 1)]) for number in range(5)]
        # Whose rows the next turn has taken is recorded by then; the last one waits.
        assert len(recorded) == 4
        for function in later:
            function()
    turns = [decode_turn(body) for body in recorded]
    assert [turn.turn for turn in turns] == [1, 2, 3, 4, 5]
    for number, (turn, decisions) in enumerate(zip(turns, answers, strict=True)):
        assert turn.customers == [f"c{number}", f"c{number + 1}"]
        for row, decision in enumerate(decisions):
            assert turn.id_of(row).hex() == decision.decision_id
            found = [(offer.name, offer.priority) for offer in turn.decision(row).offers]
            assert found == [(offer.offer, offer.priority) for offer in decision.offers]


def test_a_large_batch_leaves_one_record_a_turn_and_refused_questions_none(world):
    engine, recorded = world
    questions = [ask(n % 20) for n in range(70)]
    questions[3] = Question("c3", "nowhere", "", 1, {}, "")
    answers = engine.decide(questions)
    turns = [decode_turn(body) for body in recorded]
    assert sum(turn.rows for turn in turns) == 69
    ids = [turn.id_of(row).hex() for turn in turns for row in range(turn.rows)]
    assert ids == [a.decision_id for at, a in enumerate(answers) if at != 3]
    assert len(set(ids)) == 69


@pytest.mark.parametrize("body", [b"", b"\x00", msgpack.packb([9, 1]), msgpack.packb([1] * 21)])
def test_what_is_no_record_is_refused(body):
    with pytest.raises(DamagedError):
        decode_turn(body)


def test_the_outline_of_a_turn_says_what_the_whole_says(world):
    engine, recorded = world
    for count in (1, 2, 40, 64):
        engine.decide([ask(n % 25, "again" if n % 3 == 0 else "") for n in range(count)])
    assert len(recorded) == 4
    for body in recorded:
        turn, outline = decode_turn(body), outline_turn(body)
        assert (outline.prefix, outline.turn, outline.time_ns) == (
            turn.prefix,
            turn.turn,
            turn.time_ns,
        )
        assert outline.request_ids == turn.request_ids
        assert outline.arms == turn.arms()
        assert outline.decision_ids == {
            row: turn.id_of(row) for row, request_id in enumerate(turn.request_ids) if request_id
        }


@pytest.mark.parametrize("place", [0, 8, 13])
def test_no_outline_is_made_of_what_is_no_turn(world, place):
    engine, recorded = world
    engine.decide([ask(1), ask(2)])
    document = msgpack.unpackb(recorded[0])
    document[place] = {0: 99, 8: [""], 13: document[13][:-2]}[place]
    for body in (msgpack.packb(document), recorded[0][:-9], b"", b"\xc1"):
        with pytest.raises(DamagedError):
            outline_turn(body)
