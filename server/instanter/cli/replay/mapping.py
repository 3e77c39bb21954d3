"""The mapping file of a replay: which column is what, and what stands in none."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

import msgspec

from instanter.cli.failures import CommandError
from instanter.cli.mapping_files import check_mapped_names, read_mapping_file

_COLUMNS: Final = (
    "transaction_id", "time", "card", "customer", "terminal", "merchant", "mcc", "amount",
    "amount_minor", "currency", "channel", "latitude", "longitude", "device", "bin", "fraud",
    "scenario",
)  # fmt: skip
"""What a column may be."""

_PREFIXED: Final = ("transaction_id", "card", "customer", "terminal", "merchant", "device")
_REQUIRED: Final = ("time", "card", "terminal", "merchant", "mcc", "currency")


_DURATION: Final = re.compile(r"([0-9]{1,6})(s|m|h|d|w)")
_UNIT_S: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


class _Places(msgspec.Struct, forbid_unknown_fields=True):
    """A file with the terminals' places."""

    file: str
    terminal: str
    latitude: str
    longitude: str


class _Labels(msgspec.Struct, forbid_unknown_fields=True):
    """When labels become known, and how often they are sent."""

    delay: str = "7d"
    every: str = "1d"


class _Given(msgspec.Struct, forbid_unknown_fields=True):
    """The mapping file as it is written."""

    columns: dict[str, str]
    constants: dict[str, str | int | float | bool] = {}
    prefixes: dict[str, str] = {}
    fields: dict[str, str] = {}
    present_values: list[str | int | float | bool] = []
    places: _Places | None = None
    labels: _Labels = msgspec.field(default_factory=_Labels)
    shift: str | int = "weeks"
    score_from: str = ""
    score_to: str = ""


@dataclass(frozen=True, slots=True)
class Places:
    """Where terminals stand: a file, and its columns."""

    file: Path
    terminal: str
    latitude: str
    longitude: str


@dataclass(frozen=True, slots=True)
class ReplayMapping:
    """What a file's columns mean.

    Attributes
    ----------
    columns
        Column by what it is.
    constants
        Values of what no column has.
    prefixes
        What stands before the ids of each kind.
    fields
        Column by declared field.
    present_values
        Values of `channel` that mean that the card was present, as text.
    places
        The terminals' places; None when the file has them, or the catalogue.
    label_delay_s
        Time after a transaction at which its label becomes known.
    label_every_s
        Labels that are known by then are sent at each multiple of this time, in UTC.
    shift_weeks
        Weeks to move all times by; None to move the last transaction to now.
    score_from, score_to
        Times of the file, RFC 3339 or a date, between which verdicts are judged; empty for all.
    """

    columns: Mapping[str, str]
    constants: Mapping[str, str | int | float | bool]
    prefixes: Mapping[str, str]
    fields: Mapping[str, str]
    present_values: frozenset[str]
    places: Places | None
    label_delay_s: int
    label_every_s: int
    shift_weeks: int | None
    score_from: str
    score_to: str


def load_mapping(path: Path) -> ReplayMapping:
    """Read a mapping file.

    Raises
    ------
    CommandError
        It is none; the message names what is wrong.
    """
    given = read_mapping_file(path, _Given, _keep_text)
    check_mapped_names(path, given, _COLUMNS, _PREFIXED, "a transaction")
    _check_required(path, given)
    shift = given.shift
    if isinstance(shift, str) and shift != "weeks":
        raise CommandError(f"{path}: shift: '{shift}'; expected `weeks`, or a number of weeks")
    places = given.places
    return ReplayMapping(
        columns=given.columns,
        constants=given.constants,
        prefixes=given.prefixes,
        fields=given.fields,
        present_values=frozenset(map(str, given.present_values)),
        places=None
        if places is None
        else Places(path.parent / places.file, places.terminal, places.latitude, places.longitude),
        label_delay_s=_read_duration(path, "delay", given.labels.delay),
        label_every_s=max(_read_duration(path, "every", given.labels.every), 1),
        shift_weeks=shift if isinstance(shift, int) else None,
        score_from=given.score_from,
        score_to=given.score_to,
    )


def _keep_text(tree: object) -> object:
    """Return a mapping whose dates are text again, as they were written."""
    if not isinstance(tree, dict):
        return tree
    return {
        key: value.isoformat().replace("+00:00", "Z") if isinstance(value, date) else value
        for key, value in tree.items()
    }


def _check_required(path: Path, given: _Given) -> None:
    known = {*given.columns, *given.constants}
    missing = [name for name in _REQUIRED if name not in known]
    if not {"amount", "amount_minor"} & known:
        missing.append("amount")
    if missing:
        raise CommandError(
            f"{path}: nothing says what is {', '.join(missing)}; name a column under `columns`, or "
            "a value under `constants`"
        )
    if "channel" in given.columns and not given.present_values:
        raise CommandError(
            f"{path}: `channel` needs `present_values`: those that mean that the card was there"
        )


def _read_duration(path: Path, name: str, text: str) -> int:
    found = _DURATION.fullmatch(text)
    if found is None:
        raise CommandError(f"{path}: labels.{name}: '{text}'; expected a duration, 7d for example")
    return int(found[1]) * _UNIT_S[found[2]]
