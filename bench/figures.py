"""Writes the measured figures into the project's README, so that its table is what was measured.

`python -m bench.figures` rewrites the sections between `<!-- figures: NAME -->` and
`<!-- end of figures -->`; `--check` only says whether they are what `bench/results` holds.
"""

import json
import re
import sys
from typing import Any

from bench.measurement import REPOSITORY, RESULTS

README = REPOSITORY / "README.md"
_SECTION = re.compile(r"(<!-- figures: (\w+) -->\n).*?(<!-- end of figures -->)", re.DOTALL)


def format_section(result: dict[str, Any]) -> str:
    """Return one result as a Markdown table with a line about where it was measured."""
    machine = result["machine"]
    where = (
        f"Measured on {machine['core_count']} cores of {machine['processor']}, Python "
        f"{machine['python']}, Numba {machine['numba']}, commit {machine['commit'][:12]}."
    )
    lines = [
        where,
        "",
        "| figure | measured | must | aim |",
        "|---|---|---|---|",
    ]
    for key, bounds in result["bounds"].items():
        value = result[key]
        shown = f"{value:,.4g}" if value is not None else f"not measured: {result['details'][key]}"
        lines.append(f"| `{key}` | {shown} | {bounds['must'] or '–'} | {bounds['aim'] or '–'} |")
    return "\n".join(lines) + "\n"


def fill_in(text: str) -> str:
    """Return the README's text with every section of figures brought up to date."""

    def replace(match: re.Match[str]) -> str:
        path = RESULTS / f"{match[2]}.json"
        section = format_section(json.loads(path.read_text())) if path.exists() else ""
        return f"{match[1]}{section}{match[3]}"

    return _SECTION.sub(replace, text)


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
