"""From learned models to the score table: additive weights into 16-bit fixed point."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instanter.catalogue.compiled import CompiledCatalogue
from instanter.decision.binning_plan import BinningPlan, interleave_edges
from instanter.decision.learner import KNOT_LIMIT, PropensityModel, doubt_of, row_shares, serve
from instanter.decision.models import ModelSet
from instanter.decision.score_table import ScoreTable

COLUMN_MULTIPLE = 32
"""Columns are filled up to whole cache lines of 16-bit weights."""

_WEIGHT_MAX = np.iinfo(np.int16).max
_SUM_MAX = 1 << 29
"""Bound of each modal sum: two of them and the weights of all predictors fit 32 bits."""


@dataclass(frozen=True, slots=True, eq=False)
class ColumnLayout:
    """How the models of one plan become columns of a table; the same for all columns.

    Attributes
    ----------
    plan
        What the models were learned with.
    source_row
        int64[R]: which row of the plan each row of the table shows.
    predictor_of_row
        int64[R]: to which predictor a row of the table belongs.
    modal_row
        int64[P]: row of each predictor's modal bin in the table.
    shares
        float64[R of the plan]: see `learner.row_shares`.
    """

    plan: BinningPlan
    source_row: NDArray[np.int64]
    predictor_of_row: NDArray[np.int64]
    modal_row: NDArray[np.int64]
    shares: NDArray[np.float64]


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
    models: Mapping[str, PropensityModel] = {} if model_set is None else model_set.models
    served = any(is_served(models.get(offer.name)) for offer in catalogue.offers)
    plan = model_set.plan if model_set is not None and served else _EMPTY_PLAN
    table, layout = make_blank_table(plan, catalogue, revision=revision)
    for column, offer in enumerate(catalogue.offers):
        refresh_column(table, layout, column, models.get(offer.name), offer.prior_propensity)
    return table


def make_blank_table(
    plan: BinningPlan, catalogue: CompiledCatalogue, *, revision: int
) -> tuple[ScoreTable, ColumnLayout]:
    """Return a table of a plan whose columns are still to be filled, and how to fill them."""
    bin_count, source_row = _spread_channels(plan, catalogue)
    modal_bin = _find_modal_bins(plan, bin_count, source_row)
    row_start = (np.cumsum(bin_count) - bin_count).astype(np.int32)
    edge_start, edges = interleave_edges(plan.edge_start, plan.edges)
    columns = -(-max(len(catalogue.offers), 1) // COLUMN_MULTIPLE) * COLUMN_MULTIPLE
    knots = np.tile([-KNOT_LIMIT, KNOT_LIMIT], (columns, 1))
    reach = 2 * _SUM_MAX + len(bin_count) * (_WEIGHT_MAX + 1)
    assert reach < 1 << 31, "the sum of a column must fit 32 bits"
    table = ScoreTable(
        revision=revision,
        predictor_slot=plan.predictor_slot,
        predictor_source=plan.predictor_source,
        profile_predictor_count=plan.profile_predictor_count,
        edge_start=edge_start,
        edges=edges,
        bin_count=bin_count,
        row_start=row_start,
        modal_bin=modal_bin,
        weight=np.zeros((len(source_row), columns), np.int16),
        base=np.zeros(columns, np.int32),
        context_base=np.zeros(columns, np.int32),
        scale=np.ones(columns),
        intercept=np.zeros(columns),
        prior_logit=np.zeros(columns),
        calibration_x=knots,
        calibration_y=knots.copy(),
        fitted=np.zeros(columns, np.uint8),
        doubt=np.zeros(columns),
    )
    layout = ColumnLayout(
        plan=plan,
        source_row=source_row,
        predictor_of_row=np.repeat(np.arange(len(bin_count)), bin_count),
        modal_row=(row_start + modal_bin).astype(np.int64),
        shares=row_shares(plan),
    )
    return table, layout


def refresh_column(
    table: ScoreTable,
    layout: ColumnLayout,
    column: int,
    model: PropensityModel | None,
    prior_propensity: float,
) -> None:
    """Write what an offer's model is now into its column.

    The column's scale is the smallest that lets its largest difference fit 16 bits and its modal
    sums half of what 32 bits leave; with it no sum of any bins can overflow.

    Parameters
    ----------
    table
        Its column is written.
    layout
        From `make_blank_table`.
    column
        Which.
    model
        The offer's model; None, or one without a label, for the declared prior.
    prior_propensity
        As declared, in (0, 1).
    """
    table.doubt[column] = doubt_of(model, layout.shares)
    table.fitted[column] = is_served(model)
    if model is None or not is_served(model):
        table.weight[:, column] = 0
        table.base[column] = table.context_base[column] = 0
        table.scale[column] = 1.0
        table.intercept[column] = np.log(prior_propensity / (1.0 - prior_propensity))
        table.prior_logit[column] = table.intercept[column]
        table.calibration_x[column] = table.calibration_y[column] = -KNOT_LIMIT, KNOT_LIMIT
        return
    served = serve(layout.plan, model)
    weight = served.weight[layout.source_row]
    modal = weight[layout.modal_row]
    difference = weight - modal[layout.predictor_of_row]
    profile = table.profile_predictor_count
    modal_sums = np.array([modal[:profile].sum(), modal[profile:].sum()])
    # The last bound keeps zeros and crumbs from becoming a division by next to nothing.
    scale = max(
        np.abs(difference).max(initial=0.0) / _WEIGHT_MAX,
        np.abs(modal_sums).max() / _SUM_MAX,
        1e-12,
    )
    table.weight[:, column] = np.rint(difference / scale)
    table.base[column], table.context_base[column] = np.rint(modal_sums / scale)
    table.scale[column] = scale
    table.intercept[column] = served.intercept
    table.prior_logit[column] = served.prior_logit
    table.calibration_x[column] = served.calibration_x
    table.calibration_y[column] = served.calibration_y


def is_served(model: PropensityModel | None) -> bool:
    """Return whether a model has learned anything; else the declared prior stands."""
    return model is not None and bool(model.label_count.sum() > 0)


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
