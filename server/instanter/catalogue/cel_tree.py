"""The tree of one CEL rule, as Google's CEL library parses it.

The library parses; its type checker is not used, because it knows neither ranges nor category
values, refuses `profile.age > 30` (a double against an int) and cannot name a file or a line.
The parsed tree leaves the library as serialized protobuf (`cel.expr.ParsedExpr` of the public
specification). The few fields that are needed are decoded here by hand: no Python package ships
the message definitions, and generated modules belong to the contract alone.

Measured: parsing and decoding a rule of five comparisons takes about 0.2 ms.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from cel_expr_python import cel

from instanter import limits

_VARINT, _FIXED64, _BYTES = 0, 1, 2
_TOLD_SIZE_MAX = 200
_INFIX = re.compile(r"_(&&|\|\||==|!=|<=|>=|<|>|\+|-|\*|/|%)_|@(in)")
_STRANGER = re.compile(r"(?:mismatched|extraneous) input ('.*') expecting ", re.DOTALL)
_SYNTAX_ERROR = re.compile(r"ERROR: <input>:(\d+):(\d+): (?:Syntax error: )?(.*)")


@dataclass(frozen=True, slots=True)
class Literal:
    """A literal: bool, int, float, text, or None for `null` (and for unsigned and bytes)."""

    value: bool | int | float | str | None
    position: int


@dataclass(frozen=True, slots=True)
class Ident:
    """A bare name."""

    name: str
    position: int


@dataclass(frozen=True, slots=True)
class Select:
    """`operand.field`, or `has(operand.field)` when it only tests for presence."""

    operand: "Tree"
    field: str
    tests_presence: bool
    position: int


@dataclass(frozen=True, slots=True)
class Call:
    """An operator (`_&&_`, `_>_`, `@in`, `_?_:_`) or a function with its arguments."""

    function: str
    target: "Tree | None"
    arguments: tuple["Tree", ...]
    position: int


@dataclass(frozen=True, slots=True)
class ListLiteral:
    """`[a, b]`."""

    elements: tuple["Tree", ...]
    position: int


@dataclass(frozen=True, slots=True)
class Foreign:
    """Something CEL has and rules do not, named for a person."""

    what: str
    position: int


Tree: TypeAlias = Literal | Ident | Select | Call | ListLiteral | Foreign
"""A parsed rule. Every `position` is an offset into its text, in characters."""


class CelSyntaxError(Exception):
    """A text is not CEL.

    Attributes
    ----------
    position
        Where, in characters from the start of the text.
    message
        What is wrong there.
    """

    def __init__(self, position: int, message: str) -> None:
        super().__init__(message)
        self.position = position
        self.message = message


class CelParser:
    """Parses CEL; keep one for many rules, its environment takes a while to make."""

    __slots__ = ("_environment",)

    def __init__(self) -> None:
        self._environment = cel.NewEnv(variables={})

    def parse(self, text: str) -> Tree:
        """Return the tree of `text`.

        Raises
        ------
        CelSyntaxError
            It is not CEL, or nested deeper than `limits.RULE_DEPTH_MAX`.
        """
        try:
            parsed = self._environment.compile(text, disable_check=True).serialize()
        except RuntimeError as error:
            raise _syntax_error(text, str(error)) from None
        tree: Any = dict(_fields(dict(_fields(parsed))[2]))
        positions = _positions(tree[3])
        return _expression(tree[2], positions, 0)


def render(tree: Tree) -> str:
    """Return the rule text of a tree, for messages."""
    match tree:
        case Literal(value=bool() as truth):
            return "true" if truth else "false"
        case Literal(value=str() as text):
            return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
        case Literal(value=value):
            return "null" if value is None else repr(value)
        case Ident(name=name):
            return name
        case Select(operand=operand, field=field, tests_presence=tests_presence):
            path = f"{render(operand)}.{field}"
            return f"has({path})" if tests_presence else path
        case ListLiteral(elements=elements):
            return f"[{', '.join(map(render, elements))}]"
        case Call():
            return _render_call(tree)
        case Foreign(what=what):
            return what


def start(tree: Tree) -> int:
    """Return the offset of a tree's first character, as far as the parser tells."""
    match tree:
        case Select(operand=operand, tests_presence=False):
            return min(start(operand), tree.position)
        case Call(target=None, arguments=(first, *_)):
            return min(start(first), tree.position)
        case Call(target=target) if target is not None:
            return min(start(target), tree.position)
        case _:
            return tree.position


def _render_call(call: Call) -> str:
    arguments = [render(argument) for argument in call.arguments]
    infix = _INFIX.fullmatch(call.function)
    if infix and len(arguments) == 2:
        return f"{arguments[0]} {infix[1] or infix[2]} {arguments[1]}"
    if call.function in ("!_", "-_"):
        return f"{call.function[0]}{arguments[0]}"
    if call.function == "_?_:_":
        return f"{arguments[0]} ? {arguments[1]} : {arguments[2]}"
    if call.function == "_[_]":
        return f"{arguments[0]}[{arguments[1]}]"
    path = f"{render(call.target)}." if call.target is not None else ""
    return f"{path}{call.function}({', '.join(arguments)})"


