"""The score table: all propensity models of one revision, laid out for one pass over a profile."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class ScoreTable:
    """Additive models over binned predictors, one column an offer, in 16-bit fixed point.

    The raw score of offer o is `scale[o] × (base[o] + Σ weight[row, o]) + intercept[o]`, the sum
    over the rows of those predictors whose bin is not the predictor's *modal* bin. The modal
    bins' weights are summed into `base` beforehand, and every stored weight is the difference to
    its predictor's modal weight. The sum is of integers, so it is the same in every order, on
    every machine and in the slow oracle, and a sparse profile costs only what is unusual in it.

    Attributes
    ----------
    revision
        Model revision, 0 when nothing has been fitted.
    predictor_slot, predictor_source
        int32[P], uint8[P]: source 0: profile slot as float32; 1: profile slot as uint32 code; 2
        and 3: the same for context slots; 4: the index of the request's surface.
        Profile predictors (0, 1) come before all others.
    profile_predictor_count
        How many of the predictors read the profile; without a profile they are left out.
    edge_start, edges
        int32[P + 1], float32[E]: a float predictor's bin is 1 + the number of its edges ≤ value;
        bin 0 is missing. Edges stand interleaved in blocks of 64 predictors
        (`kernels/binning.EDGE_LANES`, with the reason): edge k of predictor p is
        `edges[edge_start[p] + 64 × k]`, as long as that is below the start of the next block, and
        a predictor with fewer edges than others of its block is filled up with NaN, which is
        never ≤ value. A code predictor has no edges: its bin is 1 + code, and the last bin for
        larger codes.
    bin_count
        int32[P]: bins, the missing bin included; at most 64, of the surface one for each.
    row_start
        int32[P]: row of the predictor's bin 0.
    modal_bin
        int32[P]: the bin whose weights are in `base`.
    weight
        int16[R, C]: difference to the modal bin's weight, in units of `scale`. C is the number of
        offers rounded up to a multiple of 32 (64 bytes).
    base
        int32[C]: sum of the profile predictors' modal weights.
    context_base
        int32[C]: sum of the context predictors' modal weights.
    scale, intercept
        float64[C]: see above.
    prior_logit
        float64[C]: raw score without a profile; context predictors are added to it.
    calibration_x, calibration_y
        float64[C, K]: raw score to calibrated log-odds, piecewise linear between K knots, x
        strictly rising, y not falling; beyond the ends it goes on with slope 1.
    fitted
        uint8[C]: 1 where a model has been fitted; else the declared prior stands.
    doubt
        float64[C]: standard deviation of what is not known about an offer's log-odds, ≥ 0: how
        far exploration may vary them. Default (empty): all 0.
    """

    revision: int
    predictor_slot: NDArray[np.int32]
    predictor_source: NDArray[np.uint8]
    profile_predictor_count: int
    edge_start: NDArray[np.int32]
    edges: NDArray[np.float32]
    bin_count: NDArray[np.int32]
    row_start: NDArray[np.int32]
    modal_bin: NDArray[np.int32]
    weight: NDArray[np.int16]
    base: NDArray[np.int32]
    context_base: NDArray[np.int32]
    scale: NDArray[np.float64]
    intercept: NDArray[np.float64]
    prior_logit: NDArray[np.float64]
    calibration_x: NDArray[np.float64]
    calibration_y: NDArray[np.float64]
    fitted: NDArray[np.uint8]
    doubt: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        """Fill in the doubt where none is given."""
        if not len(self.doubt):
            object.__setattr__(self, "doubt", np.zeros(len(self.scale)))
