"""The types of the operands of a rule, and why two of them do not go together."""

from enum import Enum


class Kind(Enum):
    """The type of an operand; its value is how a message calls it."""

    NUMBER = "a number"
    INSTANT = "an instant"
    DURATION = "a duration"
    TRUTH = "a condition"
    CATEGORY = "a category"
    TEXT = "a text"


def explain_comparison(left: Kind, right: Kind, sign: str) -> str:
    """Return why two operands cannot be compared, and what would be right.

    Parameters
    ----------
    left, right
        What is compared.
    sign
        `<`, `<=`, `>`, `>=`, `==` or `!=`.
    """
    kinds = {left, right}
    if kinds == {Kind.CATEGORY, Kind.TEXT}:
        return f"a category has no order; compare it with == or !=, not with {sign}"
    if kinds == {Kind.CATEGORY}:
        return "two categories have different values; compare each with a text"
    if kinds == {Kind.TRUTH}:
        return f"conditions have no order; compare them with == or !=, not with {sign}"
    if kinds == {Kind.TEXT}:
        return "two texts are compared; one side must be a category attribute"
    hint = ""
    if kinds == {Kind.NUMBER, Kind.TEXT}:
        hint = "; write the number without quotes"
    elif kinds == {Kind.INSTANT, Kind.TEXT}:
        hint = "; write timestamp('2026-11-30T18:00:00Z')"
    elif kinds == {Kind.DURATION, Kind.NUMBER}:
        hint = "; write duration('720h')"
    elif kinds == {Kind.TRUTH, Kind.NUMBER}:
        hint = "; a flag stands by itself, or is compared with true or false"
    return f"compares {left.value} with {right.value}{hint}"
