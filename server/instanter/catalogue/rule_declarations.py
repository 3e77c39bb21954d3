"""Rules in CEL where they stand in a file: reads them, and tells mistakes with their lines."""

from collections.abc import Mapping
from dataclasses import dataclass

from instanter import limits
from instanter.catalogue.problems import Problems
from instanter.catalogue.program_builder import Truth
from instanter.catalogue.rules import RuleCompiler
from instanter.catalogue.yaml_reader import Reader
from instanter.catalogue.yaml_tree import Node, Scalar, find_line


@dataclass(frozen=True, slots=True)
class DeclaredRule:
    """A rule as it stands in a file.

    Attributes
    ----------
    field
        For example `offers/espresso.eligibility`.
    scalar
        Its text and place.
    """

    field: str
    scalar: Scalar


def read_rule(reader: Reader, node: Node | None, field: str) -> DeclaredRule | None:
    """Return the rule of a node, or None when there is none or after a problem."""
    if node is None:
        return None
    if not isinstance(node, Scalar):
        reader.refuse(node, field, "must be a rule in CEL, as text")
        return None
    size = len(node.text.encode())
    if size > limits.RULE_SIZE_BYTES_MAX:
        message = (
            f"has {size:,} bytes; a rule has at most {limits.RULE_SIZE_BYTES_MAX:,}: "
            "compute an attribute instead"
        )
        reader.refuse(node, field, message)
        return None
    if not node.text.strip():
        reader.refuse(node, field, "is empty; leave the key out if there is no rule")
        return None
    return DeclaredRule(field, node)


def compile_rule(
    rule: DeclaredRule, compiler: RuleCompiler, files: Mapping[str, str], problems: Problems
) -> Truth:
    """Return the truth of a rule; each of its mistakes becomes a problem with its line.

    Parameters
    ----------
    rule
        Where it stands.
    compiler
        Knows what it may name.
    files
        Path to text of all files.
    problems
        Takes what is wrong.

    Raises
    ------
    ProgramTooLargeError
        All rules of the compiler's program together exceed a limit.
    """
    scalar = rule.scalar
    truth, mistakes = compiler.compile(scalar.text)
    for mistake in mistakes:
        line = find_line(files[scalar.file], scalar, mistake.position)
        problems.add(
            scalar.file,
            line,
            rule.field,
            mistake.text,
            mistake.message,
            mistake.suggestion,
            mistake.follows,
        )
    return truth
