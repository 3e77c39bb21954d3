"""`instanter demo` as a process: however it ends, nothing stays behind."""

import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from instanter.cli.demo import run


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "demo"
    folder.mkdir()
    return folder


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run a small demo whose temporary files are in `folder`."""
    with subprocess.Popen(
        [sys.executable, "-m", "instanter.cli", "demo", "--customers", "100", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(folder)},
    ) as process:
        try:
            yield process
        finally:
            process.kill()
            for pid in find_processes(folder):
                os.kill(pid, signal.SIGKILL)


def find_processes(folder: Path) -> list[int]:
    """Return processes whose command line names the folder, the demo's server that is."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if entry.name.isdigit() and str(folder).encode() in words:
            found.append(int(entry.name))
    return found


def read_until(process: subprocess.Popen[str], word: str) -> None:
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if word in line:
            return
    raise AssertionError(f"it never said {word!r}: {said}")


@pytest.mark.parametrize(
    ("phase", "number", "code"),
    [
        ("1 of 5", signal.SIGINT, 130),
        ("2 of 5", signal.SIGTERM, 143),
        ("3 of 5", signal.SIGINT, 130),
        ("3 of 5", signal.SIGHUP, 129),
    ],
)
def test_a_signal_in_the_preparations_leaves_neither_process_nor_folder(
    place: Path, phase: str, number: signal.Signals, code: int
) -> None:
    with running(place) as process:
        read_until(process, phase)
        if phase == "3 of 5":
            assert find_processes(place), "the server shall run by now"
        # As a terminal does it, and again and again, as an impatient person does.
        for _ in range(5):
            if process.poll() is None:
                os.killpg(process.pid, number)
            select.select([], [], [], 0.05)
        _, err = process.communicate(timeout=60)
        assert process.returncode == code
        assert "Traceback" not in err
        assert list(place.iterdir()) == []
        assert find_processes(place) == []


def test_a_signal_while_a_process_is_started_waits_until_the_process_is_known() -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    former = {number: signal.getsignal(number) for number in numbers}
    started = []

    def start() -> None:
        with run._clearing_away(), run._undisturbed():
            signal.raise_signal(signal.SIGTERM)
            started.append("the process")

    try:
        with pytest.raises(SystemExit) as ended:
            start()
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
    assert (ended.value.code, started) == (143, ["the process"])


@pytest.mark.slow
def test_ctrl_c_ends_the_driving_with_the_score(place: Path) -> None:
    with running(place) as process:
        read_until(process, "decisions, ")
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0
        assert re.fullmatch(r"[\d,]+ decisions, .* errors 0\n", err)
        assert list(place.iterdir()) == []
        assert find_processes(place) == []


@pytest.mark.slow
def test_a_demo_of_so_many_seconds_ends_by_itself(place: Path) -> None:
    with running(place, "--seconds", "1") as process:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert re.findall(r"^(\d) of 5: ", err, re.MULTILINE) == ["1", "2", "3", "4", "5"]
        assert err.splitlines()[-1].endswith("errors 0")
        assert list(place.iterdir()) == []
        assert find_processes(place) == []
