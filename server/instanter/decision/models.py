"""All models of a node: one binning plan, and the state of each offer's learner."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Self

import msgpack
import numpy as np
from numpy.typing import NDArray

from instanter import limits
from instanter.decision.binning_plan import BinningPlan
from instanter.decision.learner import LearnerSettings, PropensityModel
from instanter.errors import DamagedError, PreconditionError
from instanter.kernels.binning import SOURCE_SURFACE
from instanter.kernels.learning import COUNT_COUNT, COUNT_RECENT_REVERSED

_FORMAT = 1


@dataclass(frozen=True, slots=True, eq=False)
class ModelSet:
    """What is published under `models`: everything needed to serve and to go on learning.

    Attributes
    ----------
    plan
        The bins that all models share.
    settings
        How fast they learn and forget.
    models
        Offer name to its model. Offers of the catalogue may be missing, and there may be models
        of offers that the catalogue no longer has.
    """

    plan: BinningPlan
    settings: LearnerSettings
    models: Mapping[str, PropensityModel]

    def replace_model(self, offer: str, model: PropensityModel) -> Self:
        """Return a set with one offer's model added or replaced."""
        return type(self)(self.plan, self.settings, {**self.models, offer: model})

    def to_bytes(self) -> bytes:
        """Return the set as msgpack; the same set gives the same bytes."""
        document = {
            "format": _FORMAT,
            "plan": _pack(self.plan),
            "settings": asdict(self.settings),
            "models": {name: _pack_model(self.models[name]) for name in sorted(self.models)},
        }
        packed: bytes = msgpack.packb(document)
        return packed

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read a set.

        Raises
        ------
        DamagedError
            The bytes are not what `to_bytes` writes: cut off, of another shape, not finite.
        PreconditionError
            A newer version wrote them.
        """
        if len(data) > limits.MODELS_SIZE_BYTES_MAX:
            raise DamagedError(
                f"the models take {len(data):,} bytes; at most {limits.MODELS_SIZE_BYTES_MAX:,} "
                "are possible"
            )
        try:
            document = msgpack.unpackb(data)
            if isinstance(document, dict) and document.get("format", 0) > _FORMAT:
                raise PreconditionError(
                    f"the models have format {document['format']}, written by a newer version; "
                    f"this one reads up to {_FORMAT}",
                    reason="FORMAT_NEWER",
                )
            plan = _read_plan(document["plan"])
            settings = LearnerSettings(**document["settings"])
            _check(all(np.isfinite(value) for value in asdict(settings).values()), "settings")
            models = {
                str(name): _read_model(packed, plan.row_count)
                for name, packed in document["models"].items()
            }
            _check(len(models) <= limits.OFFERS_MAX, "number of models")
        except (msgpack.UnpackException, LookupError, TypeError, ValueError, AttributeError) as e:
            raise DamagedError(f"the models cannot be read: {type(e).__name__}: {e}") from e
        return cls(plan, settings, models)


def plan_to_bytes(plan: BinningPlan) -> bytes:
    """Return a plan as msgpack; the same plan gives the same bytes."""
    packed: bytes = msgpack.packb({"format": _FORMAT, **_pack(plan)})
    return packed


def plan_from_bytes(data: bytes) -> BinningPlan:
    """Read a plan.

    Raises
    ------
    DamagedError
        The bytes are not what `plan_to_bytes` writes.
    """
    try:
        return _read_plan(msgpack.unpackb(data))
    except (msgpack.UnpackException, LookupError, TypeError, ValueError) as e:
        raise DamagedError(f"the binning plan cannot be read: {type(e).__name__}: {e}") from e


def model_to_bytes(model: PropensityModel) -> bytes:
    """Return a model's state as msgpack; the same state gives the same bytes."""
    packed: bytes = msgpack.packb(_pack_model(model))
    return packed


def model_from_bytes(data: bytes, row_count: int) -> PropensityModel:
    """Read a model's state.

    Raises
    ------
    DamagedError
        The bytes are not what `model_to_bytes` writes for a plan of `row_count` rows.
    """
    try:
        return _read_model(msgpack.unpackb(data), row_count)
    except (msgpack.UnpackException, LookupError, TypeError, ValueError) as e:
        raise DamagedError(f"a model's state cannot be read: {type(e).__name__}: {e}") from e


