"""A compiled catalogue as bytes: what the keeper stores and every worker reads.

Layout: 8 bytes of magic, then little-endian the format (4 bytes), the CRC-32 of the body (4
bytes), and the body in msgpack. The CRC stands here and not only in the store's record, because
arrays from these bytes go into kernels that do not check an index.
"""

import struct
import zlib
from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeVar

import msgpack
import numpy as np
from numpy.typing import NDArray

from instanter.catalogue.compiled import (
    CompiledCatalogue,
    Document,
    Offer,
    Treatment,
)
from instanter.catalogue.contact_policy import (
    Cap,
    Consent,
    ContactPolicy,
    ContactScope,
    CoolOff,
    CoolOffCause,
    QuietHours,
)
from instanter.catalogue.events import Aggregation, Derivation, EventField, EventKind
from instanter.catalogue.fraud import (
    CompromisedTerminal,
    FraudModel,
    FraudPolicy,
    FraudRule,
    FraudSettings,
    Guard,
    Hotlists,
    StandIn,
    TerminalPlace,
    Threshold,
    Travel,
    Velocity,
    VelocityFunction,
)
from instanter.catalogue.fraud_words import EntityKind, ListKind
from instanter.catalogue.response import Arms, LearningRules, OutcomeRules
from instanter.catalogue.rule_program import RuleProgram
from instanter.catalogue.schema import (
    Attribute,
    AttributeKind,
    AttributeSource,
    Schema,
    Sensitivity,
)
from instanter.catalogue.stock import (
    CoverPoint,
    CoverTier,
    DemandPeriod,
    Grant,
    Negative,
    PurchaseMapping,
    Severity,
    Site,
    StockedOffers,
    StockPlan,
    StockPolicy,
    StockUnit,
    ZoneOffsets,
)
from instanter.errors import DamagedError, PreconditionError

FORMAT = 5
"""Format of the bytes that `to_bytes` writes; it grows when an older reader would misread them.

Format 1 knew no events, nothing that follows from them, no contact policy and no learning rules;
format 2 knew no check at the till, format 3 no stock, and format 4 not when a presentation counts
as not accepted. All are read with the defaults.
"""

_T = TypeVar("_T")
_MAGIC = b"INSTCATL"
_HEAD = struct.Struct("<8sII")
_PLAIN = ("revision", "publish_time_ns", "currency", "holdout_rate", "holdout_salt", "files")


def to_bytes(catalogue: CompiledCatalogue) -> bytes:
    """Return the bytes of a catalogue."""
    document: Document = {name: getattr(catalogue, name) for name in _PLAIN}
    document["schema"] = _pack_schema(catalogue.schema)
    document["channels"] = list(catalogue.channels.items())
    document["surfaces"] = list(catalogue.surfaces)
    document["offers"] = [_pack_row(offer) for offer in catalogue.offers]
    document["program"] = _pack_arrays(catalogue.program)
    document["arrays"] = _pack_arrays(catalogue)
    document["events"] = [_pack_row(event) for event in catalogue.events]
    document["event_programs"] = {
        name: _pack_arrays(program) for name, program in catalogue.event_programs.items()
    }
    for name in _ROWS:
        document[name] = _pack_row(getattr(catalogue, name))
    document["derivations"] = [_pack_row(derivation) for derivation in catalogue.derivations]
    document["state_id_next"] = catalogue.state_id_next
    document["unit_code_next"] = catalogue.unit_code_next
    for name in _LATER:
        later = getattr(catalogue, name)
        document[name] = None if later is None else _pack_row(later)
    body: bytes = msgpack.packb(document, use_bin_type=True)
    return _HEAD.pack(_MAGIC, FORMAT, zlib.crc32(body)) + body


def from_bytes(data: bytes) -> CompiledCatalogue:
    """Return the catalogue of bytes that `to_bytes` wrote; its arrays are read-only.

    Raises
    ------
    PreconditionError
        A newer program wrote them.
    DamagedError
        They are not what was written.
    """
    if len(data) < _HEAD.size or not data.startswith(_MAGIC):
        raise DamagedError("the stored catalogue does not begin like one")
    _, written_format, crc = _HEAD.unpack_from(data)
    if written_format > FORMAT:
        raise PreconditionError(
            f"the stored catalogue has format {written_format} and this program reads formats up "
            f"to {FORMAT}: upgrade this program",
            reason="CATALOGUE_FORMAT_NEWER",
        )
    body = memoryview(data)[_HEAD.size :]
    if zlib.crc32(body) != crc:
        raise DamagedError("the stored catalogue does not match its checksum")
    try:
        document: Document = msgpack.unpackb(body, strict_map_key=False, use_list=False)
        return _unpack(document, written_format)
    except (ValueError, TypeError, KeyError, msgpack.UnpackException) as error:
        raise DamagedError(f"the stored catalogue cannot be read: {error}") from error


