"""The examples of the clients' page run as they are printed there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from instanter.client import Client
from tests.client.toy_server import ToyServer

PAGE = Path(__file__).resolve().parents[2] / "clients" / "README.md"
EXAMPLES = re.findall(r"## ([^\n]+)\n(?:(?!\n## ).)*?```python\n(.*?)```", PAGE.read_text(), re.S)

EXPECTED = {
    "In a web service with threads": "banner\n",
    "In an asynchronous web service": "100 of 100\n",
    "When something goes wrong": "OFFER_COUNT_INVALID ['offer_count']\n",
    "Many customers at once": "".join(
        f"c-{number} ['offer-1', 'offer-2', 'offer-3']\n" for number in (1, 2, 3)
    ),
    "Customers": "{'age': 42.0} 2\nCUSTOMER_NOT_FOUND\n",
}


def test_every_example_is_run() -> None:
    assert [title for title, _ in EXAMPLES] == list(EXPECTED)
    assert PAGE.read_text().count("```python") == len(EXAMPLES)


@pytest.mark.parametrize(("title", "code"), EXAMPLES, ids=[title for title, _ in EXAMPLES])
def test_an_example_does_what_the_page_says(
    toy: ToyServer, capsys: pytest.CaptureFixture[str], title: str, code: str
) -> None:
    if title == "Many customers at once":
        with Client(toy.address) as client:
            for number in (1, 2, 3):
                client.update_customer(f"c-{number}", {"age": number})
    assert "localhost:7878" in code
    # Deadlines are for production; a stalled test machine is no failure of an example.
    code = code.replace('"localhost:7878"', f'"{toy.address}", timeouts=_slow')
    names = {"_slow": _slow_timeouts(), "__name__": "__example__"}
    exec(compile(code, f"{PAGE.name}: {title}", "exec"), names)
    assert capsys.readouterr().out == EXPECTED[title]


def _slow_timeouts() -> object:
    from instanter.client import Timeouts

    return Timeouts(decision_s=20.0)


def test_an_example_is_about_ten_lines() -> None:
    for title, code in EXAMPLES:
        lines = [line for line in code.splitlines() if line.strip()]
        assert len(lines) <= 12, title


def test_the_client_imports_nothing_of_the_server() -> None:
    program = (
        "import sys, instanter.client\n"
        "print(*sorted(name for name in sys.modules if name.startswith('instanter.')))\n"
        "print(*(name for name in ('numba', 'lmdb', 'numpy', 'pyarrow') if name in sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    ours, heavy = done.stdout.splitlines()
    assert heavy == ""
    assert all(name.startswith(("instanter.client", "instanter.v1")) for name in ours.split())
