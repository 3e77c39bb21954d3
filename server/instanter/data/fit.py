"""Fitting: labelled rows of a file, replayed through the kernels that also learn online."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from instanter import limits
from instanter.catalogue.schema import (
    MISSING_CODE,
    Attribute,
    AttributeKind,
    AttributeSource,
    Schema,
)
from instanter.data.encoding import check_column_type, encode_column
from instanter.data.files import FileBatch, TableFile, open_table
from instanter.data.rejections import RejectedValue
from instanter.decision.binning_plan import BinningPlan, make_plan
from instanter.decision.learner import LearnerSettings, PropensityModel, learn, new_model
from instanter.decision.models import ModelSet
from instanter.decision.quality import area_under_curve, log_loss
from instanter.errors import InvalidFieldError, nearest, show
from instanter.kernels.binning import SOURCE_PROFILE_CODE, SOURCE_SURFACE

_REJECTIONS_SHOWN = 10


@dataclass(frozen=True, slots=True)
class FitOptions:
    """What to learn from a file.

    Attributes
    ----------
    target_column
        Column of the labels: yes and no, true and false, 1 and 0.
    offer
        Offer whose model learns.
    channel
        Channel in which the labels came about; empty when that is not known.
    excluded_columns
        Columns that must not become predictors: the key, and what is known only afterwards.
    passes
        1 replays the file as it would have happened; more fit a file without an order in time,
        see `decision/learner.learn`.
    plan_rows
        Rows at the beginning of the file from which a first binning plan is made.
    prior_propensity
        What the offer's model believes before the first label, in (0, 1).
    """

    target_column: str
    offer: str
    channel: str = ""
    excluded_columns: tuple[str, ...] = ()
    passes: int = 1
    plan_rows: int = limits.LOAD_BATCH_ROWS
    prior_propensity: float = 0.5


@dataclass(frozen=True, slots=True)
class FitReport:
    """What was learned, and how well it was predicted beforehand.

    Attributes
    ----------
    row_count, positive_count
        Labels learned, and how many of them were positive.
    log_loss, auc
        Of the first pass, each row predicted before it was learned; NaN where undefined.
    predictor_count
        Predictors that the file has columns for.
    columns_ignored
        Columns that are no attribute of the schema, or were excluded.
    malformed_count
        Rows that were left out because they have another number of fields than the header.
    rejection_count, rejections
        Values that cannot be an attribute's and were learned as missing; the first ten of them.
    """

    row_count: int
    positive_count: int
    log_loss: float
    auc: float
    predictor_count: int
    columns_ignored: tuple[str, ...]
    malformed_count: int
    rejection_count: int
    rejections: tuple[RejectedValue, ...]


def fit_rows(
    plan: BinningPlan,
    settings: LearnerSettings,
    model: PropensityModel,
    blocks: Iterable[tuple[NDArray[np.int32], NDArray[np.uint8]]],
    passes: int = 1,
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Let a model learn blocks of labelled rows in order.

    Parameters
    ----------
    plan, settings
        What the rows were binned with, and how fast to learn.
    model
        Written.
    blocks
        Pairs of int32[n, ≤ P] rows and uint8[n] labels. One pass holds one block at a time, more
        passes hold all of them.
    passes
        At least 1.

    Returns
    -------
    labels
        uint8[N], of all blocks.
    propensity
        float64[N], what was predicted in the first pass before each label was seen.
    """
    if passes > 1:
        held = list(blocks)
        blocks = (
            [(np.concatenate([b[0] for b in held]), np.concatenate([b[1] for b in held]))]
            if held
            else []
        )
    labels: list[NDArray[np.uint8]] = []
    found: list[NDArray[np.float64]] = []
    for rows, truth in blocks:
        found.append(learn(plan, settings, model, rows, truth, passes))
        labels.append(truth)
    return (
        np.concatenate([np.zeros(0, np.uint8), *labels]),
        np.concatenate([np.zeros(0), *found]),
    )


