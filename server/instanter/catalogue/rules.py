"""Checks CEL rules against the schema and compiles them into one rule program.

The grammar is closed. Truths: `&&`, `||`, `!`, `c ? a : b`, `==` and `!=` between truths, `true`,
`false`, flags, `has(profile.x)`. Comparisons: `<`, `<=`, `>`, `>=`, `==`, `!=` between two numbers,
two instants or two durations; `==`, `!=` between a category and a text; `in [...]` for numbers and
categories. Arithmetic: `+ - * /` and `-x` on numbers; instant − instant, instant ± duration,
duration ± duration. `timestamp('...')`, `duration('...')`, `now`. Everything else is refused by
name.

All numbers of a rule are doubles: `5 / 2` is 2.5. A slot's float32 is compared with a number of the
rule as if that were stored like it, and is a double everywhere else.
What is missing is unknown; so is arithmetic without a result, such as 0 / 0. `has()` is never
unknown. Within these words a rule means what CEL says; the tests compare with CEL's own evaluator.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from instanter.catalogue import program_builder as program
from instanter.catalogue.cel_tree import (
    Call,
    CelParser,
    CelSyntaxError,
    Foreign,
    Ident,
    ListLiteral,
    Literal,
    Select,
    Tree,
    render,
    start,
)
from instanter.catalogue.instants import find_duration_s, find_instant_s
from instanter.catalogue.problems import suggest
from instanter.catalogue.program_builder import FALSE, TRUE, ProgramBuilder, Truth, Value
from instanter.catalogue.rule_kinds import Kind, explain_comparison
from instanter.catalogue.schema import Attribute, AttributeKind, AttributeSource, Schema

_WORDS: Final = "now, has(), timestamp(), duration(), && || ! ?: == != < <= > >= in [...] + - * /"

_NO_VALUE: Final = Value(0)


@dataclass(frozen=True, slots=True)
class Operand:
    """A typed part of a rule.

    Attributes
    ----------
    kind
        Its type.
    value
        What the program computes for a number, instant, duration or category (its code).
    truth
        What the program computes for a condition.
    text
        A literal text.
    attribute
        The category that `value` is a code of.
    """

    kind: Kind
    value: Value = _NO_VALUE
    truth: Truth = TRUE
    text: str = ""
    attribute: Attribute | None = None


class RuleMistake(Exception):  # noqa: N818 - a mistake of the rule's author, not of the program
    """One thing that is wrong with a rule.

    Attributes
    ----------
    position
        Offset into the rule's text, in characters.
    text
        The offending part.
    message
        What is wrong, and what would be right.
    suggestion
        The nearest valid name, or empty.
    follows
        As in `Problems.add`.
    """

    def __init__(
        self, position: int, text: str, message: str, suggestion: str = "", follows: str = ""
    ) -> None:
        super().__init__(message)
        self.position = position
        self.text = text
        self.message = message
        self.suggestion = suggestion
        self.follows = follows


_SOURCE_OF: Final = {
    (AttributeSource.LOADED, True): program.SOURCE_PROFILE_NUMBER,
    (AttributeSource.LOADED, False): program.SOURCE_PROFILE_CODE,
    (AttributeSource.CONTEXT, True): program.SOURCE_CONTEXT_NUMBER,
    (AttributeSource.CONTEXT, False): program.SOURCE_CONTEXT_CODE,
    (AttributeSource.DERIVED, True): program.SOURCE_PROFILE_NUMBER,
    (AttributeSource.DERIVED, False): program.SOURCE_PROFILE_CODE,
}
_KIND_OF: Final = {
    AttributeKind.NUMBER: Kind.NUMBER,
    AttributeKind.CATEGORY: Kind.CATEGORY,
    AttributeKind.INSTANT: Kind.INSTANT,
}
_FLIPPED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
_COMPARISONS: Final = {f"_{sign}_": sign for sign in _FLIPPED}
_MEASURES: Final = frozenset({Kind.NUMBER, Kind.INSTANT, Kind.DURATION})
_ARITHMETIC: Final = {
    "_+_": program.ADD,
    "_-_": program.SUBTRACT,
    "_*_": program.MULTIPLY,
    "_/_": program.DIVIDE,
}
_RESULTS: Final = {
    ("_+_", Kind.NUMBER, Kind.NUMBER): Kind.NUMBER,
    ("_-_", Kind.NUMBER, Kind.NUMBER): Kind.NUMBER,
    ("_*_", Kind.NUMBER, Kind.NUMBER): Kind.NUMBER,
    ("_/_", Kind.NUMBER, Kind.NUMBER): Kind.NUMBER,
    ("_+_", Kind.INSTANT, Kind.DURATION): Kind.INSTANT,
    ("_+_", Kind.DURATION, Kind.INSTANT): Kind.INSTANT,
    ("_+_", Kind.DURATION, Kind.DURATION): Kind.DURATION,
    ("_-_", Kind.INSTANT, Kind.INSTANT): Kind.DURATION,
    ("_-_", Kind.INSTANT, Kind.DURATION): Kind.INSTANT,
    ("_-_", Kind.DURATION, Kind.DURATION): Kind.DURATION,
}
_FOLD: Final[dict[str, Callable[[float, float], float]]] = {
    "_+_": lambda a, b: a + b,
    "_-_": lambda a, b: a - b,
    "_*_": lambda a, b: a * b,
    "_/_": lambda a, b: a / b if b else math.nan,
}


_SECTIONS: Final = {
    "profile": "attributes",
    "context": "attributes",
    "velocity": "fraud.velocities",
    "transaction": "fraud.fields",
}
"""Where what rooms hold is declared."""

Rooms: TypeAlias = Mapping[str, Mapping[str, Attribute]]
"""What rules may name: `room.name`, for each room and each of its attributes."""

EVENT_ROOM: Final = "event"
"""The room of an event's fields, which conditions on events may also name without it."""

