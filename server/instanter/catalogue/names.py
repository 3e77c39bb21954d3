"""What an attribute may be called: rules name it, so it must be a CEL identifier."""

import re
from typing import Final

from instanter import limits

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)

CEL_RESERVED_WORDS: Final = frozenset(
    {
        "as", "break", "const", "continue", "else", "false", "for", "function", "if", "import",
        "in", "let", "loop", "namespace", "null", "package", "return", "true", "var", "void",
        "while",
    }
)  # fmt: skip
"""Words that CEL keeps for itself (language definition, section Syntax)."""


def find_name_mistake(name: str) -> str | None:
    """Return what is wrong with an attribute's name, or None when it is right."""
    if not name:
        return "a name must not be empty"
    if len(name) > limits.NAME_SIZE_MAX:
        return f"a name has at most {limits.NAME_SIZE_MAX} characters, not {len(name):,}"
    if not _IDENTIFIER.fullmatch(name):
        return "a name is letters, digits and _, and does not begin with a digit"
    if name in CEL_RESERVED_WORDS:
        return "CEL keeps this word for itself; choose another name"
    return None


def make_attribute_name(text: str) -> str:
    """Return the valid attribute name nearest to a text, a column's heading for example."""
    name = re.sub(r"[^A-Za-z0-9_]+", "_", text).strip("_") or "attribute"
    if name[0].isdigit():
        name = f"_{name}"
    if name in CEL_RESERVED_WORDS:
        name = f"{name}_"
    return name[: limits.NAME_SIZE_MAX]
