"""Loads: good rows in, bad rows reported, bad files refused in words."""

import csv
import gzip
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from numpy.typing import NDArray

from instanter import limits
from instanter.catalogue.schema import (
    MISSING_CODE,
    SCHEMA_EMPTY,
    Attribute,
    AttributeKind,
    AttributeSource,
    Schema,
)
from instanter.data.infer import infer_schema
from instanter.data.load import LoadProgress, LoadReport, WriteBlock, load_customers
from instanter.errors import InvalidFieldError, PreconditionError
from instanter.store import profiles, records
from instanter.store.databases import PROFILES
from instanter.store.environment import Environment

SCHEMA = Schema(
    3,
    (
        Attribute(
            "age", AttributeKind.NUMBER, AttributeSource.LOADED, 0, range_min=0, range_max=150
        ),
        Attribute(
            "tier", AttributeKind.CATEGORY, AttributeSource.LOADED, 1, values=("gold", "tin")
        ),
        Attribute("vip", AttributeKind.FLAG, AttributeSource.LOADED, 2),
        Attribute("since", AttributeKind.INSTANT, AttributeSource.LOADED, 3, column="member.since"),
    ),
    4,
    0,
)
HEADER = "id,age,tier,vip,member.since\n"


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[Environment]:
    with Environment.open(tmp_path / "store") as opened:
        yield opened


def make_writer(environment: Environment, schema: Schema, now_ms: int = 5) -> WriteBlock:
    """Return what writes blocks into a store, at the time `now_ms`."""

    def write(
        keys: Sequence[bytes], slots: NDArray[np.uint32], mask: NDArray[np.bool_] | None
    ) -> profiles.BlockResult:
        return environment.write(
            lambda transaction: profiles.put_block(
                transaction,
                keys,
                slots,
                schema_revision=schema.revision,
                now_ms=now_ms,
                slot_mask=mask,
            )
        )

    return write


def load(
    environment: Environment, path: Path, key: str = "id", *, now_ms: int = 5, **given: Any
) -> LoadReport:
    return load_customers(path, key, SCHEMA, make_writer(environment, SCHEMA, now_ms), **given)


def slots_of(environment: Environment, customer: str) -> list[object] | None:
    with environment.read() as transaction:
        profile = profiles.load_profile(transaction, records.key_of(customer), 4)
    if profile is None:
        return None
    numbers = profile.slots.view(np.float32)
    return [
        None if slot == MISSING_CODE else (numbers[i].item() if i == 0 else slot.item())
        for i, slot in enumerate(profile.slots)
    ]


