"""Reads the velocities of `fraud:`."""

from dataclasses import dataclass

from instanter import fraud_limits, limits
from instanter.catalogue.fraud import Velocity, VelocityFunction
from instanter.catalogue.fraud_words import EntityKind
from instanter.catalogue.names import find_name_mistake, make_attribute_name
from instanter.catalogue.rule_declarations import DeclaredRule, read_rule
from instanter.catalogue.yaml_reader import Reader
from instanter.catalogue.yaml_tree import Node, Scalar

_KEYS = ("per", "function", "of", "window", "where", "counts")
_ENTITIES = {kind.name.lower(): kind for kind in EntityKind}
_FUNCTIONS = {function.name.lower(): function for function in VelocityFunction}
_COUNTS = {"attempts": False, "approved": True}
_WHOLE = frozenset(
    {
        VelocityFunction.COUNT,
        VelocityFunction.TIME_SINCE_LAST,
        VelocityFunction.FRAUDS,
        VelocityFunction.LABELS,
        VelocityFunction.FRAUD_RATE,
    }
)
"""Functions of whole transactions."""


@dataclass(frozen=True, slots=True)
class DeclaredVelocity:
    """A velocity as it stands in a file; what it looks at is not known to exist yet.

    Attributes
    ----------
    velocity
        As declared: `state_id` 0, `field_slot` and `condition_literal` −1.
    field
        Its path.
    of
        What it looks at; None for functions of whole transactions.
    where
        Its condition; None for none.
    """

    velocity: Velocity
    field: str
    of: Scalar | None
    where: DeclaredRule | None


class VelocityReader:
    """Collects velocities.

    Parameters
    ----------
    reader
        Reads values and records problems.
    """

    __slots__ = ("_reader", "declared")

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.declared: list[DeclaredVelocity] = []

    def read(self, name: Scalar, node: Node, field: str) -> None:
        """Take one velocity."""
        reader = self._reader
        if mistake := find_name_mistake(name.text):
            reader.refuse(name, field, mistake, make_attribute_name(name.text))
        entries = reader.read_mapping(node, field, _KEYS, ("per", "function", "window"))
        if not entries or not {"per", "function", "window"} <= entries.keys():
            return
        per = reader.read_choice(entries["per"], f"{field}.per", _ENTITIES)
        function = reader.read_choice(entries["function"], f"{field}.function", _FUNCTIONS)
        low_s, high_s = fraud_limits.FRAUD_WINDOW_S_MIN, limits.WINDOW_S_MAX
        window_s = reader.read_duration_s(entries["window"], f"{field}.window", low_s, high_s)
        approved_only: bool | None = False
        if "counts" in entries:
            approved_only = reader.read_choice(entries["counts"], f"{field}.counts", _COUNTS)
        where = read_rule(reader, entries.get("where"), f"{field}.where")
        of = entries.get("of")
        if function is None or per is None or window_s is None or approved_only is None:
            return
        if not self._check_of(node, of, function, field):
            return
        assert of is None or isinstance(of, Scalar), "only a scalar is a text"
        velocity = Velocity(
            name=name.text,
            state_id=0,
            per=per,
            function=function,
            of=of.text if of else "",
            field_slot=-1,
            window_s=window_s,
            approved_only=approved_only,
            where=where.scalar.text.strip() if where else "",
        )
        self.declared.append(DeclaredVelocity(velocity, field, of, where))

    def _check_of(
        self, node: Node, of: Node | None, function: VelocityFunction, field: str
    ) -> bool:
        """Return whether a function has what it looks at, and no more."""
        word = function.name.lower()
        path = f"{field}.of"
        if of is None and function not in _WHOLE:
            example = "terminal" if function is VelocityFunction.DISTINCT else "amount"
            message = f"is missing: {word} looks at something, `of: {example}`"
            self._reader.problems.add(node.file, node.line, path, "", message)
            return False
        if of is not None and function in _WHOLE:
            self._reader.refuse(of, path, f"does not belong to {word}")
            return False
        if of is None:
            return True
        return self._reader.read_text(of, path, limits.NAME_SIZE_MAX) is not None
