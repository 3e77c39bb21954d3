"""The contracts between rooms hold, and each is seen to break on a bad import."""

import shutil
import subprocess
import sys
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

# Contract, module, what it must not import.
BAD = [
    ("dependencies point one way", "store/bad.py", "import instanter.decision"),
    ("dependencies point one way", "clock.py", "import instanter.kernels"),
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

# The installed tree must not lend its modules to the one under test, so it leaves the path.
RUN = """
import sys
root, *installed = sys.argv[1:]
sys.path = [root] + [p for p in sys.path if p not in installed]
sys.argv = ["lint-imports", "--no-cache", "--no-logo", "--config", root + "/pyproject.toml"]
from importlinter.cli import lint_imports_command
lint_imports_command()
"""


def _lint(root):
    command = [sys.executable, "-c", RUN, str(root), *map(str, ROOTS)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)


@pytest.fixture
def tree(tmp_path):
    """Return a copy of the project's modules under one root."""
    ignore = shutil.ignore_patterns("__pycache__")
    for root in ROOTS:
        shutil.copytree(
            root / "instanter", tmp_path / "instanter", dirs_exist_ok=True, ignore=ignore
        )
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
