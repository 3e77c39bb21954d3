"""Field masks over a customer: which attributes are meant (AIP-157, AIP-161)."""

from collections.abc import Iterable, Mapping
from typing import Final

from google.protobuf.field_mask_pb2 import FieldMask

from instanter.catalogue.schema import Attribute, Schema
from instanter.errors import InvalidFieldError, nearest
from instanter.limits import CONTEXT_SLOTS_MAX, PROFILE_SLOTS_MAX

_ATTRIBUTES: Final = "attributes"
_PREFIX: Final = "attributes."
_PATHS_MAX: Final = PROFILE_SLOTS_MAX + CONTEXT_SLOTS_MAX


def parse_attribute_mask(
    mask: FieldMask, schema: Schema, field: str, *, with_derived: bool = False
) -> list[Attribute] | None:
    """Return the attributes that a mask names, or None when it means all of them.

    Parameters
    ----------
    mask
        With at least one path: `*`, `attributes`, or `attributes.{attribute}` paths.
    schema
        Whose loaded attributes may be named.
    field
        Path of the mask in the request, for the error.
    with_derived
        Whether its derived attributes may be named too: they can be read, not written.

    Raises
    ------
    InvalidFieldError
        A path is none of these; reason `MASK_PATH_INVALID`.
    """
    paths = mask.paths
    if len(paths) > _PATHS_MAX:
        raise InvalidFieldError(
            field, f"{len(paths)} paths", f"at most {_PATHS_MAX}", reason="MASK_PATH_INVALID"
        )
    known = {**schema.loaded, **schema.derived} if with_derived else schema.loaded
    named: dict[str, Attribute] = {}
    means_all = False
    for path in paths:
        if path in ("*", _ATTRIBUTES):
            means_all = True
            continue
        name = path.removeprefix(_PREFIX)
        attribute = known.get(name) if path.startswith(_PREFIX) else None
        if attribute is None:
            raise _path_error(path, schema, field, known)
        named[name] = attribute
    return None if means_all else list(named.values())


def expect_attribute(name: str, names: Iterable[str]) -> str:
    """Say what would be right instead of an attribute name that does not exist."""
    near = nearest(name, names)
    return "a loaded attribute of the schema" + (f"; did you mean '{near}'?" if near else "")


def _path_error(
    path: str, schema: Schema, field: str, known: Mapping[str, Attribute]
) -> InvalidFieldError:
    name = path.removeprefix(_PREFIX)
    expected = "'*', 'attributes' or 'attributes.{attribute}' with "
    if name in schema.derived:
        expected += "a loaded attribute; this one is derived from events"
    else:
        expected += expect_attribute(name, known)
    return InvalidFieldError(field, path, expected, reason="MASK_PATH_INVALID")
