"""The kernels that assess a turn's card transactions against their slow twins."""

import copy
import math

import msgpack
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from instanter.catalogue.fraud_words import EntityKind
from instanter.fraud import turns
from instanter.fraud.tables import make_tables
from instanter.kernels import (
    event_records,
    fraud_assessing,
    fraud_bodies,
    fraud_events,
    fraud_turns,
)
from instanter.store.records import unseal
from tests.fraud.turns import draw_transaction, make_turn, make_world
from tests.fraud.worlds import NOW_NS
from tests.oracles import event_records as records_oracle
from tests.oracles import fraud_assessing as assessing_oracle
from tests.oracles import fraud_bodies as bodies_oracle
from tests.oracles import fraud_events as events_oracle
from tests.oracles import fraud_turns as turns_oracle

DAY_NS = 86_400_000_000_000


@given(st.integers(0, 2**63 - 1))
@example(2**53 + 1)
@example(1_699_999_999_999_999_000)
@example(2_147_483_647_999_999_999)
@example(2_147_483_648_000_000_001)
def test_nanoseconds_become_the_seconds_that_python_divides_them_to(time_ns):
    expected = time_ns / 1_000_000_000
    assert fraud_events.to_seconds(time_ns) == expected == events_oracle.to_seconds(time_ns)


@pytest.mark.parametrize("seconds", [1_000_000_000, 1_699_999_999, 2_147_483_647, 4_000_000_000])
def test_what_lies_just_above_the_middle_of_two_numbers_is_rounded_up(seconds):
    bits = 53 - seconds.bit_length()
    for step in range(1, 400, 2):
        middle = (seconds << bits + 1) + step
        time_ns = -(-middle * 1_000_000_000 >> bits + 1)
        assert fraud_events.to_seconds(time_ns) == time_ns / 1_000_000_000
        assert fraud_events.to_seconds(time_ns - 1) == (time_ns - 1) / 1_000_000_000


NUMBERS = st.tuples(
    st.sampled_from((1, 127, 128, 255, 256, 65_535, 65_536, 2**24 + 1, 2**32, 10**12)),
    st.sampled_from((0, 2, 3, 4)),
    st.integers(0, 26**3 - 1),
    st.sampled_from((1, 127, 128, 256, 9_999)),
    st.integers(NOW_NS - 400 * DAY_NS, NOW_NS + DAY_NS),
    st.sampled_from((0, 1)),
    *[st.integers(0, 2**32 - 1)] * 3,
)
NAMES = st.lists(st.text("abc", max_size=300), min_size=8, max_size=8)


def lay_out_texts(names):
    texts = np.zeros((8, 2), np.int64)
    data = "-".join(names)
    at = 0
    for row, name in enumerate(names):
        texts[row] = at, at + len(name)
        at += len(name) + 1
    return texts, np.frombuffer(data.encode() + b"-", np.uint8)


