"""What a program can check of the project as a whole."""

import ast
import inspect
import re
import tomllib

import numba
import pytest
from numba import types

from instanter.kernels.table import KERNELS
from tests.conftest import REPOSITORY

ROOTS = ("server", "protos", "clients/python")
ROOMS = sorted(
    path.name
    for path in (REPOSITORY / "server/instanter").iterdir()
    if path.is_dir() and not path.name.startswith("__")
)
PYPROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))


def _find_undescribed(source):
    """Return the constants of a module that no docstring follows."""
    body = ast.parse(source).body
    found = []
    for at, node in enumerate(body):
        targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
        names = [target.id for target in targets if isinstance(target, ast.Name)]
        follower = body[at + 1] if at + 1 < len(body) else None
        value = follower.value if isinstance(follower, ast.Expr) else None
        if not (isinstance(value, ast.Constant) and isinstance(value.value, str)):
            found += [name for name in names if not name.startswith("_")]
    return found


def _find_unknown_targets(text, makefile):
    known = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    return set(re.findall(r"\bmake ([a-z]+)\b", "\n".join(_list_code(text)))) - known


def _list_code(text):
    """Return the code of a Markdown text: its blocks and what stands in backticks."""
    blocks = re.findall(r"^```.*?$(.*?)^```", text, re.MULTILINE | re.DOTALL)
    rest = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return blocks + re.findall(r"`([^`]+)`", rest)


def _find_readmes():
    found = [REPOSITORY / "README.md"]
    for folder in ("server", "clients", "bench", "protos", "tests"):
        found += sorted((REPOSITORY / folder).rglob("*.md"))
    return found


def test_the_namespace_belongs_to_no_folder():
    for root in ROOTS:
        assert not (REPOSITORY / root / "instanter/__init__.py").exists()
        assert not (REPOSITORY / root / "__init__.py").exists()


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_begins_with_one_sentence_and_nothing_else(room):
    tree = ast.parse((REPOSITORY / "server/instanter" / room / "__init__.py").read_text("utf-8"))
    assert ast.get_docstring(tree)
    assert len(tree.body) == 1


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_with_code_has_tests(room):
    modules = list((REPOSITORY / "server/instanter" / room).rglob("*.py"))
    if len(modules) > 1:
        assert list((REPOSITORY / "tests" / room).rglob("test_*.py"))


@pytest.mark.parametrize(
    ("module", "known"),
    [
        ("limits", "PAGE_SIZE_MAX"),
        ("fraud_limits", "FRAUD_RULES_MAX"),
        ("stock_limits", "STOCK_SITES_MAX"),
        ("wire_limits", "CALLS_IN_FLIGHT_MAX"),
    ],
)
def test_every_limit_says_why(module, known):
    source = (REPOSITORY / f"server/instanter/{module}.py").read_text("utf-8")
    assert not _find_undescribed(source)
    assert known in source


def test_a_limit_without_a_reason_is_caught():
    bad = 'A_MAX: Final = 1\n"""Because."""\nB_MAX: Final = 2\nC_MAX = 3\n'
    assert _find_undescribed(bad) == ["B_MAX", "C_MAX"]


def test_every_command_of_the_readmes_exists():
    makefile = (REPOSITORY / "Makefile").read_text("utf-8")
    for readme in _find_readmes():
        assert not _find_unknown_targets(readme.read_text("utf-8"), makefile), readme


def test_an_unknown_command_of_a_readme_is_caught():
    text = "We make haste.\n```sh\nmake demo\nmake tea\n```\nand `make bench NAME=decide`"
    assert _find_unknown_targets(text, "demo: x\nbench:\n") == {"tea"}


def test_the_changelog_begins_with_this_version():
    text = (REPOSITORY / "CHANGELOG.md").read_text("utf-8")
    first = re.search(r"^## (\S+)", text, re.MULTILINE)
    assert first[1] == PYPROJECT["project"]["version"]


def test_the_locks_name_exact_versions_with_hashes_and_no_host():
    for name in ("requirements.lock", "bench/rivals.lock"):
        text = (REPOSITORY / name).read_text("utf-8")
        assert "://" not in text
        for block in re.split(r"\n(?=\S)", text.strip()):
            assert re.match(r"[\w.-]+==\S+", block)
            assert "--hash=sha256:" in block


def test_everything_that_is_declared_is_locked():
    locked = set(
        re.findall(r"^([\w.-]+)==", (REPOSITORY / "requirements.lock").read_text("utf-8"), re.M)
    )
    declared = PYPROJECT["project"]["dependencies"] + PYPROJECT["dependency-groups"]["dev"]
    assert {re.match(r"[\w.-]+", line)[0].lower() for line in declared} <= locked


def _find_doors(sources):
    """Return the kernels that something outside of their module can use.

    A part that only other kernels of its module call is tested through them.
    """
    trees = {name: ast.parse(text) for name, text in sources.items()}
    imported = {
        (node.module.rpartition(".")[2], alias.name)
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    doors = set()
    for name, tree in trees.items():
        called = {ast.unparse(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)}
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and any(
                ast.unparse(decorator).startswith(("kernel(", "inner_kernel("))
                for decorator in node.decorator_list
            ):
                is_part = node.name in called or node.name.startswith("_")
                if not is_part or (name, node.name) in imported:
                    doors.add(node.name)
    return doors


def test_every_kernel_stands_in_the_table_once():
    paths = (REPOSITORY / "server/instanter").rglob("*.py")
    sources = {path.stem: path.read_text("utf-8") for path in paths}
    names = [kernel.name for kernel in KERNELS]
    assert len(names) == len(set(names))
    assert _find_doors(sources) <= set(names)


def test_a_kernel_that_is_in_no_table_is_noticed():
    sources = {
        "scoring": "@kernel(x)\ndef add(a): ...\n@kernel(x)\ndef part(a): ...\n"
        "@kernel(x)\ndef whole(a): part(a)\n@inner_kernel(x)\ndef shared(a): ...\nshared(1)\n",
        "engine": "from instanter.kernels.scoring import shared\n",
    }
    assert _find_doors(sources) == {"add", "whole", "shared"}


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
def test_every_kernel_has_a_twin_and_a_test(kernel):
    function = getattr(kernel.function, "py_func", kernel.function)
    module = function.__module__.rpartition(".")[2]
    assert function.__name__ == kernel.name
    twins = ast.parse((REPOSITORY / f"tests/oracles/{module}.py").read_text("utf-8"))
    twin = {n.name: n for n in twins.body if isinstance(n, ast.FunctionDef)}.get(kernel.name)
    assert twin, f"tests/oracles/{module}.py has no {kernel.name}"
    assert [a.arg for a in twin.args.args] == list(inspect.signature(function).parameters)
    tests = "".join(
        path.read_text("utf-8") for path in (REPOSITORY / "tests/kernels").glob("test_*.py")
    )
    assert re.search(rf"\b{kernel.name}\b", tests), f"no test of {kernel.name}"


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="signatures need the compiler")
@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
def test_a_kernel_writes_to_what_it_says_and_reads_the_rest(kernel):
    function = getattr(kernel.function, "compiled", kernel.function)
    names = list(inspect.signature(function.py_func).parameters)
    assert function.signatures
    for signature in function.signatures:
        arrays = {n: t for n, t in zip(names, signature, strict=True) if isinstance(t, types.Array)}
        assert {name for name, kind in arrays.items() if kind.mutable} == set(kernel.written)
    assert not function._can_compile, "a call with other types would compile in traffic"
