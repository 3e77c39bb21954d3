"""The fused kernel against the slow stages, one after the other."""

import numpy as np
import pytest

from instanter.decision.contacts import (
    EMPTY,
    Contact,
    code_of,
    group_code_of,
    pack_row,
    record_contact,
)
from instanter.decision.tables import make_tables
from instanter.kernels import decision, turns
from instanter.kernels.decision import TOLD_COUNT
from instanter.kernels.turns import decide_batch
from tests.decision.worlds import FILES, draw_slots, make_catalogue, make_score_table
from tests.oracles import decision as oracle
from tests.oracles import turns as turns_oracle

NOW_S = 1_790_000_000.0


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("count", [0, 1, 2, 40, 64])
def test_a_turn_is_decided_like_one_stage_after_the_other(seed, count):
    catalogue = make_catalogue()
    draw = np.random.default_rng(seed)
    slots = draw_slots(catalogue, count, seed)
    context = draw.choice([0xFFFF_FFFF, 0, 1], (count, 2)).astype(np.uint32)
    context[:, 0] = draw.choice([10.0, 60.0, np.nan], count).astype("f4").view("u4")
    ids = [f"customer-{n}".encode() for n in range(count)]
    turn = (
        count,
        NOW_S,
        np.frombuffer(b"".join(ids), np.uint8),
        np.cumsum([0] + [len(i) for i in ids], dtype=np.int32),
        slots,
        context,
        np.column_stack(
            [
                draw.integers(1, 4, count),
                draw.integers(0, len(catalogue.surfaces), count),
                draw.integers(1, 5, count),
                np.zeros(count),
                np.zeros(count),
            ]
        ).astype(np.int32),
        draw.integers(0, 2**64, count, np.uint64),
        np.zeros(0, np.uint32),
    )
    arguments = make_tables(catalogue, make_score_table(catalogue, seed)).kernel_arguments
    told, listed = np.full((count, TOLD_COUNT), -1, np.int32), np.full((count, 4, 6), -1.0)
    told_wanted, listed_wanted = told.copy(), listed.copy()
    with np.errstate(all="ignore"):
        decide_batch(*turn, *arguments, told, listed)
        turns_oracle.decide_batch(*turn, *arguments, told_wanted, listed_wanted)
    assert told.tolist() == told_wanted.tolist()
    assert listed[..., 0].tolist() == listed_wanted[..., 0].tolist()
    assert listed == pytest.approx(listed_wanted, rel=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_each_stage_is_that_of_the_oracle(seed):
    catalogue = make_catalogue()
    tables = make_tables(catalogue, make_score_table(catalogue, seed))
    profile_predictors, *packed = tables.kernel_arguments[5:]
    packed, (edges, treatment_index, score_weight, policy) = packed[:6], packed[6:]
    offers, program = len(catalogue.offers), catalogue.program
    slots = draw_slots(catalogue, 1, seed)[0]
    context = np.array([np.float32(60).view("u4"), 0], np.uint32)
    results = []
    for module in (decision, oracle):
        values, truths = np.zeros(program.value_count), np.zeros(program.truth_count, np.uint8)
        reason, chance = np.zeros(offers, np.uint8), np.full(offers, 0.5)
        rows = np.zeros(len(tables.score_table.predictor_slot), np.int32)
        total = np.zeros(score_weight.shape[1], np.int32)
        weight, priority = np.zeros(offers), np.zeros(offers)
        weighted, listed = np.zeros(offers, np.uint8), np.zeros((4, 6))
        with np.errstate(all="ignore"):
            staying = module.check_offers(
                NOW_S, slots, context, 1, *packed, treatment_index, values, truths, reason
            )
            module.score_offers(
                slots, context, 1, True, profile_predictors, *packed, edges, score_weight, reason,
                rows.astype(np.float32), rows, total, chance,
            )  # fmt: skip
            count = module.list_offers(
                1, 4, 1, np.uint64(1), 0.0, *packed[:4], policy, np.zeros(0, np.float32), truths,
                chance, reason,
                np.zeros(0, np.int32), weight, weighted, priority, np.zeros(offers),
                np.zeros(4, np.int32), listed,
            )  # fmt: skip
        results.append((staying, count, reason.tolist(), total.tolist(), chance, weight, listed))
    (*exact, chance, weight, listed), (*wanted, chance_2, weight_2, listed_2) = results
    assert exact == wanted
    assert chance == pytest.approx(chance_2, rel=1e-12)
    assert weight.tolist() == weight_2.tolist()
    assert listed == pytest.approx(listed_2, rel=1e-12)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_the_halves_of_scoring_are_those_of_the_oracle(seed, known):
    catalogue = make_catalogue()
    tables = make_tables(catalogue, make_score_table(catalogue, seed))
    profile_predictors, f64, f64_cut, i32, i32_cut, u8, u8_cut, edges = tables.kernel_arguments[
        5:13
    ]
    slots = draw_slots(catalogue, 1, seed)[0]
    context = np.array([np.float32(60).view("u4"), 0], np.uint32)
    columns = len(tables.score_table.scale)
    total = np.random.default_rng(seed).integers(-20_000, 20_000, columns).astype(np.int32)
    reason = np.zeros(len(catalogue.offers), np.uint8)
    reason[0] = 1
    results = []
    for module in (decision, oracle):
        rows = np.zeros(len(tables.score_table.predictor_slot), np.int32)
        chance = np.full(len(reason), 0.5)
        count = module.bin_customer(
            slots, context, 1, known, profile_predictors, i32, i32_cut, u8, u8_cut, edges,
            rows.astype(np.float32), rows,
        )  # fmt: skip
        module.judge_offers(known, f64, f64_cut, reason, total, chance)
        results.append((rows[:count].tolist(), chance))
    (rows, chance), (rows_wanted, chance_wanted) = results
    assert rows == rows_wanted
    assert chance == pytest.approx(chance_wanted, rel=1e-12)
    assert chance[0] == 0.5, "who does not stay is left alone"


@pytest.mark.parametrize("seed", range(4))
def test_rules_of_a_turn_are_those_of_the_oracle(seed):
    catalogue = make_catalogue()
    packed = make_tables(catalogue, make_score_table(catalogue, seed)).kernel_arguments[6:12]
    count, program = 20, catalogue.program
    slots = draw_slots(catalogue, count, seed)
    context = np.tile(np.array([np.float32(60).view("u4"), 0], np.uint32), (count, 1))
    results = []
    for module in (turns, turns_oracle):
        planes = np.zeros((program.truth_count // 2, 2), np.uint64)
        digits = np.zeros((3, len(catalogue.offers)), np.uint64)
        values = np.zeros((program.value_count, 24))
        with np.errstate(all="ignore"):
            module.check_turn(count, NOW_S, slots, context, *packed, values, planes, digits)
        own = np.uint64((1 << count) - 1)
        results.append(((planes & own).tolist(), (digits & own).tolist()))
    assert results[0] == results[1]


POLICY = """
contact_policy:
  caps:
    - {name: twice, count: 2, window: 7d, per: offer}
    - {name: all, count: 3, window: 1d}
  cool_off: [{after: rejected, for: 30d}]
  quiet_hours: [{channels: [store], from: "15:00", to: "17:00"}]
  consent: [{attribute: member, channel: store}]
arms: {random_rate: 0.4, salt: any}
learning: {exploration: 0.7}
"""


def draw_held(count, draw):
    """Contacts, answers and reservations of each customer: words, where each begins, how many."""
    parts, heads, reserved, at = [], [], [], 0
    for _ in range(count):
        section = EMPTY
        for _ in range(draw.integers(0, 5)):
            section = record_contact(section, draw_contact(draw, int(draw.choice([0, 0, 1]))))
        rows = [draw_contact(draw, 0) for _ in range(draw.integers(0, 2))]
        heads.append(at // 4)
        reserved.append(len(rows))
        parts += [section, *map(pack_row, rows)]
        at = sum(map(len, parts))
    return np.frombuffer(b"".join(parts) or EMPTY, np.uint32), heads, reserved


def draw_contact(draw, kind):
    name = ["any", "adult", "gold", "phone"][draw.integers(4)]
    age_s = int(draw.choice([10, 3_600, 90_000, 700_000]))
    return Contact(
        int(NOW_S) - age_s,
        code_of(name),
        group_code_of(name, ""),
        code_of("web"),
        kind,
        int(draw.integers(99)),
    )


@pytest.mark.parametrize("seed", range(5))
def test_policy_and_chance_are_those_of_the_oracle(seed):
    catalogue = make_catalogue(FILES | {"policy.yaml": POLICY})
    draw = np.random.default_rng(seed)
    count = 6
    scores = make_score_table(catalogue, seed)
    scores.doubt[:] = draw.choice([0.0, 0.2, 1.0], len(scores.doubt))
    arguments = make_tables(catalogue, scores).kernel_arguments
    held, heads, reserved = draw_held(count, draw)
    ids = [f"customer-{seed}-{n}".encode() for n in range(count)]
    turn = (
        count,
        NOW_S,
        np.frombuffer(b"".join(ids), np.uint8),
        np.cumsum([0] + [len(i) for i in ids], dtype=np.int32),
        draw_slots(catalogue, count, seed),
        np.full((count, 2), 0xFFFF_FFFF, np.uint32),
        np.column_stack(
            [
                draw.integers(1, 3, count),
                draw.integers(0, len(catalogue.surfaces), count),
                draw.integers(1, 5, count),
                heads,
                reserved,
            ]
        ).astype(np.int32),
        draw.integers(0, 2**64, count, np.uint64),
        held,
    )
    told, listed = np.full((count, TOLD_COUNT), -1, np.int32), np.full((count, 4, 6), -1.0)
    told_wanted, listed_wanted = told.copy(), listed.copy()
    with np.errstate(all="ignore"):
        decide_batch(*turn, *arguments, told, listed)
        turns_oracle.decide_batch(*turn, *arguments, told_wanted, listed_wanted)
    assert told.tolist() == told_wanted.tolist()
    assert listed[..., 0].tolist() == listed_wanted[..., 0].tolist()
    assert listed[..., :5] == pytest.approx(listed_wanted[..., :5], rel=1e-12)
    # The oracle draws 200,000 times.
    assert listed[..., 5] == pytest.approx(listed_wanted[..., 5], abs=0.006)
