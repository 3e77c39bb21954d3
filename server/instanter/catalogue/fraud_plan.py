"""The check at the till laid out for its kernels."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from instanter.catalogue.compiled import CompiledCatalogue
from instanter.catalogue.currencies import find_minor_digits
from instanter.catalogue.derivation_plan import (
    STATE_WORDS_MAX,
    PackedPrograms,
    pack_programs,
)
from instanter.catalogue.fraud import FraudModel, FraudPolicy, Velocity, VelocityFunction
from instanter.catalogue.fraud_figures import (
    AMOUNT_MINOR,
    FIELD_FIRST,
    MCC,
    fraud_rate_slot,
    travel_slot,
    velocity_slot,
)
from instanter.catalogue.fraud_words import EntityKind
from instanter.catalogue.schema import AttributeKind
from instanter.kernels.derived_state import COUNT, DISTINCT_BUCKETS, MEAN, PLAN_COUNT
from instanter.kernels.fraud_model import DEFAULT_SETTINGS, SETTING_START_RATE
from instanter.kernels.velocities import ATTEMPT as ATTEMPT_KIND

ATTEMPT: Final = ATTEMPT_KIND
"""Kind code of a transaction among the events that velocities look at."""
LABEL: Final = 2
"""Kind code of what became of one."""

_TILES: Final = 32
_TILE_S_MIN: Final = 2
"""Shortest tile: numbers of tiles must stay below 2³¹ for longer than this century."""

_RATE: Final = VelocityFunction.FRAUD_RATE
_LABELS: Final = (VelocityFunction.FRAUDS, VelocityFunction.LABELS, _RATE)
_SUMS: Final = (VelocityFunction.SUM, VelocityFunction.MEAN, _RATE)
_DIGITS_DEFAULT: Final = 2
_BEHAVIOUR_WORDS: Final = 64
"""Words of two baselines and a place, with some to spare."""


@dataclass(frozen=True, slots=True, eq=False)
class FraudPlan:
    """What the kernels of the check at the till read beside states and figures.

    Attributes
    ----------
    plan, plan_cut, scale
        int64[D, PLAN_COUNT], int64[6], float64[D]: as in `kernels/velocities.evaluate_figures`.
    conditions
        The programs of velocities' conditions, by the codes `ATTEMPT` and `LABEL`.
    rules
        The program of all rules, under code 0.
    rule_literal, rule_points, rule_severity, valid_from_s, valid_to_s, shadow
        int32[R], float64[R], uint8[R], float64[R], float64[R], uint8[R]: as in
        `kernels/fraud_scoring.find_fired`.
    feature_slot, feature_is_code
        int32[N], uint8[N]: as in `kernels/fraud_scoring.gather_features`; empty without a model.
    feature_pairs, model_settings
        int32[P, 2], float64[SETTING_COUNT]: as in `kernels/fraud_model.predict_fraud`.
    value_count, truth_count
        Sizes of the scratch of the rules' program.
    figure_count, travel_slot, fraud_rate_slot, fraud_count_slot
        Figures of a transaction, and where some of them stand.
    counts
        By kind code, which of the five kinds of entities have velocities that look at it.
    """

    plan: NDArray[np.int64]
    plan_cut: NDArray[np.int64]
    scale: NDArray[np.float64]
    conditions: PackedPrograms
    rules: PackedPrograms
    rule_literal: NDArray[np.int32]
    rule_points: NDArray[np.float64]
    rule_severity: NDArray[np.uint8]
    valid_from_s: NDArray[np.float64]
    valid_to_s: NDArray[np.float64]
    shadow: NDArray[np.uint8]
    feature_slot: NDArray[np.int32]
    feature_is_code: NDArray[np.uint8]
    feature_pairs: NDArray[np.int32]
    model_settings: NDArray[np.float64]
    value_count: int
    truth_count: int
    figure_count: int
    travel_slot: int
    fraud_rate_slot: int
    fraud_count_slot: int
    counts: dict[int, tuple[bool, ...]]

    @property
    def words_max(self) -> int:
        """Words of all sections of a transaction's entities at most."""
        return len(self.plan) * STATE_WORDS_MAX + _BEHAVIOUR_WORDS


