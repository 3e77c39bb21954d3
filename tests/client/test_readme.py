"""The examples of the clients' page run as they are printed there."""

import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from instanter.client import Client, PreconditionError, Timeouts
from tests.cli.served import LONE, serving

PAGE = Path(__file__).resolve().parents[2] / "clients" / "README.md"
EXAMPLES = re.findall(r"## ([^\n]+)\n(?:(?!\n## ).)*?```python\n(.*?)```", PAGE.read_text(), re.S)

SHOP = """\
currency: EUR
channels:
  web: [home_hero]
attributes:
  - {name: age, kind: number}
  - {name: plan, kind: category, values: [tin, gold]}
  - {name: basket_value, kind: number, source: context}
  - {name: usual_spend, kind: number, unit: EUR, source: derived,
     derive: {event: purchase, function: mean, field: amount, window: 30d}}
events:
  - name: purchase
    fields: [{name: amount, kind: number, unit: EUR, required: true}]
fraud:
  rules:
    large: {when: transaction.amount > 500, disposition: decline, reason: LARGE}
stock:
  sites: {berlin-1: {}}
  units: {SKU1: coffee}
  policies: [{reorder_point: 20}]
offers:
""" + "".join(
    f"""\
  - name: offer-{number}
    value_minor: {500 - number}
    prior_propensity: 0.1
    treatments:
      - {{channel: web, name: banner}}
"""
    for number in (1, 2, 3)
)

EXPECTED = {
    "In a web service with threads": "banner\n",
    "In an asynchronous web service": "100 of 100\n",
    "When something goes wrong": "OFFER_COUNT_INVALID ['offer_count']\n",
    "Many customers at once": "".join(
        f"c-{number} ['offer-1', 'offer-2', 'offer-3']\n" for number in (1, 2, 3)
    ),
    "Customers": "{'age': 42.0} 2\nCUSTOMER_NOT_FOUND\n",
    "What customers do": "1 recorded\n1 known already\n",
    "Why, and what it is worth": "1 offer-1 nothing stopped it\n['DECIDED']\n",
    "Card payments": "APPROVE\n0 sent later\n",
    "Stock": "2 recorded\n['REORDER']\n",
}


def test_every_example_is_run() -> None:
    assert [title for title, _ in EXAMPLES] == list(EXPECTED)
    assert PAGE.read_text().count("```python") == len(EXAMPLES)


@pytest.fixture(scope="module")
def real_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("readme") / "store", module=LONE) as running:
        with Client(running.address) as client:
            client.apply_catalogue({"shop.yaml": SHOP})
            # In force for decisions within a second; ask until it is.
            retry_until(lambda: client.decide_offers("c-17", "web", timeout_s=20.0))
        yield running.address


def retry_until(ask: Callable[[], object]) -> None:
    for _ in range(100):
        try:
            ask()
        except PreconditionError:
            threading.Event().wait(0.05)
        else:
            return
    raise AssertionError("the catalogue never came into force")


@pytest.fixture(params=["toy", "real"])
def address(request: pytest.FixtureRequest) -> Any:
    if request.param == "toy":
        return request.getfixturevalue("toy").address
    return request.getfixturevalue("real_address")


@pytest.mark.parametrize(("title", "code"), EXAMPLES, ids=[title for title, _ in EXAMPLES])
def test_an_example_does_what_the_page_says(
    address: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    title: str,
    code: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    if title == "Many customers at once":
        with Client(address) as client:
            for number in (1, 2, 3):
                client.update_customer(f"c-{number}", {"age": number})
    assert "localhost:7878" in code
    # Deadlines are for production; a stalled test machine is no failure of an example.
    code = code.replace('"localhost:7878"', f'"{address}", timeouts=_slow')
    names = {"_slow": Timeouts(decision_s=20.0), "__name__": "__example__"}
    exec(compile(code, f"{PAGE.name}: {title}", "exec"), names)
    assert capsys.readouterr().out == EXPECTED[title]


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
    own = ("instanter.client", "instanter.v1", "instanter.card_data")
    assert all(name.startswith(own) for name in ours.split())
