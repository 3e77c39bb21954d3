"""A first schema from a file: what each column is taken for, and what is left out."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from instanter import limits
from instanter.catalogue.attributes_yaml import format_attributes
from instanter.catalogue.schema import Attribute, AttributeKind, Schema
from instanter.data.infer import infer_schema
from instanter.data.load import load_customers
from instanter.errors import InvalidFieldError
from instanter.store.profiles import BlockResult


def infer(tmp_path: Path, columns: dict[str, object], **given: object) -> dict[str, Attribute]:
    path = tmp_path / "customers.parquet"
    pyarrow.parquet.write_table(pa.table(columns), path)
    return {a.name: a for a in infer_schema(path, **given)}


def infer_csv(tmp_path: Path, text: str, **given: object) -> dict[str, Attribute]:
    path = tmp_path / "customers.csv"
    path.write_text(text)
    return {a.name: a for a in infer_schema(path, **given)}


def test_kinds_follow_the_types_of_a_parquet_file(tmp_path: Path) -> None:
    found = infer(
        tmp_path,
        {
            "key": ["a", "b", "c"],
            "whole": [1, 2, None],
            "decimal": pa.array(["1.5", "2", "3"]).cast(pa.decimal128(9, 2)),
            "colour": ["red", "red", "blue"],
            "coded": pa.array(["x", "y", "x"]).dictionary_encode(),
            "bool": [True, None, False],
            "moment": [datetime(2024, 1, 1, tzinfo=UTC), None, datetime(2025, 1, 1, tzinfo=UTC)],
            "day": pa.array([1, 2, 3], pa.date32()),
        },
        key_column="key",
    )
    assert {name: a.kind.name for name, a in found.items()} == {
        "whole": "NUMBER",
        "decimal": "NUMBER",
        "colour": "CATEGORY",
        "coded": "CATEGORY",
        "bool": "FLAG",
        "moment": "INSTANT",
        "day": "INSTANT",
    }
    assert found["colour"].values == ("red", "blue")
    assert [a.slot for a in found.values()] == list(range(7))
    assert found["whole"].description == "observed 1 to 2; missing in 33.3% of 3 rows"
    assert (found["whole"].range_min, found["whole"].range_max) == (None, None)


def test_kinds_follow_what_the_texts_of_a_csv_file_spell(tmp_path: Path) -> None:
    found = infer_csv(
        tmp_path,
        "number,plus,code,day,moment,answer,three,truth\n"
        "1.5,+1,007,2024-01-01,2024-01-01T08:00:00Z,yes,yes,true\n"
        ",2,008,2024-01-02,2024-01-01 08:00:00,no,no,false\n"
        "NA,-3e2,007,,,no,unknown,\n",
    )
    assert {name: a.kind.name for name, a in found.items()} == {
        "number": "NUMBER",
        "plus": "NUMBER",
        "code": "CATEGORY",
        "day": "INSTANT",
        "moment": "INSTANT",
        "answer": "FLAG",
        "three": "CATEGORY",
        "truth": "FLAG",
    }
    assert found["plus"].description == "observed -300 to 2"
    assert found["code"].values == ("007", "008")


def test_0_and_1_are_a_flag_only_when_the_name_says_so(tmp_path: Path) -> None:
    found = infer(
        tmp_path,
        {
            "is_member": [0, 1],
            "hasCar": [1, 0],
            "churn_flag": [0.0, 1.0],
            "has_two": [1, 2],
            "is_always": [1, 1],
            "children": [0, 1],
            "visit": [1, 0],
        },
    )
    flags = {name for name, a in found.items() if a.kind is AttributeKind.FLAG}
    assert flags == {"is_member", "hasCar", "churn_flag"}


def test_what_no_attribute_can_be_is_left_out_with_a_warning(tmp_path: Path) -> None:
    rows = limits.INFER_CATEGORY_VALUES_MAX + 10
    warnings: list[str] = []
    found = infer(
        tmp_path,
        {
            "mail": [f"c{i}@example.com" for i in range(rows)],
            "empty": pa.nulls(rows),
            "blank": [""] * rows,
            "nan": [float("nan")] * rows,
            "list": [[1]] * rows,
            "born": [datetime(1955, 1, 1, tzinfo=UTC)] * rows,
            "long": ["x" * 300] * rows,
            "kept": [1] * rows,
        },
        warn=warnings.append,
    )
    assert list(found) == ["kept"]
    assert len(warnings) == 7
    assert "'mail' is left out: it has more than 200 distinct texts" in warnings[0]
    assert "before 1970" in warnings[5]


def test_a_short_file_of_names_makes_no_category(tmp_path: Path) -> None:
    warnings: list[str] = []
    found = infer(
        tmp_path, {"name": [f"n{i}" for i in range(30)], "n": range(30)}, warn=warnings.append
    )
    assert list(found) == ["n"]
    assert "30 distinct texts" in warnings[0]


def test_names_become_identifiers_and_stay_different(tmp_path: Path) -> None:
    found = infer(
        tmp_path, {"emp.var.rate": [1], "emp var rate": [2], "2nd": [3], "in": [4], "€": [5]}
    )
    assert found["emp_var_rate"].column == "emp.var.rate"
    assert found["emp_var_rate_2"].column == "emp var rate"
    assert [a.column for a in found.values()] == ["emp.var.rate", "emp var rate", "2nd", "in", "€"]
    text = format_attributes(list(found.values()))
    assert "column: emp.var.rate" in text


def test_columns_named_but_absent_are_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(InvalidFieldError, match="did you mean 'target'"):
        infer(tmp_path, {"id": [1], "target": [1]}, exclude=["targte"])
    with pytest.raises(InvalidFieldError, match="did you mean 'id'"):
        infer(tmp_path, {"id": [1], "target": [1]}, key_column="idd")


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidFieldError, match="at least one row"):
        infer_csv(tmp_path, "a,b\n")


@pytest.mark.parametrize("separator", [",", ";"])
def test_what_is_inferred_from_a_file_loads_the_file(tmp_path: Path, separator: str) -> None:
    text = "id,n,c,f,t\n" + "".join(
        f"{i},{i / 7:.3f},{'abc'[i % 3]},{'yes' if i % 2 else 'no'},2024-01-{1 + i % 28:02d}\n"
        for i in range(100)
    )
    path = tmp_path / "customers.csv"
    path.write_text(text.replace(",", separator))
    attributes = tuple(infer_schema(path, "id"))
    assert [a.kind.name for a in attributes] == ["NUMBER", "CATEGORY", "FLAG", "INSTANT"]
    schema = Schema(1, attributes, len(attributes), 0)
    report = load_customers(
        path, "id", schema, lambda keys, slots, mask: BlockResult(len(keys), 0, ())
    )
    assert (report.loaded_count, report.rejection_count) == (100, 0)


def test_the_bank_file_is_understood(data_folder: Path) -> None:
    path = data_folder / "bank_marketing" / "bank-additional-rows-00001-36224.csv.gz"
    found = {a.name: a for a in infer_schema(path, exclude=["y", "duration"])}
    kinds = {kind: [n for n, a in found.items() if a.kind is kind] for kind in AttributeKind}
    assert len(found) == 19
    assert len(kinds[AttributeKind.CATEGORY]) == 10
    assert found["emp_var_rate"].column == "emp.var.rate"
    assert found["poutcome"].values == ("nonexistent", "failure", "success")
    assert infer_schema(path)[-1].kind is AttributeKind.FLAG, "y is yes or no"
