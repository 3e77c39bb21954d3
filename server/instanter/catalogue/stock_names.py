"""The names that a stock section declares, and how its other parts name them."""

from collections.abc import Mapping, Set
from typing import Final

from instanter import stock_limits
from instanter.catalogue.problems import suggest
from instanter.catalogue.yaml_reader import Reader
from instanter.catalogue.yaml_tree import Node

PLACE_KEYS: Final = ("sites", "regions", "units", "categories")
"""What policies and grants name positions by."""

_WORDS: Final = {
    "sites": "a declared site",
    "regions": "a region of any site",
    "units": "a declared stock-keeping unit",
    "categories": "a category of any unit",
}
_SUGGESTIONS_MAX: Final = 5_000
"""Names among which a similar one is looked for: among 50,000 that takes a second."""


class StockNames:
    """Looks names up.

    Parameters
    ----------
    reader
        Reads values and records problems.
    names
        What is declared, by the keys of `PLACE_KEYS`.
    """

    __slots__ = ("_names", "_reader")

    def __init__(self, reader: Reader, names: Mapping[str, Set[str]]) -> None:
        self._reader = reader
        self._names = names

    def read(self, entries: Mapping[str, Node], field: str, key: str) -> tuple[str, ...]:
        """Return the names that an entry lists; none when it is missing or after problems.

        Parameters
        ----------
        entries, field
            Of the mapping, and its path.
        key
            One of `PLACE_KEYS`.
        """
        if key not in entries:
            return ()
        return self.read_list(entries[key], f"{field}.{key}", key)

    def read_list(self, node: Node, field: str, key: str) -> tuple[str, ...]:
        """Return the names that a list holds, each once; none after problems."""
        reader = self._reader
        items = reader.read_list(node, field, stock_limits.STOCK_UNITS_MAX)
        if not getattr(node, "items", True):
            reader.refuse(node, field, "must name at least one, or be left out")
        found: dict[str, None] = {}
        for item in items:
            name = self.read_one(item, field, key)
            if name in found:
                reader.refuse(item, field, "stands here twice")
            elif name is not None:
                found[name] = None
        return tuple(found)

    def read_one(self, node: Node, field: str, key: str) -> str | None:
        """Return one name, or None after a problem."""
        name = self._reader.read_text(node, field)
        known = self._names[key]
        if name is None or name in known:
            return name
        near = suggest(name, known) if len(known) <= _SUGGESTIONS_MAX else ""
        self._reader.refuse(node, field, f"is not {_WORDS[key]}", near)
        return None