@given(NUMBERS, NAMES, st.booleans(), st.integers(0, 4 * DAY_NS), st.sampled_from((0, 1)))
def test_own_figures_and_event_are_those_of_the_twins(
    numbers, names, has_place, shift_ns, approved
):
    numbers, (texts, _) = np.array(numbers, np.int64), lay_out_texts(names)
    found = []
    for module in (fraud_events, events_oracle):
        figures = np.full(23, 7, np.uint32)
        time_ns = int(numbers[4]) - shift_ns
        module.write_own_figures(numbers, texts, int(has_place), time_ns, NOW_NS, figures)
        event = np.zeros(11, np.int64)
        event[1] = 17 << 32
        module.make_event(figures, NOW_NS // 10**6, 1, approved, event)
        found.append((figures.tolist(), event.tolist()))
    assert found[0] == found[1]


@given(
    NUMBERS, NAMES, st.booleans(), st.booleans(), st.floats(0, 100), st.integers(0, 40),
    st.sampled_from((1, 130, 2**33)), st.booleans(),
)  # fmt: skip
def test_a_record_and_its_row_are_those_of_the_twin(
    numbers, names, has_place, has_reason, risk, feature_count, code, lacks_place
):  # fmt: skip
    numbers, (texts, data) = np.array(numbers, np.int64), lay_out_texts(names)
    said = np.zeros(fraud_bodies.SAID, np.int64)
    said[:2] = code, numbers[4]
    said[6:11] = has_place, has_reason, 0 if code == 1 else 300, code, lacks_place
    said[fraud_bodies.SAID_IS_APPROVED] = 1
    said[2:6].view(np.float64)[:] = risk, math.nan if code == 1 else risk / 100, 50.5, -8.25
    chance = np.random.default_rng(feature_count)
    event = np.arange(10 + feature_count % 2, dtype=np.int64)
    event[1] = 16 + feature_count % 2 << 32 | 1
    figures = chance.integers(0, 2**32, 31 + feature_count, np.uint32)
    features = chance.random(feature_count, np.float32)
    ids = chance.integers(0, 256, 64, np.uint8)
    packed = chance.integers(0, 256, 900, np.uint8)
    rest = (texts, data, packed, 11, 11 + 8 * feature_count, ids, 16, 48, said, event, figures)
    found = []
    for module in (fraud_bodies, bodies_oracle):
        out, ends = np.zeros(20_000, np.uint8), np.zeros(2, np.int64)
        assert module.write_assessment(numbers, *rest, features, out, 5, ends) == 1
        found.append((out.tobytes(), ends.tolist()))
    assert found[0] == found[1]
    small, ends = np.zeros(found[0][1][1] - 1, np.uint8), np.zeros(2, np.int64)
    assert fraud_bodies.write_assessment(numbers, *rest, features, small, 5, ends) == 0
    assert not small.any()


@given(
    NUMBERS, NAMES, st.booleans(), st.booleans(), st.integers(0, 40), st.integers(0, 50),
    st.sampled_from((0, 300)),
)  # fmt: skip
def test_what_is_found_of_a_remarkable_one_is_that_of_the_twin(
    numbers, names, has_place, approved, feature_count, fired_count, model_id
):  # fmt: skip
    numbers, (texts, data) = np.array(numbers, np.int64), lay_out_texts(names)
    said = np.zeros(fraud_bodies.SAID, np.int64)
    said[fraud_bodies.SAID_TIME_NS], said[fraud_bodies.SAID_MODEL_ID] = numbers[4], model_id
    said[fraud_bodies.SAID_HAS_PLACE] = has_place
    said[fraud_bodies.SAID_LATITUDE : fraud_bodies.SAID_LONGITUDE + 1].view(float)[:] = 50.5, -8.25
    said[fraud_bodies.SAID_FIRED_COUNT] = fired_count
    said[fraud_bodies.SAID_IS_APPROVED] = approved
    chance = np.random.default_rng(feature_count)
    event = np.arange(10 + feature_count % 2, dtype=np.int64)
    event[1] = 16 + feature_count % 2 << 32 | 1
    figures = chance.integers(0, 2**32, 31 + feature_count, np.uint32)
    features = chance.random(feature_count, np.float32)
    fired = chance.integers(0, 2_000, 50).astype(np.int32)
    given = (numbers, texts, data, said, event, figures, features, fired)
    found = []
    for module in (fraud_bodies, bodies_oracle):
        out, ends = np.zeros(20_000, np.uint8), np.zeros(2, np.int64)
        assert module.write_finding(*given, out, 5, ends) == 1
        found.append((out.tobytes(), ends.tolist()))
    assert found[0] == found[1]
    small, ends = np.zeros(found[0][1][1] - 1, np.uint8), np.zeros(2, np.int64)
    assert fraud_bodies.write_finding(*given, small, 5, ends) == 0
    assert not small.any()


@pytest.mark.parametrize("number", [0, 1, 255, 2**32 - 1, 2**40 + 5, -1])
def test_whole_numbers_are_written_little_endian(number):
    found = []
    for module in (event_records, records_oracle):
        data = np.zeros(9, np.uint8)
        module.write_little(data, 3, number)
        found.append(data.tolist())
    assert found[0] == found[1]


def take_apart(key, body, row):
    """Return what is in a body and its row, arrays as numbers."""
    content = msgpack.unpackb(body)
    value = unseal(key, row)
    assert value[44:] == content["verdict"] + content["counted"]
    verdict, counted = msgpack.unpackb(content["verdict"]), msgpack.unpackb(content["counted"])
    numbers = [*verdict[2:4], *np.frombuffer(counted.pop(13), np.float32).tolist()]
    figures = np.frombuffer(content["figures"], np.float32).tolist()
    rest = {**content, "verdict": verdict[4:], "counted": counted, "figures": 0, "row": value[:44]}
    return rest, numbers + figures


def take_finding_apart(finding):
    """Return what is in a finding, arrays as numbers."""
    counted = msgpack.unpackb(finding.counted)
    parts = (counted.pop(13), finding.figures)
    numbers = [one for part in parts for one in np.frombuffer(part, np.float32).tolist()]
    numbers += finding.points, finding.model_points, finding.probability
    return (counted, finding.fired, finding.severity, finding.lacks_place), numbers


def same_turn(turn, ours, theirs):
    """Compare turns; twins of baselines and of the model have other last bits."""
    assert ours.done == theirs.done
    assert ours.has_model_reason == theirs.has_model_reason
    assert ours.findings.keys() == theirs.findings.keys()
    keys = turn.keys[turn.first :]
    for at in range(ours.done):
        if at in ours.findings:
            mine, numbers = take_finding_apart(ours.findings[at])
            twin, others = take_finding_apart(theirs.findings[at])
            assert mine == twin
            np.testing.assert_allclose(numbers, others, rtol=1e-5, atol=1e-9)
            continue
        mine, numbers = take_apart(keys[at], ours.bodies[at], ours.rows[at])
        twin, others = take_apart(keys[at], theirs.bodies[at], theirs.rows[at])
        assert mine == twin
        np.testing.assert_allclose(numbers, others, rtol=1e-5, atol=1e-9)
    assert [index for index, _ in ours.states] == [index for index, _ in theirs.states]
    for (_, mine), (_, twin) in zip(ours.states, theirs.states, strict=True):
        assert (mine.velocities, mine.place) == (twin.velocities, twin.place)
        assert len(mine.baseline) == len(twin.baseline)
        pairs = (np.frombuffer(one.baseline, np.float32) for one in (mine, twin))
        parts = [np.nan_to_num(one[8:]) for one in pairs]
        np.testing.assert_allclose(*parts, rtol=1e-5)


@pytest.mark.parametrize("seed", range(16))
def test_a_turn_is_that_of_the_twin(seed, monkeypatch):
    desk, chance = make_world(seed)
    assessor = turns.TurnAssessor(make_tables(desk.catalogue))
    for step in range(4):
        now_ns = NOW_NS + step * 10**10
        given = [draw_transaction(chance, 100 * step + n, now_ns) for n in range(8)]
        turn, names = make_turn(desk.catalogue, desk.book, given, now_ns=now_ns, first=step % 2)
        ours = assessor.assess(turn)
        with monkeypatch.context() as patch:
            patch.setattr(turns, "assess_turn", turns_oracle.assess_turn)
            same_turn(turn, ours, assessor.assess(turn))
        for index, state in ours.states:
            if step == 1 and names[index] == (EntityKind.CARD, "c1"):
                state = state._replace(snoozes=bytes(16))
            desk.book.put_state(*names[index], state)


def catch_arguments(assessor, turn, monkeypatch):
    """Return what the kernel is called with for a turn, and what comes of it."""
    caught = []

    def assess_turn(*arguments):
        caught.extend(copy.copy(one) for one in arguments)
        return fraud_turns.assess_turn(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(turns, "assess_turn", assess_turn)
        found = assessor.assess(turn)
    return caught, found


def make_arguments(monkeypatch):
    """Return the arguments of a turn of which several are done, and what comes of it."""
    desk, chance = make_world(2)
    assessor = turns.TurnAssessor(make_tables(desk.catalogue))
    given = [draw_transaction(chance, n, NOW_NS) for n in range(6)]
    turn, _ = make_turn(desk.catalogue, desk.book, given, now_ns=NOW_NS)
    caught, found = catch_arguments(assessor, turn, monkeypatch)
    assert found.done > 3
    return caught, found


@pytest.mark.parametrize("name", ["words", "out"])
def test_a_turn_ends_where_there_is_no_more_room(name, monkeypatch):
    caught, found = make_arguments(monkeypatch)
    *given, words, directory, told, out = caught
    seen = set()
    assert found.findings
    for share in range(40):
        room = {"words": len(words), "out": len(out)}
        room[name] = room[name] * share // 40
        roomy = np.full(len(words) + len(out), 77, np.int64)
        kept = roomy[: room["words"]]
        kept[:] = words[: room["words"]]
        bytes_ = np.full(len(out) + 8, 77, np.uint8)
        done, _, _ = fraud_turns.assess_turn(
            *given, kept, directory.copy(), told, bytes_[: room["out"]]
        )
        seen.add(done)
        assert (roomy[room["words"] :] == 77).all()
        assert (bytes_[room["out"] :] == 77).all()
        if done:
            end = told[done - 1, 1]
            assert bytes_[:end].tobytes() == b"".join(
                body + row for body, row in zip(found.bodies[:done], found.rows[:done], strict=True)
            )
    assert len(seen) > 2


def test_one_transaction_is_assessed_as_its_twin_does(monkeypatch):
    caught, _ = make_arguments(monkeypatch)
    (
        _, count, now_ns, _, numbers, places, _, texts, _, _, _, _, _, model, f64, i32, u8, i64,
        cut, *_,
    ) = caught  # fmt: skip
    laid, laid_cut, known = np.zeros(0, np.int64), np.zeros(9, np.int64), np.ones(5, np.uint8)
    profile, tables = np.zeros(0, np.uint32), assessing_oracle.unpack(f64, i32, u8, i64, cut)
    verdicts = set()
    for i in range(count):
        for shift_ns in (0, 700 * 10**9, 90_000 * 10**9):
            found = []
            for module in (fraud_assessing, assessing_oracle):
                figures = np.zeros(tables.i64.settings[5], np.uint32)
                features = np.zeros(len(tables.i32.feature_slot), np.float32)
                event = np.zeros(2 + (tables.i64.settings[6] + 1) // 2, np.int64)
                event[1] = tables.i64.settings[6] << 32
                said = np.zeros(fraud_bodies.SAID, np.int64)
                fired = np.zeros(len(tables.i32.rule_literal), np.int32)
                verdict = module.assess_transaction(
                    now_ns + shift_ns, numbers[i], places[i], texts[i], -2, laid, laid_cut, known,
                    profile, model, f64, i32, u8, i64, cut, figures, features, event, fired, said,
                )  # fmt: skip
                told = [event.tolist(), fired.tolist(), said.tolist()]
                found.append((verdict, told if verdict else None))
            assert found[0] == found[1]
            verdicts.add(found[0][0])
    assert verdicts == {0, 1, 2}
