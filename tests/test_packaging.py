"""What a stranger gets: a wheel that works in a clean environment, and an editable install."""

import json
import os
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

import instanter
from tests.conftest import REPOSITORY

ROOTS = ("server", "protos", "clients/python")
VERSION = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]["version"]
MODULES = (
    "instanter.client",
    "instanter.v1.decision_service_pb2",
    "instanter.v1.decision_service_pb2_grpc",
    "instanter.kernels.table",
    "instanter.store.environment",
    "instanter.catalogue.compilation",
    "instanter.decision.engine",
    "instanter.rpc.grpcio_front",
    "instanter.cli.main",
    "instanter.node",
)


def _run(command, folder, **environment):
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    _run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], REPOSITORY)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def clean(wheel, tmp_path_factory):
    """Return the folder of an environment that has our wheel, and of ours nothing else.

    It borrows the other libraries of the environment that runs the tests: a folder named in a
    `.pth` file lends its modules, but its own `.pth` files, our editable install among them, are
    not read.
    """
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder, with_pip=False, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = [sys.executable, "-m", "pip", "--python", folder / "bin/python", "install"]
    _run([*install, "--quiet", "--no-deps", "--no-index", "--no-compile", wheel], folder)
    return folder


def test_the_wheel_holds_the_three_folders_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    tops = {name.split("/")[0] for name in names}
    assert tops == {"instanter", f"instanter-{VERSION}.dist-info"}
    expected = {
        path.relative_to(REPOSITORY / root).as_posix()
        for root in ROOTS
        for path in (REPOSITORY / root / "instanter").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in names if name.startswith("instanter/")} == expected
    assert {"instanter/py.typed", "instanter/client/py.typed"} <= names
    assert "instanter/v1/decision_service.proto" in names
    assert "instanter/__init__.py" not in names
    assert f"instanter-{VERSION}.dist-info/licenses/LICENSE" in names


def test_the_wheel_runs_in_a_clean_environment(clean):
    script = f"""
import importlib, json
print(json.dumps([importlib.import_module(name).__file__ for name in {MODULES!r}]))
"""
    # Kernels run interpreted here: their compilation is tested elsewhere, and takes seconds.
    python = [clean / "bin/python", "-W", "error", "-c", script]
    files = json.loads(_run(python, clean, NUMBA_DISABLE_JIT="1"))
    (site,) = clean.glob("lib/python*/site-packages")
    assert all(Path(file).is_relative_to(site) for file in files), files


def test_the_command_runs_in_a_clean_environment(clean):
    assert VERSION in _run([clean / "bin/instanter", "version"], clean)


def test_the_editable_install_has_one_root_over_three_folders():
    script = "import instanter, json; print(json.dumps(list(instanter.__path__)))"
    paths = json.loads(_run([sys.executable, "-c", script], "/"))
    assert {REPOSITORY / root / "instanter" for root in ROOTS} <= {Path(path) for path in paths}
    assert instanter.__file__ is None