def fit_file(
    path: Path,
    options: FitOptions,
    schema: Schema,
    channels: Sequence[str],
    model_set: ModelSet | None,
    *,
    settings: LearnerSettings | None = None,
    progress: Callable[[float, int], None] | None = None,
) -> tuple[ModelSet, FitReport]:
    """Learn an offer's model from a file, from the beginning.

    Fitting the same file again gives the same model: what the offer's model learned before is
    replaced. Other offers' models and the binning plan stay. Without a model set, a plan is made
    from the beginning of the file.

    Parameters
    ----------
    path
        Parquet or CSV, see `data/files`.
    options
        What to learn.
    schema
        What the columns mean, by `Attribute.column` or name. Attributes without a column are left
        out of learning and keep weights of zero.
    channels
        Names of the catalogue's channels.
    model_set
        The models published so far, or None. Not changed.
    settings
        How fast to learn, for a new model set; an existing one keeps its own.
    progress
        Called after each batch with the share of the file read and the rows learned.

    Returns
    -------
    ModelSet, FitReport
        The set with the new model, to be published, and how well it did.

    Raises
    ------
    InvalidFieldError
        The file or a column cannot be used, or a label is none: names column, row and value.
    """
    _check_options(options, channels)
    table = open_table(path)
    source = LabelledFile(table, options, schema)
    batches = source.batches(progress)
    first = next(batches, None)
    if first is None:
        raise InvalidFieldError(
            "file", str(path), "at least one row of data", reason="FILE_INVALID"
        )
    if model_set is None:
        plan = make_plan(
            schema,
            first.slots[: options.plan_rows],
            first.context[: options.plan_rows],
            channels=tuple(channels),
            excluded=source.excluded_names,
        )
        model_set = ModelSet(plan, settings or LearnerSettings(), {})
    plan = model_set.plan
    model = new_model(plan, model_set.settings, options.prior_propensity)
    used = source.find_predictors(plan)

    def blocks() -> Iterable[tuple[NDArray[np.int32], NDArray[np.uint8]]]:
        block: LabelledRows | None = first
        while block is not None:
            rows = plan.bin_customers(block.slots, block.context, options.channel)
            yield np.ascontiguousarray(rows[:, used]), block.labels
            block = next(batches, None)

    labels, propensity = fit_rows(plan, model_set.settings, model, blocks(), options.passes)
    report = FitReport(
        row_count=len(labels),
        positive_count=int(labels.sum()),
        log_loss=log_loss(labels, propensity),
        auc=area_under_curve(labels, propensity),
        predictor_count=len(used),
        columns_ignored=source.ignored,
        malformed_count=source.malformed_count,
        rejection_count=source.rejection_count,
        rejections=tuple(source.rejections),
    )
    return model_set.replace_model(options.offer, model), report


def _check_options(options: FitOptions, channels: Sequence[str]) -> None:
    if options.passes < 1 or options.passes > limits.FIT_PASSES_MAX:
        raise InvalidFieldError(
            "passes", options.passes, f"a whole number from 1 to {limits.FIT_PASSES_MAX}"
        )
    if options.channel and options.channel not in channels:
        close = nearest(options.channel, channels)
        hint = f"; did you mean {close!r}?" if close else ""
        raise InvalidFieldError(
            "channel",
            options.channel,
            f"one of the catalogue's channels: {', '.join(channels) or 'it has none'}{hint}",
        )


@dataclass(frozen=True, slots=True, eq=False)
class LabelledRows:
    """Some rows of a file.

    Attributes
    ----------
    slots, context
        uint32[n, S], uint32[n, T]: what the schema's attributes are; missing is 0xFFFFFFFF.
    labels
        uint8[n], 0 or 1.
    """

    slots: NDArray[np.uint32]
    context: NDArray[np.uint32]
    labels: NDArray[np.uint8]


