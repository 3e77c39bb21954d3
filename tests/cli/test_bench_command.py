"""`instanter bench` against a really served node, and against a toy that stalls and refuses."""

import json
import math
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instanter.cli.bench.histogram import Histogram
from instanter.client import Client
from tests.cli.outcomes import Command
from tests.cli.served import LONE, Served, serving
from tests.cli.test_serve import SHOP
from tests.client.toy_server import ToyServer, refuse

SHORT = ("--warm-up", "0", "--seconds", "0.4")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("bench") / "store", module=LONE) as running:
        with Client(running.address) as client:
            client.apply_catalogue({"shop.yaml": SHOP})
            for age in range(12, 24):
                client.update_customer(f"c-{age}", {"age": age})
        yield running


def histogram_of(times: list[int]) -> Histogram:
    histogram = Histogram()
    for time_ns in times:
        histogram.record(time_ns)
    return histogram


times = st.lists(st.integers(0, 1 << 40) | st.integers(0, 2_000_000), min_size=1, max_size=60)


@given(times, st.sampled_from([0, 50, 90, 99, 99.9, 100]))
def test_a_percentile_is_right_to_one_percent(each: list[int], percent: float) -> None:
    exact = sorted(each)[max(math.ceil(len(each) * percent / 100), 1) - 1]
    assert exact <= histogram_of(each).percentile_ns(percent) <= exact * (1 + 1 / 128)


@given(times, times)
def test_two_histograms_add_up_to_the_one_of_all_times(one: list[int], two: list[int]) -> None:
    total = histogram_of(one)
    total.add(histogram_of(two))
    assert total == histogram_of(one + two)
    empty = Histogram()
    empty.add(total)
    empty.add(Histogram())
    assert empty == total


@given(times, st.integers(1, 40))
def test_bars_hold_all_times_in_touching_steps(each: list[int], most: int) -> None:
    bars = histogram_of(each).draw_bars(most)
    assert 1 <= len(bars) <= most
    assert sum(bar.count for bar in bars) == len(each)
    assert bars[0].count > 0 < bars[-1].count
    assert all(left.end_ns == right.start_ns for left, right in pairwise(bars))


def test_a_histogram_of_nothing_is_all_zero() -> None:
    assert Histogram().percentile_ns(99) == 0
    assert Histogram().draw_bars(10) == ()


def check_figures(figures: dict[str, float]) -> None:
    ordered = [figures[name] for name in ("p50_us", "p90_us", "p99_us", "p99_9_us", "longest_us")]
    assert ordered == sorted(ordered)
    assert figures["p50_us"] > 0
    assert 0 < figures["mean_us"] <= figures["longest_us"]


def test_a_served_node_is_measured_in_a_closed_loop(command: Command, served: Served) -> None:
    outcome = command(
        *("bench", "-c", "web", "-s", served.address, *SHORT, "-x", "basket_value=3"),
        *("--processes", "2", "--connections", "3", "--in-flight", "2", "--json"),
    )
    assert outcome.code == 0, outcome.err
    report = json.loads(outcome.out)
    assert (report["loop"], report["rate_per_s_asked"]) == ("closed", None)
    assert (report["customers"], report["catalogue_revision"]) == (12, 1)
    assert report["errors"] == {}
    assert 20 < report["decisions"] == sum(bar["count"] for bar in report["latency_histogram"])
    assert report["decisions_per_s"] == pytest.approx(
        report["decisions"] / report["duration_s"], rel=0.01
    )
    # Half of the customers are too young for the only offer.
    assert 0 < report["without_offer"] < report["decisions"]
    for name in ("latency", "from_sending", "server_took"):
        check_figures(report[name])
    assert report["server_took"]["p50_us"] < report["latency"]["p50_us"]
    assert report["generator_processor_us"] > 0
    assert "Latency is what a Python client sees" in report["remarks"][0]


