"""A turn with the states of its entities as lists of sections."""

import numpy as np

from tests.oracles import fraud_assessing, fraud_bodies, velocities

KEPT = ((0, 5, 7), (1, 6), (2,), (3,), (4,))
"""Of each of the five entities, its sections as `kernels/velocities` lays them out."""


def count_assessed(t, numbers, said, laid, laid_cut, counted, event):
    """Return the sections afterwards."""
    whole = t.i64.settings.tolist()
    made, made_cut = np.zeros(whole[9], np.int64), np.zeros(9, np.int64)
    latitude, longitude = said[4:6].view(np.float64).tolist()
    velocities.count_transaction(
        laid, laid_cut, counted, event, t.i64.plan, t.i64.plan_cut, t.f64.conditions,
        t.i32.conditions, t.u8.conditions, t.i64.conditions_cut, int(said[15]),
        fraud_assessing.amount_of(numbers), int(numbers[3]), int(said[1]) // 1_000_000,
        whole[2], latitude, longitude, made, made_cut,
    )  # fmt: skip
    return [made[made_cut[s] : made_cut[s + 1]] for s in range(8)]


def assess_turn(
    first, count, now_ns, first_sequence, numbers, places, data, texts, packed, packed_cut, ids,
    links, profiles, model, f64, i32, u8, i64, cut, words, directory, told, out,
):  # fmt: skip
    t = fraud_assessing.unpack(f64, i32, u8, i64, cut)
    whole = t.i64.settings.tolist()
    entities, rest = links[: 5 * count].reshape(-1, 5).tolist(), links[5 * count :]
    sizes, extras = np.split(rest, [4 * len(directory)])
    rows, limits = extras.reshape(2, -1) if len(extras) else ([-1] * count, [-2] * count)
    pieces = np.split(words, np.cumsum(sizes) // 8)
    states = [pieces[at : at + 3] for at in range(0, len(sizes), 4)]
    used = int(sizes.sum()) // 8
    changed, remarkable, done, at = [], 0, 0, 0
    fired = np.zeros(len(t.i32.rule_literal), np.int32)
    event = np.zeros(2 + (whole[6] + 1) // 2, np.int64)
    event[1] = whole[6] << 32
    figures, nothing = np.zeros(whole[5], np.uint32), np.zeros(0, np.int64)
    features = np.zeros(len(t.i32.feature_slot), np.float32)
    for i in range(first, count):
        sections = [nothing] * 8
        for e, entity in enumerate(entities[i]):
            for place, section in zip(KEPT[e], states[entity] if entity >= 0 else (), strict=False):
                sections[place] = section
        laid = np.concatenate(sections)
        laid_cut = np.cumsum([0, *map(len, sections)])
        known = np.array([entity >= 0 for entity in entities[i]], np.uint8)
        said = np.zeros(16, np.int64)
        said[0], said[8:10] = first_sequence + done, (whole[11], whole[10])
        profile = profiles[rows[i]] if rows[i] >= 0 else np.zeros(0, np.uint32)
        verdict = fraud_assessing.assess_transaction(
            now_ns, numbers[i], places[i], texts[i], limits[i], laid, laid_cut, known, profile,
            model, f64, i32, u8, i64, cut, figures, features, event, fired, said,
        )  # fmt: skip
        card = entities[i][0]
        if verdict == 0 or (said[14] and card >= 0 and sizes[4 * card + 3]):
            break
        if verdict == 2:
            is_written = fraud_bodies.write_finding(
                numbers[i], texts[i], data, said, event, figures, features, fired, out, at,
                told[done, :2],
            )  # fmt: skip
        else:
            is_written = fraud_bodies.write_assessment(
                numbers[i], texts[i], data, packed, packed_cut[i], packed_cut[i + 1], ids, 16 * i,
                len(ids) // 2 + 16 * i, said, event, figures, features, out, at, told[done, :2],
            )  # fmt: skip
        if not is_written:
            break
        counted = known & (t.u8.counts | np.uint8([said[15], said[15], 0, 0, 0]))
        made = count_assessed(t, numbers[i], said, laid, laid_cut, counted, event)
        for e, entity in enumerate(entities[i]):
            if counted[e]:
                own = [made[s] for s in KEPT[e]]
                states[entity] = own + [nothing] * (3 - len(own))
                changed.append(entity)
        told[done, 2:] = (*said[[7, 2, 3, 10]], verdict == 2, *said[[11, 12, 13]])
        remarkable, at, done = remarkable + (verdict == 2), told[done, 1], done + 1
    for place, entity in enumerate(sorted(set(changed))):
        ends = np.cumsum([used, *map(len, states[entity])])
        words[used : ends[-1]] = np.concatenate(states[entity])
        directory[place] = (*np.repeat(ends, 2)[1:7], entity)
        used = ends[-1]
    return done, remarkable, len(set(changed))
