"""A compiled catalogue as bytes: what the keeper stores and every worker reads.

Layout: 8 bytes of magic, then little-endian the format (4 bytes), the CRC-32 of the body (4
bytes), and the body in msgpack. The CRC stands here and not only in the store's record, because
arrays from these bytes go into kernels that do not check an index.
"""

import struct
import zlib
from dataclasses import fields
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from instanter.catalogue.compiled import (
    CompiledCatalogue,
    Document,
    Offer,
    RuleProgram,
    Treatment,
)
from instanter.catalogue.schema import (
    Attribute,
    AttributeKind,
    AttributeSource,
    Schema,
    Sensitivity,
)
from instanter.errors import DamagedError, PreconditionError

FORMAT = 1
"""Format of the bytes that `to_bytes` writes; it grows when an older reader would misread them."""

_MAGIC = b"INSTCATL"
_HEAD = struct.Struct("<8sII")
_PLAIN = ("revision", "publish_time_ns", "currency", "holdout_rate", "holdout_salt", "files")
_ATTRIBUTE_FIELDS = tuple(field.name for field in fields(Attribute))
_OFFER_FIELDS = tuple(field.name for field in fields(Offer))
_TREATMENT_FIELDS = tuple(field.name for field in fields(Treatment))


def to_bytes(catalogue: CompiledCatalogue) -> bytes:
    """Return the bytes of a catalogue."""
    document: Document = {name: getattr(catalogue, name) for name in _PLAIN}
    document["schema"] = _pack_schema(catalogue.schema)
    document["channels"] = list(catalogue.channels.items())
    document["surfaces"] = list(catalogue.surfaces)
    document["offers"] = [_pack_offer(offer) for offer in catalogue.offers]
    document["program"] = _pack_arrays(catalogue.program)
    document["arrays"] = _pack_arrays(catalogue)
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
        return _unpack(document)
    except (ValueError, TypeError, KeyError, msgpack.UnpackException) as error:
        raise DamagedError(f"the stored catalogue cannot be read: {error}") from error


def _unpack(document: Document) -> CompiledCatalogue:
    arrays: dict[str, Any] = _unpack_arrays(document["arrays"])
    return CompiledCatalogue(
        **{name: document[name] for name in _PLAIN},
        schema=_unpack_schema(document["schema"]),
        channels=dict(document["channels"]),
        surfaces={pair: index for index, pair in enumerate(document["surfaces"])},
        offers=tuple(_unpack_offer(row) for row in document["offers"]),
        program=RuleProgram(**_unpack_arrays(document["program"])),
        **arrays,
    )


def _pack_schema(schema: Schema) -> dict[str, Any]:
    return {
        "revision": schema.revision,
        "profile_slot_count": schema.profile_slot_count,
        "context_slot_count": schema.context_slot_count,
        "attributes": [_pack_attribute(attribute) for attribute in schema.attributes],
        "withdrawn": [_pack_attribute(attribute) for attribute in schema.withdrawn],
    }


def _unpack_schema(packed: dict[str, Any]) -> Schema:
    return Schema(
        revision=packed["revision"],
        attributes=tuple(_unpack_attribute(row) for row in packed["attributes"]),
        profile_slot_count=packed["profile_slot_count"],
        context_slot_count=packed["context_slot_count"],
        withdrawn=tuple(_unpack_attribute(row) for row in packed["withdrawn"]),
    )


def _pack_attribute(attribute: Attribute) -> list[Any]:
    row = [getattr(attribute, name) for name in _ATTRIBUTE_FIELDS]
    codes = _ATTRIBUTE_FIELDS.index("withdrawn_codes")
    row[codes] = sorted(attribute.withdrawn_codes)
    return row


def _unpack_attribute(row: tuple[Any, ...]) -> Attribute:
    attribute = dict(zip(_ATTRIBUTE_FIELDS, row, strict=True))
    attribute["kind"] = AttributeKind(attribute["kind"])
    attribute["source"] = AttributeSource(attribute["source"])
    attribute["sensitivity"] = Sensitivity(attribute["sensitivity"])
    attribute["withdrawn_codes"] = frozenset(attribute["withdrawn_codes"])
    return Attribute(**attribute)


def _pack_offer(offer: Offer) -> list[Any]:
    row = [getattr(offer, name) for name in _OFFER_FIELDS]
    row[_OFFER_FIELDS.index("treatments")] = [
        [getattr(treatment, name) for name in _TREATMENT_FIELDS] for treatment in offer.treatments
    ]
    return row


def _unpack_offer(row: tuple[Any, ...]) -> Offer:
    offer = dict(zip(_OFFER_FIELDS, row, strict=True))
    offer["treatments"] = tuple(Treatment(*treatment) for treatment in offer["treatments"])
    return Offer(**offer)


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
