"""Slow twins of `kernels/fraud_scoring`: one rule after the other."""

import math
import struct

from tests.oracles import eligibility

MISSING_CODE = 0xFFFF_FFFF


def find_fired(
    truths, literal, points, severity, valid_from_s, valid_to_s, silent, time_s, fired, totals
):
    rules = range(len(literal))
    firing = [
        r for r in rules if truths[literal[r]] == 2 and valid_from_s[r] <= time_s < valid_to_s[r]
    ]
    fired[: len(firing)] = [r + len(literal) if silent[r] else r for r in firing]
    loud = [r for r in firing if not silent[r]]
    totals[0] = sum(float(points[r]) for r in loud)
    totals[1] = max((int(severity[r]) for r in loud), default=0)
    return len(firing)


def score_rules(
    profile, figures, time_s, f64, i32, u8, program_cut, literal, points, severity,
    valid_from_s, valid_to_s, silent, values, truths, fired, totals,
):  # fmt: skip
    packs = (f64, i32, u8, u8, i32, i32, i32, f64, f64, u8, i32, i32)
    cut = [int(c) for c in program_cut]
    arrays = [pack[cut[n] : cut[n + 12]] for n, pack in enumerate(packs)]
    eligibility.evaluate_program(profile, figures, time_s, *arrays, values, truths)
    return find_fired(
        truths, literal, points, severity, valid_from_s, valid_to_s, silent, time_s, fired, totals
    )


def gather_features(figures, slot, is_code, features):
    for i, (place, coded) in enumerate(zip(slot, is_code, strict=True)):
        pattern = int(figures[place])
        if pattern == MISSING_CODE:
            features[i] = math.nan
        elif coded:
            features[i] = pattern
        else:
            features[i] = struct.unpack("<f", struct.pack("<I", pattern))[0]