class Outside(HTMLParser):
    """Collects whatever a page would fetch or run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.found += [tag] if tag in ("script", "link", "img", "iframe") else []
        self.found += [name for name, _ in attrs if name in ("src", "href") or name[:2] == "on"]


def test_the_report_is_drawn_in_the_terminal_and_as_a_page_of_its_own(
    command: Command, served: Served
) -> None:
    outcome = command(
        *("bench", "-c", "web", "-s", served.address, *SHORT, "--rate", "200"),
        *("--html", "report.html"),
    )
    assert outcome.code == 0, outcome.err
    for part in ("latency from when it was due", "inside the server (took_us)", "p99.9", "█"):
        assert part in outcome.out
    assert re.search(r"\d+ µs of processor time a call", outcome.out)
    page = Path("report.html").read_text(encoding="utf-8")
    outside = Outside()
    outside.feed(page)
    assert outside.found == []
    assert {"svg", "rect", "table", "style"} <= set(outside.tags)
    assert "url(" not in page
    assert "@import" not in page
    assert "Latency is what a Python client sees" in page


def ask(command: Command, toy: ToyServer, *arguments: object) -> tuple[int, dict[str, Any]]:
    Path("ids.txt").write_text("\ufeffc-1\r\n\nc-2\n", encoding="utf-8")
    outcome = command(
        *("bench", "-c", "web", "-s", toy.address, "--customers", "ids.txt", "--json"), *arguments
    )
    return outcome.code, json.loads(outcome.out)


def test_a_stall_is_in_the_times_of_all_calls_that_were_due_in_it(
    command: Command, toy: ToyServer
) -> None:
    """The reason of the open loop: the stalled call alone would not even reach p90."""
    slept: list[int] = []

    def stall(request: Any, context: Any) -> None:
        if len(toy.seen) == 10 and not slept:
            slept.append(1)
            time.sleep(0.4)

    toy.interrupt = stall
    code, report = ask(
        command, toy, "--rate", "100", "--in-flight", "1", "--warm-up", "0", "--seconds", "1"
    )
    assert (code, slept) == (0, [1])
    # A machine that is busy does not make up for all of the stall within the second.
    assert 95 <= report["decisions"] + report["unsent"] <= 101
    assert (
        report["from_sending"]["p90_us"] < 100_000 < 390_000 < report["from_sending"]["longest_us"]
    )
    assert report["latency"]["p90_us"] > 200_000


def test_a_rate_that_is_not_reached_is_said(command: Command, toy: ToyServer) -> None:
    code, report = ask(command, toy, "--rate", "1000000", "--in-flight", "1", *SHORT)
    assert code == 0
    assert report["unsent"] > 100_000
    assert any("The rate was not reached" in remark for remark in report["remarks"])


def test_the_backlog_of_the_warm_up_is_not_counted(command: Command, toy: ToyServer) -> None:
    code, report = ask(
        *(command, toy, "--rate", "1000000", "--in-flight", "1"),
        *("--warm-up", "0.5", "--seconds", "0.2"),
    )
    assert code == 0
    assert 0 < report["latency"]["longest_us"] < 400_000


def test_failed_calls_are_counted_by_reason_and_end_with_1(
    command: Command, toy: ToyServer
) -> None:
    def fail(request: Any, context: Any) -> None:
        if len(toy.seen) > 2 and request.customer == "customers/c-2":
            refuse(context, "UNAVAILABLE", "try later", "LANE_FULL")

    toy.interrupt = fail
    code, report = ask(command, toy, *SHORT)
    assert code == 1
    assert report["errors"].keys() == {"LANE_FULL"}
    assert report["errors"]["LANE_FULL"] > 0 < report["decisions"]
    # Not one of them was tried again behind the figures' back.
    asked = [each for each in toy.seen if each.customer == "customers/c-2"]
    assert len(asked) - 4 <= report["errors"]["LANE_FULL"] <= len(asked)
    assert {each.customer for each in toy.seen} == {"customers/c-1", "customers/c-2"}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["-c", "web", "--processes", "3", "--connections", "2"], 2, "each of 3 processes"),
        (["-c", "web", "--rate", "0"], 2, "--rate"),
        (["-c", "web", "--offers", "0"], 1, "offer_count: '0' is not right"),
        (["-c", "web", "-x", "basket"], 2, "expected name=value"),
        (["-c", "web", "--html", "no/where.html"], 1, "there is no folder 'no'"),
        (["-c", "web", "--customers", "empty.txt"], 1, "empty.txt: has no line with an id"),
        (["-c", "web", "--customers", "latin.txt"], 1, "latin.txt: byte 1 is not UTF-8"),
        (["-c", "web", "--customers", "none.txt"], 2, "'none.txt' does not exist"),
        (["-c", "web"], 1, "the server has no customers"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_any_load(
    command: Command, toy: ToyServer, arguments: list[str], code: int, message: str
) -> None:
    Path("empty.txt").write_text("\n \n")
    Path("latin.txt").write_bytes(b"M\xfcller\n")
    if "--offers" in arguments:
        Path("ids.txt").write_text("c\n")
        arguments = [*arguments, "--customers", "ids.txt"]
    outcome = command("bench", "-s", toy.address, *arguments)
    assert outcome.code == code, outcome.err
    assert message in outcome.err
    assert outcome.out == ""
    assert len([each for each in toy.seen if hasattr(each, "channel")]) <= 1


def list_children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def find_generators(pid: int) -> list[int]:
    return [
        child
        for child in list_children(pid)
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


@pytest.fixture
def endless(toy: ToyServer) -> Iterator[subprocess.Popen[str]]:
    Path("ids.txt").write_text("c-1\n")
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "instanter.cli", "bench", "-c", "web", "-s", toy.address),
            *("--customers", "ids.txt", "--warm-up", "0", "--seconds", "600"),
            *("--processes", "2", "--json"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            end = time.monotonic() + 30
            while len(toy.seen) < 200:
                assert time.monotonic() < end, "it never began"
                select.select([], [], [], 0.02)
            yield process
        finally:
            process.kill()


def test_ctrl_c_ends_early_with_what_there_is_and_leaves_nobody_behind(
    endless: subprocess.Popen[str],
) -> None:
    generators = find_generators(endless.pid)
    assert len(generators) == 2
    # As a terminal does it: to the whole group.
    os.killpg(endless.pid, signal.SIGINT)
    out, err = endless.communicate(timeout=30)
    assert endless.returncode == 130
    assert err == ""
    report = json.loads(out)
    assert report["is_cut_short"] is True
    assert report["decisions"] > 100
    assert report["errors"] == {}
    assert not any(Path(f"/proc/{pid}").exists() for pid in generators)


def test_a_generator_that_dies_is_said_and_ends_the_others(
    endless: subprocess.Popen[str],
) -> None:
    generators = find_generators(endless.pid)
    os.kill(generators[0], signal.SIGKILL)
    _, err = endless.communicate(timeout=30)
    assert endless.returncode == 1
    assert re.search(r"error: generator \d died with exit code -9", err)
    assert not any(Path(f"/proc/{pid}").exists() for pid in generators)


def test_generators_do_not_outlive_the_command(endless: subprocess.Popen[str]) -> None:
    generators = find_generators(endless.pid)
    endless.kill()
    endless.wait()
    end = time.monotonic() + 10
    while any(Path(f"/proc/{pid}/cmdline").exists() for pid in generators):
        assert time.monotonic() < end
        select.select([], [], [], 0.02)
