"""The card transactions of one turn of the keeper, assessed, counted and written by one kernel.

The work is `kernels/fraud_turns`; here are the arrays that it works in. What it finds is byte for
byte what engine, records and store make of the same transactions one by one.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from instanter.catalogue.fraud_plan import ATTEMPT
from instanter.fraud.book import EntityState
from instanter.fraud.findings import Finding
from instanter.fraud.tables import FraudTables, mark_silent
from instanter.fraud.verdicts import MODEL_POINTS_MIN, find_limit
from instanter.fraud_limits import FRAUD_POINTS_MAX
from instanter.kernels import fraud_turn_tables as places
from instanter.kernels.fraud_bodies import RECORD_SIZE_BYTES
from instanter.kernels.fraud_columns import AMOUNT_MINOR, MERCHANT
from instanter.kernels.fraud_turn_tables import (
    ENTITY_COLUMNS,
    LIMIT_UNKNOWN,
    PACKED_F64,
    PACKED_I32,
    PACKED_I64,
    PACKED_U8,
    SHADOW,
    TOLD,
    TOLD_BODY_END,
    TOLD_HAS_REASON,
    TOLD_IS_REMARKABLE,
    TOLD_LACKS_PLACE,
    TOLD_MODEL_POINTS,
    TOLD_POINTS,
    TOLD_PROBABILITY,
    TOLD_RISK,
    TOLD_ROW_END,
    TOLD_SEVERITY,
)
from instanter.kernels.fraud_turns import assess_turn

_NO_PROFILES: Final = np.zeros((0, 0), np.uint32)
_NONE: Final = -1


@dataclass(slots=True, eq=False)
class Turn:
    """Card transactions as they were read. Arrays may have more rows than there are of them.

    Not frozen, although a value: a frozen one takes 3 µs to make, this one 1 µs, and there is one
    for each transaction while only one is waiting.

    Attributes
    ----------
    count, first
        How many transactions there are, and the index of the first that is to be assessed.
    numbers, places, texts, data
        int64[≥ count, NUMBERS], float64[≥ count, 2], int64[≥ count, TEXTS, 2], uint8[any]: as
        `kernels/fraud_columns` says. Places are degrees, the terminal's where a present card has
        none of its own, NaN for none.
    packed, packed_cut
        uint8[any], int64[≥ count + 1]: the transactions as they are logged, end to end.
    keys, digests
        16 bytes of each transaction, as `keeper/assessing` has them.
    entities
        Five for each transaction, by `EntityKind`: index of its state, −1 for one without a name
        and for a kind that is not read.
    states
        Of the different entities as they are now, none of them damaged.
    profiles, profile_of
        uint32[any, S] and which row of it is the customer's of each transaction, −1 for none; None
        when no rule reads a profile, or nobody has one.
    model
        float32[any]: the model's state; empty without one, or before any label.
    now_ns
        The server's time, nanoseconds since 1970.
    first_sequence
        Of the record of the first; the others follow.
    """

    count: int
    first: int
    numbers: NDArray[np.int64]
    places: NDArray[np.float64]
    data: NDArray[np.uint8]
    texts: NDArray[np.int64]
    packed: NDArray[np.uint8]
    packed_cut: NDArray[np.int64]
    keys: Sequence[bytes]
    digests: Sequence[bytes]
    entities: Sequence[int]
    states: Sequence[EntityState]
    profiles: NDArray[np.uint32] | None
    profile_of: Sequence[int]
    model: NDArray[np.float32]
    now_ns: int
    first_sequence: int


class AssessedTurn(NamedTuple):
    """What became of the first transactions of a turn. A tuple, for the same reason.

    Those without a finding are approved; their source are the rules, of which none has fired.

    Attributes
    ----------
    done
        How many; the next one, if there is any, is to be taken another way.
    bodies, rows
        The bodies of their records; their rows in the store, sealed. Of one with a finding what
        stands here means nothing: both follow from that.
    states
        Index and new state of each entity that has changed.
    risks, probabilities
        As in `Assessment`.
    has_model_reason
        Whether the model's part of the risk is a reason.
    lacks_place
        Whether it is told, as a cause of the stand-in that lets it pass, that the place is missing.
    findings
        By its index among them, what was found of each remarkable one, in their order.
    """

    done: int
    bodies: list[bytes]
    rows: list[bytes]
    states: list[tuple[int, EntityState]]
    risks: list[float]
    probabilities: list[float]
    has_model_reason: list[bool]
    lacks_place: list[bool]
    findings: dict[int, Finding]


class TurnAssessor:
    """Assesses and counts by one catalogue. Belongs to one thread.

    Parameters
    ----------
    tables
        Of the catalogue.
    """

    __slots__ = (
        "_directory", "_directory_view", "_limit_index", "_out", "_out_view", "_packed", "_paused",
        "_record_size_bytes", "_tables", "_told", "_told_real", "_told_whole", "_words",
        "_words_view",
    )  # fmt: skip

    def __init__(self, tables: FraudTables) -> None:
        plan = tables.plan
        self._tables = tables
        self._packed = _pack(tables)
        self._paused: frozenset[str] = frozenset()
        kept = 4 * (tables.event_count + len(plan.feature_slot))
        found = 4 * (plan.figure_count + len(tables.rules))
        self._record_size_bytes = RECORD_SIZE_BYTES + 64 + found + 2 * kept
        names_merchants = any(limit.merchants is not None for limit in tables.limits)
        limits = tables.limits if names_merchants else ()
        self._limit_index = {limit: index for index, limit in enumerate(limits)}
        self._make_told(8)
        self._make_directory(8)
        self._make_words(2 * plan.words_max)
        self._make_out(8 * self._record_size_bytes)

    def silence(self, paused: frozenset[str]) -> bool:
        """Only report the rules of these names from now on; return False when it does so already.

        It matters to remarkable transactions alone, so that nobody has to ask before there is one.
        """
        if paused == self._paused:
            return False
        self._paused = paused
        cut = self._packed[-1]
        self._packed[2][cut[SHADOW] : cut[SHADOW + 1]] = mark_silent(self._tables, paused)
        return True

    def assess(self, turn: Turn) -> AssessedTurn:
        """Assess and count the transactions of a turn up to the first that is unusual.

        Parameters
        ----------
        turn
            Its arrays are only read.
        """
        count, states = turn.count, turn.states
        sections = list(chain.from_iterable(states))
        joined = b"".join(sections)
        links = [*turn.entities, *map(len, sections)]
        if turn.profiles is not None or self._limit_index:
            links += self._list_extras(turn)
        self._make_room(turn, len(joined))
        self._words_view[: len(joined)] = joined
        done, remarkable, changed = assess_turn(
            turn.first,
            count,
            turn.now_ns,
            turn.first_sequence,
            turn.numbers,
            turn.places,
            turn.data,
            turn.texts,
            turn.packed,
            turn.packed_cut,
            np.frombuffer(b"".join((*turn.keys, *turn.digests)), np.uint8),
            np.frombuffer(array("q", links), np.int64),
            _NO_PROFILES if turn.profiles is None else turn.profiles,
            turn.model,
            *self._packed,
            self._words,
            self._directory[: len(states)],
            self._told,
            self._out,
        )
        whole = self._told_whole[: TOLD * done].tolist()
        real = self._told_real[: TOLD * done].tolist()
        out, at = self._out_view, 0
        bodies, rows = [], []
        for half, end in zip(whole[TOLD_BODY_END::TOLD], whole[TOLD_ROW_END::TOLD], strict=True):
            bodies.append(out[at:half].tobytes())
            rows.append(out[half:end].tobytes())
            at = end
        return AssessedTurn(
            done,
            bodies,
            rows,
            self._list_changed(changed, states),
            real[TOLD_RISK::TOLD],
            real[TOLD_PROBABILITY::TOLD],
            list(map(bool, whole[TOLD_HAS_REASON::TOLD])),
            list(map(bool, whole[TOLD_LACKS_PLACE::TOLD])),
            self._list_findings(whole, real, bodies, rows) if remarkable else {},
        )

    def _list_findings(
        self, whole: list[int], real: list[float], bodies: list[bytes], rows: list[bytes]
    ) -> dict[int, Finding]:
        """Return what was found, from what is told and what stands in place of bodies and rows."""
        size_bytes = 4 * self._tables.plan.figure_count
        found = {}
        for index, is_remarkable in enumerate(whole[TOLD_IS_REMARKABLE::TOLD]):
            if not is_remarkable:
                continue
            at, rest = TOLD * index, rows[index]
            found[index] = Finding(
                bodies[index],
                rest[:size_bytes],
                array("i", rest[size_bytes:]).tolist(),
                real[at + TOLD_POINTS],
                whole[at + TOLD_SEVERITY],
                real[at + TOLD_MODEL_POINTS],
                real[at + TOLD_PROBABILITY],
                bool(whole[at + TOLD_LACKS_PLACE]),
            )
        return found

    def _make_room(self, turn: Turn, states_size_bytes: int) -> None:
        """Make room for what becomes of a turn, unless there is."""
        count = turn.count
        if count * TOLD > len(self._told_whole):
            self._make_told(count)
        if len(turn.states) > len(self._directory):
            self._make_directory(len(turn.states))
        # What one transaction lies in while it is assessed, and what each leaves behind.
        words = (states_size_bytes >> 2) + (count + 2) * self._tables.plan.words_max
        if words > len(self._words):
            self._make_words(words)
        size_bytes = len(turn.packed) + 2 * len(turn.data) + count * self._record_size_bytes
        if size_bytes > len(self._out):
            self._make_out(size_bytes)

    def _list_extras(self, turn: Turn) -> list[int]:
        """Return of all transactions the row of the profile, then the index of the limit."""
        rows = [_NONE] * turn.count if turn.profiles is None else [*turn.profile_of]
        if not self._limit_index:
            return rows + [LIMIT_UNKNOWN] * turn.count
        return rows + [self._find_limit(turn, i) for i in range(turn.count)]

    def _find_limit(self, turn: Turn, index: int) -> int:
        """Return which entry of the thresholds is that of a transaction; −1 for none."""
        start, end = turn.texts[index, MERCHANT].tolist()
        merchant = turn.data[start:end].tobytes().decode()
        amount_minor = int(turn.numbers[index, AMOUNT_MINOR])
        limit = find_limit(self._tables.limits, merchant, amount_minor)
        return _NONE if limit is None else self._limit_index[limit]

    def _list_changed(
        self, changed: int, states: Sequence[EntityState]
    ) -> list[tuple[int, EntityState]]:
        """Return the states of the entities that have changed."""
        words, found = self._words_view, []
        rows = self._directory_view[: ENTITY_COLUMNS * changed].tolist()
        for at in range(0, len(rows), ENTITY_COLUMNS):
            start, end, baseline, baseline_end, place, place_end, index = rows[
                at : at + ENTITY_COLUMNS
            ]
            state = EntityState(
                words[8 * start : 8 * end].tobytes(),
                words[8 * baseline : 8 * baseline_end].tobytes(),
                words[8 * place : 8 * place_end].tobytes(),
                states[index].snoozes,
            )
            found.append((index, state))
        return found

    def _make_told(self, count: int) -> None:
        """Make room for what is told of so many transactions."""
        self._told = np.zeros((count, TOLD), np.int64)
        self._told_whole = self._told.reshape(-1)
        self._told_real = self._told_whole.view(np.float64)

    def _make_directory(self, count: int) -> None:
        """Make room for so many entities."""
        self._directory = np.zeros((count, ENTITY_COLUMNS), np.int64)
        self._directory_view = self._directory.reshape(-1).data.cast("B").cast("q")

    def _make_words(self, count: int) -> None:
        """Make room for so many words of states."""
        self._words = np.zeros(count, np.int64)
        self._words_view = self._words.data.cast("B")

    def _make_out(self, size_bytes: int) -> None:
        """Make room for bodies and rows."""
        self._out = np.zeros(size_bytes, np.uint8)
        self._out_view = self._out.data


def _pack(tables: FraudTables) -> tuple[NDArray[Any], ...]:
    """Return what a catalogue has as `assess_turn` takes it: float64, int32, uint8, int64, cuts."""
    plan, limits = tables.plan, tables.limits
    float_settings, whole_settings = _list_settings(tables)
    f64 = {
        "settings": float_settings,
        "conditions": plan.conditions.f64,
        "rules": plan.rules.f64,
        "scale": plan.scale,
        "rule_points": plan.rule_points,
        "valid_from_s": plan.valid_from_s,
        "valid_to_s": plan.valid_to_s,
        "model_settings": plan.model_settings,
        "limit_refer": [limit.refer for limit in limits],
        "limit_decline": [limit.decline for limit in limits],
    }
    i32 = {
        "conditions": plan.conditions.i32,
        "rules": plan.rules.i32,
        "rule_literal": plan.rule_literal,
        "feature_slot": plan.feature_slot,
        "feature_pairs": plan.feature_pairs,
    }
    u8 = {
        "conditions": plan.conditions.u8,
        "rules": plan.rules.u8,
        "rule_severity": plan.rule_severity,
        "shadow": plan.shadow,
        "feature_is_code": plan.feature_is_code,
        "counts": plan.counts[ATTEMPT],
    }
    i64 = {
        "settings": whole_settings,
        "plan": plan.plan,
        "plan_cut": plan.plan_cut,
        "conditions_cut": plan.conditions.cut,
        "rules_cut": plan.rules.cut[0],
        "limit_from": [limit.amount_minor_from for limit in limits],
    }
    cuts: list[int] = []
    packed = []
    for names, parts, kind in (
        (PACKED_F64, f64, np.float64),
        (PACKED_I32, i32, np.int32),
        (PACKED_U8, u8, np.uint8),
        (PACKED_I64, i64, np.int64),
    ):
        arrays = [np.asarray(parts[name], kind).reshape(-1) for name in names]
        cuts += [0, *np.cumsum([len(one) for one in arrays]).tolist()]
        packed.append(np.concatenate(arrays))
    return (*packed, np.array(cuts, np.int64))


def _list_settings(tables: FraudTables) -> tuple[list[float], list[int]]:
    """Return the settings by their places in `kernels/fraud_turn_tables`."""
    plan, settings, model = tables.plan, tables.policy.settings, tables.policy.model
    real = {
        places.DISTANCE_KM_MIN: settings.travel.distance_km_min,
        places.SPEED_KMH_MAX: settings.travel.speed_kmh_max,
        places.MODEL_POINTS: 0.0 if model is None else model.points,
        places.REASON_POINTS_MIN: MODEL_POINTS_MIN,
        places.POINTS_MAX: float(FRAUD_POINTS_MAX),
    }
    whole = {
        places.BEHIND_NS: tables.behind_ns,
        places.AHEAD_NS: tables.ahead_ns,
        places.HALF_LIFE_MS: settings.baseline_half_life_s * 1000,
        places.TRAVEL_SLOT: plan.travel_slot,
        places.FRAUD_COUNT_SLOT: plan.fraud_count_slot,
        places.FIGURE_COUNT: plan.figure_count,
        places.EVENT_COUNT: tables.event_count,
        places.VALUE_COUNT: plan.value_count,
        places.TRUTH_COUNT: plan.truth_count,
        places.WORDS_MAX: plan.words_max,
        places.REVISION: tables.catalogue.revision,
        places.MODEL_ID: 0 if model is None else model.model_id,
        places.ATTEMPT_CODE: ATTEMPT,
        places.PLACE_IS_NEEDED: settings.stand_in.place_missing,
    }
    return (
        [real[place] for place in range(places.FLOAT_SETTINGS)],
        [whole[place] for place in range(places.WHOLE_SETTINGS)],
    )