_CONTENTS: Final = {
    "profile": "a loaded or derived attribute of the schema",
    "context": "a context attribute of the schema",
    EVENT_ROOM: "a field of the event",
    "transaction": "a field of the transaction",
    "velocity": "a declared velocity",
    "baseline": "a figure of own behaviour",
    "travel": "a figure of travel",
    "terminal": "a figure of the terminal",
}


def offer_rooms(schema: Schema) -> Rooms:
    """Return what the rules of offers may name."""
    return {"profile": {**schema.loaded, **schema.derived}, "context": schema.context}


class RuleCompiler:
    """Compiles rules over the same attributes into one program.

    Parameters
    ----------
    rooms
        The attributes that rules may name.
    builder
        Takes the compiled parts.
    """

    __slots__ = (
        "_allowed", "_bare", "_builder", "_codes", "_is_event", "_mistakes", "_parser", "_rooms",
    )  # fmt: skip

    def __init__(self, rooms: Rooms, builder: ProgramBuilder) -> None:
        self._rooms = rooms
        self._is_event = EVENT_ROOM in rooms
        self._bare = rooms.get(EVENT_ROOM, {})
        self._builder = builder
        self._parser = CelParser()
        self._codes: dict[tuple[AttributeSource, int], dict[str, int]] = {}
        self._mistakes: list[RuleMistake] = []
        names = ", ".join(f"{room}.x" for room in rooms)
        if self._is_event:
            names = (
                f"the event's fields ({', '.join(self._bare) or 'none'}; {names} means the same)"
            )
        self._allowed = f"allowed are {names}, {_WORDS}"

    def compile(self, text: str) -> tuple[Truth, list[RuleMistake]]:
        """Return the truth of a rule, and everything that is wrong with it.

        Raises
        ------
        ProgramTooLargeError
            All rules together exceed a limit.
        """
        self._mistakes = []
        try:
            tree = self._parser.parse(text)
        except CelSyntaxError as error:
            part = text[error.position :].split("\n", 1)[0] or text
            return FALSE, [RuleMistake(error.position, part, self._explain(error.message))]
        return self._truth(tree), self._mistakes

    def _explain(self, message: str) -> str:
        """Say what would be right instead of what the parser refuses."""
        if "has()" not in message:
            return message
        return (
            f"has() takes a name with its room: {' or '.join(f'has({r}.x)' for r in self._rooms)}"
        )

    def _truth(self, tree: Tree) -> Truth:
        """Compile a condition; a mistake is recorded and the rest of the rule still checked."""
        try:
            operand = self._operand(tree)
            if operand.kind is not Kind.TRUTH:
                raise _mistake(tree, f"is {operand.kind.value}; a condition is expected here")
        except RuleMistake as mistake:
            self._mistakes.append(mistake)
            return FALSE
        return operand.truth

    def _operand(self, tree: Tree) -> Operand:
        match tree:
            case Literal(value=bool() as truth):
                return Operand(Kind.TRUTH, truth=TRUE if truth else FALSE)
            case Literal(value=str() as text):
                return Operand(Kind.TEXT, text=text)
            case Literal(value=int() | float() as number):
                return self._constant(tree, Kind.NUMBER, float(number))
            case Ident(name="now"):
                return Operand(Kind.INSTANT, self._builder.input(program.SOURCE_NOW, 0))
            case Select(operand=Ident(name=room), field=field) if room in self._rooms:
                attribute = self._find_attribute(tree, room, field)
                return self._attribute(attribute, tests_presence=tree.tests_presence)
            case Ident(name=name) if name in self._bare:
                return self._attribute(self._bare[name], tests_presence=False)
            case Select(operand=Ident(name="profile" | "context")) if self._is_event:
                raise _mistake(
                    tree, f"is not of the event, and a condition sees nothing else; {self._allowed}"
                )
            case Call():
                return self._call(tree)
            case Ident(name=name):
                raise self._bare_name(tree, name)
            case Foreign():
                raise _mistake(tree, f"is not allowed in a rule; {self._allowed}")
            case ListLiteral():
                raise _mistake(tree, "a list stands only after `in`")
            case _:
                raise _mistake(tree, f"is not known; {self._allowed}")

    def _constant(self, tree: Tree, kind: Kind, number: float) -> Operand:
        if not math.isfinite(number):
            raise _mistake(tree, "has no finite value; numbers go up to 1.79e308")
        return Operand(kind, self._builder.constant(number))

    def _attribute(self, attribute: Attribute, *, tests_presence: bool) -> Operand:
        source = _SOURCE_OF[attribute.source, attribute.kind is AttributeKind.NUMBER]
        value = self._builder.input(source, attribute.slot)
        if tests_presence:
            return Operand(Kind.TRUTH, truth=self._builder.presence(value))
        if attribute.kind is AttributeKind.FLAG:
            return Operand(Kind.TRUTH, truth=self._builder.interval(value, 1.0, 1.0))
        return Operand(_KIND_OF[attribute.kind], value, attribute=attribute)

    def _find_attribute(self, tree: Select, room: str, name: str) -> Attribute:
        attributes = self._rooms[room]
        if name in attributes:
            return attributes[name]
        others = [other for other in self._rooms if name in self._rooms[other]]
        near = name if others else suggest(name, attributes)
        near = f"{others[0] if others else room}.{near}" if near else ""
        message = f"is not {_CONTENTS[room]}"
        declared = "" if others else f"{_SECTIONS.get(room, room)}/{name}"
        raise RuleMistake(start(tree.operand), f"{room}.{name}", message, near, declared)

    def _bare_name(self, tree: Ident, name: str) -> RuleMistake:
        for room, attributes in self._rooms.items():
            if name == room:
                return _mistake(tree, f"name one of its attributes: {room}.x")
            if name in attributes:
                return _mistake(tree, "name where it comes from", f"{room}.{name}")
        if self._is_event:
            message = f"is not {_CONTENTS[EVENT_ROOM]}; {self._allowed}"
            return _mistake(tree, message, suggest(name, ("now", *self._bare)))
        room, attributes = next(iter(self._rooms.items()))
        near = suggest(name, ("now", *self._rooms, *attributes))
        return _mistake(
            tree,
            f"is not known; {self._allowed}",
            f"{room}.{near}" if near in attributes else near,
        )

    def _call(self, tree: Call) -> Operand:
        name, arguments = tree.function, tree.arguments
        builder = self._builder
        if name in ("_&&_", "_||_"):
            truths = [self._truth(operand) for operand in _chain(tree, name)]
            joined = builder.all_of(truths) if name == "_&&_" else builder.any_of(truths)
            return Operand(Kind.TRUTH, truth=joined)
        if name == "!_":
            return Operand(Kind.TRUTH, truth=program.negate(self._truth(arguments[0])))
        if name == "_?_:_":
            condition, then, otherwise = (self._truth(argument) for argument in arguments)
            return Operand(Kind.TRUTH, truth=builder.choose(condition, then, otherwise))
        if name in _COMPARISONS:
            return Operand(Kind.TRUTH, truth=self._comparison(tree, _COMPARISONS[name]))
        if name == "@in":
            return Operand(Kind.TRUTH, truth=self._membership(tree))
        if name in _ARITHMETIC:
            return self._arithmetic(tree)
        if name == "-_":
            return self._negation(tree)
        if name in ("timestamp", "duration"):
            return self._time_literal(tree)
        shown = render(tree) if name.startswith("_") else f"{name}()"
        raise RuleMistake(start(tree), render(tree), f"{shown} is not allowed; {self._allowed}")

    def _comparison(self, tree: Call, sign: str) -> Truth:
        left, right = (self._operand(argument) for argument in tree.arguments)
        if left.kind is right.kind and left.kind in _MEASURES:
            return self._order(left.value, right.value, sign)
        if sign in ("==", "!="):
            found: Truth | None = None
            if left.kind is right.kind is Kind.TRUTH:
                found = self._same_truth(left.truth, right.truth)
            elif left.kind is Kind.CATEGORY and right.kind is Kind.TEXT:
                found = self._is_value(left, right.text, tree.arguments[1])
            elif left.kind is Kind.TEXT and right.kind is Kind.CATEGORY:
                found = self._is_value(right, left.text, tree.arguments[0])
            if found is not None:
                return found if sign == "==" else program.negate(found)
        raise _mistake(tree, explain_comparison(left.kind, right.kind, sign))

    def _order(self, left: Value, right: Value, sign: str) -> Truth:
        """Compare two measures; against a constant it is an interval, else of the difference.

        The sign of a rounded difference of doubles is exact, so nothing is lost by it.
        """
        a, b = self._builder.find_constant(left), self._builder.find_constant(right)
        if a is not None and b is not None:
            holds = {"<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b, "==": a == b}
            return TRUE if holds.get(sign, a != b) else FALSE
        if a is not None:
            return self._order(right, left, _FLIPPED[sign])
        if b is None:
            left, b = self._builder.term(program.SUBTRACT, left, right), 0.0
        b = self._builder.as_stored(left, b)
        low, high = {
            "<": (-math.inf, math.nextafter(b, -math.inf)),
            "<=": (-math.inf, b),
            ">": (math.nextafter(b, math.inf), math.inf),
            ">=": (b, math.inf),
        }.get(sign, (b, b))
        truth = self._builder.interval(left, low, high)
        return program.negate(truth) if sign == "!=" else truth

    def _same_truth(self, a: Truth, b: Truth) -> Truth:
        both = self._builder.all_of((a, b))
        neither = self._builder.all_of((program.negate(a), program.negate(b)))
        return self._builder.any_of((both, neither))

    def _is_value(self, category: Operand, text: str, tree: Tree) -> Truth:
        code = float(self._code(category, text, tree))
        return self._builder.interval(category.value, code, code)

    def _code(self, category: Operand, text: str, tree: Tree) -> int:
        attribute = category.attribute
        assert attribute is not None, "a category operand knows its attribute"
        codes = self._codes.setdefault(
            (attribute.source, attribute.slot),
            {v: c for c, v in enumerate(attribute.values) if c not in attribute.withdrawn_codes},
        )
        if text not in codes:
            message = f"is not a value of {attribute.name}; its values are {_few(codes)}"
            if text in attribute.values:
                message = f"is a withdrawn value of {attribute.name}; declare it again to use it"
            near = text.upper() if text.upper() in codes else suggest(text, codes)
            raise RuleMistake(tree.position, text, message, near)
        return codes[text]

    def _membership(self, tree: Call) -> Truth:
        tested, listed = tree.arguments
        operand = self._operand(tested)
        if not isinstance(listed, ListLiteral):
            raise _mistake(listed, "after `in` stands a list of literals: ['a', 'b']")
        if operand.kind not in (Kind.NUMBER, Kind.CATEGORY):
            message = f"`in` takes a number or a category, and this is {operand.kind.value}"
            raise _mistake(tested, message)
        points: list[float] = []
        for element in listed.elements:
            member = self._operand(element)
            if operand.kind is Kind.CATEGORY and member.kind is Kind.TEXT:
                points.append(float(self._code(operand, member.text, element)))
                continue
            number = None
            if operand.kind is member.kind is Kind.NUMBER:
                number = self._builder.find_constant(member.value)
            if number is None:
                wanted = "texts" if operand.kind is Kind.CATEGORY else "numbers"
                raise _mistake(element, f"the list must hold {wanted} only")
            points.append(self._builder.as_stored(operand.value, number))
        return self._any_point(operand, sorted(set(points)))

    def _any_point(self, operand: Operand, points: list[float]) -> Truth:
        """Return whether a value is one of the points; neighbouring codes become one interval."""
        constant = self._builder.find_constant(operand.value)
        if constant is not None:
            return TRUE if constant in points else FALSE
        step = 1.0 if operand.kind is Kind.CATEGORY else 0.0
        intervals: list[tuple[float, float]] = []
        for point in points:
            if step and intervals and point == intervals[-1][1] + step:
                intervals[-1] = (intervals[-1][0], point)
            else:
                intervals.append((point, point))
        if not intervals:
            return self._builder.interval(operand.value, math.inf, -math.inf)
        return self._builder.any_of(
            self._builder.interval(operand.value, low, high) for low, high in intervals
        )

    def _arithmetic(self, tree: Call) -> Operand:
        left, right = (self._operand(argument) for argument in tree.arguments)
        sign = tree.function[1]
        kind = _RESULTS.get((tree.function, left.kind, right.kind))
        if kind is None:
            raise _mistake(tree, f"{left.kind.value} {sign} {right.kind.value} has no meaning")
        a, b = (self._builder.find_constant(operand.value) for operand in (left, right))
        if a is not None and b is not None:
            return self._constant(tree, kind, _FOLD[tree.function](a, b))
        if sign == "/" and b == 0.0:
            raise _mistake(tree, "divides by zero")
        value = self._builder.term(_ARITHMETIC[tree.function], left.value, right.value)
        return Operand(kind, value)

    def _negation(self, tree: Call) -> Operand:
        operand = self._operand(tree.arguments[0])
        if operand.kind is not Kind.NUMBER:
            raise _mistake(tree, f"-x takes a number, and this is {operand.kind.value}")
        constant = self._builder.find_constant(operand.value)
        if constant is not None:
            return self._constant(tree, Kind.NUMBER, -constant)
        return Operand(
            Kind.NUMBER, self._builder.term(program.NEGATE, operand.value, operand.value)
        )

    def _time_literal(self, tree: Call) -> Operand:
        argument = tree.arguments[0] if len(tree.arguments) == 1 else None
        text = argument.value if isinstance(argument, Literal) else None
        if tree.target is not None or not isinstance(text, str):
            raise _mistake(tree, f"{tree.function}() takes one literal text")
        if tree.function == "timestamp":
            seconds, kind = find_instant_s(text, date_allowed=False), Kind.INSTANT
            near = "" if find_instant_s(text) is None else f"timestamp('{text}T00:00:00Z')"
            expected = "an instant is written timestamp('2026-11-30T18:00:00Z')"
        else:
            seconds, kind, near = find_duration_s(text), Kind.DURATION, ""
            expected = "a duration is written in h, m, s: duration('720h') is 30 days"
        if seconds is None:
            raise RuleMistake(start(tree), render(tree), expected, near)
        return self._constant(tree, kind, seconds)


def _chain(tree: Call, function: str) -> Iterator[Tree]:
    """Yield the operands of a chain of one operator, which the parser balances into a tree."""
    for argument in tree.arguments:
        if isinstance(argument, Call) and argument.function == function:
            yield from _chain(argument, function)
        else:
            yield argument


def _mistake(tree: Tree, message: str, suggestion: str = "") -> RuleMistake:
    return RuleMistake(start(tree), render(tree), message, suggestion)


def _few(names: dict[str, int]) -> str:
    shown = ", ".join(list(names)[:10])
    return f"{shown}, … ({len(names)})" if len(names) > 10 else shown
