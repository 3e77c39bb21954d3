"""What the mapping files of all replays have in common: how they are read, and which names fit."""

from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from instanter.cli.failures import CommandError
from instanter.errors import nearest

T = TypeVar("T")


def read_mapping_file(
    path: Path, kind: type[T], prepare: Callable[[Any], Any] = lambda given: given
) -> T:
    """Read a file of YAML as a struct.

    Parameters
    ----------
    path
        The file.
    kind
        The struct.
    prepare
        Changes the plain values before.

    Raises
    ------
    CommandError
        It is no such file; the message names what is wrong.
    """
    try:
        return msgspec.convert(prepare(yaml.safe_load(path.read_text("utf-8"))), kind)
    except (yaml.YAMLError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise CommandError(f"{path}: {' '.join(str(error).split())}") from None


def check_mapped_names(
    path: Path, sections: Iterable[tuple[Collection[str], Collection[str]]], what: str
) -> None:
    """Raise unless all names of a mapping file are among the known ones.

    Parameters
    ----------
    path
        The file.
    sections
        The names of each section, and those known there.
    what
        What a line stands for: "a transaction".

    Raises
    ------
    CommandError
        One is not.
    """
    for section, names in sections:
        for name in section:
            if name not in names:
                near = nearest(name, names)
                hint = f"did you mean '{near}'?" if near else f"expected {', '.join(names)}"
                raise CommandError(f"{path}: '{name}' is nothing that {what} has; {hint}")