@dataclass(slots=True, eq=False)
class LabelledFile:
    """A file as blocks of slots and labels, and what was noticed on the way.

    Not frozen: it counts while it reads.

    Attributes
    ----------
    table, options, schema
        The file, what to learn from it, what its columns mean.
    attributes
        Column name to the attribute that it fills.
    malformed_count, rejection_count, rejections
        As in `FitReport`, so far.

    Raises
    ------
    InvalidFieldError
        A column that the options name is not there, or none is an attribute.
    """

    table: TableFile
    options: FitOptions
    schema: Schema
    rejection_count: int = 0
    malformed_count: int = 0
    rejections: list[RejectedValue] = field(default_factory=list)
    attributes: dict[str, Attribute] = field(init=False)

    def __post_init__(self) -> None:
        """Match the file's columns with the schema, or say what does not fit."""
        names = self.table.column_types
        self._check_column("target column", self.options.target_column)
        for column in self.options.excluded_columns:
            self._check_column("excluded column", column)
        left_out = {self.options.target_column, *self.options.excluded_columns}
        # Loaded attributes come last, so they win where another one has the same column. A file
        # may know derived ones, by name: what they were when the outcome was asked for.
        known = {
            attribute.column or attribute.name: attribute
            for attribute in (
                *self.schema.context.values(),
                *self.schema.derived.values(),
                *self.schema.loaded.values(),
            )
        }
        self.attributes = {n: known[n] for n in names if n in known and n not in left_out}
        if not self.attributes:
            raise InvalidFieldError(
                "file",
                str(self.table.path),
                f"at least one column that is an attribute; the schema has {len(known)}",
                reason="COLUMN_UNKNOWN",
            )
        for name, attribute in self.attributes.items():
            check_column_type(attribute, name, names[name])

    def _check_column(self, what: str, column: str) -> None:
        if column not in self.table.column_types:
            close = nearest(column, self.table.column_types)
            hint = f"; did you mean {close!r}?" if close else ""
            raise InvalidFieldError(
                what, column, f"a column of the file{hint}", reason="COLUMN_UNKNOWN"
            )

    @property
    def excluded_names(self) -> frozenset[str]:
        """Attributes that the options keep from becoming predictors."""
        left_out = {self.options.target_column, *self.options.excluded_columns}
        return frozenset(a.name for a in self.schema if (a.column or a.name) in left_out)

    @property
    def ignored(self) -> tuple[str, ...]:
        """Columns of the file that nothing is learned from."""
        target = self.options.target_column
        return tuple(
            name
            for name in self.table.column_types
            if name != target and name not in self.attributes
        )

    def find_predictors(self, plan: BinningPlan) -> NDArray[np.intp]:
        """Return which of the plan's predictors the file has values for; int64[≤ P], rising."""
        present = {(_room_of(a), a.slot) for a in self.attributes.values()}
        used = [
            bool(self.options.channel)
            if source == SOURCE_SURFACE
            else (_source_of(source), slot) in present
            for source, slot in zip(
                plan.predictor_source.tolist(), plan.predictor_slot.tolist(), strict=True
            )
        ]
        return np.flatnonzero(used)

    def batches(self, progress: Callable[[float, int], None] | None) -> Iterator[LabelledRows]:
        """Yield the file's rows as blocks that are not empty."""
        row_count = 0
        columns = [self.options.target_column, *self.attributes]
        for batch in self.table.batches(columns):
            self.malformed_count += len(batch.malformed)
            row_count += len(batch.rows)
            if self.options.passes > 1 and row_count > limits.FIT_ROWS_REPLAYED_MAX:
                raise InvalidFieldError(
                    "passes",
                    self.options.passes,
                    f"1 for a file of more than {limits.FIT_ROWS_REPLAYED_MAX:,} rows: more "
                    "passes hold all rows in memory",
                )
            if len(batch.rows):
                yield self._read(batch)
            if progress is not None:
                progress(batch.bytes_rate, row_count)

    def _read(self, batch: FileBatch) -> LabelledRows:
        count = len(batch.rows)
        labels = self._read_labels(batch)
        blocks = {
            AttributeSource.LOADED: np.full(
                (count, self.schema.profile_slot_count), MISSING_CODE, np.uint32
            ),
            AttributeSource.CONTEXT: np.full(
                (count, self.schema.context_slot_count), MISSING_CODE, np.uint32
            ),
        }
        for name, attribute in self.attributes.items():
            values, rejections = encode_column(attribute, batch.table.column(name))
            blocks[_room_of(attribute)][:, attribute.slot] = values
            self.rejection_count += len(rejections)
            for rejection in rejections[: _REJECTIONS_SHOWN - len(self.rejections)]:
                row = int(batch.rows[rejection.row])
                self.rejections.append(RejectedValue(row, name, rejection.value, rejection.reason))
        return LabelledRows(blocks[AttributeSource.LOADED], blocks[AttributeSource.CONTEXT], labels)

    def _read_labels(self, batch: FileBatch) -> NDArray[np.uint8]:
        """Return the batch's labels; refuse the file at the first that is none."""
        column = self.options.target_column
        flag = Attribute(column, AttributeKind.FLAG, AttributeSource.LOADED, 0)
        check_column_type(flag, column, self.table.column_types[column])
        values, _ = encode_column(flag, batch.table.column(column))
        wrong = np.flatnonzero(values == MISSING_CODE)
        if len(wrong):
            at = int(wrong[0])
            value = batch.table.column(column)[at].as_py()
            raise InvalidFieldError(
                f"column {column}, row {int(batch.rows[at])}",
                "" if value is None else show(value).strip("'"),
                "a label: yes or no, true or false, 1 or 0",
                reason="LABEL_INVALID",
            )
        return values.astype(np.uint8)


def _room_of(attribute: Attribute) -> AttributeSource:
    """Return whose slots an attribute is read from: a derived one has a slot of the profile."""
    in_context = attribute.source is AttributeSource.CONTEXT
    return AttributeSource.CONTEXT if in_context else AttributeSource.LOADED


def _source_of(predictor_source: int) -> AttributeSource:
    in_profile = predictor_source <= SOURCE_PROFILE_CODE
    return AttributeSource.LOADED if in_profile else AttributeSource.CONTEXT
