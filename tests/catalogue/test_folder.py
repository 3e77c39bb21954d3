"""Folders of YAML, and attributes written as YAML."""

import os

import hypothesis
import pytest
from hypothesis import strategies as st

from instanter import limits
from instanter.catalogue.attributes_yaml import format_attributes
from instanter.catalogue.folder import load_files
from instanter.catalogue.names import find_name_mistake, make_attribute_name
from instanter.catalogue.schema import Attribute, AttributeKind, AttributeSource, Sensitivity
from instanter.catalogue.value_declarations import FLOAT32_MAX
from instanter.errors import CatalogueInvalidError, InvalidFieldError
from tests.catalogue.worlds import compile_files


def test_all_yaml_below_a_folder_is_read_in_order(tmp_path):
    (tmp_path / "offers").mkdir()
    (tmp_path / ".git").mkdir()
    for name in ("b.yaml", "a.yml", "offers/c.yaml", "notes.txt", ".hidden.yaml", ".git/x.yaml"):
        (tmp_path / name).write_text(f"# {name} é", "utf-8")
    files = load_files(tmp_path)
    assert list(files) == ["a.yml", "b.yaml", "offers/c.yaml"]
    assert files["offers/c.yaml"] == "# offers/c.yaml é"


def test_a_single_file_is_a_folder_of_one(tmp_path):
    (tmp_path / "a.yaml").write_text("x")
    assert load_files(tmp_path / "a.yaml") == {"a.yaml": "x"}


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InvalidFieldError, match="nowhere"):
        load_files(tmp_path / "nowhere")


def test_links_in_circles_end(tmp_path):
    (tmp_path / "a.yaml").write_text("x")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert load_files(tmp_path) == {"a.yaml": "x"}


def _problems(folder):
    with pytest.raises(CatalogueInvalidError) as caught:
        load_files(folder)
    return caught.value.problems


def test_every_file_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "CATALOGUE_FILE_SIZE_BYTES_MAX", 10)
    (tmp_path / "a.yaml").write_bytes(b"a: 1\nb: \xe9\n")
    (tmp_path / "b.yaml").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "c.yaml")
    (tmp_path / "d.yaml").write_text("#" * 11)
    found = [(p.file, p.line, p.message) for p in _problems(tmp_path)]
    assert found == [
        ("a.yaml", 2, "is not UTF-8; save the file as UTF-8"),
        ("b.yaml", 0, "is not a regular file, or a link to nowhere"),
        ("c.yaml", 0, "is not a regular file, or a link to nowhere"),
        ("d.yaml", 0, "is larger than 10 bytes"),
    ]


def test_a_folder_without_yaml_and_one_with_too_much_are_refused(tmp_path, monkeypatch):
    assert "there is no *.yaml" in _problems(tmp_path)[0].message
    monkeypatch.setattr(limits, "CATALOGUE_FILES_MAX", 1)
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text("x")
    assert "at most 1" in _problems(tmp_path)[0].message


words = st.text(min_size=1, max_size=30).filter(str.strip)
printable = words.filter(str.isprintable)
ends = st.one_of(st.none(), st.floats(-FLOAT32_MAX, FLOAT32_MAX, allow_nan=False))


@st.composite
def _attributes(draw):
    kind = draw(st.sampled_from(AttributeKind))
    source = draw(st.sampled_from((AttributeSource.LOADED, AttributeSource.CONTEXT)))
    is_number, is_category = kind is AttributeKind.NUMBER, kind is AttributeKind.CATEGORY
    low, high = (draw(ends), draw(ends)) if is_number else (None, None)
    if low is not None and high is not None:
        low, high = sorted((low, high))
    values = draw(st.lists(printable, min_size=1, max_size=5, unique=True)) if is_category else ()
    return Attribute(
        name="x",
        kind=kind,
        source=source,
        slot=0,
        unit=draw(printable) if is_number else "",
        range_min=low,
        range_max=high,
        values=tuple(values),
        column=draw(printable) if source is AttributeSource.LOADED else "",
        owner=draw(words),
        purpose=draw(words),
        sensitivity=draw(st.sampled_from(Sensitivity)),
        description=draw(words),
    )


@hypothesis.settings(max_examples=300)
@hypothesis.given(_attributes())
def test_attributes_that_are_written_are_read_back(attribute):
    text = format_attributes([attribute])
    (back,) = compile_files({"attributes.yaml": text}).catalogue.schema
    assert back == attribute


def test_attributes_are_written_for_people():
    attributes = [
        Attribute(
            "tier",
            AttributeKind.CATEGORY,
            AttributeSource.LOADED,
            0,
            values=("gold", "no", "1"),
            column="Tier Level",
        ),
        Attribute(
            "spend", AttributeKind.NUMBER, AttributeSource.LOADED, 1, unit="EUR", range_min=0.0
        ),
    ]
    text = format_attributes(attributes, {"spend": "3 % missing"})
    assert text.split("attributes:\n")[1] == (
        "  - name: tier\n"
        "    kind: category\n"
        "    values: [gold, 'no', '1']\n"
        "    column: Tier Level\n"
        "  # 3 % missing\n"
        "  - name: spend\n"
        "    kind: number\n"
        "    unit: EUR\n"
        "    range: [0, null]\n"
    )


@hypothesis.given(st.text(max_size=150))
def test_any_heading_makes_a_valid_name(text):
    assert find_name_mistake(make_attribute_name(text)) is None
