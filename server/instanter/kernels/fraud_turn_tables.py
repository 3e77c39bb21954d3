"""How the tables are laid out that `kernels/fraud_turns` assesses a turn's transactions by."""

PACKED_F64 = (
    "settings", "conditions", "rules", "scale", "rule_points", "valid_from_s", "valid_to_s",
    "model_settings", "limit_refer", "limit_decline",
)  # fmt: skip
PACKED_I32 = ("conditions", "rules", "rule_literal", "feature_slot", "feature_pairs")
PACKED_U8 = ("conditions", "rules", "rule_severity", "shadow", "feature_is_code", "counts")
PACKED_I64 = ("settings", "plan", "plan_cut", "conditions_cut", "rules_cut", "limit_from")
"""What a catalogue has of each dtype, end to end: settings, `FraudPlan`'s, thresholds."""

(
    CONDITIONS_F64, RULES_F64, SCALE, RULE_POINTS, VALID_FROM_S, VALID_TO_S, MODEL_SETTINGS,
    LIMIT_REFER, LIMIT_DECLINE, F64_END,
) = range(1, len(PACKED_F64) + 1)  # fmt: skip
(
    CONDITIONS_I32, RULES_I32, RULE_LITERAL, FEATURE_SLOT, FEATURE_PAIRS, I32_END,
) = range(F64_END + 1, F64_END + len(PACKED_I32) + 2)  # fmt: skip
(
    CONDITIONS_U8, RULES_U8, RULE_SEVERITY, SHADOW, FEATURE_IS_CODE, COUNTS, U8_END,
) = range(I32_END + 1, I32_END + len(PACKED_U8) + 2)  # fmt: skip
(
    PLAN, PLAN_CUT, CONDITIONS_CUT, RULES_CUT, LIMIT_FROM, I64_END,
) = range(U8_END + 2, U8_END + len(PACKED_I64) + 2)  # fmt: skip
"""Where each begins among the cuts; it ends at the next, and the last of a dtype at its end."""

DISTANCE_KM_MIN = 0
SPEED_KMH_MAX = 1
MODEL_POINTS = 2
REASON_POINTS_MIN = 3
POINTS_MAX = 4
FLOAT_SETTINGS = 5

BEHIND_NS = 0
AHEAD_NS = 1
HALF_LIFE_MS = 2
TRAVEL_SLOT = 3
FRAUD_COUNT_SLOT = 4
FIGURE_COUNT = 5
EVENT_COUNT = 6
VALUE_COUNT = 7
TRUTH_COUNT = 8
WORDS_MAX = 9
REVISION = 10
MODEL_ID = 11
"""0 without a model."""
ATTEMPT_CODE = 12
PLACE_IS_NEEDED = 13
"""Whether a card that is present at an unknown place is left to others: to their stand-in."""
WHOLE_SETTINGS = 14

LIMIT_UNKNOWN = -2
"""In the place of the index of a thresholds' entry: the amount alone decides."""
STATE_SECTIONS = 4
"""Of an entity's state: velocities, baseline, place, and snoozes, which are nothing to this."""

ENTITY_VELOCITIES = 0
ENTITY_BASELINE = 2
ENTITY_PLACE = 4
"""Where each section of an entity begins in the words; where it ends stands behind that."""
ENTITY_IS_CHANGED = 6
"""At the end the index of the entity: those that have changed come first."""
ENTITY_COLUMNS = 7

TOLD_BODY_END = 0
TOLD_ROW_END = 1
TOLD_HAS_REASON = 2
TOLD_RISK = 3
TOLD_PROBABILITY = 4
"""As bits of a float64, as is the risk."""
TOLD_LACKS_PLACE = 5
TOLD_IS_REMARKABLE = 6
"""Whether a rule fired, or it was not approved; the rest is of such a one only."""
TOLD_POINTS = 7
TOLD_MODEL_POINTS = 8
"""As bits of a float64, as are the points of the rules."""
TOLD_SEVERITY = 9
TOLD = 10
