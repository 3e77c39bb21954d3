"""Makes the next event kinds from the last ones and what is declared now.

The log and the stored states of derived attributes hold codes of event kinds, indexes of fields
and codes of category values, and are never rewritten. So all three are only ever added to; what
is no longer declared stays, withdrawn, and has its number back when it is declared again.
"""

from collections.abc import Mapping
from dataclasses import replace

from instanter import limits
from instanter.catalogue.codes import keep_codes
from instanter.catalogue.event_declarations import DeclaredEvent
from instanter.catalogue.events import EventField, EventKind
from instanter.catalogue.problems import Problems
from instanter.catalogue.yaml_tree import Node


def evolve_events(
    declared: tuple[DeclaredEvent, ...],
    previous: tuple[EventKind, ...],
    problems: Problems,
    warnings: list[str],
) -> tuple[EventKind, ...]:
    """Return the event kinds in the order of their codes, those withdrawn included.

    Parameters
    ----------
    declared
        In the order in which new ones get their codes.
    previous
        Those of the catalogue in force.
    problems
        Takes what may not be changed.
    warnings
        Takes what is allowed but deserves a look.
    """
    kinds = {old.name: _withdraw(old) for old in previous}
    for item in declared:
        name = item.event.name
        old = kinds.get(name, EventKind(name, len(kinds) + 1, ()))
        fields = evolve_fields(
            item.event.fields,
            item.field_nodes,
            old.fields,
            f"events/{name}.fields",
            problems,
            warnings,
        )
        if len(fields) > limits.EVENT_FIELDS_MAX:
            message = (
                f"has {len(fields):,} fields, withdrawn ones included; at most "
                f"{limits.EVENT_FIELDS_MAX}"
            )
            place = f"events/{name}.fields"
            problems.add(item.node.file, item.node.line, place, "", message)
        kinds[name] = replace(item.event, code=old.code, fields=fields)
    if len(kinds) > limits.EVENT_KINDS_MAX:
        message = (
            f"there are {len(kinds):,} event kinds, withdrawn ones included; at most "
            f"{limits.EVENT_KINDS_MAX}"
        )
        problems.add(declared[-1].node.file, declared[-1].node.line, "events", "", message)
    return tuple(kinds.values())


def _withdraw(event: EventKind) -> EventKind:
    fields = tuple(replace(field, withdrawn=True) for field in event.fields)
    return replace(event, fields=fields, withdrawn=True)


def evolve_fields(
    declared: tuple[EventField, ...],
    nodes: Mapping[str, Node],
    previous: tuple[EventField, ...],
    where: str,
    problems: Problems,
    warnings: list[str],
) -> tuple[EventField, ...]:
    """Return fields in the order of their indexes, those withdrawn included.

    Parameters
    ----------
    declared, nodes
        The fields, without indexes, and where each stands.
    previous
        Those of the catalogue in force.
    where
        Path of the fields, for messages.
    problems, warnings
        As for `evolve_events`.
    """
    fields = {old.name: replace(old, withdrawn=True) for old in previous}
    for new in declared:
        node = nodes[new.name]
        path = f"{where}/{new.name}"
        old = fields.get(new.name)
        if old is not None and old.kind is not new.kind:
            message = (
                f"is {old.kind.name.lower()} in the published catalogue and cannot become "
                f"{new.kind.name.lower()}: the log holds the old values. Declare it under a new "
                "name"
            )
            kind = new.kind.name.lower()
            problems.add(node.file, node.line, f"{path}.kind", kind, message)
            continue
        if old is not None and old.unit != new.unit:
            warnings.append(
                f"{path}: the unit changes from {old.unit or 'none'!r} to {new.unit or 'none'!r}, "
                "but recorded values stay what they are"
            )
        values, codes = keep_codes(new.values, old.values if old else ())
        if len(values) > limits.CATEGORY_VALUES_MAX:
            message = f"has {len(values):,} values with withdrawn ones; at most "
            message += f"{limits.CATEGORY_VALUES_MAX:,} are allowed"
            problems.add(node.file, node.line, f"{path}.values", "", message)
        index = len(fields) if old is None else old.index
        fields[new.name] = replace(new, index=index, values=values, withdrawn_codes=codes)
    return tuple(fields.values())