def written(tmp_path: Path, text: str, name: str = "customers.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def written_parquet(tmp_path: Path, columns: dict[str, object]) -> Path:
    path = tmp_path / "customers.parquet"
    pyarrow.parquet.write_table(pa.table(columns), path)
    return path


# --- Good files ---------------------------------------------------------------------------------


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["c.csv", "c.csv.gz"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_csv_file_is_loaded_whatever_its_separator(
    environment: Environment, tmp_path: Path, separator: str, name: str, mark: str
) -> None:
    text = mark + (HEADER + 'anna,41,gold,yes,2024-01-01\n"bert",,,,\n').replace(",", separator)
    report = load(environment, written(tmp_path, text, name))
    assert (report.row_count, report.created_count, report.rejection_count) == (2, 2, 0)
    assert slots_of(environment, "anna") == [41.0, 0, 1, 1704067200]
    assert slots_of(environment, "bert") == [None] * 4


def test_a_parquet_file_is_loaded_and_again_as_an_update(
    environment: Environment, tmp_path: Path
) -> None:
    columns = {"id": [7.0, 8.0], "age": [1, None], "tier": ["tin", None], "vip": [True, False]}
    path = written_parquet(
        tmp_path, {**columns, "member.since": pa.array([5, None], pa.timestamp("s"))}
    )
    assert load(environment, path).created_count == 2
    assert slots_of(environment, "7") == [1.0, 1, 1, 5]
    assert slots_of(environment, "8") == [None, None, 0, None]
    report = load(environment, path, now_ms=9)
    assert (report.created_count, report.updated_count) == (0, 2)
    with environment.read() as transaction:
        profile = profiles.load_profile(transaction, records.key_of("7"), 4)
    assert profile is not None
    assert (profile.create_time_ms, profile.update_time_ms, profile.revision) == (5, 9, 2)
    assert profile.schema_revision == 3


def test_a_file_with_some_columns_keeps_the_other_attributes(
    environment: Environment, tmp_path: Path
) -> None:
    load(environment, written(tmp_path, HEADER + "anna,41,gold,yes,2024-01-01\n"))
    report = load(environment, written(tmp_path, "vip,id\nno,anna\nno,cleo\n"))
    assert report.attributes_loaded_count == 1
    assert report.attributes_absent == ("age", "tier", "since")
    assert slots_of(environment, "anna") == [41.0, 0, 0, 1704067200]
    assert slots_of(environment, "cleo") == [None, None, 0, None]


def test_many_batches_report_progress_and_number_rows_right(
    environment: Environment, tmp_path: Path
) -> None:
    count = 2 * limits.LOAD_BATCH_ROWS + 10
    rows = [f"c{i},{i % 100},gold,1,0" for i in range(1, count + 1)]
    rows[count - 2] = "c9,1,gold,1,0"
    seen: list[LoadProgress] = []
    path = written(tmp_path, HEADER + "\n".join(rows) + "\n")
    report = load(environment, path, progress=seen.append)
    assert report.loaded_count == count - 1
    (rejected,) = report.rejections
    assert (rejected.row, rejected.column) == (count - 1, "id")
    assert rejected.reason == "the customer came before, in row 9"
    assert [p.row_count for p in seen] == sorted(p.row_count for p in seen)
    assert seen[-1] == LoadProgress(count, count - 1, 1, 1.0)
    assert slots_of(environment, f"c{count}") == [float(count % 100), 0, 1, 0]


# --- Bad rows -----------------------------------------------------------------------------------

BAD_ROWS = """\
ok,1,gold,1,0
range,151,gold,1,0
nan,nan,gold,1,0
inf,inf,gold,1,0
text,old,gold,1,0
seen,1,golf,1,0
flag,1,gold,2,0
time,1,gold,1,never
,1,gold,1,0
a/b,1,gold,1,0
ok,2,tin,0,0
short,1,gold

two,-1,led,1,0
long,1,gold,1,0,9
"a
b",1,gold,1,0
last,1,gold,1,0
"""


def test_rejected_rows_are_reported_and_the_others_loaded(
    environment: Environment, tmp_path: Path
) -> None:
    rejects = tmp_path / "rejects.jsonl"
    report = load(environment, written(tmp_path, HEADER + BAD_ROWS), rejects=rejects)
    found = {(r.row, r.column): r for r in report.rejections}
    assert set(found) == {
        (2, "age"),
        (3, "age"),
        (4, "age"),
        (5, "age"),
        (6, "tier"),
        (7, "vip"),
        (8, "member.since"),
        (9, "id"),
        (10, "id"),
        (11, "id"),
        (12, ""),
        (13, "age"),
        (13, "tier"),
        (14, ""),
        (15, "id"),
    }
    assert found[6, "tier"].value == "'golf'"
    assert "did you mean 'gold'?" in found[6, "tier"].reason
    assert found[12, ""].reason == "has 3 fields, the header has 5"
    assert (report.row_count, report.loaded_count, report.rejected_row_count) == (16, 2, 14)
    assert slots_of(environment, "ok") == [1.0, 0, 1, 0]
    assert slots_of(environment, "last") == [1.0, 0, 1, 0]
    with environment.read() as transaction:
        assert profiles.measure_profiles(transaction).profile_count == 2
    lines = [json.loads(line) for line in rejects.read_text().splitlines()]
    assert [(line["row"], line["column"]) for line in lines] == [
        (r.row, r.column) for r in report.rejections
    ]


@pytest.mark.parametrize("rows", ["one\ntwo,2\n", '"open,1,gold,1,0\n', "a,1,gold,1,0,6\n\nb\n"])
def test_a_file_of_malformed_rows_alone_is_reported_row_by_row(
    environment: Environment, tmp_path: Path, rows: str
) -> None:
    report = load(environment, written(tmp_path, HEADER + rows))
    assert report.loaded_count == 0
    assert report.row_count == report.rejected_row_count == len(report.rejections) > 0
    assert all("the header has 5" in rejection.reason for rejection in report.rejections)


def test_the_report_is_bounded_and_the_file_of_rejects_complete(
    environment: Environment, tmp_path: Path
) -> None:
    count = limits.LOAD_REJECTIONS_KEPT + 500
    rejects = tmp_path / "rejects.csv"
    text = HEADER + "".join(f"c{i},old,gold,1,0\n" for i in range(count))
    report = load(environment, written(tmp_path, text), rejects=rejects)
    assert (report.rejected_row_count, report.rejection_count) == (count, count)
    assert len(report.rejections) == limits.LOAD_REJECTIONS_KEPT
    rows = list(csv.reader(rejects.read_text().splitlines()))
    assert rows[0] == ["row", "column", "value", "reason"]
    assert rows[-1] == [str(count), "age", "'old'", "is not a number"]
    assert len(rows) == count + 1


def test_a_row_with_many_mistakes_is_told_of_ten(environment: Environment, tmp_path: Path) -> None:
    attributes = [
        Attribute(f"n{i}", AttributeKind.NUMBER, AttributeSource.LOADED, i) for i in range(30)
    ]
    path = written(
        tmp_path, "id," + ",".join(a.name for a in attributes) + "\na" + ",x" * 30 + "\n"
    )
    schema = Schema(1, tuple(attributes), 30, 0)
    report = load_customers(path, "id", schema, make_writer(environment, schema))
    assert report.rejection_count == limits.LOAD_REJECTIONS_PER_ROW
    assert report.rejected_row_count == 1


def test_some_attributes_of_a_damaged_record_are_rejected_all_replace_it(
    environment: Environment, tmp_path: Path
) -> None:
    environment.write(lambda t: t.put(PROFILES, records.key_of("anna"), b"damaged"))
    report = load(environment, written(tmp_path, "id,age\nanna,1\nbert,2\n"))
    assert (report.loaded_count, report.rejected_row_count) == (1, 1)
    assert (report.rejections[0].row, report.rejections[0].column) == (1, "id")
    assert "damaged" in report.rejections[0].reason
    report = load(environment, written(tmp_path, HEADER + "anna,41,gold,yes,0\n"))
    assert (report.loaded_count, report.rejected_row_count) == (1, 0)
    assert slots_of(environment, "anna") == [41.0, 0, 1, 0]


# --- Bad files ----------------------------------------------------------------------------------


def refused(environment: Environment, path: Path, key: str = "id", **given: Any) -> str:
    with pytest.raises(InvalidFieldError) as caught:
        load(environment, path, key, **given)
    with environment.read() as transaction:
        assert profiles.measure_profiles(transaction).profile_count == 0
    return caught.value.message


def test_a_file_that_is_no_table_is_refused(environment: Environment, tmp_path: Path) -> None:
    assert "exists" in refused(environment, tmp_path / "none.csv")
    assert "is a folder" in refused(environment, tmp_path)
    assert "empty" in refused(environment, written(tmp_path, ""))
    assert "Parquet" in refused(environment, written(tmp_path, "PK\x03\x04", "c.xlsx"))
    assert "Parquet" in refused(environment, written(tmp_path, "id\n1\n", "c.parquet"))
    assert "Parquet" in refused(environment, written(tmp_path, "PAR1 and no more", "c.parquet"))
    assert "at least one row" in refused(environment, written(tmp_path, HEADER))
    assert "CSV" in refused(environment, written(tmp_path, HEADER.strip()))
    assert "gzip" in refused(
        environment, written(tmp_path, "id\n", "a.csv").rename(tmp_path / "a.csv.gz")
    )
    (tmp_path / "latin.csv").write_bytes((HEADER + "ü,1,,,\n").encode("latin-1"))
    assert "UTF-8" in refused(environment, tmp_path / "latin.csv")


def test_a_parquet_file_without_rows_is_refused(environment: Environment, tmp_path: Path) -> None:
    path = written_parquet(
        tmp_path, {"id": pa.array([], pa.string()), "age": pa.array([], pa.int8())}
    )
    assert "at least one row" in refused(environment, path)


@pytest.mark.parametrize("size_rate", [0.1, 0.5, 0.99])
def test_a_parquet_file_that_is_cut_off_is_refused(
    environment: Environment, tmp_path: Path, size_rate: float
) -> None:
    path = written_parquet(tmp_path, {"id": np.arange(5000), "age": np.arange(5000) % 90})
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * size_rate)])
    assert "whole Parquet file" in refused(environment, path)