def make_fraud_plan(catalogue: CompiledCatalogue) -> FraudPlan:
    """Lay out the check at the till of a catalogue that has one."""
    policy = catalogue.fraud
    assert policy is not None, "the caller has looked"
    first = velocity_slot(len(policy.fields))
    digits = find_minor_digits(catalogue.currency)
    amount_scale = 10.0 ** -(_DIGITS_DEFAULT if digits is None else digits)
    placed = sorted(
        ((velocity, first + index) for index, velocity in enumerate(policy.velocities)),
        key=lambda pair: (pair[0].per, pair[0].state_id),
    )
    rows = [_lay_out(policy, velocity, slot) for velocity, slot in placed]
    kinds = [velocity.per for velocity, _ in placed]
    count = len(policy.rules)
    model = policy.model
    return FraudPlan(
        plan=np.array(rows, np.int64).reshape(-1, PLAN_COUNT),
        plan_cut=np.searchsorted(kinds, range(1, len(EntityKind) + 2)).astype(np.int64),
        scale=np.array([_find_scale(v, amount_scale) for v, _ in placed], np.float64),
        conditions=pack_programs(
            {ATTEMPT: policy.attempt_program, LABEL: policy.label_program}, LABEL
        ),
        rules=pack_programs({0: policy.program}, 0),
        rule_literal=np.array(policy.rule_literals, np.int32),
        rule_points=np.array([rule.points for rule in policy.rules], np.float64),
        rule_severity=np.array([rule.disposition for rule in policy.rules], np.uint8),
        valid_from_s=np.array([rule.valid_from_s for rule in policy.rules], np.float64),
        valid_to_s=np.array([rule.valid_to_s for rule in policy.rules], np.float64),
        shadow=np.array([rule.shadow for rule in policy.rules], np.uint8).reshape(count),
        feature_slot=np.array(model.feature_slot if model else (), np.int32),
        feature_is_code=np.array(model.feature_is_code if model else (), np.uint8),
        feature_pairs=np.array(model.pairs if model else (), np.int32).reshape(-1, 2),
        model_settings=_make_settings(model),
        value_count=policy.program.value_count,
        truth_count=policy.program.truth_count,
        figure_count=first + len(policy.velocities),
        travel_slot=travel_slot(len(policy.fields)),
        fraud_rate_slot=fraud_rate_slot(len(policy.fields)),
        fraud_count_slot=first + len(policy.velocities) - 2,
        counts={
            code: tuple(
                any(v.per is kind and (v.function in _LABELS) == (code == LABEL) for v, _ in placed)
                for kind in EntityKind
            )
            for code in (ATTEMPT, LABEL)
        },
    )


def _make_settings(model: FraudModel | None) -> NDArray[np.float64]:
    """Return what the model learns by: float64[SETTING_COUNT]."""
    settings = np.array(DEFAULT_SETTINGS, np.float64)
    if model is not None:
        settings[SETTING_START_RATE] = model.start_rate
    return settings


def _find_scale(velocity: Velocity, amount_scale: float) -> float:
    """Return what a velocity's result is multiplied by: amounts are kept in minor units."""
    is_amount = velocity.of == "amount" and velocity.function is not VelocityFunction.DISTINCT
    return amount_scale if is_amount else 1.0


def _lay_out(policy: FraudPolicy, velocity: Velocity, slot: int) -> tuple[int, ...]:
    """Return the kernels' row of one velocity, as `catalogue/derivation_plan` does."""
    is_label = velocity.function in _LABELS
    aggregation = COUNT if is_label else int(velocity.function)
    if velocity.function is _RATE:
        aggregation = MEAN
    tile_s = max(-(-velocity.window_s // _TILES), _TILE_S_MIN)
    is_number = velocity.field_slot in (AMOUNT_MINOR, MCC)
    is_coded = is_exact = False
    if velocity.field_slot >= FIELD_FIRST:
        field = policy.fields[velocity.field_slot - FIELD_FIRST]
        is_number = field.kind is AttributeKind.NUMBER
        is_coded = field.kind in (AttributeKind.CATEGORY, AttributeKind.FLAG)
        is_exact = is_coded and len(field.values) <= DISTINCT_BUCKETS
    return (
        velocity.state_id,
        LABEL if is_label else ATTEMPT,
        aggregation,
        velocity.field_slot,
        velocity.condition_literal,
        1000 * tile_s,
        -(-velocity.window_s // tile_s),
        1000 * velocity.window_s,
        int(is_number),
        int(not is_coded),
        int(is_exact),
        3 if velocity.function in _SUMS else 1,
        slot,
    )
