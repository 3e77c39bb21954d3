"""The card transactions of one turn: assessed, counted and written one after another.

Of an approved one that no rule fires on it writes body and row; of another one, a remarkable one,
what was found, from which whoever calls makes them. What has no place where one is needed, a clock
that is off, or a snooze where a rule fires ends the turn before it, and is taken another way.
Each is counted before the next is looked at, in the **arena**: `words` begins with the sections of
all entities of the turn (velocities, baseline, place), and what becomes of them is written behind.

Measured, 14 velocities, 3 rules and a model of 18 features, the same again and again: 7.5 µs for
one transaction, 1.7 µs of it the call from Python.
"""

import numpy as np
from numba import int64, types, void

from instanter.kernels.array_types import (
    READ_F32,
    READ_F64,
    READ_F64_2D,
    READ_I32,
    READ_I64,
    READ_I64_2D,
    READ_U8,
    READ_U32_2D,
    WRITE_I64,
    WRITE_I64_2D,
    WRITE_U8,
)
from instanter.kernels.compilation import Kernel, inner_kernel, kernel
from instanter.kernels.derived_state import PLAN_COUNT
from instanter.kernels.fraud_assessing import REMARKABLE, UNUSUAL, assess_transaction
from instanter.kernels.fraud_bodies import (
    KEY_SIZE_BYTES,
    SAID,
    SAID_FIRED_COUNT,
    SAID_HAS_REASON,
    SAID_IS_APPROVED,
    SAID_LACKS_PLACE,
    SAID_LATITUDE,
    SAID_LONGITUDE,
    SAID_MODEL_ID,
    SAID_MODEL_POINTS,
    SAID_POINTS,
    SAID_PROBABILITY,
    SAID_REVISION,
    SAID_RISK,
    SAID_SEQUENCE,
    SAID_SEVERITY,
    SAID_TIME_NS,
    write_assessment,
    write_finding,
)
from instanter.kernels.fraud_columns import AMOUNT_MINOR, DIGITS, MCC
from instanter.kernels.fraud_turn_tables import (
    CONDITIONS_CUT,
    CONDITIONS_F64,
    CONDITIONS_I32,
    CONDITIONS_U8,
    COUNTS,
    ENTITY_BASELINE,
    ENTITY_IS_CHANGED,
    ENTITY_PLACE,
    ENTITY_VELOCITIES,
    EVENT_COUNT,
    FEATURE_SLOT,
    FIGURE_COUNT,
    HALF_LIFE_MS,
    LIMIT_UNKNOWN,
    MODEL_ID,
    PLAN,
    PLAN_CUT,
    REVISION,
    RULE_LITERAL,
    STATE_SECTIONS,
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
    WORDS_MAX,
)
from instanter.kernels.velocities import (
    CARD_BASELINE,
    CUSTOMER_BASELINE,
    ENTITIES,
    PLACE,
    SECTIONS,
    count_transaction,
)

_READ_I64_3D = types.Array(int64, 3, "C", readonly=True)
_PACKED = (READ_F64, READ_I32, READ_U8, READ_I64, READ_I64)
_POWERS_OF_TEN = (1.0, 10.0, 100.0, 1_000.0, 10_000.0)
_NS_PER_MS = 1_000_000
_PROGRAM_CUTS = 26
BEHAVING = 2
"""The first entities, card and customer, of whose behaviour approved transactions tell."""
SNOOZES = 3
"""Which of the sections of a state its snoozes are."""


@inner_kernel(int64(READ_I64, WRITE_I64_2D))
def begin_entities(sizes, directory):
    """Note where the sections of the turn's entities are; return where the last ends.

    Parameters
    ----------
    sizes
        int64[STATE_SECTIONS × E], read-only: bytes of each section; they lie end to end.
    directory
        int64[E, ENTITY_COLUMNS], written.
    """
    at = 0
    for e in range(len(directory)):
        for section in range(STATE_SECTIONS):
            end = at + (sizes[STATE_SECTIONS * e + section] >> 3)
            if 2 * section < ENTITY_IS_CHANGED:
                directory[e, 2 * section] = at
                directory[e, 2 * section + 1] = end
            at = end
        directory[e, ENTITY_IS_CHANGED] = 0
    return at


