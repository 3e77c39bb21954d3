"""Runs a replay of movements: file, mapping, server, report; or writes what the file names."""

from datetime import UTC, datetime
from pathlib import Path

import yaml

from instanter.cli.configuration import Configuration
from instanter.cli.failures import CommandError
from instanter.cli.progress import show_progress
from instanter.cli.server_connection import connect
from instanter.cli.stock_replay.lines import LineRejectedError, RecordedLines, load_lines
from instanter.cli.stock_replay.mapping import load_movement_mapping
from instanter.cli.stock_replay.report import MovementReplayReport, make_report
from instanter.cli.stock_replay.sending import MovementReplay, count_transitions, find_token
from instanter.clock import Clock


def replay_file(
    file: Path, mapping: Path, configuration: Configuration, clock: Clock, *, limit: int | None
) -> MovementReplayReport:
    """Replay a file through the configured server, and return what was found.

    Raises
    ------
    CommandError
        File or mapping is wrong, or the server refuses or is not there.
    """
    lines = _load(file, mapping, clock, limit)
    with connect(configuration) as client:
        token = find_token(client)
        with show_progress(f"replaying {file.name}", "movements", clock) as tell:
            sent = MovementReplay(lines, clock=clock, tell=tell).run(client)
        return make_report(sent, count_transitions(client, token))


def declare_file(
    file: Path, mapping: Path, target: Path, clock: Clock, *, limit: int | None
) -> str:
    """Write a `stock` section with the sites and units that a file names; return what it has.

    Raises
    ------
    CommandError
        File or mapping is wrong, or the target is there already.
    """
    if target.exists():
        raise CommandError(f"{target} is there already; it was left as it is")
    lines = _load(file, mapping, clock, limit)
    sites: dict[str, dict[str, str]] = {}
    units: dict[str, dict[str, str]] = {}
    for row in range(len(lines)):
        try:
            site, unit = lines.find_site(row), lines.find_unit(row)
        except LineRejectedError:
            continue
        _describe(sites.setdefault(site, {}), lines, row, ("region",))
        _describe(units.setdefault(unit, {}), lines, row, ("category", "title"))
    stock = {"sites": dict(sorted(sites.items())), "units": dict(sorted(units.items()))}
    text = yaml.safe_dump({"stock": stock}, sort_keys=False, allow_unicode=True, width=1000)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, "utf-8")
    return f"{target}: {len(sites):,} sites, {len(units):,} units"


def _describe(
    entry: dict[str, str], lines: RecordedLines, row: int, names: tuple[str, ...]
) -> None:
    """Fill what is missing of an entry from a row."""
    for name in names:
        text = lines.find_text(name, row).strip()
        if text and name not in entry:
            entry[name] = text


def _load(file: Path, mapping: Path, clock: Clock, limit: int | None) -> RecordedLines:
    now = datetime.fromtimestamp(clock.now_ns() / 1e9, UTC)
    return load_lines(file, load_movement_mapping(mapping), now, limit)
