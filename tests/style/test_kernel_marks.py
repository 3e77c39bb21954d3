"""Whether every kernel says truly who calls it: Python, or kernels alone."""

import ast

import pytest

from tests.conftest import REPOSITORY

ROOM = "instanter.kernels"
SERVER = REPOSITORY / "server"


def _find_mark(node):
    """Return `kernel` or `inner_kernel`, whichever the definition is marked with, or None."""
    for decorator in getattr(node, "decorator_list", ()):
        name = ast.unparse(decorator).partition("(")[0]
        if name in {"kernel", "inner_kernel"}:
            return name
    return None


def _list_names(module, tree):
    """Return the kernels' room as a module sees it: what it writes, and what that is in full."""
    names = {node.name: f"{module}.{node.name}" for node in tree.body if _find_mark(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(ROOM):
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Import):
            names |= {a.asname or a.name: a.name for a in node.names if a.name.startswith(ROOM)}
    return names


def _list_used(node, names):
    """Return in full which names of the kernels' room a statement reads."""
    used = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load):
            used.add(names.get(part.id))
        elif isinstance(part, ast.Attribute):
            room = names.get(ast.unparse(part.value))
            used.add(f"{room}.{part.attr}")
    return used


def _find_wrong_marks(sources):
    """Return what is wrong with the kernels' marks; `sources` are the modules by their names."""
    trees = {module: ast.parse(text) for module, text in sources.items()}
    marks, python, kernels = {}, set(), set()
    for module, tree in trees.items():
        names = _list_names(module, tree)
        for node in tree.body:
            mark = _find_mark(node)
            used = _list_used(node, names)
            if mark:
                marks[f"{module}.{node.name}"] = mark
                kernels |= used
            # The tables of kernels name all of them and call none.
            elif ast.unparse(node).partition(" ")[0].rstrip(":") != "KERNELS":
                python |= used
    for name, mark in sorted(marks.items()):
        if mark == "inner_kernel" and name in python:
            yield f"{name} is called by Python, so it is no inner kernel"
        elif mark == "inner_kernel" and name not in kernels:
            yield f"{name} is called by nobody"
        elif mark == "kernel" and name not in python:
            yield f"{name} is called by kernels alone: mark it as an inner one"


def test_a_kernel_is_an_inner_one_when_python_does_not_call_it():
    sources = {
        ".".join(path.relative_to(SERVER).with_suffix("").parts): path.read_text("utf-8")
        for path in (SERVER / "instanter").rglob("*.py")
    }
    assert not list(_find_wrong_marks(sources))


KERNELS = (
    "@inner_kernel(x)\ndef part(a): ...\n"
    "@kernel(x)\ndef whole(a): part(a)\n"
    'KERNELS = (Kernel("part", part, ()), Kernel("whole", whole, ()))\n'
)


@pytest.mark.parametrize(
    ("kernels", "engine", "complaint"),
    [
        (KERNELS, "from instanter.kernels.sums import whole\nwhole(1)\n", None),
        (KERNELS, "from instanter.kernels import sums as s\ns.whole(1)\n", None),
        (KERNELS, "import instanter.kernels.sums\ninstanter.kernels.sums.whole(1)\n", None),
        (KERNELS, "from instanter.kernels.sums import whole as all_of_it\nmap(all_of_it)\n", None),
        (KERNELS + "def own(a): return whole(a)\n", "", None),
        (KERNELS, "def whole(): ...\nwhole()\n", "sums.whole is called by kernels alone"),
        (KERNELS, "", "sums.whole is called by kernels alone"),
        (KERNELS + "def own(a): return part(whole(a))\n", "", "sums.part is called by Python"),
        (
            KERNELS.replace("part(a)\nK", "a\nK"),
            "from instanter.kernels.sums import whole\nwhole(1)\n",
            "sums.part is called by nobody",
        ),
    ],
)
def test_a_wrong_mark_is_noticed(kernels, engine, complaint):
    sources = {"instanter.kernels.sums": kernels, "instanter.decision.engine": engine}
    found = list(_find_wrong_marks(sources))
    assert len(found) == (complaint is not None)
    assert all(f"instanter.kernels.{complaint}" in line for line in found)