def _unpack(document: Document, written_format: int) -> CompiledCatalogue:
    arrays: dict[str, Any] = _unpack_arrays(document["arrays"])
    later = _unpack_later(document) if written_format > 1 else {}
    return CompiledCatalogue(
        **{name: document[name] for name in _PLAIN},
        **later,
        schema=_unpack_schema(document["schema"]),
        channels=dict(document["channels"]),
        surfaces={pair: index for index, pair in enumerate(document["surfaces"])},
        offers=tuple(_unpack_row(Offer, row) for row in document["offers"]),
        program=RuleProgram(**_unpack_arrays(document["program"])),
        **arrays,
    )


def _pack_schema(schema: Schema) -> dict[str, Any]:
    return {
        "revision": schema.revision,
        "profile_slot_count": schema.profile_slot_count,
        "context_slot_count": schema.context_slot_count,
        "attributes": [_pack_row(attribute) for attribute in schema.attributes],
        "withdrawn": [_pack_row(attribute) for attribute in schema.withdrawn],
    }


def _unpack_schema(packed: dict[str, Any]) -> Schema:
    return Schema(
        revision=packed["revision"],
        attributes=tuple(_unpack_row(Attribute, row) for row in packed["attributes"]),
        profile_slot_count=packed["profile_slot_count"],
        context_slot_count=packed["context_slot_count"],
        withdrawn=tuple(_unpack_row(Attribute, row) for row in packed["withdrawn"]),
    )


def _unpack_later(document: Document) -> dict[str, Any]:
    """Return what format 1 did not know."""
    later = {name: document.get(name) for name in _LATER}
    return {
        **{
            name: None if row is None else _unpack_row(_LATER[name], row)
            for name, row in later.items()
        },
        "events": tuple(_unpack_row(EventKind, row) for row in document["events"]),
        "event_programs": {
            name: RuleProgram(**_unpack_arrays(packed))
            for name, packed in document["event_programs"].items()
        },
        "derivations": tuple(_unpack_row(Derivation, row) for row in document["derivations"]),
        "state_id_next": document["state_id_next"],
        "unit_code_next": document.get("unit_code_next", 1),
        **{name: _unpack_row(kind, document[name]) for name, kind in _ROWS.items()},
    }


_ROWS: dict[str, type] = {
    "contact_policy": ContactPolicy,
    "arms": Arms,
    "outcome_rules": OutcomeRules,
    "learning_rules": LearningRules,
}
_LATER: dict[str, type] = {"fraud": FraudPolicy, "stock": StockPlan}
"""Parts of a catalogue that may be None."""

_PARTS: dict[tuple[type, str], type] = {
    (Offer, "treatments"): Treatment,
    (EventKind, "fields"): EventField,
    (ContactPolicy, "caps"): Cap,
    (ContactPolicy, "cool_offs"): CoolOff,
    (ContactPolicy, "quiet_hours"): QuietHours,
    (ContactPolicy, "consents"): Consent,
    (FraudPolicy, "fields"): EventField,
    (FraudPolicy, "velocities"): Velocity,
    (FraudPolicy, "rules"): FraudRule,
    (FraudPolicy, "thresholds"): Threshold,
    (FraudPolicy, "terminals"): TerminalPlace,
    (StockPlan, "zones"): ZoneOffsets,
    (StockPlan, "policies"): StockPolicy,
    (StockPolicy, "cover"): CoverTier,
    (StockedOffers, "low_cover"): CoverPoint,
}
"""Fields that hold rows themselves."""

_COLUMNS: dict[tuple[type, str], type] = {
    (StockPlan, "sites"): Site,
    (StockPlan, "units"): StockUnit,
}
"""Fields that hold so many small rows that they are written column by column: 50,000 units are
read in 30 ms instead of 300."""

_NAMED: dict[tuple[type, str], type] = {
    (StockPlan, "purchases"): PurchaseMapping,
    (StockPlan, "grants"): Grant,
}
"""Fields that hold a dictionary of rows by the first field of each."""

