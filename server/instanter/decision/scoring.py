"""From learned models to the score table: additive weights into 16-bit fixed point."""

import numpy as np
from numpy.typing import NDArray

from instanter.catalogue.compiled import CompiledCatalogue
from instanter.decision.binning_plan import BinningPlan, interleave_edges
from instanter.decision.learner import KNOT_LIMIT, ServedModel, serve
from instanter.decision.models import ModelSet
from instanter.decision.score_table import ScoreTable

COLUMN_MULTIPLE = 32
"""Columns are filled up to whole cache lines of 16-bit weights."""

_WEIGHT_MAX = np.iinfo(np.int16).max
_SUM_MAX = 1 << 29
"""Bound of each modal sum: two of them and the weights of all predictors fit 32 bits."""


def build_score_table(
    model_set: ModelSet | None, catalogue: CompiledCatalogue, *, revision: int
) -> ScoreTable:
    """Lay out the models of a catalogue's offers for one pass over a profile.

    Parameters
    ----------
    model_set
        The published models, or None when nothing has been published.
    catalogue
        Decides which offers there are, and in which order.
    revision
        Revision of the models, 0 when there are none.

    Returns
    -------
    ScoreTable
        An offer without a model has no weights, and its declared prior as its score.
    """
    offer_count = len(catalogue.offers)
    served: dict[int, ServedModel] = {}
    if model_set is not None:
        for column, offer in enumerate(catalogue.offers):
            model = model_set.models.get(offer.name)
            if model is not None and model.label_count.sum() > 0:
                served[column] = serve(model_set.plan, model)
    plan = model_set.plan if model_set is not None and served else _EMPTY_PLAN
    bin_count, source_row = _spread_channels(plan, catalogue)
    modal_bin = _find_modal_bins(plan, bin_count, source_row)
    row_start = (np.cumsum(bin_count) - bin_count).astype(np.int32)
    columns = _quantise(plan, served, offer_count, bin_count, source_row, row_start + modal_bin)
    intercept, prior_logit, calibration_x, calibration_y = _stack(
        served, catalogue.prior_propensity, len(columns[1])
    )
    edge_start, edges = interleave_edges(plan.edge_start, plan.edges)
    weight, base, context_base, scale = columns
    fitted = np.zeros(len(base), np.uint8)
    fitted[list(served)] = 1
    return ScoreTable(
        revision=revision,
        predictor_slot=plan.predictor_slot,
        predictor_source=plan.predictor_source,
        profile_predictor_count=plan.profile_predictor_count,
        edge_start=edge_start,
        edges=edges,
        bin_count=bin_count,
        row_start=row_start,
        modal_bin=modal_bin,
        weight=weight,
        base=base,
        context_base=context_base,
        scale=scale,
        intercept=intercept,
        prior_logit=prior_logit,
        calibration_x=calibration_x,
        calibration_y=calibration_y,
        fitted=fitted,
    )


_EMPTY_PLAN = BinningPlan(
    predictor_slot=np.zeros(0, np.int32),
    predictor_source=np.zeros(0, np.uint8),
    edge_start=np.zeros(1, np.int32),
    edges=np.zeros(0, np.float32),
    bin_count=np.zeros(0, np.int32),
    row_start=np.zeros(0, np.int32),
    frequency=np.zeros(0, np.int64),
    channels=(),
)


def _spread_channels(
    plan: BinningPlan, catalogue: CompiledCatalogue
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the table's bin counts, and which row of the plan each row of the table shows.

    Models know channels, requests come on surfaces: every surface gets the row of its channel.
    """
    bin_count = plan.bin_count.copy()
    source_row = np.arange(plan.row_count)
    if plan.channels:
        first = int(plan.row_start[-1])
        known = {
            channel: first + min(1 + index, int(plan.bin_count[-1]) - 1)
            for index, channel in enumerate(plan.channels)
        }
        rows = np.full(len(catalogue.surfaces) + 1, first)
        for (channel, _placement), surface in catalogue.surfaces.items():
            rows[1 + surface] = known.get(channel, first)
        bin_count[-1] = len(rows)
        source_row = np.concatenate([source_row[:first], rows])
    return bin_count, source_row


def _find_modal_bins(
    plan: BinningPlan, bin_count: NDArray[np.int32], source_row: NDArray[np.int64]
) -> NDArray[np.int32]:
    """Return the table's modal bins: the plan's, but for the surface the first of its channel."""
    modal = plan.find_modal_bins()
    if plan.channels:
        modal_row = plan.row_start[-1] + modal[-1]
        shown = source_row[len(source_row) - bin_count[-1] :]
        modal[-1] = np.argmax(shown == modal_row)
    return modal


def _quantise(
    plan: BinningPlan,
    served: dict[int, ServedModel],
    offer_count: int,
    bin_count: NDArray[np.int32],
    source_row: NDArray[np.int64],
    modal_row: NDArray[np.int32],
) -> tuple[NDArray[np.int16], NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
    """Return weight int16[R, C], base int32[C], context_base int32[C], scale float64[C].

    A column's scale is the smallest that lets its largest difference fit 16 bits and its modal
    sums half of what 32 bits leave; with it no sum of any bins can overflow.
    """
    columns = -(-max(offer_count, 1) // COLUMN_MULTIPLE) * COLUMN_MULTIPLE
    profile = plan.profile_predictor_count
    by_column = np.zeros((columns, len(source_row)), np.int16)
    sums = np.zeros((2, columns), np.int32)
    scale = np.ones(columns)
    predictor_of_row = np.repeat(np.arange(len(bin_count)), bin_count)
    for column, model in served.items():
        weight = model.weight[source_row]
        modal = weight[modal_row]
        difference = weight - modal[predictor_of_row]
        modal_sums = np.array([modal[:profile].sum(), modal[profile:].sum()])
        # The last bound keeps zeros and crumbs from becoming a division by next to nothing.
        scale[column] = max(
            np.abs(difference).max(initial=0.0) / _WEIGHT_MAX,
            np.abs(modal_sums).max() / _SUM_MAX,
            1e-12,
        )
        by_column[column] = np.rint(difference / scale[column])
        sums[:, column] = np.rint(modal_sums / scale[column])
    reach = 2 * _SUM_MAX + len(bin_count) * (_WEIGHT_MAX + 1)
    assert reach < 1 << 31, "the sum of a column must fit 32 bits"
    weights = np.ascontiguousarray(by_column.T)
    return weights, sums[0].copy(), sums[1].copy(), scale


def _stack(
    served: dict[int, ServedModel], prior: NDArray[np.float64], columns: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return intercept, prior_logit float64[C], calibration_x, calibration_y float64[C, 2]."""
    intercept = np.zeros(columns)
    intercept[: len(prior)] = np.log(prior / (1.0 - prior))
    prior_logit = intercept.copy()
    calibration_x = np.tile([-KNOT_LIMIT, KNOT_LIMIT], (columns, 1))
    calibration_y = calibration_x.copy()
    for column, model in served.items():
        intercept[column] = model.intercept
        prior_logit[column] = model.prior_logit
        calibration_x[column] = model.calibration_x
        calibration_y[column] = model.calibration_y
    return intercept, prior_logit, calibration_x, calibration_y
