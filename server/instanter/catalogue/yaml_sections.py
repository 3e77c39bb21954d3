"""One top-level section of a YAML file, taken out of it or left out of it, each line where it was.

The text is cut where libyaml says that keys and values stand, so that it makes no difference how a
file is written: each section on lines of its own, or all of them within one pair of braces.
"""

import re
from dataclasses import dataclass

import yaml

from instanter.catalogue.yaml_tree import read_events

_INK = re.compile(r"[^\r\n\x85\u2028\u2029]")
"""Everything but what ends a line."""


@dataclass(frozen=True, slots=True)
class Sections:
    """The top level of a file.

    Attributes
    ----------
    text
        The file's content, without a byte order mark.
    is_flow
        Whether it stands within braces.
    spans
        By key: where the section begins, where its value ends, and where the next one begins.
    """

    text: str
    is_flow: bool
    spans: dict[str, tuple[int, int, int]]

    def take(self, key: str) -> str:
        """Return the text with nothing but one of its sections."""
        start, end, after = self.spans[key]
        if self.is_flow:
            # A blank, for `{fraud:}` would be another key.
            return f"{_clear(self.text[:start])}{{{self.text[start:end]} }}"
        return _clear(self.text[:start]) + self.text[start:after]

    def leave_out(self, key: str) -> str:
        """Return the text without one of its sections; with its comments, in a file of lines."""
        start, end, after = self.spans[key]
        if self.is_flow and after == len(self.text):
            # With the comma before it; what stands behind it are the brace, and maybe a comma.
            start = max(
                (ends for _, ends, _ in self.spans.values() if ends <= start), default=start
            )
            after = end
        # No blanks: a block scalar before it would have them for its own.
        return self.text[:start] + _clear(self.text[start:after]) + self.text[after:]


def find_sections(text: str) -> Sections | None:
    """Return where the sections of a text stand that `parse_yaml` takes; None of no mapping."""
    text = text.removeprefix("\ufeff")
    found: list[tuple[str, int, int]] = []
    key: tuple[str, int] | None = None
    is_flow = False
    depth = 0
    for event in read_events(text):
        assert event.start_mark is not None, "libyaml marks every event"
        assert event.end_mark is not None, "libyaml marks every event"
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth == 1 and not isinstance(event, yaml.MappingStartEvent):
                return None
            if depth == 1:
                is_flow = bool(event.flow_style)
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif not isinstance(event, yaml.ScalarEvent):
            continue
        if depth != 1:
            continue
        if key is None and isinstance(event, yaml.ScalarEvent):
            # Of a file of lines the whole line: an explicit key has a question mark before it.
            column = 0 if is_flow else event.start_mark.column
            key = event.value, event.start_mark.index - column
        elif key is not None:
            found.append((*key, event.end_mark.index))
            key = None
    if not found:
        return None
    starts = [start for _, start, _ in found[1:]] + [len(text)]
    spans = {name: (at, end, after) for (name, at, end), after in zip(found, starts, strict=True)}
    return Sections(text, is_flow, spans)


def _clear(text: str) -> str:
    return _INK.sub("", text)
