"""Fitting a file: what is learned, what is refused, and with which words."""

import gzip
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from instanter.catalogue.schema import Attribute, AttributeKind, AttributeSource, Schema
from instanter.data.fit import FitOptions, fit_file
from instanter.decision.learner import predict, serve
from instanter.decision.models import ModelSet
from instanter.errors import InvalidFieldError

LOADED, CONTEXT = AttributeSource.LOADED, AttributeSource.CONTEXT
SCHEMA = Schema(
    1,
    (
        Attribute("age", AttributeKind.NUMBER, LOADED, 0, range_min=0),
        Attribute("job", AttributeKind.CATEGORY, LOADED, 1, values=("clerk", "cook")),
        Attribute("bought", AttributeKind.FLAG, LOADED, 2),
        Attribute("spend", AttributeKind.NUMBER, LOADED, 3, column="Spend EUR"),
        Attribute("basket", AttributeKind.NUMBER, CONTEXT, 0),
    ),
    4,
    1,
)
CHANNELS = ("store", "web")
OPTIONS = FitOptions("bought", "espresso")


def draw_rows(count, seed=1):
    draw = np.random.default_rng(seed)
    age, job = draw.integers(18, 90, count), draw.choice(["clerk", "cook"], count)
    logit = (age - 50) / 15 + (job == "cook") - 1
    bought = draw.random(count) < 1 / (1 + np.exp(-logit))
    return age, job, bought


def write_csv(path, count=600, separator=",", labels=("no", "yes")):
    lines = [separator.join(["id", "age", "job", "bought"])]
    for i, (age, job, bought) in enumerate(zip(*draw_rows(count), strict=True)):
        lines.append(separator.join([f"c{i}", str(age), job, labels[int(bought)]]))
    data = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def fit(path, options=OPTIONS, model_set=None, **rest):
    return fit_file(path, options, SCHEMA, CHANNELS, model_set, **rest)


@pytest.mark.parametrize(
    ("name", "separator", "labels"),
    [
        ("rows.csv", ",", ("no", "yes")),
        ("rows.csv", ";", ("0", "1")),
        ("rows.csv.gz", ";", ("false", "true")),
        ("rows.csv", ",", ("FALSE", "Yes")),
    ],
)
def test_csv_files_of_all_kinds_teach_the_same(tmp_path, name, separator, labels):
    found, report = fit(write_csv(tmp_path / name, 600, separator, labels))
    wanted, _ = fit(write_csv(tmp_path / "plain.csv"))
    assert found.to_bytes() == wanted.to_bytes()
    assert report.row_count == 600
    assert report.positive_count == draw_rows(600)[2].sum()
    assert report.predictor_count == 2
    assert report.columns_ignored == ("id",)
    assert report.auc > 0.7
    assert report.log_loss < 0.6


@pytest.mark.parametrize(
    "kind", [pa.bool_(), pa.int64(), pa.float64(), pa.string()], ids=lambda kind: str(kind)
)
def test_parquet_labels_may_be_of_any_plain_type(tmp_path, kind):
    age, job, bought = draw_rows(300)
    labels = pa.array(bought) if kind == pa.bool_() else pa.array(bought.astype(int)).cast(kind)
    path = tmp_path / "rows.parquet"
    pa.parquet.write_table(pa.table({"age": age, "job": job, "bought": labels}), path)
    _, report = fit(path)
    assert report.positive_count == bought.sum()


def test_the_model_knows_what_the_file_says(tmp_path):
    models, _ = fit(write_csv(tmp_path / "rows.csv", 3_000), FitOptions("bought", "e", passes=3))
    slots = np.full((2, 4), 0xFFFFFFFF, np.uint32)
    slots[:, 0] = np.array([20, 85], np.float32).view(np.uint32)
    slots[:, 1] = [0, 1]
    rows = models.plan.bin_customers(slots, np.zeros((2, 0), np.uint32), "")
    young, old = predict(serve(models.plan, models.models["e"]), rows)
    assert young < 0.15
    assert old > 0.8


@pytest.mark.parametrize(
    ("label", "shown"), [("maybe", "maybe"), ("2", "2"), ("", ""), ("0.5", "0.5")]
)
def test_what_is_no_label_is_named_with_its_row_and_column(tmp_path, label, shown):
    path = write_csv(tmp_path / "rows.csv", 20)
    lines = path.read_text().splitlines()
    lines[7] = ",".join([*lines[7].split(",")[:3], label])
    path.write_text("\n".join(lines))
    with pytest.raises(InvalidFieldError) as caught:
        fit(path)
    assert caught.value.reason == "LABEL_INVALID"
    assert caught.value.field == "column bought, row 7"
    assert caught.value.value == shown
    assert "yes or no" in caught.value.message


def test_a_column_that_is_not_there_is_named_with_the_nearest(tmp_path):
    path = write_csv(tmp_path / "rows.csv", 5)
    with pytest.raises(InvalidFieldError, match="did you mean 'bought'"):
        fit(path, FitOptions("brought", "espresso"))
    with pytest.raises(InvalidFieldError, match="did you mean 'age'"):
        fit(path, FitOptions("bought", "espresso", excluded_columns=("aged",)))


def test_a_channel_that_is_not_there_is_named_with_the_nearest(tmp_path):
    with pytest.raises(InvalidFieldError, match="did you mean 'store'"):
        fit(write_csv(tmp_path / "rows.csv", 5), FitOptions("bought", "e", channel="stores"))


