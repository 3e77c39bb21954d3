"""Measures everything that `make bench-rivals` prints, in one run on one machine."""

import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from bench import workload
from bench.command import make_parser, say
from bench.decide.world import open_world
from bench.load import LoadFailedError
from bench.measurement import Figure, report
from bench.rivals.answers import Agreement, AnswersDifferError, check_answers
from bench.rivals.line_up import TITLES, LineUp, line_up
from bench.rivals.redis_process import RedisFailedError
from bench.rivals.sizes import FULL, SMALL, Sizes
from bench.rivals.turns import Row, measure
from bench.server_process import use_lone_servers

KEYS = ("rival_a_ratio", "rival_b_ratio", "rival_c_ratio", "rival_d_ratio")
"""The figures, in the order in which they are printed."""

_BOUNDS = {"rival_a": (5, 10), "rival_b": (20, 50), "rival_c": (20, 100), "rival_d": (1, 3)}
_TRANSPORTS = ("fast", "grpcio")
_CHOICES = 1 << 12


def run(
    sizes: Sizes, folder: Path, rivals: list[str], transports: list[str]
) -> tuple[dict[str, Figure], dict[str, Any]]:
    """Check the answers, measure everybody, and return the figures and the rows."""
    say(f"writing {sizes.customers:,} profiles")
    files = workload.make_files(sizes.offers)
    with open_world(folder / "store", files, sizes.customers) as world:
        say("starting everybody")
        with line_up(world, folder, sizes, rivals=rivals, transports=transports) as found:
            say("comparing answers")
            agreement = check_answers(found, sizes.customers_checked)
            say("measuring in turn: " + ", ".join(found.contestants))
            choice = workload.draw_choice(sizes.customers, _CHOICES).skewed
            rows = measure(found.contestants, choice, sizes)
    print_rows(found, rows)
    described = {key: _describe(row) for key, row in rows.items()}
    return _make_figures(found, rows, agreement), {
        "contestants": described,
        "absent": found.absent,
        "answers": asdict(agreement),
        "customers_by_contestant": {
            key: contestant.customer_count for key, contestant in found.contestants.items()
        },
    }


def print_rows(found: LineUp, rows: Mapping[str, Row]) -> None:
    """Print the table of contestants, the absent ones with their reasons."""
    table = Table(title="contestants", title_justify="left")
    table.add_column("contestant", overflow="fold")
    for heading in ("per core and s", "by the clock", "CPU µs each", "p50 µs", "p99 µs", "n"):
        table.add_column(heading, justify="right")
    for key, row in rows.items():
        figures = (row.rate_per_core, row.rate_per_s, row.cpu_us, row.p50_us, row.p99_us)
        shown = [f"{figure:,.0f}" for figure in figures]
        count = f"{row.request_count:,} + {row.latency_count:,}"
        table.add_row(found.contestants[key].title, *shown, count)
    for key, reason in found.absent.items():
        table.add_row(f"{TITLES.get(key, key)}: {reason}", *["–"] * 6)
    Console(width=None if sys.stdout.isatty() else 140).print(table)


def _make_figures(
    found: LineUp, rows: Mapping[str, Row], agreement: Agreement
) -> dict[str, Figure]:
    """Return our decisions a second per core ÷ each rival's, or why there is no such figure."""
    ours = next((key for key in rows if key.startswith("instanter")), None)
    figures = {}
    for rival, (must, aim) in _BOUNDS.items():
        bounds = (f"≥ {must}", f"≥ {aim}")
        if ours is None or rival not in rows:
            reason = found.absent.get(rival) or "no front of Instanter could be started"
            figures[f"{rival}_ratio"] = Figure(None, *bounds, reason=reason)
            continue
        ratios = rows[ours].rates_per_core / rows[rival].rates_per_core
        low, middle, high = (float(value) for value in np.percentile(ratios, [25, 50, 75]))
        detail = {
            "ours": ours,
            "ours_per_core": round(rows[ours].rate_per_core),
            "rival_per_core": round(rows[rival].rate_per_core),
            "ratio_low": low,
            "ratio_high": high,
            "ratio_by_the_clock": rows[ours].rate_per_s / rows[rival].rate_per_s,
            "requests": rows[rival].request_count,
        }
        if rival == "rival_a":
            detail["answers_compared"] = agreement.customer_count
            detail["same_best"] = agreement.same_best_count
            detail["same_order_of_all"] = agreement.identical_count
        figures[f"{rival}_ratio"] = Figure(middle, *bounds, detail)
    assert tuple(figures) == KEYS
    return figures


def _describe(row: Row) -> dict[str, Any]:
    return asdict(row) | {"rates_per_core": row.rates_per_core.round(1).tolist()}


def main() -> int:
    """Measure, print, and write `bench/results/rivals.json`; return the exit status."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--rivals", nargs="+", default=list(TITLES), choices=list(TITLES), help="only these"
    )
    parser.add_argument(
        "--transport", nargs="+", default=list(_TRANSPORTS), help="Instanter's fronts, best first"
    )
    given = parser.parse_args()
    sizes = SMALL if given.small else FULL
    if given.small:
        use_lone_servers()
    with tempfile.TemporaryDirectory(prefix="instanter-rivals-") as name:
        try:
            figures, details = run(sizes, Path(name), given.rivals, given.transport)
        except (AnswersDifferError, LoadFailedError, RedisFailedError) as error:
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
            return 1
    whole = not given.small and set(given.rivals) == set(TITLES)
    report("rivals", figures, asdict(sizes), keep=whole, more=details)
    return 0


if __name__ == "__main__":
    sys.exit(main())
