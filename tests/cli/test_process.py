"""What only the real process shows: imports, pipes, colours, completion, its own start."""

import os
import pty
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.client.toy_server import ToyServer

HEAVY = ("numba", "grpc", "numpy", "pyarrow", "lmdb", "msgspec", "yaml", "google.protobuf", "rich")


def spawn(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "instanter.cli", *arguments],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_help_and_completion_import_nothing_heavy() -> None:
    program = (
        "import sys\n"
        "from instanter.cli.main import run\n"
        "code = run(sys.argv[1:])\n"
        f"print(*(name for name in {HEAVY!r} if name in sys.modules), file=sys.stderr)\n"
        "sys.exit(code)\n"
    )
    for variables, arguments in (
        ({}, ["--help"]),
        ({}, ["decide", "--help"]),
        ({}, ["bench", "--help"]),
        (
            {"_INSTANTER_COMPLETE": "complete_bash", "COMP_WORDS": "instanter ", "COMP_CWORD": "1"},
            [],
        ),
    ):
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout
        assert done.stderr.split() == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_is_made_for_each_shell(shell: str) -> None:
    done = spawn(_INSTANTER_COMPLETE=f"source_{shell}")
    assert done.returncode == 0
    assert "_INSTANTER_COMPLETE" in done.stdout


def test_completion_knows_commands_and_options() -> None:
    commands = spawn(
        _INSTANTER_COMPLETE="complete_bash", COMP_WORDS="instanter sch", COMP_CWORD="1"
    )
    assert commands.stdout.split() == ["schema"]
    options = spawn(
        _INSTANTER_COMPLETE="complete_bash",
        COMP_WORDS="instanter decide --chan",
        COMP_CWORD="2",
    )
    assert options.stdout.split() == ["--channel"]


def test_a_reader_that_goes_away_is_no_reason_to_complain(toy: ToyServer, tmp_path: Path) -> None:
    from instanter.v1.customer_service_pb2 import Customer

    for number in range(3_000):
        name = f"customers/c-{number:05}"
        toy.customers[name] = Customer(name=name)
    command = f"{sys.executable} -m instanter.cli get customers --all"
    for form in ("--json", "-o text"):
        errors = tmp_path / "errors"
        done = subprocess.run(
            ["bash", "-c", f"{command} {form} --server {toy.address} 2>{errors} | head -n 1"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0
        assert errors.read_text() == ""
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m instanter.cli --help | true"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""


def read_terminal(*arguments: str, **variables: str) -> bytes:
    """Run the command with a terminal as its stdout, and return what it wrote there."""
    main, side = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    environment |= {"TERM": "xterm-256color", **variables}
    done = subprocess.run(
        [sys.executable, "-m", "instanter.cli", *arguments],
        env=environment,
        stdout=side,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    os.close(side)
    assert done.returncode == 0, done.stderr
    text = os.read(main, 65_536)
    os.close(main)
    return text


def test_colours_are_for_terminals_that_want_them(toy: ToyServer) -> None:
    Path("shop").mkdir()
    Path("shop/shop.yaml").write_text("attributes:\n  - {name: age, kind: number}\n")
    apply = ("apply", "-f", "shop", "--server", toy.address, "--dry-run")
    green = b"\x1b[32m"
    assert green + b"+ offers/shop.yaml" in read_terminal(*apply)
    assert green not in read_terminal(*apply, NO_COLOR="1")
    assert "\x1b" not in spawn(*apply).stdout


def test_a_locale_without_our_letters_is_no_reason_to_fail(toy: ToyServer) -> None:
    done = spawn("decide", "c", "-c", "web", "-s", toy.address, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "took 41 ?s" in done.stdout


@pytest.mark.parametrize("words", [("decide", "\udcff", "-c", "web"), ("get", "customers/\udcff")])
def test_words_that_are_not_utf_8_are_refused(toy: ToyServer, words: tuple[str, ...]) -> None:
    done = spawn(*words, "-s", toy.address)
    assert done.returncode == 2
    assert done.stderr == "error: 'customers/\\udcff' is not UTF-8\n"


def spawn_closed(closed: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command with a standard stream closed."""
    return subprocess.run(
        ["bash", "-c", f"exec {sys.executable} -m instanter.cli {shlex.join(arguments)} {closed}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_closed_standard_input_is_told_to_whoever_reads_it(toy: ToyServer) -> None:
    assert spawn_closed("<&-", "token", "--key", "k", "--make-key").returncode == 0
    server = ("-s", toy.address)
    for words in (
        ("token", "--key", "k"),
        ("record", "events", "-", *server),
        ("stock", "record", "--file", "-", *server),
        ("hotlist", "add", "cards", "-", *server),
    ):
        done = spawn_closed("<&-", *words)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == "error: standard input is closed\n"
    assert toy.seen == []
    assert spawn_closed("<&-", "decide", "c", "-c", "web", *server).returncode == 0


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_what_nobody_listens_to_is_not_said(toy: ToyServer, closed: str) -> None:
    for words in ((), ("--json",)):
        done = spawn_closed(closed, "decide", "c", "-c", "web", "-s", toy.address, *words)
        assert (done.returncode, done.stderr) == (0, "")
        assert bool(done.stdout) == (closed == "2>&-")
    assert spawn_closed(closed, "decide", "c", "-c", "web", "-s", "x").returncode == 2


def test_the_entry_point_is_declared_and_works() -> None:
    from importlib.metadata import entry_points

    (script,) = [each for each in entry_points(group="console_scripts") if each.name == "instanter"]
    assert script.value == "instanter.cli.main:main"
    assert spawn("no-such").returncode == 2