@pytest.mark.parametrize("passes", [0, -1, 101])
def test_an_impossible_number_of_passes_is_refused(tmp_path, passes):
    with pytest.raises(InvalidFieldError, match="1 to 100"):
        fit(write_csv(tmp_path / "rows.csv", 5), FitOptions("bought", "e", passes=passes))


def test_a_file_without_rows_is_refused(tmp_path):
    with pytest.raises(InvalidFieldError, match="at least one row"):
        fit(write_csv(tmp_path / "rows.csv", 0))


def test_a_file_without_attributes_is_refused(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("id,bought\n1,1\n")
    with pytest.raises(InvalidFieldError, match="at least one column that is an attribute"):
        fit(path)


def test_values_that_cannot_be_are_learned_as_missing_and_told(tmp_path):
    path = write_csv(tmp_path / "rows.csv", 40)
    text = path.read_text().replace(",cook,", ",thief,")
    path.write_text(text)
    _, report = fit(path)
    assert report.rejection_count == text.count("thief")
    assert len(report.rejections) == min(10, report.rejection_count)
    assert report.rejections[0].column == "job"
    assert report.rejections[0].value == "'thief'"


def test_neither_the_target_nor_an_excluded_column_is_a_predictor(tmp_path):
    options = FitOptions("bought", "e", excluded_columns=("age",))
    models, report = fit(write_csv(tmp_path / "rows.csv", 50), options)
    assert sorted(models.plan.predictor_slot[models.plan.predictor_source <= 1]) == [1, 3]
    assert report.predictor_count == 1
    # A plan that is there already may hold them; then they are left out of this fit.
    wide, _ = fit(write_csv(tmp_path / "rows.csv", 50))
    _, report = fit(write_csv(tmp_path / "rows.csv", 50), options, wide)
    assert report.predictor_count == 1


def test_columns_are_found_by_their_declared_names_and_in_the_context(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("Spend EUR,basket,bought\n" + "5,3,1\n7,,0\n" * 10)
    models, report = fit(path, FitOptions("bought", "e", channel="web"))
    assert report.predictor_count == 3
    used = np.flatnonzero(models.models["e"].positive)
    sources = {
        int(models.plan.predictor_source[np.searchsorted(models.plan.row_start, r, "right") - 1])
        for r in used
    }
    assert sources == {0, 2, 4}


def test_a_derived_attribute_is_learned_from_a_file_that_has_it(tmp_path):
    derived = Attribute("visits", AttributeKind.NUMBER, AttributeSource.DERIVED, 4)
    schema = Schema(1, (*SCHEMA.attributes, derived), 5, 1)
    path = write_csv(tmp_path / "rows.csv", 300)
    models, report = fit_file(path, OPTIONS, schema, CHANNELS, None)
    assert report.predictor_count == 2
    assert 4 in models.plan.predictor_slot.tolist()
    text = path.read_text("utf-8").replace("age,", "visits,")
    path.write_text(text, "utf-8")
    models, report = fit_file(path, OPTIONS, schema, CHANNELS, None)
    assert report.predictor_count == 2
    visits = models.plan.predictor_slot.tolist().index(4)
    assert models.plan.bin_count[visits] > 2


def test_fitting_again_gives_the_same_and_leaves_other_offers_alone(tmp_path):
    path = write_csv(tmp_path / "rows.csv", 200)
    first, _ = fit(path)
    both, _ = fit(path, FitOptions("bought", "tea", passes=2), first)
    again, _ = fit(path, OPTIONS, both)
    assert set(first.models) == {"espresso"}
    assert set(both.models) == {"espresso", "tea"}
    assert again.to_bytes() == both.to_bytes()
    assert again.plan is first.plan
    assert ModelSet.from_bytes(again.to_bytes()).to_bytes() == again.to_bytes()


def test_a_failed_fit_changes_nothing(tmp_path):
    path = write_csv(tmp_path / "rows.csv", 200)
    before, _ = fit(path)
    data = before.to_bytes()
    path.write_text(path.read_text() + "c,30,cook,perhaps\n")
    with pytest.raises(InvalidFieldError):
        fit(path, OPTIONS, before)
    assert before.to_bytes() == data


def test_rows_of_one_kind_have_no_auc(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("age,bought\n" + "30,1\n" * 5)
    _, report = fit(path)
    assert math.isnan(report.auc)
    assert report.positive_count == 5


def test_malformed_rows_are_left_out_and_counted(tmp_path):
    path = write_csv(tmp_path / "rows.csv", 20)
    path.write_text(path.read_text() + "c,30\n")
    _, report = fit(path)
    assert (report.row_count, report.malformed_count) == (20, 1)


def test_progress_is_told(tmp_path):
    told = []
    fit(write_csv(tmp_path / "rows.csv", 50), progress=lambda rate, rows: told.append((rate, rows)))
    assert told[-1] == (1.0, 50)


def test_several_passes_refuse_a_file_that_does_not_fit_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("instanter.limits.FIT_ROWS_REPLAYED_MAX", 10)
    path = write_csv(tmp_path / "rows.csv", 50)
    assert fit(path)[1].row_count == 50
    with pytest.raises(InvalidFieldError, match="more than 10 rows"):
        fit(path, FitOptions("bought", "e", passes=2))
