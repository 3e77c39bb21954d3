"""YAML as a tree that knows its lines, safe to read whoever wrote it.

The tree is built from the events of libyaml with a stack of our own: its composer recurses in C
and a file of 40,000 opening brackets ends the process with a segmentation fault, and aliases let
20 short lines grow into a billion values. Only plain data is taken: mappings with text keys,
lists and scalars; tags, anchors, aliases and several documents are refused. A scalar keeps its
spelling: what it means depends on the field it stands in, so nothing turns `no` into false.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import yaml

from instanter.catalogue.problems import Problems
from instanter.errors import show

_DEPTH_MAX = 12
_BREAK = re.compile(r"\r\n|[\r\n\x85\u2028\u2029]")
"""What YAML 1.1 ends a line with, so that lines are counted as its parser counts them."""

_QUOTES: Final = (
    ("did not find expected ',' or", r"\[.*\]|['\"]", "; between { } a rule with [ ] or a quote"),
    ("did not find expected key", r""":\s+(['"]).*\1\s*[^\s#]""", "; what begins with a quote"),
    ("mapping values are not", r":\s.*:\s", "; what has ': ' in it"),
)
"""What the parser says of a text that wants quotes, what its line looks like, and what to say."""
_QUOTED: Final = "stands in quotes as a whole"
_LOOKED_AT: Final = 1_000
"""Characters of a line that are looked at: a hostile one has millions."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value as it is spelled.

    Attributes
    ----------
    file, line, column
        Where it starts; lines count from 1, columns from 0.
    text
        Its text without quotes and indentation.
    style
        `""` plain, a quote, or the `|` or `>` of a block.
    """

    file: str
    line: int
    column: int
    text: str
    style: str

    @property
    def is_plain(self) -> bool:
        """Whether it stands without quotes and is no block."""
        return self.style == ""


@dataclass(frozen=True, slots=True)
class Listing:
    """A list."""

    file: str
    line: int
    items: list["Node"] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Mapping:
    """A mapping; `key_lines` says where each key stands."""

    file: str
    line: int
    entries: dict[str, "Node"] = field(default_factory=dict)
    key_lines: dict[str, int] = field(default_factory=dict)


Node: TypeAlias = Scalar | Listing | Mapping


class _Refused(Exception):  # noqa: N818 - it never leaves this module
    def __init__(self, line: int, text: str, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.text = text
        self.message = message


def parse_yaml(file: str, text: str, problems: Problems) -> Node | None:
    """Return the tree of one file, or None when it is empty or a problem was recorded.

    Parameters
    ----------
    file
        Path for messages.
    text
        The file's content.
    problems
        Takes what is wrong.
    """
    try:
        return _Builder(file, problems).build(read_events(text.removeprefix("\ufeff")))
    except _Refused as refused:
        problems.add(file, refused.line, "content", refused.text, refused.message)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1 if error.position else 1
        problems.add(file, line, "content", repr(error.character), f"is not YAML: {error.reason}")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 0
        lines = _BREAK.split(text, maxsplit=line)
        shown = lines[line - 1].strip() if 0 < line <= len(lines) else ""
        message = f"is not YAML: {error.problem}"
        if "\t" in (lines[line - 1] if 0 < line <= len(lines) else ""):
            message += "; indent with spaces, not with tabs"
        else:
            message += _find_hint(error.problem or "", shown)
        problems.add(file, line, "content", shown, message)
    except (UnicodeError, yaml.YAMLError) as error:
        problems.add(file, 0, "content", "", f"is not YAML in UTF-8: {error}")
    return None


def _find_hint(said: str, line: str) -> str:
    """Return that a text wants quotes, where that is what is wrong; empty where it is not."""
    for beginning, looks, what in _QUOTES:
        if said.startswith(beginning) and re.search(looks, line[:_LOOKED_AT]):
            return f"{what} {_QUOTED}"
    return ""


def find_line(source: str, scalar: Scalar, position: int) -> int:
    """Return the line of the file in which the character at `position` of a scalar stands.

    Folding and indentation change the blanks of a scalar but never its other characters, so
    those are counted.

    Parameters
    ----------
    source
        The content of the scalar's file.
    scalar
        A scalar of that file.
    position
        Offset into its text.
    """
    wanted = _count_inked(scalar.text[:position])
    lines = _BREAK.split(source)
    number = scalar.line - 1
    if scalar.style in ("|", ">"):
        number += 1
        ink = 0
    else:
        ink = -_count_inked(lines[number][: scalar.column]) - len(scalar.style)
    for line in lines[number:]:
        number += 1
        ink += _count_inked(line.replace("''", "'") if scalar.style == "'" else line)
        if ink > wanted:
            return number
    return scalar.line


def _count_inked(text: str) -> int:
    return sum(1 for c in text if not c.isspace())


def read_events(text: str) -> Iterator[yaml.Event]:
    """Yield the events of a text, each with its marks, in characters."""
    loader = yaml.CSafeLoader(text)
    try:
        while (event := loader.get_event()) is not None:
            yield event
            if isinstance(event, yaml.StreamEndEvent):
                return
    finally:
        loader.dispose()


class _Builder:
    """Puts events together: a stack of open collections, and the key that waits for its value."""

    __slots__ = ("_file", "_keys", "_open", "_problems", "_root")

    def __init__(self, file: str, problems: Problems) -> None:
        self._file = file
        self._problems = problems
        self._open: list[Listing | Mapping] = []
        self._keys: list[str | None] = []
        self._root: Node | None = None

    def build(self, events: Iterator[yaml.Event]) -> Node | None:
        documents = 0
        for event in events:
            assert event.start_mark is not None, "libyaml marks every event"
            line = event.start_mark.line + 1
            if isinstance(event, yaml.ScalarEvent):
                self._take_scalar(event, line, event.start_mark.column)
            elif isinstance(event, yaml.CollectionStartEvent):
                self._take_start(event, line)
            elif isinstance(event, yaml.CollectionEndEvent):
                self._open.pop()
                self._keys.pop()
            elif isinstance(event, yaml.AliasEvent):
                raise _Refused(line, f"*{event.anchor}", "aliases are not allowed; write it out")
            elif isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise _Refused(line, "---", "a file holds one document; use another file")
        return self._root

    def _take_scalar(self, event: yaml.ScalarEvent, line: int, column: int) -> None:
        _check_plain_data(event, line)
        if self._open and self._keys[-1] is None and isinstance(self._open[-1], Mapping):
            self._take_key(event.value, line)
            return
        style = event.style or ""
        if not style and "\x85" in event.value:
            raise _Refused(line, event.value, "control characters are not allowed")
        self._put(Scalar(self._file, line, column, event.value, style))

    def _take_start(self, event: yaml.CollectionStartEvent, line: int) -> None:
        _check_plain_data(event, line)
        if len(self._open) >= _DEPTH_MAX:
            raise _Refused(line, "", f"nested deeper than {_DEPTH_MAX} levels")
        if self._open and self._keys[-1] is None and isinstance(self._open[-1], Mapping):
            raise _Refused(line, "", "a key must be plain text")
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        node = Mapping(self._file, line) if is_mapping else Listing(self._file, line)
        self._put(node)
        self._open.append(node)
        self._keys.append(None)

    def _take_key(self, key: str, line: int) -> None:
        mapping = self._open[-1]
        assert isinstance(mapping, Mapping)
        if key in mapping.key_lines:
            first = mapping.key_lines[key]
            message = f"the key stands here twice; first in line {first}"
            self._problems.add(self._file, line, key[:100], "", message)
        mapping.key_lines[key] = line
        self._keys[-1] = key

    def _put(self, node: Node) -> None:
        if not self._open:
            self._root = node
            return
        parent = self._open[-1]
        if isinstance(parent, Listing):
            parent.items.append(node)
            return
        key = self._keys[-1]
        assert key is not None, "a value follows its key"
        parent.entries[key] = node
        self._keys[-1] = None


def _check_plain_data(event: yaml.ScalarEvent | yaml.CollectionStartEvent, line: int) -> None:
    if event.anchor is not None:
        raise _Refused(line, f"&{event.anchor}", "anchors are not allowed; write it out")
    if event.tag is not None and event.tag != "!":
        message = f"tags such as {show(event.tag)} are not allowed; a rule with ! {_QUOTED}"
        raise _Refused(line, event.tag, message)
