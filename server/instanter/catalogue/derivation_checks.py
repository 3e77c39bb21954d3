"""Checks that a derived attribute can hold what its function makes of the events' fields."""

from instanter.catalogue.attribute_declarations import DeclaredAttribute
from instanter.catalogue.derivation_declarations import DeclaredDerivation
from instanter.catalogue.events import Aggregation, EventField
from instanter.catalogue.problems import suggest
from instanter.catalogue.schema import Attribute, AttributeKind
from instanter.catalogue.yaml_reader import Reader
from instanter.catalogue.yaml_tree import Mapping as YamlMapping

_OVER_NUMBERS = frozenset(
    {Aggregation.SUM, Aggregation.MINIMUM, Aggregation.MAXIMUM, Aggregation.MEAN}
)
_SECONDS = ("", "s", "seconds")


class DerivationChecks:
    """Compares attributes with the fields that they are derived from.

    Parameters
    ----------
    reader
        Takes what is wrong.
    warnings
        Takes what is allowed but deserves a look.
    """

    __slots__ = ("_reader", "_warnings")

    def __init__(self, reader: Reader, warnings: list[str]) -> None:
        self._reader = reader
        self._warnings = warnings

    def check(
        self,
        item: DeclaredAttribute,
        attribute: Attribute,
        declared: DeclaredDerivation,
        field: EventField | None,
    ) -> None:
        """Check one attribute that is no ratio.

        Parameters
        ----------
        item, attribute
            As declared, and with the codes of its values.
        declared
            Its derivation.
        field
            The event's field; None for functions of whole events.
        """
        if declared.aggregation is Aggregation.LAST:
            assert field is not None, "the last value is that of a field"
            self._check_last(item, attribute, declared, field)
            return
        self.check_number(item, declared.aggregation)
        function = declared.aggregation.name.lower()
        if declared.aggregation is Aggregation.TIME_SINCE_LAST and attribute.unit not in _SECONDS:
            message = f"is not what {function} counts in; write `unit: s`"
            self._refuse(item, "unit", attribute.unit, message)
        if field is None or declared.aggregation not in _OVER_NUMBERS:
            return
        if field.kind is not AttributeKind.NUMBER:
            kind = field.kind.name.lower()
            message = f"is of kind {kind}; {function} takes a field of kind number"
            self._reader.refuse(declared.names["field"], f"{declared.field}.field", message)
            return
        self._compare_units(attribute, declared, field)

    def check_number(self, item: DeclaredAttribute, aggregation: Aggregation) -> None:
        """Check that an attribute is a number, as all functions but `last` make them."""
        if item.attribute.kind is not AttributeKind.NUMBER:
            kind = item.attribute.kind.name.lower()
            message = f"must be number: that is what {aggregation.name.lower()} makes"
            self._refuse(item, "kind", kind, message, "number")

    def _check_last(
        self,
        item: DeclaredAttribute,
        attribute: Attribute,
        declared: DeclaredDerivation,
        field: EventField,
    ) -> None:
        of = f"{declared.names['event'].text}.{field.name}"
        if attribute.kind is not field.kind:
            kind, wanted = attribute.kind.name.lower(), field.kind.name.lower()
            message = f"must be {wanted}, the kind of {of} that it shows"
            self._refuse(item, "kind", kind, message, wanted)
            return
        if attribute.values != field.values or attribute.withdrawn_codes != field.withdrawn_codes:
            self._refuse_values(item, attribute, field, of)
        low, high = attribute.range_min, attribute.range_max
        too_narrow = low is not None and (field.range_min is None or field.range_min < low)
        if too_narrow or (high is not None and (field.range_max is None or field.range_max > high)):
            message = f"must hold all values of {of}: the same range, a wider one or none"
            self._refuse(item, "range", "", message)
        self._compare_units(attribute, declared, field)

    def _refuse_values(
        self, item: DeclaredAttribute, attribute: Attribute, field: EventField, of: str
    ) -> None:
        wanted = [v for c, v in enumerate(field.values) if c not in field.withdrawn_codes]
        given = [v for c, v in enumerate(attribute.values) if c not in attribute.withdrawn_codes]
        missing = [value for value in wanted if value not in given]
        extra = [value for value in given if value not in wanted]
        shown = near = ""
        if extra:
            message = f"is not a value of {of}, whose values the attribute must have"
            shown, near = extra[0], suggest(extra[0], missing or wanted)
        elif missing:
            message = f"must be the values of {of}; {missing[0]!r} is missing"
        else:
            message = f"have other codes than those of {of}; list new values in the same order, "
            message += "or declare the attribute under a new name"
        self._refuse(item, "values", shown, message, near)

    def _compare_units(
        self, attribute: Attribute, declared: DeclaredDerivation, field: EventField
    ) -> None:
        if attribute.unit != field.unit:
            self._warnings.append(
                f"attributes/{attribute.name}: its unit is {attribute.unit or 'none'!r}, but that "
                f"of {declared.names['event'].text}.{field.name}, which it is derived from, is "
                f"{field.unit or 'none'!r}"
            )

    def _refuse(
        self, item: DeclaredAttribute, key: str, text: str, message: str, near: str = ""
    ) -> None:
        """Record a problem where a key of the attribute stands."""
        assert isinstance(item.node, YamlMapping), "an attribute has been read from a mapping"
        line = item.node.key_lines.get(key, item.node.line)
        place = f"attributes/{item.attribute.name}.{key}"
        self._reader.problems.add(item.node.file, line, place, text, message, near)
