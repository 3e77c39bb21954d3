"""Ties a contact policy to the schema and the offers it is published with."""

from instanter.catalogue.contact_policy import (
    CONTACT_POLICY_EMPTY,
    Cap,
    Consent,
    ContactPolicy,
    ContactScope,
)
from instanter.catalogue.contact_policy_declarations import DeclaredPolicy, is_time_zone
from instanter.catalogue.declarations import Declarations
from instanter.catalogue.problems import suggest
from instanter.catalogue.schema import Attribute, AttributeKind, Schema
from instanter.catalogue.yaml_reader import Reader, format_duration
from instanter.catalogue.yaml_tree import Scalar

_NO_SLOT = -1
_WIDTH = {ContactScope.OFFER: 0, ContactScope.GROUP: 1, ContactScope.CUSTOMER: 2}


def resolve_contact_policy(
    declarations: Declarations, schema: Schema, reader: Reader, warnings: list[str]
) -> ContactPolicy:
    """Return the contact policy with the slots of its attributes.

    Parameters
    ----------
    declarations
        Policy, channels and offers.
    schema
        With the slots of all attributes.
    reader
        Takes what is wrong.
    warnings
        Takes what is allowed but deserves a look.
    """
    declared = declarations.contact_policy
    if declared is None:
        return CONTACT_POLICY_EMPTY
    consents: list[Consent] = []
    for one in declared.consents:
        field = f"{one.field}.attribute"
        attribute = _find_attribute(one.attribute, field, AttributeKind.FLAG, schema, reader)
        if attribute is not None:
            consents.append(Consent(attribute.name, attribute.slot, one.channel, one.purpose))
    policy = ContactPolicy(
        caps=declared.caps,
        cool_offs=declared.cool_offs,
        quiet_hours=declared.quiet_hours,
        consents=tuple(consents),
        time_zone=declared.time_zone,
        time_zone_slot=_find_zone_slot(declared, schema, reader),
    )
    _warn(policy, declarations, warnings)
    return policy


def _find_zone_slot(declared: DeclaredPolicy, schema: Schema, reader: Reader) -> int:
    name = declared.time_zone_attribute
    if name is None:
        return _NO_SLOT
    field = "contact_policy.time_zone.attribute"
    attribute = _find_attribute(name, field, AttributeKind.CATEGORY, schema, reader)
    if attribute is None:
        return _NO_SLOT
    strange = [
        value
        for code, value in enumerate(attribute.values)
        if code not in attribute.withdrawn_codes and not is_time_zone(value)
    ]
    if strange:
        message = f"has the value {strange[0]!r}, which is no IANA name of a time zone"
        reader.refuse(name, field, message)
    return attribute.slot


def _find_attribute(
    name: Scalar, field: str, kind: AttributeKind, schema: Schema, reader: Reader
) -> Attribute | None:
    """Return an attribute of the profile of one kind, or None after a problem."""
    attributes = {**schema.loaded, **schema.derived}
    attribute = attributes.get(name.text)
    if attribute is not None and attribute.kind is kind:
        return attribute
    wanted = kind.name.lower()
    right = [other.name for other in attributes.values() if other.kind is kind]
    if attribute is not None:
        message = f"is of kind {attribute.kind.name.lower()}; it must be a {wanted}"
    elif name.text in schema.context:
        message = f"is given with each request; it must be a {wanted} of the profile"
    else:
        message = f"is not an attribute of the profile; it must be a {wanted}"
    reader.refuse(name, field, message, suggest(name.text, right))
    return None


def _warn(policy: ContactPolicy, declarations: Declarations, warnings: list[str]) -> None:
    offers = [declared.offer for declared in declarations.offers]
    shown = {treatment.channel for offer in offers for treatment in offer.treatments}
    purposes = {offer.purpose for offer in offers}
    named = [(f"cap {cap.name}", cap.channel) for cap in policy.caps]
    named += [("quiet hours", c) for hours in policy.quiet_hours for c in hours.channels]
    named += [(f"consent {consent.attribute}", consent.channel) for consent in policy.consents]
    for what, channel in named:
        if channel and channel not in shown:
            warnings.append(f"contact_policy: no offer is shown in {channel}, which {what} names")
    for consent in policy.consents:
        if consent.purpose and consent.purpose not in purposes:
            near = suggest(consent.purpose, purposes - {""})
            hint = f"; did you mean {near!r}?" if near else ""
            warnings.append(
                f"contact_policy: no offer has the purpose {consent.purpose}, which consent "
                f"{consent.attribute} names{hint}"
            )
    scopes = {cap.scope for cap in policy.caps} | {rest.scope for rest in policy.cool_offs}
    if ContactScope.GROUP in scopes and not any(offer.group for offer in offers):
        warnings.append(
            "contact_policy: something counts per group, but no offer has a group; each offer is "
            "a group of its own"
        )
    if policy.quiet_hours and policy.time_zone_slot == _NO_SLOT:
        warnings.append(
            f"contact_policy: quiet hours are those of {policy.time_zone} for everybody; name the "
            "attribute that holds each customer's time zone, `time_zone: {attribute: …}`"
        )
    _warn_of_caps(policy.caps, warnings)


def _warn_of_caps(caps: tuple[Cap, ...], warnings: list[str]) -> None:
    """Tell of each cap that is never reached before another one."""
    told: set[str] = set()
    for cap in caps:
        for other in caps:
            if other is cap or other.name in told or not _is_stricter(other, cap):
                continue
            told.add(cap.name)
            warnings.append(
                f"contact_policy.caps/{cap.name} can never be reached: {other.name} allows "
                f"{other.count_max} in {format_duration(other.window_s)} already"
            )
            break


def _is_stricter(one: Cap, other: Cap) -> bool:
    """Return whether whatever `other` stops, `one` stops too.

    It counts at least the same contacts (all of the customer are at least those with one group,
    those at least those with one offer), over at least as long, and allows no more.
    """
    return (
        _WIDTH[one.scope] >= _WIDTH[other.scope]
        and one.channel in ("", other.channel)
        and one.window_s >= other.window_s
        and one.count_max <= other.count_max
    )
