"""A benchmark as a command: its size, its folder, its report."""

import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from bench.measurement import Figure, report
from bench.server_process import use_lone_servers

Sizes = TypeVar("Sizes", bound=Any)
"""A dataclass of sizes."""


def run_benchmark(
    name: str,
    description: str | None,
    measure: Callable[[Sizes, Path], Mapping[str, Figure]],
    *,
    full: Sizes,
    small: Sizes,
    check_room: Callable[[Path, Sizes], str] = lambda *_: "",
) -> int:
    """Measure, print, and write `bench/results/NAME.json`; return the exit status.

    Parameters
    ----------
    name
        Of the benchmark.
    description
        What `--help` says.
    measure
        Returns the figures; it may write into the folder it is given.
    full, small
        The sizes, and those with `--small`.
    check_room
        Returns why there is too little room in the folder, or an empty text.
    """
    is_small = make_parser(description).parse_args().small
    sizes = small if is_small else full
    if is_small:
        use_lone_servers()
    with tempfile.TemporaryDirectory(prefix="instanter-bench-") as path:
        folder = Path(path)
        reason = check_room(folder, sizes)
        if reason:
            sys.stderr.write(f"{reason}\n")
            return 1
        figures = measure(sizes, folder)
    # The small size answers whether the benchmark works, not how fast anything is.
    report(name, figures, asdict(sizes), keep=not is_small)
    return 0


def make_parser(description: str | None) -> ArgumentParser:
    """Return the parser of a benchmark's arguments."""
    parser = ArgumentParser(description=description)
    parser.add_argument("--small", action="store_true", help="the size that runs in the tests")
    return parser


def say(words: str) -> None:
    """Tell whoever waits what is done now."""
    sys.stderr.write(f"{words} …\n")
    sys.stderr.flush()
