"""What the mapping files of all replays have in common: how they are read, and which names fit."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import msgspec
import yaml

from instanter.cli.failures import CommandError
from instanter.errors import nearest, show

T = TypeVar("T")

_NUMBERS: Final = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


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
        found = _load_yaml(path.read_text("utf-8"))
        if not isinstance(found, dict):
            raise CommandError(f"{path}: it is no mapping; expected one with `columns`")
        return msgspec.convert(prepare(found), kind)
    except (yaml.YAMLError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise CommandError(f"{path}: {' '.join(str(error).split())}") from None


def _load_yaml(text: str) -> Any:
    """Return the plain values of a text of YAML.

    Raises
    ------
    yaml.YAMLError
        It is none, says a key twice, or has an underscore in a number, which YAML 1.1 reads over.
    """
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        waiting = [] if root is None else [root]
        seen: set[int] = set()
        while waiting:
            node = waiting.pop()
            # An anchor may stand in itself.
            if id(node) not in seen:
                seen.add(id(node))
                waiting += _check_node(node)
        return None if root is None else loader.construct_document(root)
    finally:
        loader.dispose()


def _check_node(node: yaml.Node) -> list[yaml.Node]:
    """Return the nodes in a node, or raise for what it says twice, or in digits with gaps."""
    if isinstance(node, yaml.MappingNode):
        keys: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in keys:
                raise _refuse(key, f"{show(key.value)} stands there twice; expected it once")
            keys.add(str(key.value))
        return [each for pair in node.value for each in pair]
    if isinstance(node, yaml.SequenceNode):
        return list(node.value)
    if node.tag in _NUMBERS and "_" in node.value:
        raise _refuse(node, f"{show(node.value)} is not right; expected digits from 0 to 9")
    return []


def _refuse(node: yaml.Node, problem: str) -> yaml.YAMLError:
    return yaml.YAMLError(f"line {node.start_mark.line + 1}: {problem}")


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