@pytest.mark.parametrize("row_count", [100, 40_000])
def test_a_gzip_file_that_is_cut_off_is_refused_and_leaves_whole_batches(
    environment: Environment, tmp_path: Path, row_count: int
) -> None:
    text = HEADER + "".join(f"c{i},1,gold,1,0\n" for i in range(row_count))
    path = written(tmp_path, text, "c.csv.gz")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InvalidFieldError, match="ended before the end"):
        load(environment, path)
    with environment.read() as transaction:
        count = profiles.measure_profiles(transaction).profile_count
    assert count % limits.LOAD_BATCH_ROWS == 0


def test_columns_that_come_twice_are_refused(environment: Environment, tmp_path: Path) -> None:
    path = written(tmp_path, "id,age,age\n1,2,3\n")
    assert "come twice: 'age'" in refused(environment, path)


def test_a_key_column_that_is_absent_is_refused_with_the_nearest(
    environment: Environment, tmp_path: Path
) -> None:
    path = written(tmp_path, "CustomerID,age\n1,2\n")
    assert "did you mean 'CustomerID'?" in refused(environment, path, "CustomerId")


def test_unknown_columns_are_refused_with_the_nearest_or_ignored(
    environment: Environment, tmp_path: Path
) -> None:
    path = written(tmp_path, "id,age,teir,zzz\n1,2,gold,3\n")
    message = refused(environment, path)
    assert "2 are none: 'teir' (did you mean 'tier'?), 'zzz'" in message
    assert "1 are none: 'zzz'" in refused(environment, path, ignore_columns=["teir"])
    report = load(environment, path, ignore_unknown_columns=True)
    assert report.columns_ignored == ("teir", "zzz")
    assert slots_of(environment, "1") == [2.0, None, None, None]


