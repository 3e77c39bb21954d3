"""Stock movements of the command line and of files of JSON lines on their way to the server."""

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any, Final
from uuid import uuid4

import typer

from instanter.cli.card_transactions import read_time
from instanter.cli.failures import EXIT_REFUSED, EXIT_USAGE, CommandError
from instanter.cli.json_objects import read_object
from instanter.cli.plain_numbers import parse_whole
from instanter.cli.recording import check_text, read_line_time, record_batches, split_lines
from instanter.client import (
    Client,
    ConflictError,
    InvalidRequestError,
    PreconditionError,
    StockMovement,
    StockMovementCounts,
    StockMovementKind,
)
from instanter.errors import nearest, show

KINDS: Final = {kind.name.lower().replace("_", "-"): kind for kind in StockMovementKind}
"""Kinds by the words of the command line."""

BATCH: Final = 1_000
"""Movements of one call: what the server takes."""

_TEXTS: Final = ("movement_id", "site", "stock_keeping_unit", "kind")
_KEYS: Final = (*_TEXTS, "units", "movement_time", "destination_site", "price_minor")
_FIELD: Final = re.compile(r"movements\[(\d+)\]\.?(.*)", re.DOTALL)
_UNITS_MAX: Final = 1 << 63


def make_one(
    words: Sequence[str],
    file: Path | None,
    movement_id: str | None,
    time: str | None,
    *,
    destination: str,
    price_minor: int | None,
) -> StockMovement | None:
    """Return the movement of a command line; None when it names a file instead.

    Raises
    ------
    CommandError
        With exit code 2: it has both, none, or something of it is wrong.
    """
    if (file is None) == (not words):
        raise CommandError(
            "expected a movement, KIND SITE UNIT UNITS, or --file FILE", exit_code=EXIT_USAGE
        )
    if not words:
        told = {"--id": movement_id, "--time": time, "--to": destination or None}
        _refuse_options({**told, "--price-minor": price_minor})
        return None
    kind = read_kind(words[0], "KIND")
    has_units = kind is not StockMovementKind.PRICE_CHANGE
    if len(words) != 3 + has_units:
        expected = "KIND SITE UNIT UNITS" if has_units else "price-change SITE UNIT"
        raise CommandError(f"expected {expected}, not {len(words)} words", exit_code=EXIT_USAGE)
    if not has_units and price_minor is None:
        raise CommandError("--price-minor: a price-change says the new price", exit_code=EXIT_USAGE)
    return StockMovement(
        site=words[1],
        stock_keeping_unit=words[2],
        kind=kind,
        units=_read_units(words[3]) if has_units else 0,
        movement_id=movement_id or uuid4().hex,
        movement_time=read_time(time, "--time"),
        destination_site=destination,
        price_minor=price_minor or 0,
    )


def _refuse_options(given: dict[str, object]) -> None:
    """Refuse what is said beside a file: every line says it for itself."""
    for option, value in given.items():
        if value is not None:
            raise CommandError(
                f"{option} is for one movement; with --file each line says it for itself",
                exit_code=EXIT_USAGE,
            )


def read_kind(text: str, place: str, *, exit_code: int = EXIT_USAGE) -> StockMovementKind:
    """Return the kind that a word names, in either spelling.

    Raises
    ------
    CommandError
        With this exit code, when it names none: of the command line it is a mistake in that, in a
        file it is one of the data.
    """
    found = KINDS.get(text.lower().replace("_", "-"))
    if found is None:
        near = nearest(text, KINDS)
        hint = f"did you mean '{near}'?" if near else f"expected {', '.join(KINDS)}"
        raise CommandError(f"{place}: {show(text)} is no movement; {hint}", exit_code=exit_code)
    return found


def record_movement_lines(
    client: Client, lines: IO[bytes], name: str, *, relaxed: bool
) -> StockMovementCounts:
    """Record the movements of all lines and return what became of them.

    Parameters
    ----------
    client
        Where to.
    lines
        One JSON object each; empty lines are left out.
    name
        What to call the file in errors.
    relaxed
        Whether not to wait for the disk.

    Raises
    ------
    CommandError
        A line is no movement, or the server refuses one: the line and the field are named. The
        batches before it are recorded.
    """
    batches = split_lines(lines, name, _read_movement, BATCH)
    counts = record_batches(batches, partial(_record, client, name, relaxed=relaxed), "movements")
    return StockMovementCounts(*counts)


def _record(
    client: Client,
    name: str,
    numbers: Sequence[int],
    movements: Sequence[StockMovement],
    *,
    relaxed: bool,
) -> StockMovementCounts:
    """Record a batch; what the server refuses is told with the number of its line."""
    try:
        return client.stock.record_movements(movements, relaxed=relaxed)
    except (InvalidRequestError, ConflictError, PreconditionError) as error:
        at = find_index(error)
        place, told = name, error.message
        if at is not None and at < len(numbers):
            place = f"{name}:{numbers[at]}"
            told = told.removeprefix(f"movements[{at}].")
        raise CommandError(f"{place}: {told}") from error


def find_index(error: InvalidRequestError | ConflictError | PreconditionError) -> int | None:
    """Return the index of the movement that a batch was refused for; None when it is not told."""
    for violation in error.violations:
        found = _FIELD.fullmatch(violation.field)
        if found is not None:
            return int(found[1])
    found = _FIELD.match(error.metadata.get("field", "")) or _FIELD.match(error.message)
    return int(found[1]) if found is not None else None


def _read_movement(line: bytes, place: str) -> StockMovement:
    """Return the movement of one line."""
    given = read_object(line, place, "movement", _KEYS)
    for key in _TEXTS:
        if not isinstance(given.get(key), str) or not given[key]:
            told = show(given.get(key, "nothing"))
            raise CommandError(f"{place}: {key}: {told} is not right; expected a text")
        check_text(given[key], f"{place}: {key}")
    destination = given.get("destination_site") or ""
    if not isinstance(destination, str):
        raise CommandError(f"{place}: destination_site: {show(destination)} is no text")
    kind = read_kind(given["kind"], f"{place}: kind", exit_code=EXIT_REFUSED)
    if kind is StockMovementKind.PRICE_CHANGE and "price_minor" not in given:
        raise CommandError(f"{place}: price_minor: 'nothing' is not right; expected the new price")
    return StockMovement(
        site=given["site"],
        stock_keeping_unit=given["stock_keeping_unit"],
        kind=kind,
        units=_read_whole(given.get("units", 0), f"{place}: units"),
        movement_id=given["movement_id"],
        movement_time=read_line_time(given.get("movement_time"), f"{place}: movement_time"),
        destination_site=check_text(destination, f"{place}: destination_site"),
        price_minor=_read_whole(given.get("price_minor", 0), f"{place}: price_minor"),
    )


def _read_units(text: str) -> int:
    try:
        return parse_whole(text)
    except typer.BadParameter as error:
        raise CommandError(f"UNITS: {error.message}", exit_code=EXIT_USAGE) from None


def _read_whole(value: Any, place: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _UNITS_MAX:
        return value
    raise CommandError(f"{place}: {show(value)} is not right; expected a whole number")
