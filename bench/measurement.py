"""How the benchmarks measure: percentiles, paired ratios, processor time, facts, results."""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

REPOSITORY = Path(__file__).resolve().parents[1]
RESULTS = REPOSITORY / "bench/results"

_PROCESS_CLOCK = 2
"""With a process's number, the clock of its processor time: what `clock_getcpuclockid` returns on
Linux, and Python has no name for. /proc counts ticks of 10 ms, in which a small run may be none."""


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Times of many single calls, in microseconds."""

    sample_count: int
    p50_us: float
    p90_us: float
    p99_us: float
    worst_us: float


@dataclass(frozen=True, slots=True)
class Pair:
    """Two things measured in turn, and their ratio.

    Attributes
    ----------
    first, second
        Times of each.
    ratio
        Median over the rounds of the ratio of the round's medians: what slows the machine down
        for a while slows both, so it cancels.
    ratio_low, ratio_high
        The rounds' first and third quartile.
    """

    first: Percentiles
    second: Percentiles
    ratio: float
    ratio_low: float
    ratio_high: float


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a benchmark.

    Attributes
    ----------
    value
        What was measured, or None when it could not be.
    must, aim
        The bound that has to hold and the one aimed at, as text; empty for none.
    detail
        Sample counts, percentiles, sizes: what the value was computed from.
    reason
        Why there is no value.
    """

    value: float | None
    must: str = ""
    aim: str = ""
    detail: Mapping[str, Any] | None = None
    reason: str = ""


def summarise(samples_ns: NDArray[np.int64] | Sequence[int]) -> Percentiles:
    """Return the percentiles of single times, int64[N] in nanoseconds."""
    times = np.asarray(samples_ns, np.float64) / 1e3
    shown = [round(float(value), 3) for value in np.percentile(times, [50, 90, 99, 100])]
    return Percentiles(len(times), *shown)


def time_calls(call: Callable[[int], object], count: int, first: int = 0) -> NDArray[np.int64]:
    """Return how long each of `count` calls took, int64[count] in nanoseconds.

    Call i gets the argument `first + i`, to choose its customer by.
    """
    times = np.empty(count, np.int64)
    clock = time.perf_counter_ns
    for i in range(count):
        begun = clock()
        call(first + i)
        times[i] = clock() - begun
    return times


def measure_pair(
    first: Callable[[int], object], second: Callable[[int], object], *, rounds: int, count: int
) -> Pair:
    """Measure two calls in turn, `count` of each a round, after one round that warms up."""
    all_first, all_second, ratios = [], [], []
    for at in range(-1, rounds):
        # The order alternates, so that neither always runs in the other's cache.
        if at % 2:
            a, b = time_calls(first, count, at * count), time_calls(second, count, at * count)
        else:
            b, a = time_calls(second, count, at * count), time_calls(first, count, at * count)
        if at >= 0:
            all_first.append(a)
            all_second.append(b)
            ratios.append(float(np.median(a)) / float(np.median(b)))
    low, middle, high = np.percentile(ratios, [25, 50, 75])
    return Pair(
        summarise(np.concatenate(all_first)),
        summarise(np.concatenate(all_second)),
        float(middle),
        float(low),
        float(high),
    )


def read_cpu_s(pid: int) -> float:
    """Return the processor time, user and system, of a process and of its living descendants."""
    total = 0.0
    waiting = [pid]
    while waiting:
        current = waiting.pop()
        try:
            own_s = time.clock_gettime(~current << 3 | _PROCESS_CLOCK)
            tasks = list(Path(f"/proc/{current}/task").iterdir())
            children = [(task / "children").read_text().split() for task in tasks]
        except OSError:
            # It has ended meanwhile.
            continue
        total += own_s
        waiting += [int(child) for group in children for child in group]
    return total


def describe_machine() -> dict[str, Any]:
    """Return what must be known to read the figures: processor, versions, commit."""
    return {
        "processor": _find_processor(),
        "core_count": len(os.sched_getaffinity(0)),
        "memory_size_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in ("numba", "numpy", "grpcio", "lmdb")},
        "commit": _find_commit(),
        "busy_neighbour_ratio": _measure_neighbour(),
    }


