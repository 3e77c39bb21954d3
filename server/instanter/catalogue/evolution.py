"""Makes the next schema from the last one and what is declared now.

Records of millions of customers were written under earlier schemas and are never rewritten, so:

- A slot belongs to one attribute for ever; slots are only ever added.
- An attribute that is no longer declared is *withdrawn*: the schema remembers it. If it comes
  back with the same kind and source it gets its slot and codes back, so that a publication that
  forgot a file is undone by publishing the file again (with new slots instead, one such slip on a
  schema of 1000 attributes would lose every value and fill the record for good). If it comes back
  as something else it gets a new slot, and the old values stay unreadable for ever.
- A declared attribute keeps its kind and source.
- A category value keeps its code. A value that is no longer declared is withdrawn: it may not be
  written any more, and keeps its meaning in old records.
"""

from collections.abc import Mapping
from dataclasses import replace

from instanter import limits
from instanter.catalogue.attribute_declarations import DeclaredAttribute
from instanter.catalogue.codes import keep_codes
from instanter.catalogue.problems import Problems
from instanter.catalogue.schema import Attribute, AttributeKind, AttributeSource, Schema

_SLOT_SPACE = {
    AttributeSource.LOADED: AttributeSource.LOADED,
    AttributeSource.CONTEXT: AttributeSource.CONTEXT,
    AttributeSource.DERIVED: AttributeSource.LOADED,
}
"""Whose slots an attribute takes: a derived one has a slot of the profile."""


def evolve_schema(
    declared: tuple[DeclaredAttribute, ...],
    previous: Schema,
    problems: Problems,
    warnings: list[str],
    *,
    codes: Mapping[str, tuple[str, ...]] | None = None,
) -> Schema:
    """Return the schema that holds the declared attributes on top of `previous`.

    Its revision is one more than the previous one's if anything differs, else `previous` itself
    is returned.

    Parameters
    ----------
    declared
        Attributes in the order in which new ones get their slots.
    previous
        The schema in force.
    problems
        Takes what may not be changed.
    warnings
        Takes what is allowed but deserves a look.
    codes
        Name of an attribute to the values whose codes it takes over when it is new: those of the
        event's field that it shows.
    """
    known = {attribute.name: attribute for attribute in previous}
    withdrawn = {attribute.name: attribute for attribute in previous.withdrawn}
    counts = {
        AttributeSource.LOADED: previous.profile_slot_count,
        AttributeSource.CONTEXT: previous.context_slot_count,
    }
    attributes: list[Attribute] = []
    for item in declared:
        old = known.pop(item.attribute.name, None)
        returning = withdrawn.pop(item.attribute.name, None)
        if old is not None:
            _check_kept(item, old, problems)
            if item.attribute.unit != old.unit and old.source is not AttributeSource.DERIVED:
                warnings.append(_unit_warning(old, item.attribute))
        elif returning is not None and _is_same_kind(item.attribute, returning):
            old = returning
            if old.source is not AttributeSource.DERIVED:
                warnings.append(
                    f"attributes/{old.name} was withdrawn and returns with the values it had then"
                )
        space = _SLOT_SPACE[item.attribute.source]
        slot = counts[space] if old is None else old.slot
        counts[space] += old is None
        taken = old.values if old else (codes or {}).get(item.attribute.name, ())
        values, gone = keep_codes(item.attribute.values, taken)
        if len(values) > limits.CATEGORY_VALUES_MAX:
            message = f"has {len(values):,} values with withdrawn ones; at most "
            message += f"{limits.CATEGORY_VALUES_MAX:,} are allowed"
            _refuse(item, "values", "", message, problems)
        attributes.append(replace(item.attribute, slot=slot, values=values, withdrawn_codes=gone))
    withdrawn.update(known)
    attributes.sort(key=lambda a: (a.source, a.slot))
    _check_counts(counts, declared, problems, warnings)
    left = tuple(withdrawn[name] for name in sorted(withdrawn))
    return _next_schema(previous, tuple(attributes), counts, left)


def _next_schema(
    previous: Schema,
    attributes: tuple[Attribute, ...],
    counts: dict[AttributeSource, int],
    withdrawn: tuple[Attribute, ...],
) -> Schema:
    if attributes == previous.attributes and withdrawn == previous.withdrawn:
        return previous
    profile, context = counts[AttributeSource.LOADED], counts[AttributeSource.CONTEXT]
    return Schema(previous.revision + 1, attributes, profile, context, withdrawn)


def _is_same_kind(one: Attribute, other: Attribute) -> bool:
    return one.kind is other.kind and one.source is other.source


def _check_kept(item: DeclaredAttribute, old: Attribute, problems: Problems) -> None:
    """Refuse another kind or source: the records hold values of the old one."""
    new = item.attribute
    for field, was, now in (("kind", old.kind, new.kind), ("source", old.source, new.source)):
        if was is not now:
            message = (
                f"is {was.name.lower()} in the published catalogue and cannot become "
                f"{now.name.lower()}: records hold the old values. Declare it under a new name"
            )
            _refuse(item, field, now.name.lower(), message, problems)


def _refuse(
    item: DeclaredAttribute, field: str, text: str, message: str, problems: Problems
) -> None:
    path = f"attributes/{item.attribute.name}.{field}"
    problems.add(item.node.file, item.node.line, path, text, message)


def _unit_warning(old: Attribute, new: Attribute) -> str:
    assert old.kind is AttributeKind.NUMBER or not old.unit
    return (
        f"attributes/{old.name}: the unit changes from {old.unit or 'none'!r} to "
        f"{new.unit or 'none'!r}, but stored values stay what they are; load them anew"
    )


def _check_counts(
    counts: dict[AttributeSource, int],
    declared: tuple[DeclaredAttribute, ...],
    problems: Problems,
    warnings: list[str],
) -> None:
    profile, context = counts[AttributeSource.LOADED], counts[AttributeSource.CONTEXT]
    if profile > limits.PROFILE_SLOTS_MAX:
        message = (
            f"profiles would need {profile:,} slots, withdrawn ones included; at most "
            f"{limits.PROFILE_SLOTS_MAX:,}"
        )
        problems.add(declared[-1].node.file, 0, "attributes", "", message)
    elif profile > limits.PROFILE_SLOTS_PAGE:
        warnings.append(
            f"a profile has {profile:,} slots, withdrawn ones included; above "
            f"{limits.PROFILE_SLOTS_PAGE:,} it takes two pages of the store instead of one"
        )
    if context > limits.CONTEXT_SLOTS_MAX:
        message = (
            f"there are {context:,} context attributes, withdrawn ones included; at most "
            f"{limits.CONTEXT_SLOTS_MAX}"
        )
        problems.add(declared[-1].node.file, 0, "attributes", "", message)
