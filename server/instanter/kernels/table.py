"""All kernels, in one table: it drives compilation at start, the oracle tests, the benchmarks."""

from instanter.kernels import (
    arbitration,
    baselines,
    binning,
    calibration,
    contact_policy,
    decision,
    derived,
    derived_state,
    eligibility,
    eligibility_planes,
    exploration,
    fraud_bins,
    fraud_model,
    fraud_scoring,
    holdout,
    learning,
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
)
from instanter.kernels.compilation import Kernel

KERNELS: tuple[Kernel, ...] = (
    *holdout.KERNELS,
    *eligibility.KERNELS,
    *eligibility_planes.KERNELS,
    *binning.KERNELS,
    *propensity.KERNELS,
    *calibration.KERNELS,
    *learning.KERNELS,
    *arbitration.KERNELS,
    *contact_policy.KERNELS,
    *exploration.KERNELS,
    *derived_state.KERNELS,
    *derived.KERNELS,
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
    *stock_time.KERNELS,
    *stock_moves.KERNELS,
    *stock_demand.KERNELS,
    *stock_plunge.KERNELS,
    *stock_alerts.KERNELS,
    *stock_settling.KERNELS,
    *stock_turns.KERNELS,
)
"""Importing this module compiles every kernel, or reads it from the cache."""


def count_compiled() -> int:
    """Return how many signatures of all kernels are compiled: it never grows after start."""
    return sum(len(row.function.signatures) for row in KERNELS)