def test_derived_attributes_are_never_loaded(environment: Environment, tmp_path: Path) -> None:
    derived = Attribute("visits", AttributeKind.NUMBER, AttributeSource.DERIVED, 4)
    schema = Schema(1, (*SCHEMA.attributes, derived), 5, 0)
    path = written(tmp_path, "id,age,visits\n1,2,3\n")
    with pytest.raises(InvalidFieldError) as caught:
        load_customers(path, "id", schema, make_writer(environment, schema, 5))
    assert "1 are none: 'visits' (derived from events, never loaded)" in caught.value.message


def test_a_file_without_any_attribute_is_refused(environment: Environment, tmp_path: Path) -> None:
    path = written(tmp_path, "id,zzz\n1,2\n")
    assert "4: age" in refused(environment, path, ignore_unknown_columns=True)


def test_a_column_of_an_impossible_type_is_refused(
    environment: Environment, tmp_path: Path
) -> None:
    path = written_parquet(tmp_path, {"id": [1], "age": [[1, 2]]})
    assert "column age" in refused(environment, path)


def test_a_load_without_a_schema_is_refused(environment: Environment, tmp_path: Path) -> None:
    path = written(tmp_path, "id,age\n1,2\n")
    with pytest.raises(PreconditionError, match="apply a catalogue"):
        load_customers(path, "id", SCHEMA_EMPTY, make_writer(environment, SCHEMA_EMPTY))


def test_rejects_that_cannot_be_written_are_refused(
    environment: Environment, tmp_path: Path
) -> None:
    path = written(tmp_path, HEADER + "a,1,,,\n")
    assert "can be written" in refused(environment, path, rejects=tmp_path / "none" / "r.csv")


@pytest.mark.parametrize("way", ["name", "path", "link", "hard link"])
def test_a_file_is_not_overwritten_with_its_own_rejects(
    environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.chdir(tmp_path)
    text = HEADER + "a,1,,,\nb,many,,,\n"
    path, other = written(tmp_path, text), tmp_path / "rejects.csv"
    if way == "link":
        other.symlink_to(path)
    elif way == "hard link":
        other.hardlink_to(path)
    else:
        other = Path(path.name) if way == "name" else tmp_path / "." / path.name
    assert "another file" in refused(environment, path, rejects=other)
    assert path.read_text() == text


# --- Real data ----------------------------------------------------------------------------------


def test_the_thousand_attributes_of_real_customers_are_loaded(
    environment: Environment, data_folder: Path
) -> None:
    path = data_folder / "profiles_1000" / "online_retail_profiles_1000.parquet"
    target = "target_buys_after_2011_10_01"
    attributes = tuple(infer_schema(path, "CustomerID", [target]))
    schema = Schema(1, attributes, len(attributes), 0)
    report = load_customers(
        path, "CustomerID", schema, make_writer(environment, schema), ignore_columns=[target]
    )
    assert (report.loaded_count, report.rejected_row_count) == (3616, 0)
    table = pyarrow.parquet.read_table(path)
    row = 1234
    with environment.read() as transaction:
        figures = profiles.measure_profiles(transaction)
        key = records.key_of(str(int(table["CustomerID"][row].as_py())))
        profile = profiles.load_profile(transaction, key, len(attributes))
    assert figures.size_bytes / figures.profile_count <= 4300
    assert profile is not None
    numbers = profile.slots.view(np.float32)
    for attribute in attributes:
        value = table[attribute.column][row].as_py()
        if value is None:
            assert profile.slots[attribute.slot] == MISSING_CODE
        elif attribute.kind is AttributeKind.CATEGORY:
            assert attribute.values[profile.slots[attribute.slot]] == value
        else:
            assert numbers[attribute.slot] == np.float32(value)
