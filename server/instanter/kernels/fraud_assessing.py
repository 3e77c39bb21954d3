"""One card transaction assessed: what the states, the rules and the model say of it.

Not where a stand-in speaks, see `kernels/fraud_turns`; what is answered is that of `fraud/engine`.
"""

import numpy as np
from numba import float64, int64, void

from instanter.kernels.array_types import (
    READ_F32,
    READ_F64,
    READ_I32,
    READ_I64,
    READ_I64_2D,
    READ_U8,
    READ_U32,
    WRITE_F32,
    WRITE_I32,
    WRITE_I64,
    WRITE_U32,
)
from instanter.kernels.compilation import Kernel, inner_kernel
from instanter.kernels.derived_state import PLAN_COUNT
from instanter.kernels.fraud_bodies import (
    SAID_FIRED_COUNT,
    SAID_HAS_PLACE,
    SAID_HAS_REASON,
    SAID_IS_APPROVED,
    SAID_LACKS_PLACE,
    SAID_LATITUDE,
    SAID_LONGITUDE,
    SAID_MODEL_POINTS,
    SAID_POINTS,
    SAID_PROBABILITY,
    SAID_RISK,
    SAID_SEVERITY,
    SAID_TIME_NS,
)
from instanter.kernels.fraud_columns import AMOUNT_MINOR, DIGITS, GIVEN_NS, MCC, PRESENT
from instanter.kernels.fraud_events import make_event, to_seconds, write_own_figures
from instanter.kernels.fraud_model import predict_fraud
from instanter.kernels.fraud_scoring import (
    POINTS,
    SEVERITY,
    TOTALS,
    gather_features,
    score_rules,
)
from instanter.kernels.fraud_turn_tables import (
    AHEAD_NS,
    ATTEMPT_CODE,
    BEHIND_NS,
    DISTANCE_KM_MIN,
    FEATURE_IS_CODE,
    FEATURE_PAIRS,
    FEATURE_SLOT,
    FRAUD_COUNT_SLOT,
    HALF_LIFE_MS,
    LIMIT_DECLINE,
    LIMIT_FROM,
    LIMIT_REFER,
    LIMIT_UNKNOWN,
    MODEL_ID,
    MODEL_POINTS,
    MODEL_SETTINGS,
    PLACE_IS_NEEDED,
    PLAN,
    PLAN_CUT,
    POINTS_MAX,
    REASON_POINTS_MIN,
    RULE_LITERAL,
    RULE_POINTS,
    RULE_SEVERITY,
    RULES_CUT,
    RULES_F64,
    RULES_I32,
    RULES_U8,
    SCALE,
    SHADOW,
    SPEED_KMH_MAX,
    TRAVEL_SLOT,
    TRUTH_COUNT,
    VALID_FROM_S,
    VALID_TO_S,
    VALUE_COUNT,
)
from instanter.kernels.velocities import evaluate_figures

_PACKED = (READ_F64, READ_I32, READ_U8, READ_I64, READ_I64)
_POWERS_OF_TEN = (1.0, 10.0, 100.0, 1_000.0, 10_000.0)
_NS_PER_MS = 1_000_000
_APPROVE = 1

UNUSUAL = 0
"""Of a transaction of which nothing was found: whoever calls takes it another way."""
USUAL = 1
"""Of one that is approved and that no rule fires on."""
REMARKABLE = 2
"""Of one that is not approved, or that a rule fires on, be it only to be reported."""


@inner_kernel(int64(READ_I64, READ_F64, int64, READ_I64, WRITE_I64))
def find_time_and_place(numbers, place, now_ns, settings, said):
    """Note when and where a transaction counts, and return whether that is known as it must be.

    Parameters
    ----------
    numbers, place
        int64[NUMBERS], float64[2], read-only.
    now_ns
        The server's time.
    settings
        int64[≥ WHOLE_SETTINGS], read-only.
    said
        int64[SAID], written: time and place; NaN for a card that is not present.
    """
    given_ns, is_present = numbers[GIVEN_NS], numbers[PRESENT] != 0
    has_place = is_present and not (np.isnan(place[0]) or np.isnan(place[1]))
    here = said.view(np.float64)
    here[SAID_LATITUDE] = place[0] if has_place else np.nan
    here[SAID_LONGITUDE] = place[1] if has_place else np.nan
    said[SAID_HAS_PLACE] = np.int64(has_place)
    said[SAID_TIME_NS] = min(given_ns, now_ns)
    lacks_place = is_present and not has_place
    said[SAID_LACKS_PLACE] = np.int64(lacks_place)
    is_near = now_ns - settings[BEHIND_NS] <= given_ns <= now_ns + settings[AHEAD_NS]
    return np.int64(is_near and not (lacks_place and settings[PLACE_IS_NEEDED] != 0))


