"""The contracts between rooms hold, and each is seen to break on a bad import."""

import ast
import shutil
import subprocess
import sys
import time
import tomllib

import pytest

from tests.conftest import REPOSITORY

ROOTS = [REPOSITORY / folder for folder in ("server", "protos", "clients/python")]
CONTRACTS = {
    contract["name"]
    for contract in tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["tool"][
        "importlinter"
    ]["contracts"]
}

WRITING_S_MAX = 5.0
"""How long a module may be no Python, since somebody is writing it."""

# Contract, module, what it must not import.
BAD = [
    ("dependencies point one way", "store/bad.py", "import instanter.decision"),
    ("dependencies point one way", "clock.py", "import instanter.kernels"),
    ("dependencies point one way", "card_data.py", "import instanter.errors"),
    ("kernels know arrays only", "kernels/bad.py", "import instanter.limits"),
    ("kernels know arrays only", "kernels/bad.py", "import msgpack"),
    ("only store knows lmdb", "keeper/bad.py", "import lmdb"),
    ("only rpc and the client know gRPC", "decision/bad.py", "import grpc"),
    ("only rpc and the client know gRPC", "cli/bad.py", "import grpc.aio"),
    (
        "only rpc and the client know the contract's messages",
        "decision/bad.py",
        "import instanter.v1.decision_service_pb2",
    ),
    ("only the command line draws on a terminal", "data/bad.py", "import rich.progress"),
    ("the client stands alone", "client/bad.py", "import instanter.errors"),
]

# No other tree may lend its modules to the one under test: a namespace package takes them from
# wherever they are, so whatever holds some leaves the path.
RUN = """
import sys
from pathlib import Path
root = sys.argv[1]
sys.path = [root] + [p for p in sys.path if not Path(p, "instanter").exists()]
sys.argv = ["lint-imports", "--no-cache", "--no-logo", "--config", root + "/pyproject.toml"]
from importlinter.cli import lint_imports_command
lint_imports_command()
"""


def _lint(root):
    command = [sys.executable, "-c", RUN, str(root)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)


def _read_whole(path):
    """Return a module's text, None when it is gone; one that is being written is read again."""
    end = time.monotonic() + WRITING_S_MAX
    while True:
        try:
            text = path.read_text("utf-8")
            ast.parse(text)
        except FileNotFoundError:
            return None
        except (SyntaxError, UnicodeDecodeError):
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return text


@pytest.fixture(scope="module")
def modules():
    """Return the text of each of the project's modules, by its path under one root."""
    texts = {
        path.relative_to(root): _read_whole(path)
        for root in ROOTS
        for path in sorted((root / "instanter").rglob("*.py"))
    }
    return {path: text for path, text in texts.items() if text is not None}


@pytest.fixture
def tree(tmp_path, modules):
    """Return a copy of the project's modules under one root."""
    for path, text in modules.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, "utf-8")
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    return tmp_path


def test_all_contracts_hold(tree):
    done = _lint(tree)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(CONTRACTS)} kept, 0 broken" in done.stdout


@pytest.mark.parametrize(("contract", "path", "line"), BAD)
def test_a_bad_import_breaks_its_contract(contract, path, line, tree):
    with (tree / "instanter" / path).open("a") as module:
        module.write(f"\n{line}\n")
    done = _lint(tree)
    assert f"{contract} BROKEN" in done.stdout, done.stdout + done.stderr


def test_every_contract_has_a_bad_import():
    assert {contract for contract, _, _ in BAD} == CONTRACTS
