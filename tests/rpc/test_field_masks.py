"""Which attributes a mask may name."""

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from instanter.catalogue.schema import Attribute, AttributeKind, AttributeSource, Schema
from instanter.errors import InvalidFieldError
from instanter.rpc.field_masks import parse_attribute_mask

SCHEMA = Schema(
    1,
    (
        Attribute("age", AttributeKind.NUMBER, AttributeSource.LOADED, 0),
        Attribute("visits", AttributeKind.NUMBER, AttributeSource.DERIVED, 1),
    ),
    2,
    0,
)


def test_a_mask_names_loaded_attributes() -> None:
    mask = FieldMask(paths=["attributes.age"])
    assert parse_attribute_mask(mask, SCHEMA, "read_mask") == [SCHEMA.loaded["age"]]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("attributes.visits", "this one is derived from events"),
        ("attributes.aged", "did you mean 'age'"),
    ],
)
def test_any_other_attribute_is_refused(path: str, message: str) -> None:
    with pytest.raises(InvalidFieldError, match=message):
        parse_attribute_mask(FieldMask(paths=[path]), SCHEMA, "update_mask")