@inner_kernel(
    void(
        READ_I64, READ_I64, READ_I64, READ_I64, READ_U8, READ_F64, READ_I64, READ_I64, WRITE_U32,
    )
)  # fmt: skip
def see_states(numbers, said, laid, laid_cut, known, f64, i64, cut, figures):
    """Write what the states say of a transaction.

    Parameters
    ----------
    numbers, said
        int64[NUMBERS], int64[SAID], read-only: its time and place are said.
    laid, laid_cut, known
        int64[n], int64[9], uint8[5], read-only: from `lay_out`.
    f64, i64, cut
        As for `assess_turn`, read-only.
    figures
        uint32[F], written.
    """
    plan = i64[cut[PLAN] : cut[PLAN + 1]]
    place = said.view(np.float64)
    evaluate_figures(
        said[SAID_TIME_NS] // _NS_PER_MS,
        laid,
        laid_cut,
        known,
        plan.reshape((len(plan) // PLAN_COUNT, PLAN_COUNT)),
        i64[cut[PLAN_CUT] : cut[PLAN_CUT + 1]],
        f64[cut[SCALE] : cut[SCALE + 1]],
        numbers[AMOUNT_MINOR] / _POWERS_OF_TEN[numbers[DIGITS]],
        numbers[MCC],
        i64[HALF_LIFE_MS],
        place[SAID_LATITUDE],
        place[SAID_LONGITUDE],
        f64[DISTANCE_KM_MIN],
        f64[SPEED_KMH_MAX],
        i64[TRAVEL_SLOT],
        i64[FRAUD_COUNT_SLOT],
        figures,
    )


@inner_kernel(void(READ_U32, READ_U32, float64, *_PACKED, WRITE_I32, WRITE_I64))
def ask_rules(profile, figures, time_s, f64, i32, u8, i64, cut, fired, said):
    """Write which rules fire, how many, and what they add up to.

    Parameters
    ----------
    profile, figures, time_s
        As for `fraud_scoring.score_rules`, read-only.
    f64, i32, u8, i64, cut
        As for `assess_turn`, read-only.
    fired, said
        int32[R], int64[SAID], written.
    """
    totals = np.empty(TOTALS, np.float64)
    said[SAID_FIRED_COUNT] = score_rules(
        profile,
        figures,
        time_s,
        f64[cut[RULES_F64] : cut[RULES_F64 + 1]],
        i32[cut[RULES_I32] : cut[RULES_I32 + 1]],
        u8[cut[RULES_U8] : cut[RULES_U8 + 1]],
        i64[cut[RULES_CUT] : cut[RULES_CUT + 1]],
        i32[cut[RULE_LITERAL] : cut[RULE_LITERAL + 1]],
        f64[cut[RULE_POINTS] : cut[RULE_POINTS + 1]],
        u8[cut[RULE_SEVERITY] : cut[RULE_SEVERITY + 1]],
        f64[cut[VALID_FROM_S] : cut[VALID_FROM_S + 1]],
        f64[cut[VALID_TO_S] : cut[VALID_TO_S + 1]],
        u8[cut[SHADOW] : cut[SHADOW + 1]],
        np.empty(i64[VALUE_COUNT], np.float64),
        np.empty(i64[TRUTH_COUNT], np.uint8),
        fired,
        totals,
    )
    said.view(np.float64)[SAID_POINTS] = totals[POINTS]
    said[SAID_SEVERITY] = np.int64(totals[SEVERITY])


@inner_kernel(void(READ_U32, READ_F32, *_PACKED, WRITE_F32, WRITE_I64))
def ask_model(figures, model, f64, i32, u8, i64, cut, features, said):
    """Write what the model says of a transaction, and its risk; its rules were asked before.

    Parameters
    ----------
    figures, model
        uint32[F], float32[n], read-only: the model's state.
    f64, i32, u8, i64, cut
        As for `assess_turn`, read-only.
    features, said
        float32[K], int64[SAID], written.
    """
    numbers = said.view(np.float64)
    rate, points = np.nan, 0.0
    if i64[MODEL_ID] != 0:
        slot = i32[cut[FEATURE_SLOT] : cut[FEATURE_SLOT + 1]]
        is_code = u8[cut[FEATURE_IS_CODE] : cut[FEATURE_IS_CODE + 1]]
        pairs = i32[cut[FEATURE_PAIRS] : cut[FEATURE_PAIRS + 1]]
        settings = f64[cut[MODEL_SETTINGS] : cut[MODEL_SETTINGS + 1]]
        gather_features(figures, slot, is_code, features)
        rate = predict_fraud(model, features, pairs.reshape((len(pairs) // 2, 2)), settings)
        points = rate * f64[MODEL_POINTS]
    numbers[SAID_PROBABILITY] = rate
    numbers[SAID_MODEL_POINTS] = points
    numbers[SAID_RISK] = numbers[SAID_POINTS] + points
    said[SAID_HAS_REASON] = np.int64(points >= f64[REASON_POINTS_MIN])


@inner_kernel(int64(int64, int64, float64, READ_F64, READ_I64, READ_I64))
def is_passed(amount_minor, limit, risk, f64, i64, cut):
    """Return whether the thresholds let a risk pass, as `fraud/verdicts` has it.

    Parameters
    ----------
    amount_minor, limit, risk
        In minor units; as for `assess_transaction`; the risk, not cut off at its maximum.
    f64, i64, cut
        As for `assess_turn`, read-only.
    """
    if limit == LIMIT_UNKNOWN:
        limit = -1
        amount_from = i64[cut[LIMIT_FROM] : cut[LIMIT_FROM + 1]]
        for k in range(len(amount_from)):
            if amount_minor >= amount_from[k]:
                limit = k
                break
    if limit < 0:
        return 1
    refer, decline = f64[cut[LIMIT_REFER] + limit], f64[cut[LIMIT_DECLINE] + limit]
    capped = min(risk, f64[POINTS_MAX])
    return np.int64(not capped >= decline and not capped >= refer)


@inner_kernel(
    int64(
        int64, READ_I64, READ_F64, READ_I64_2D, int64, READ_I64, READ_I64, READ_U8, READ_U32,
        READ_F32, *_PACKED, WRITE_U32, WRITE_F32, WRITE_I64, WRITE_I32, WRITE_I64,
    )
)  # fmt: skip
def assess_transaction(
    now_ns, numbers, place, texts, limit, laid, laid_cut, known, profile, model, f64, i32, u8, i64,
    cut, figures, features, event, fired, said,
):  # fmt: skip
    """Assess one transaction, and return `USUAL`, `REMARKABLE` or `UNUSUAL`.

    Parameters
    ----------
    now_ns, model, f64, i32, u8, i64, cut
        As for `assess_turn`, read-only.
    numbers, place, texts
        int64[NUMBERS], float64[2], int64[TEXTS, 2], read-only: the transaction's.
    limit, profile
        Index of the thresholds' entry, −1 for none, `LIMIT_UNKNOWN` where the amount alone
        decides; uint32[any], read-only: the customer's attributes, empty for none.
    laid, laid_cut, known
        int64[n], int64[9], uint8[5], read-only: from `lay_out`.
    figures, features, event, fired, said
        uint32[F], float32[K], int64[n], int32[R], int64[SAID], written; sequence, model and
        revision are left as they are.
    """
    if not find_time_and_place(numbers, place, now_ns, i64, said):
        return UNUSUAL
    time_ns = said[SAID_TIME_NS]
    write_own_figures(numbers, texts, said[SAID_HAS_PLACE], time_ns, now_ns, figures)
    see_states(numbers, said, laid, laid_cut, known, f64, i64, cut, figures)
    ask_rules(profile, figures, to_seconds(time_ns), f64, i32, u8, i64, cut, fired, said)
    ask_model(figures, model, f64, i32, u8, i64, cut, features, said)
    risk = said.view(np.float64)[SAID_RISK]
    is_approved = said[SAID_SEVERITY] <= _APPROVE and is_passed(
        numbers[AMOUNT_MINOR], limit, risk, f64, i64, cut
    )
    said[SAID_IS_APPROVED] = np.int64(is_approved)
    make_event(figures, time_ns // _NS_PER_MS, i64[ATTEMPT_CODE], np.int64(is_approved), event)
    return USUAL if is_approved and not said[SAID_FIRED_COUNT] else REMARKABLE


KERNELS = (
    Kernel(
        "assess_transaction",
        assess_transaction,
        ("figures", "features", "event", "fired", "said"),
    ),
)