def digest_of(document: bytes) -> bytes:
    """Return 16 bytes that tell one document from another."""
    return hashlib.blake2b(document, digest_size=16).digest()


def _pack(value: BinningPlan | PropensityModel) -> dict[str, Any]:
    """Return the fields of a dataclass of arrays; an array is [dtype, shape, bytes]."""
    found: dict[str, Any] = {}
    for field in fields(value):
        content = getattr(value, field.name)
        if isinstance(content, np.ndarray):
            content = [content.dtype.str, list(content.shape), content.tobytes()]
        found[field.name] = content
    return found


def _pack_model(model: PropensityModel) -> dict[str, Any]:
    """Return what `_pack` does; as older versions wrote it where that says everything."""
    if not model.counts[COUNT_RECENT_REVERSED]:
        model = replace(model, counts=model.counts[:COUNT_RECENT_REVERSED])
    return _pack(model)


def _check(right: object, what: str) -> None:
    if not right:
        raise ValueError(f"the {what} is not right")


def _read_array(packed: dict[str, Any], name: str, dtype: type, length: int) -> NDArray[Any]:
    """Return one vector, writable, after checking dtype, length and that all is finite."""
    written_dtype, shape, content = packed[name]
    _check(written_dtype == np.dtype(dtype).str and shape == [length], f"shape of {name}")
    array: NDArray[Any] = np.frombuffer(content, dtype).copy()
    _check(len(array) == length and np.isfinite(array).all(), f"content of {name}")
    return array


def _read_plan(packed: dict[str, Any]) -> BinningPlan:
    """Return the plan, after checking that no kernel can be led astray by it."""
    count = int(packed["predictor_slot"][1][0])
    edge_count = int(packed["edges"][1][0])
    bin_count = _read_array(packed, "bin_count", np.int32, count)
    _check((bin_count >= 2).all() and (bin_count <= limits.PREDICTOR_BINS_MAX).all(), "bin count")
    row_start = _read_array(packed, "row_start", np.int32, count)
    _check((row_start == np.cumsum(bin_count) - bin_count).all(), "row start")
    plan = BinningPlan(
        predictor_slot=_read_array(packed, "predictor_slot", np.int32, count),
        predictor_source=_read_array(packed, "predictor_source", np.uint8, count),
        edge_start=_read_array(packed, "edge_start", np.int32, count + 1),
        edges=_read_array(packed, "edges", np.float32, edge_count),
        bin_count=bin_count,
        row_start=row_start,
        frequency=_read_array(packed, "frequency", np.int64, int(bin_count.sum())),
        channels=tuple(str(channel) for channel in packed["channels"]),
    )
    _check((plan.predictor_slot >= 0).all(), "predictor slot")
    source = plan.predictor_source
    _check((np.diff(source.astype(int)) >= 0).all(), "order of predictors")
    _check((source <= SOURCE_SURFACE).all(), "predictor source")
    _check((source == SOURCE_SURFACE).sum() == bool(plan.channels), "channel predictor")
    edges_of = np.diff(plan.edge_start)
    _check(plan.edge_start[0] == 0 and plan.edge_start[-1] == edge_count, "edge start")
    _check((edges_of >= 0).all() and (edges_of + 2 <= bin_count).all(), "number of edges")
    return plan


def _read_model(packed: dict[str, Any], rows: int) -> PropensityModel:
    return PropensityModel(
        mean=_read_array(packed, "mean", np.float32, rows),
        variance=_read_array(packed, "variance", np.float32, rows),
        positive=_read_array(packed, "positive", np.float32, rows),
        negative=_read_array(packed, "negative", np.float32, rows),
        evidence=_read_array(packed, "evidence", np.float32, rows),
        intercept=_read_array(packed, "intercept", np.float64, 3),
        counts=_read_counts(packed),
        calibration=_read_array(packed, "calibration", np.float64, 6),
        label_count=_read_array(packed, "label_count", np.int64, 2),
    )


def _read_counts(packed: dict[str, Any]) -> NDArray[np.float64]:
    """Return the counts; without what was taken back, which may be left out, as none."""
    _, (length,), _ = packed["counts"]
    found = np.zeros(COUNT_COUNT)
    length = max(length, COUNT_RECENT_REVERSED)
    found[:length] = _read_array(packed, "counts", np.float64, length)
    _check((found >= 0.0).all(), "counts")
    return found