@inner_kernel(types.UniTuple(int64, 2)(int64))
def find_section(section):
    """Return of which of the five entities a section is, and its column in the directory."""
    if section == CARD_BASELINE:
        return 0, ENTITY_BASELINE
    if section == CUSTOMER_BASELINE:
        return 1, ENTITY_BASELINE
    if section == PLACE:
        return 0, ENTITY_PLACE
    return section, ENTITY_VELOCITIES


@inner_kernel(int64(READ_I64_2D, READ_I64, int64, WRITE_I64, WRITE_I64, WRITE_U8))
def lay_out(directory, link, at, words, cut, known):
    """Copy the sections of a transaction's entities end to end, as `kernels/velocities` wants them.

    Parameters
    ----------
    directory, link
        int64[E, ENTITY_COLUMNS], int64[5], read-only.
    at, words
        int64[n], written from `at` on.
    cut, known
        int64[9], uint8[5], written: as for `evaluate_figures`, beginning at `at`.

    Returns
    -------
    int
        Where they end; −1 when there is no room up to there: there always is a card.
    """
    for e in range(ENTITIES):
        known[e] = np.uint8(link[e] >= 0)
    to = at
    for section in range(SECTIONS):
        e, column = find_section(section)
        cut[section] = to - at
        entity = link[e]
        if entity >= 0:
            start, end = directory[entity, column], directory[entity, column + 1]
            if to + end - start > len(words):
                return -1
            for i in range(end - start):
                words[to + i] = words[start + i]
            to += end - start
    cut[SECTIONS] = to - at
    return to