def _syntax_error(text: str, message: str) -> CelSyntaxError:
    """Translate the library's message, whose lines and columns count from 1."""
    if "recursion" in message:
        return CelSyntaxError(0, f"it is nested deeper than {limits.RULE_DEPTH_MAX} levels")
    found = _SYNTAX_ERROR.search(message)
    if not found:
        return CelSyntaxError(0, "it cannot be read as CEL")
    lines = text.split("\n")
    line, column = int(found[1]), int(found[2])
    position = sum(len(earlier) + 1 for earlier in lines[: line - 1]) + column - 1
    told = found[3].removesuffix(" [INVALID_ARGUMENT]")
    if "'<EOF>'" in told and "expecting {" in told:
        told = "it ends where a value or a comparison is expected"
    elif "token recognition error at: '= '" in told:
        told = "a single = is no comparison; write == for equality"
    elif stranger := _STRANGER.match(told):
        told = f"{_cut(stranger[1])} cannot stand here"
    elif "int literal" in told:
        told = (
            f"its number is too large: a whole one lies from {-(1 << 63)} to {(1 << 63) - 1}; "
            "write a larger one as 1e19"
        )
    return CelSyntaxError(min(max(position, 0), len(text)), _cut(told))


def _cut(told: str) -> str:
    """Return what the library says without most of a very long text that it quotes."""
    if len(told) <= _TOLD_SIZE_MAX:
        return told
    return f"{told[: _TOLD_SIZE_MAX // 2]}… ({len(told):,} characters)"


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Yield field number and raw value of each field of a protobuf message."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire_type = key >> 3, key & 7
        value: int | bytes
        if wire_type == _VARINT:
            value, at = _varint(message, at)
        elif wire_type == _FIXED64:
            value, at = message[at : at + 8], at + 8
        else:
            assert wire_type == _BYTES, f"the tree has no fields of wire type {wire_type}"
            size, at = _varint(message, at)
            value, at = message[at : at + size], at + size
        yield number, value


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = message[at]
    at += 1
    if value < 128:
        return value, at
    value &= 127
    shift = 7
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def _positions(source_info: bytes) -> dict[int, int]:
    """Return expression id to offset: the map in field 4."""
    positions: dict[int, int] = {}
    for number, entry in _fields(source_info):
        if number == 4:
            pair = dict(_fields(entry))
            positions[pair[1]] = pair.get(2, 0)
    return positions


def _expression(message: bytes, positions: dict[int, int], depth: int) -> Tree:
    """Decode cel.expr.Expr: id = 2, and one of the kinds 3 to 9."""
    fields = dict(_fields(message))
    at = positions.get(fields.pop(2, 0), 0)
    if depth > 3 * limits.RULE_DEPTH_MAX:
        raise CelSyntaxError(at, f"it is nested deeper than {limits.RULE_DEPTH_MAX} levels")
    kind, content = next(iter(fields.items()), (0, b""))
    if kind == 3:
        return _literal(content, at)
    if kind == 4:
        return Ident(dict(_fields(content))[1].decode(), at)
    if kind == 5:
        select = dict(_fields(content))
        operand = _expression(select[1], positions, depth + 1)
        return Select(operand, select[2].decode(), bool(select.get(3, 0)), at)
    if kind == 6:
        return _call(content, at, positions, depth)
    if kind == 7:
        elements = (
            _expression(e, positions, depth + 1) for number, e in _fields(content) if number == 1
        )
        return ListLiteral(tuple(elements), at)
    what = {8: "a map or message in braces", 9: "a loop (all, exists, map, filter)"}
    return Foreign(what.get(kind, "an unknown expression"), at)


def _call(content: bytes, at: int, positions: dict[int, int], depth: int) -> Call:
    """Decode cel.expr.Expr.Call: target = 1, function = 2, args = 3."""
    target: Tree | None = None
    function = ""
    arguments: list[Tree] = []
    for number, value in _fields(content):
        if number == 1:
            target = _expression(value, positions, depth + 1)
        elif number == 2:
            function = value.decode()
        elif number == 3:
            arguments.append(_expression(value, positions, depth + 1))
    return Call(function, target, tuple(arguments), at)


def _literal(content: bytes, at: int) -> Literal | Foreign:
    """Decode cel.expr.Constant: bool = 2, int64 = 3, uint64 = 4, double = 5, string = 6."""
    kind, value = next(_fields(content))
    if kind == 2:
        return Literal(bool(value), at)
    if kind == 3:
        return Literal(value - (1 << 64) if value >> 63 else value, at)
    if kind == 5:
        return Literal(struct.unpack("<d", value)[0], at)
    if kind == 6:
        return Literal(value.decode(), at)
    what = {1: "null", 4: "an unsigned literal", 7: "a bytes literal"}
    return Foreign(what.get(kind, "an unknown literal"), at)
