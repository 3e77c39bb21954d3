import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from instanter.cli.main import run
from tests.cli.outcomes import Command, Outcome
from tests.client.toy_server import ToyServer, toy_server


@pytest.fixture(autouse=True)
def clean_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty working folder, home without settings, and none of our variables."""
    for name in [name for name in os.environ if name.startswith("INSTANTER_")]:
        if name not in ("INSTANTER_KERNEL_CACHE", "INSTANTER_DATA"):
            monkeypatch.delenv(name)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run the command in this process, through the same door as the entry point."""

    def call(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


@pytest.fixture
def toy() -> Iterator[ToyServer]:
    with toy_server() as served:
        yield served
