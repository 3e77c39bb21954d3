"""All kernels, in one table: it drives compilation at start, the oracle tests, the benchmarks."""

import numba

from instanter.kernels import (
    arbitration,
    baselines,
    binning,
    calibration,
    checksums,
    contact_policy,
    decision,
    derived,
    derived_state,
    eligibility,
    eligibility_planes,
    event_bodies,
    event_records,
    event_requests,
    exploration,
    fraud_assessing,
    fraud_bins,
    fraud_bodies,
    fraud_events,
    fraud_model,
    fraud_requests,
    fraud_scoring,
    fraud_turns,
    holdout,
    learning,
    packed_policy,
    packing,
    propensity,
    responses,
    stock_alerts,
    stock_demand,
    stock_moves,
    stock_plunge,
    stock_settling,
    stock_time,
    stock_turns,
    stocked_offers,
    travel,
    turns,
    velocities,
    wire,
)
from instanter.kernels.cache import note_full
from instanter.kernels.compilation import CACHE_FOLDER, Kernel

KERNELS: tuple[Kernel, ...] = (
    *holdout.KERNELS,
    *eligibility.KERNELS,
    *eligibility_planes.KERNELS,
    *binning.KERNELS,
    *propensity.KERNELS,
    *calibration.KERNELS,
    *learning.KERNELS,
    *arbitration.KERNELS,
    *packed_policy.KERNELS,
    *contact_policy.KERNELS,
    *exploration.KERNELS,
    *derived_state.KERNELS,
    *derived.KERNELS,
    *checksums.KERNELS,
    *wire.KERNELS,
    *packing.KERNELS,
    *event_bodies.KERNELS,
    *event_records.KERNELS,
    *event_requests.KERNELS,
    *stocked_offers.KERNELS,
    *decision.KERNELS,
    *turns.KERNELS,
    *responses.KERNELS,
    *baselines.KERNELS,
    *travel.KERNELS,
    *fraud_bins.KERNELS,
    *fraud_model.KERNELS,
    *velocities.KERNELS,
    *fraud_scoring.KERNELS,
    *fraud_events.KERNELS,
    *fraud_bodies.KERNELS,
    *fraud_assessing.KERNELS,
    *fraud_turns.KERNELS,
    *fraud_requests.KERNELS,
    *stock_time.KERNELS,
    *stock_moves.KERNELS,
    *stock_demand.KERNELS,
    *stock_plunge.KERNELS,
    *stock_alerts.KERNELS,
    *stock_settling.KERNELS,
    *stock_turns.KERNELS,
)
"""Importing this module compiles every kernel, or reads those that Python calls from the cache."""

if not numba.config.DISABLE_JIT:
    note_full(CACHE_FOLDER)


def count_compiled() -> int:
    """Return how many signatures of all kernels are compiled: it never grows after start."""
    return sum(len(row.function.signatures) for row in KERNELS)
