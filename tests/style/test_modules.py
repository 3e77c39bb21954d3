"""Every module of the project against every check of the house style."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.style import checks, examples

FOLDERS = ("server", "protos", "clients", "tests", "bench")
GENERATED = ("_pb2.py", "_pb2_grpc.py")


def _find_modules() -> Iterator[Path]:
    for folder in FOLDERS:
        for path in sorted((REPOSITORY / folder).rglob("*.py")):
            if not path.name.endswith(GENERATED):
                yield path


@pytest.fixture(scope="module")
def modules() -> list[checks.Module]:
    return [
        checks.Module.parse(path.relative_to(REPOSITORY).as_posix(), path.read_text("utf-8"))
        for path in _find_modules()
    ]


@pytest.mark.parametrize("check", checks.CHECKS, ids=lambda check: check.__name__)
def test_every_module_passes(check, modules):
    assert modules
    complaints = [str(complaint) for module in modules for complaint in check(module)]
    assert not complaints, "\n".join(complaints)


@pytest.mark.parametrize(("check", "path", "text"), examples.BAD)
def test_a_bad_snippet_is_caught(check, path, text):
    assert list(check(checks.Module.parse(path, text)))


@pytest.mark.parametrize(("check", "path", "text"), examples.GOOD)
def test_a_good_snippet_passes(check, path, text):
    assert not list(check(checks.Module.parse(path, text)))


def test_every_check_is_listed_and_has_examples_of_both_kinds():
    written = {value for name, value in vars(checks).items() if name.startswith("check_")}
    assert written == set(checks.CHECKS)
    assert {check for check, _, _ in examples.BAD} == written
    assert {check for check, _, _ in examples.GOOD} == written