@inner_kernel(
    int64(
        READ_I64, READ_I64, READ_I64, READ_I64, READ_I64, READ_U8, READ_I64, int64, *_PACKED,
        WRITE_I64, WRITE_I64_2D,
    )
)  # fmt: skip
def count_assessed(
    numbers, said, link, laid, laid_cut, known, event, used, f64, i32, u8, i64, cut, words,
    directory,
):  # fmt: skip
    """Count a transaction in the states of its entities; return where words are free.

    An approved one tells of its card and its customer in any case.

    Parameters
    ----------
    numbers, said, link
        int64[NUMBERS], int64[SAID], int64[5], read-only.
    laid, laid_cut, known
        As for `see_states`, read-only.
    event
        int64[n], read-only: what is counted.
    used
        From where on words are free.
    f64, i32, u8, i64, cut
        As for `assess_turn`, read-only.
    words, directory
        int64[n], int64[E, ENTITY_COLUMNS], written.
    """
    plan, place = i64[cut[PLAN] : cut[PLAN + 1]], said.view(np.float64)
    programs = i64[cut[CONDITIONS_CUT] : cut[CONDITIONS_CUT + 1]]
    is_approved = np.uint8(said[SAID_IS_APPROVED])
    counted = np.empty(ENTITIES, np.uint8)
    for e in range(ENTITIES):
        counted[e] = known[e] & (u8[cut[COUNTS] + e] | is_approved & np.uint8(e < BEHAVING))
    made_cut = np.empty(SECTIONS + 1, np.int64)
    count_transaction(
        laid,
        laid_cut,
        counted,
        event,
        plan.reshape((len(plan) // PLAN_COUNT, PLAN_COUNT)),
        i64[cut[PLAN_CUT] : cut[PLAN_CUT + 1]],
        f64[cut[CONDITIONS_F64] : cut[CONDITIONS_F64 + 1]],
        i32[cut[CONDITIONS_I32] : cut[CONDITIONS_I32 + 1]],
        u8[cut[CONDITIONS_U8] : cut[CONDITIONS_U8 + 1]],
        programs.reshape((len(programs) // _PROGRAM_CUTS, _PROGRAM_CUTS)),
        is_approved,
        numbers[AMOUNT_MINOR] / _POWERS_OF_TEN[numbers[DIGITS]],
        numbers[MCC],
        said[SAID_TIME_NS] // _NS_PER_MS,
        i64[HALF_LIFE_MS],
        place[SAID_LATITUDE],
        place[SAID_LONGITUDE],
        words[used:],
        made_cut,
    )
    for e in range(ENTITIES):
        if counted[e]:
            directory[link[e], :ENTITY_IS_CHANGED] = used
            directory[link[e], ENTITY_IS_CHANGED] = 1
    for section in range(SECTIONS):
        e, column = find_section(section)
        if counted[e]:
            directory[link[e], column] = used + made_cut[section]
            directory[link[e], column + 1] = used + made_cut[section + 1]
    return used + made_cut[SECTIONS]


@inner_kernel(int64(WRITE_I64_2D))
def list_changed(directory):
    """Move the entities that have changed to the beginning; return how many they are.

    Parameters
    ----------
    directory
        int64[E, ENTITY_COLUMNS], written: at the beginning of each its index is noted.
    """
    count = 0
    for e in range(len(directory)):
        if directory[e, ENTITY_IS_CHANGED]:
            directory[count] = directory[e]
            directory[count, ENTITY_IS_CHANGED] = e
            count += 1
    return count


@inner_kernel(types.UniTuple(int64, 2)(int64, int64, int64, READ_I64))
def find_extras(i, count, at, links):
    """Return row of the profile and index of the limit of a transaction; see `assess_turn`."""
    if len(links) == at:
        return -1, LIMIT_UNKNOWN
    return links[at + i], links[at + count + i]


@inner_kernel(int64(READ_I64, READ_I64))
def has_snoozes(link, sizes):
    """Return whether rules are snoozed for a transaction's card, or were.

    Parameters
    ----------
    link, sizes
        int64[5], int64[STATE_SECTIONS × E], read-only: as for `lay_out` and `begin_entities`.
    """
    return np.int64(link[0] >= 0 and sizes[STATE_SECTIONS * link[0] + SNOOZES] > 0)


@inner_kernel(void(READ_I64, int64, WRITE_I64))
def tell(said, is_remarkable, told):
    """Write what is told of a transaction, but for its ends.

    Parameters
    ----------
    said, is_remarkable
        int64[SAID], read-only; 1 or 0.
    told
        int64[TOLD], written.
    """
    told[TOLD_HAS_REASON] = said[SAID_HAS_REASON]
    told[TOLD_LACKS_PLACE] = said[SAID_LACKS_PLACE]
    told[TOLD_RISK] = said[SAID_RISK]
    told[TOLD_PROBABILITY] = said[SAID_PROBABILITY]
    told[TOLD_IS_REMARKABLE] = is_remarkable
    told[TOLD_POINTS] = said[SAID_POINTS]
    told[TOLD_MODEL_POINTS] = said[SAID_MODEL_POINTS]
    told[TOLD_SEVERITY] = said[SAID_SEVERITY]


@kernel(
    types.UniTuple(int64, 3)(
        int64, int64, int64, int64, READ_I64_2D, READ_F64_2D, READ_U8, _READ_I64_3D, READ_U8,
        READ_I64, READ_U8, READ_I64, READ_U32_2D, READ_F32, *_PACKED, WRITE_I64, WRITE_I64_2D,
        WRITE_I64_2D, WRITE_U8,
    )
)  # fmt: skip
def assess_turn(
    first, count, now_ns, first_sequence, numbers, places, data, texts, packed, packed_cut, ids,
    links, profiles, model, f64, i32, u8, i64, cut, words, directory, told, out,
):  # fmt: skip
    """Assess, count and write transactions of a turn.

    It stops before the first that is unusual, or that there is no room for.

    Parameters
    ----------
    first, count
        They are [first, count).
    now_ns, first_sequence
        The server's time; the sequence of the first one's record.
    numbers, places, texts, data
        int64[≥ count, NUMBERS], float64[≥ count, 2], int64[≥ count, TEXTS, 2], uint8[any],
        read-only: as `kernels/fraud_columns` says; the place of a present card's terminal where it
        has none of its own, NaN for none.
    packed, packed_cut
        uint8[any], int64[≥ count + 1], read-only: the packed transactions, end to end.
    ids
        uint8[32 × count], read-only: their keys, then their digests.
    links
        int64, read-only: five entities of each transaction, −1 for none; sizes of the entities'
        sections, as for `begin_entities`; then nothing, or row of the profile and index of the
        limit of all transactions, as for `assess_transaction`.
    profiles
        uint32[any, S], read-only: customers' attributes.
    model
        float32[n], read-only: the model's state; empty without one, or before any label.
    f64, i32, u8, i64, cut
        float64, int32, uint8, int64, read-only: what the catalogue has, as `PACKED_F64` and the
        others name it; array n of a dtype is `[cut[n]:cut[n + 1]]`, the cuts of the dtypes int64,
        in that order and one more each.
    words
        int64[n], written: sections as they were, at its beginning, and as they become.
    directory
        int64[E, ENTITY_COLUMNS], written: at the end where the sections of changed entities are.
    told
        int64[≥ count, TOLD], written, the first one's in row 0
    out
        uint8[any], written: bodies and rows, in turns; of a remarkable one what `write_finding`
        writes.

    Returns
    -------
    tuple of int
        How many transactions were assessed and counted, how many of them are remarkable, and how
        many entities have changed.
    """
    extras = ENTITIES * count + STATE_SECTIONS * len(directory)
    sizes = links[ENTITIES * count : extras]
    used = begin_entities(sizes, directory)
    laid_cut, known = np.empty(SECTIONS + 1, np.int64), np.empty(ENTITIES, np.uint8)
    figures = np.empty(i64[FIGURE_COUNT], np.uint32)
    features = np.empty(cut[FEATURE_SLOT + 1] - cut[FEATURE_SLOT], np.float32)
    event = np.zeros(2 + (i64[EVENT_COUNT] + 1) // 2, np.int64)
    event[1] = i64[EVENT_COUNT] << 32
    fired = np.empty(cut[RULE_LITERAL + 1] - cut[RULE_LITERAL], np.int32)
    said = np.empty(SAID, np.int64)
    said[SAID_MODEL_ID], said[SAID_REVISION] = i64[MODEL_ID], i64[REVISION]
    attributes, width = profiles.reshape(profiles.size), profiles.shape[1]
    done, remarkable, at = 0, 0, 0
    for i in range(first, count):
        link = links[ENTITIES * i : ENTITIES * (i + 1)]
        row, limit = find_extras(i, count, extras, links)
        profile = attributes[max(row, 0) * width : (row + 1) * width]
        laid_at = used + i64[WORDS_MAX]
        laid_end = lay_out(directory, link, laid_at, words, laid_cut, known)
        if laid_end < 0:
            break
        laid = words[laid_at:laid_end]
        verdict = assess_transaction(
            now_ns, numbers[i], places[i], texts[i], limit, laid, laid_cut, known, profile, model,
            f64, i32, u8, i64, cut, figures, features, event, fired, said,
        )  # fmt: skip
        if verdict == UNUSUAL or (said[SAID_FIRED_COUNT] and has_snoozes(link, sizes)):
            break
        said[SAID_SEQUENCE] = first_sequence + done
        own_key, ends = KEY_SIZE_BYTES * i, told[done, TOLD_BODY_END : TOLD_ROW_END + 1]
        if verdict == REMARKABLE:
            is_written = write_finding(
                numbers[i], texts[i], data, said, event, figures, features, fired, out, at, ends
            )  # fmt: skip
        else:
            is_written = write_assessment(
                numbers[i], texts[i], data, packed, packed_cut[i], packed_cut[i + 1], ids, own_key,
                own_key + len(ids) // 2, said, event, figures, features, out, at, ends,
            )  # fmt: skip
        if not is_written:
            break
        used = count_assessed(
            numbers[i], said, link, laid, laid_cut, known, event, used, f64, i32, u8, i64, cut,
            words, directory,
        )  # fmt: skip
        tell(said, np.int64(verdict == REMARKABLE), told[done])
        at = ends[1]
        remarkable += verdict == REMARKABLE
        done += 1
    return done, remarkable, list_changed(directory)


KERNELS = (Kernel("assess_turn", assess_turn, ("words", "directory", "told", "out")),)