_PART: dict[tuple[type, str], type] = {
    (FraudPolicy, "model"): FraudModel,
    (FraudPolicy, "settings"): FraudSettings,
    (FraudRule, "guard"): Guard,
    (FraudSettings, "hotlists"): Hotlists,
    (FraudSettings, "stand_in"): StandIn,
    (FraudSettings, "travel"): Travel,
    (FraudSettings, "compromised_terminal"): CompromisedTerminal,
    (FraudSettings, "guard"): Guard,
    (StockPlan, "offers"): StockedOffers,
}
"""Fields that hold one row, or None."""

_PROGRAMS = frozenset(
    {
        (FraudPolicy, "program"),
        (FraudPolicy, "attempt_program"),
        (FraudPolicy, "label_program"),
    }
)
"""Fields that hold a rule program."""

_WORDS: dict[tuple[type, str], Callable[[Any], Any]] = {
    (Attribute, "kind"): AttributeKind,
    (Attribute, "source"): AttributeSource,
    (Attribute, "sensitivity"): Sensitivity,
    (Attribute, "withdrawn_codes"): frozenset,
    (EventField, "kind"): AttributeKind,
    (EventField, "withdrawn_codes"): frozenset,
    (Derivation, "aggregation"): Aggregation,
    (Cap, "scope"): ContactScope,
    (CoolOff, "cause"): CoolOffCause,
    (CoolOff, "scope"): ContactScope,
    (Velocity, "per"): EntityKind,
    (Velocity, "function"): VelocityFunction,
    (StockPlan, "period"): DemandPeriod,
    (StockPolicy, "negative"): Negative,
    (CoverTier, "severity"): Severity,
    (Hotlists, "expected"): lambda kinds: tuple(ListKind(kind) for kind in kinds),
}
"""Fields that msgpack brings back as something plainer than they were."""


def _pack_row(holder: Any) -> list[Any]:
    """Return the fields of a dataclass in their order, without those that it finds itself."""
    row: list[Any] = []
    for field in fields(holder):
        if not field.init:
            continue
        value = getattr(holder, field.name)
        place = (type(holder), field.name)
        if place in _PARTS:
            value = [_pack_row(part) for part in value]
        elif place in _NAMED:
            value = [_pack_row(part) for part in value.values()]
        elif place in _COLUMNS:
            names = [column.name for column in fields(_COLUMNS[place])]
            value = [[getattr(part, name) for part in value] for name in names]
        elif place in _PART and value is not None:
            value = _pack_row(value)
        elif place in _PROGRAMS:
            value = _pack_arrays(value)
        row.append(sorted(value) if isinstance(value, frozenset) else value)
    return row


def _unpack_row(kind: type[_T], row: tuple[Any, ...]) -> _T:
    """Return a dataclass of a row; fields that its writer did not know have their defaults."""
    known = fields(kind)  # type: ignore[arg-type]  # all are dataclasses
    names = [field.name for field in known if field.init]
    values: dict[str, Any] = {}
    for name, value in zip(names[: len(row)], row, strict=True):
        part, word = _PARTS.get((kind, name)), _WORDS.get((kind, name))
        if part is not None:
            value = tuple(_unpack_row(part, one) for one in value)
        elif (kind, name) in _NAMED:
            value = {one[0]: _unpack_row(_NAMED[kind, name], one) for one in value}
        elif (kind, name) in _COLUMNS:
            value = tuple(map(_COLUMNS[kind, name], *value))
        elif (kind, name) in _PART and value is not None:
            value = _unpack_row(_PART[kind, name], value)
        elif (kind, name) in _PROGRAMS:
            value = RuleProgram(**_unpack_arrays(value))
        values[name] = value if word is None else word(value)
    return kind(**values)


def _pack_arrays(holder: object) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Return dtype, shape and bytes of each field of a dataclass that is an array."""
    return {
        field.name: (array.dtype.str, array.shape, array.tobytes())
        for field in fields(holder)  # type: ignore[arg-type]  # both callers give dataclasses
        if isinstance(array := getattr(holder, field.name), np.ndarray)
    }


def _unpack_arrays(packed: dict[str, Any]) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    for name, (dtype, shape, content) in packed.items():
        array = np.frombuffer(content, np.dtype(dtype)).reshape(shape).copy()
        array.flags.writeable = False
        arrays[name] = array
    return arrays
