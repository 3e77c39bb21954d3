"""What the mapping files of all replays have in common: how they are read, and which names fit."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec
import yaml

from instanter.cli.failures import CommandError
from instanter.errors import nearest

T = TypeVar("T")


class Mapped(Protocol):
    """A mapping file's sections of names."""

    @property
    def columns(self) -> Collection[str]:
        """What columns stand for."""
        ...

    @property
    def constants(self) -> Collection[str]:
        """What is the same in all lines."""
        ...

    @property
    def prefixes(self) -> Collection[str]:
        """What a prefix is put before."""
        ...


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
    path: Path, given: Mapped, columns: Collection[str], prefixed: Collection[str], what: str
) -> None:
    """Raise unless all names of a mapping file are among the known ones.

    Parameters
    ----------
    path, given
        The file, and what stands in it.
    columns
        The names that are known as columns and constants.
    prefixed
        Those of them that may have a prefix.
    what
        What a line stands for: "a transaction".

    Raises
    ------
    CommandError
        One is not.
    """
    for section, names in (
        (given.columns, columns),
        (given.constants, columns),
        (given.prefixes, prefixed),
    ):
        for name in section:
            if name not in names:
                near = nearest(name, names)
                hint = f"did you mean '{near}'?" if near else f"expected {', '.join(names)}"
                raise CommandError(f"{path}: '{name}' is nothing that {what} has; {hint}")