def report(
    name: str,
    figures: Mapping[str, Figure],
    sizes: Mapping[str, Any],
    *,
    keep: bool,
    more: Mapping[str, Any] | None = None,
) -> None:
    """Print the table, and as the last line one JSON object; write it to `results` too.

    Parameters
    ----------
    name
        Of the benchmark.
    figures
        By key.
    sizes
        Of the workload.
    keep
        Whether to write `bench/results/NAME.json`.
    more
        What else belongs to the result, by key.
    """
    table = Table(title=f"bench {name}", title_justify="left")
    for heading in ("figure", "measured", "must", "aim", "how"):
        table.add_column(heading, overflow="fold")
    for key, figure in figures.items():
        shown = "–" if figure.value is None else f"{figure.value:,.4g}"
        words = figure.reason or _shorten(figure.detail or {})
        table.add_row(key, shown, figure.must, figure.aim, words)
    Console(width=None if sys.stdout.isatty() else 140).print(table)
    result = {
        "name": name,
        **{key: figure.value for key, figure in figures.items()},
        "details": {key: asdict(f)["detail"] or f.reason for key, f in figures.items()},
        "bounds": {key: {"must": f.must, "aim": f.aim} for key, f in figures.items()},
        **(more or {}),
        "sizes": dict(sizes),
        "machine": describe_machine(),
    }
    line = json.dumps(result, default=_plain)
    if keep:
        RESULTS.mkdir(exist_ok=True)
        text = json.dumps(json.loads(line), indent=2) + "\n"
        (RESULTS / f"{name}.json").write_text(text, "utf-8")
    print(line, flush=True)


def _plain(value: object) -> object:
    if isinstance(value, Percentiles | Pair):
        return asdict(value)
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no place in a result")


def _shorten(detail: Mapping[str, Any]) -> str:
    parts = []
    for key, value in detail.items():
        if isinstance(value, Pair):
            parts.append(
                f"{key}: p50 {value.first.p50_us:,.1f} ÷ {value.second.p50_us:,.1f} µs,"
                f" p99 {value.first.p99_us:,.1f} µs, n {value.first.sample_count:,}"
            )
        elif isinstance(value, Percentiles):
            times = f"p50 {value.p50_us:,.1f} p99 {value.p99_us:,.1f} µs"
            parts.append(f"{key}: {times}, n {value.sample_count:,}")
        elif isinstance(value, float):
            parts.append(f"{key} {value:,.4g}")
        elif isinstance(value, int):
            parts.append(f"{key} {value:,}")
        elif isinstance(value, str):
            parts.append(f"{key}: {value}")
    return "; ".join(parts)


def _find_processor() -> str:
    for line in Path("/proc/cpuinfo").read_text("ascii", "replace").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _measure_neighbour() -> float | None:
    """Return how much longer a loop takes on one core while another one is busy; None without.

    Two cores of a virtual machine may be the two threads of one. Then a server is slower beside
    its generator than it is alone, and a bare write, which is measured alone, is not.
    """
    before = os.sched_getaffinity(0)
    if len(before) < 2:
        return None
    own, other, *_ = sorted(before)
    try:
        os.sched_setaffinity(0, {own})
        alone = min(_time_loop() for _ in range(_LOOPS))
        with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as spinner:
            os.sched_setaffinity(spinner.pid, {other})
            time.sleep(_LOOP_PAUSE_S)
            busy = min(_time_loop() for _ in range(_LOOPS))
            spinner.kill()
    finally:
        os.sched_setaffinity(0, before)
    return round(busy / alone, 2)


_LOOPS = 20
_LOOP_PAUSE_S = 0.1


def _time_loop() -> float:
    begun = time.perf_counter()
    total = 0
    for number in range(100_000):
        total += number & 7
    return time.perf_counter() - begun


def _find_commit() -> str:
    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], capture_output=True, text=True, check=False, cwd=REPOSITORY
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    commit = git("rev-parse", "HEAD")
    changed = git("status", "--porcelain", "--", "server", "protos", "clients", "bench")
    return f"{commit or 'unknown'}{' with changes' if changed else ''}"
