"""Writes the measured figures into the project's README, so that its table is what was measured.

`python -m bench.figures` rewrites the sections between `<!-- figures: NAME -->` and
`<!-- end of figures -->`; `--check` only says whether they are what `bench/results` holds.
"""

import json
import re
import sys
from collections.abc import Set
from typing import Any

from bench.measurement import REPOSITORY, RESULTS

README = REPOSITORY / "README.md"
_TITLES = {
    "instanter_fast": "Instanter, front `fast`: decides",
    "instanter_grpcio": "Instanter, front `grpcio`: decides",
    "rival_a": "(a) stock grpcio server + LMDB + NumPy: decides the same",
    "rival_b": "(b) FastAPI + Redis hash + scikit-learn: decides by a simpler model",
    "rival_c": "(c) Feast feature server + Redis: fetches",
    "rival_d": "(d) Redis `HGETALL` alone: fetches",
    "redis_get": "Redis `GET` of one packed value: fetches",
}
_SECTION = re.compile(r"(<!-- figures: (\w+) -->\n).*?(<!-- end of figures -->)", re.DOTALL)


def format_section(result: dict[str, Any], elsewhere: Set[str] = frozenset()) -> str:
    """Return one result as Markdown: where it was measured, its figures, and who was compared.

    Parameters
    ----------
    result
        What a benchmark has written.
    elsewhere
        Figures that others have measured: when this one has not, it does not show them.
    """
    machine = result["machine"]
    where = (
        f"Measured on {machine['core_count']} cores of {machine['processor']}, Python "
        f"{machine['python']}, Numba {machine['numba']}, commit {_shorten(machine['commit'])}."
    )
    figures = [key for key in result["bounds"] if result[key] is not None or key not in elsewhere]
    clocked = any(_find_clocked(result, key) is not None for key in figures)
    columns = ["figure", "measured", *(["by the clock"] if clocked else []), "must", "aim"]
    lines = [where, "", *_format_table(columns, [_format_row(result, key) for key in figures])]
    if "contestants" in result:
        lines += ["", *_format_contestants(result["contestants"])]
    return "\n".join(lines) + "\n"


def fill_in(text: str) -> str:
    """Return the README's text with every section of figures brought up to date."""
    paths = {path.stem: path for path in RESULTS.glob("*.json")}
    results = {name: json.loads(path.read_text()) for name, path in paths.items()}
    measured = {
        key
        for result in results.values()
        for key in result.get("bounds", ())
        if result[key] is not None
    }

    def replace(match: re.Match[str]) -> str:
        result = results.get(match[2])
        section = format_section(result, measured) if result is not None else ""
        return f"{match[1]}{section}{match[3]}"

    return _SECTION.sub(replace, text)


def _shorten(commit: str) -> str:
    """Return a commit with 12 digits, and what stands behind it: that the tree had changes."""
    digits, blank, rest = commit.partition(" ")
    return f"{digits[:12]}{blank}{rest}"


def _format_row(result: dict[str, Any], key: str) -> list[str]:
    """Return the cells of one figure: by processor time, by the clock where it is known, bounds."""
    value, bounds = result[key], result["bounds"][key]
    shown = f"{value:,.4g}" if value is not None else f"not measured: {result['details'][key]}"
    clocked = _find_clocked(result, key)
    cells = [] if clocked is None else [f"{clocked:,.4g}"]
    return [f"`{key}`", shown, *cells, bounds["must"] or "–", bounds["aim"] or "–"]


def _find_clocked(result: dict[str, Any], key: str) -> float | None:
    """Return a ratio as the clock on the wall has it, where that was measured too."""
    details = result["details"].get(key)
    return details.get("ratio_by_the_clock") if isinstance(details, dict) else None


def _format_contestants(contestants: dict[str, dict[str, Any]]) -> list[str]:
    """Return the table of everybody who was asked, with what each answered."""
    columns = [
        "who",
        "per core and s",
        "by the clock, per s",
        "CPU µs each",
        "p50 µs",
        "p99 µs",
        "n",
    ]
    fields = ("rate_per_core", "rate_per_s", "cpu_us", "p50_us", "p99_us", "request_count")
    rows = [
        [_TITLES.get(key, key), *(_round(row[field]) for field in fields)]
        for key, row in contestants.items()
    ]
    return _format_table(columns, rows)


def _format_table(columns: list[str], rows: list[list[str]]) -> list[str]:
    """Return a table; a row that lacks the column by the clock has a dash in it."""
    filled = [[*row[:2], "–", *row[2:]] if len(row) < len(columns) else row for row in rows]
    head, *body = (f"| {' | '.join(cells)} |" for cells in (columns, *filled))
    return [head, "|" + "---|" * len(columns), *body]


def _round(value: float) -> str:
    return f"{value:,.3g}" if value < 100 else f"{value:,.0f}"


def main() -> int:
    """Rewrite or check the README; return the exit status."""
    text = README.read_text("utf-8")
    filled = fill_in(text)
    if "--check" in sys.argv[1:]:
        if filled != text:
            sys.stderr.write("README.md: figures are not those of bench/results\n")
        return int(filled != text)
    README.write_text(filled, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
