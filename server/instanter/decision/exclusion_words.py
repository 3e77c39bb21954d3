"""Why an offer was stopped, in words for people."""

import re
from collections.abc import Callable
from typing import Final

from instanter.catalogue.compiled import Offer
from instanter.catalogue.contact_policy import (
    Cap,
    ContactScope,
    CoolOff,
    CoolOffCause,
    QuietHours,
)
from instanter.catalogue.instants import format_instant
from instanter.catalogue.schema import MISSING_CODE, Attribute, AttributeKind
from instanter.catalogue.values import decode_value
from instanter.catalogue.yaml_reader import format_duration
from instanter.decision.contacts import Contact, ContactKind, code_of, group_code_of
from instanter.decision.recording import RecordedDecision
from instanter.decision.replay import Inputs, Replay, list_contacts
from instanter.decision.stock_tables import find_sites
from instanter.decision.tables import DecisionTables
from instanter.kernels import arbitration as reasons
from instanter.kernels.contact_policy import find_local_minute

_NAME: Final = re.compile(r"\b(profile|context)\.([A-Za-z_][A-Za-z0-9_]*)")
_STAGES: Final = ("eligibility", "applicability", "suitability")
_SCOPE_WORDS: Final = {
    ContactScope.CUSTOMER: "everything",
    ContactScope.OFFER: "the offer",
    ContactScope.GROUP: "its group",
}
_ZONE_ARGUMENT: Final = 15


class ExclusionWords:
    """Says why offers were stopped in one decision.

    Parameters
    ----------
    tables, decision, inputs, replay
        What decided, what the log says, what it was made of, and what each stage found.
    """

    __slots__ = ("_by_reason", "_contacts", "_decision", "_inputs", "_now_s", "_replay", "_tables")

    def __init__(
        self, tables: DecisionTables, decision: RecordedDecision, inputs: Inputs, replay: Replay
    ) -> None:
        self._tables = tables
        self._decision = decision
        self._inputs = inputs
        self._replay = replay
        self._now_s = decision.time_ns // 1_000_000_000
        self._contacts = list_contacts(inputs)
        rule = self._describe_rule
        self._by_reason: dict[int, Callable[[int, Offer], str]] = {
            reasons.REASON_NOT_CURRENT: self._describe_validity,
            reasons.REASON_NO_TREATMENT: self._describe_surface,
            reasons.REASON_NOT_ELIGIBLE: rule,
            reasons.REASON_NOT_APPLICABLE: rule,
            reasons.REASON_NOT_SUITABLE: rule,
            reasons.REASON_ATTRIBUTE_MISSING: rule,
            reasons.REASON_NO_PRIORITY: self._describe_priority,
            reasons.REASON_NO_CONSENT: self._describe_consent,
            reasons.REASON_QUIET_HOURS: self._describe_quiet_hours,
            reasons.REASON_CAPPED: self._describe_cap,
            reasons.REASON_COOLING_OFF: self._describe_cool_off,
            reasons.REASON_OUT_OF_STOCK: self._describe_stock,
            reasons.REASON_STOCK_UNKNOWN: self._describe_stock,
        }

    def describe(self, o: int) -> str:
        """Return why offer `o` was stopped; empty when it was not."""
        reason = int(self._replay.reason[o])
        return self._by_reason[reason](o, self._tables.offers[o]) if reason else ""

    def _describe_validity(self, o: int, offer: Offer) -> str:
        del o
        if self._now_s < offer.valid_from_s:
            return f"valid from {format_instant(offer.valid_from_s)}"
        return f"valid until {format_instant(offer.valid_to_s)}"

    def _describe_surface(self, o: int, offer: Offer) -> str:
        del o
        channel, placement = self._decision.channel, self._decision.placement
        if placement:
            return f"no treatment for channel '{channel}' and placement '{placement}'"
        # One for some placements only does not count where none was asked for.
        treatments = [t for t in offer.treatments if t.channel == channel]
        if not treatments:
            return f"no treatment for channel '{channel}'"
        placements = [f"'{p}'" for p in dict.fromkeys(p for t in treatments for p in t.placements)]
        return (
            f"no treatment for channel '{channel}' without a placement; "
            f"it has one at {' and '.join(placements)}"
        )

    def _describe_rule(self, o: int, offer: Offer) -> str:
        texts = (offer.eligibility, offer.applicability, offer.suitability)
        literals = self._tables.catalogue.rule_literal[:, o].tolist()
        for stage, text, literal in zip(_STAGES, texts, literals, strict=True):
            truth = self._replay.truths[literal] if literal >= 0 else reasons.TRUTH_TRUE
            if truth == reasons.TRUTH_TRUE:
                continue
            values = self._read_names(text)
            verdict = "is false"
            if truth == reasons.TRUTH_UNKNOWN:
                verdict = "cannot be decided"
                # A division by zero has no result, so that nothing need be missing.
                if "/" not in text and not all(values.values()):
                    values = dict.fromkeys((n for n in values if not values[n]), "")
            shown = ", ".join(f"{name} is {value or 'missing'}" for name, value in values.items())
            return f"{stage} `{text}` {verdict}" + (f": {shown}" if shown else "")
        return ""

    def _read_names(self, text: str) -> dict[str, str]:
        """Return the values of the attributes that a rule names, in words; "" for a missing one."""
        schema = self._tables.catalogue.schema
        found: dict[str, str] = {}
        for source, name in _NAME.findall(text):
            attributes = schema.context if source == "context" else schema.loaded | schema.derived
            slots = self._inputs.context if source == "context" else self._inputs.slots
            if name in attributes:
                attribute = attributes[name]
                found[f"{source}.{name}"] = show_value(attribute, int(slots[attribute.slot]))
        return found

    def _describe_priority(self, o: int, offer: Offer) -> str:
        return (
            f"propensity {self._replay.propensity[o]:.4g} × context weight "
            f"{self._replay.weight[o]:g} × value {self._tables.catalogue.value[o]:g} × lever "
            f"{offer.lever:g} is 0"
        )

    def _describe_consent(self, o: int, offer: Offer) -> str:
        del o
        for consent in self._tables.catalogue.contact_policy.consents:
            if consent.channel not in ("", self._decision.channel):
                continue
            if consent.purpose not in ("", offer.purpose):
                continue
            code = int(self._inputs.slots[consent.slot])
            if code != 1:
                what = "is missing" if code == MISSING_CODE else "is false"
                needs = [f"channel '{consent.channel}'"] if consent.channel else []
                needs += [f"purpose '{consent.purpose}'"] if consent.purpose else []
                return f"{consent.attribute} {what}; {' and '.join(needs) or 'everything'} needs it"
        return ""

    def _describe_quiet_hours(self, o: int, offer: Offer) -> str:
        del o, offer
        policy = self._tables.kernel_arguments[_ZONE_ARGUMENT]
        minute = int(find_local_minute(policy, self._inputs.slots, self._decision.time_ns / 1e9))
        for quiet in self._tables.catalogue.contact_policy.quiet_hours:
            if self._decision.channel in (quiet.channels or (self._decision.channel,)) and _covers(
                quiet, minute
            ):
                start, end = _clock(quiet.start_minute), _clock(quiet.end_minute)
                return f"quiet from {start} to {end}; the customer's time was {_clock(minute)}"
        return ""

    def _describe_cap(self, o: int, offer: Offer) -> str:
        del o
        found = []
        for cap in self._tables.catalogue.contact_policy.caps:
            if cap.channel not in ("", self._decision.channel):
                continue
            count = self._count(cap, offer)
            where = f" in channel '{cap.channel}'" if cap.channel else ""
            words = (
                f"cap '{cap.name}' allows {cap.count_max} in {format_duration(cap.window_s)} for "
                f"{_SCOPE_WORDS[cap.scope]}{where}; {count} counted"
            )
            if count >= cap.count_max:
                return words + self._describe_doubt()
            found.append(words)
        return f"{'; '.join(found)}; more may have been forgotten, or are still on their way"

    def _count(self, cap: Cap, offer: Offer) -> int:
        oldest_s = self._now_s - cap.window_s
        return sum(
            1
            for contact in self._contacts
            if contact.kind == ContactKind.PRESENTED
            and contact.time_s > oldest_s
            and (not cap.channel or contact.channel == code_of(cap.channel))
            and _concerns(contact, cap.scope, offer)
        )

    def _describe_cool_off(self, o: int, offer: Offer) -> str:
        del o
        for rest in self._tables.catalogue.contact_policy.cool_offs:
            for contact in self._contacts:
                if self._rests(rest, contact, offer):
                    what, long = _SCOPE_WORDS[rest.scope], format_duration(rest.rest_s)
                    cause = CoolOffCause(rest.cause).name.lower()
                    if contact.time_s > self._now_s + 1:
                        return (
                            f"{what} rests for {long} after {cause}; the latest that is known, at "
                            f"{_instant(contact)}, is later than the decision"
                        )
                    words = f"{what} rests for {long} after {cause} at {_instant(contact)}"
                    return words + self._describe_doubt()
        return "rests after an answer that is no longer known"

    def _describe_doubt(self) -> str:
        if not self._inputs.guessed:
            return ""
        return "; what came in the second of the decision may have come after it"

    def _describe_stock(self, o: int, offer: Offer) -> str:
        stock, unit = self._tables.stock, offer.stock_keeping_unit
        sites = find_sites(stock, self._inputs.slots, self._inputs.context)
        where = " and ".join(f"site '{stock.site_names[site]}'" for site in sites)
        if self._replay.reason[o] == reasons.REASON_OUT_OF_STOCK:
            return f"unit '{unit}' is not available at {where}"
        if not sites:
            return f"at which site unit '{unit}' would have to be available is not known"
        return f"whether unit '{unit}' is available at {where} is not known"

    def _rests(self, rest: CoolOff, contact: Contact, offer: Offer) -> bool:
        return (
            contact.kind == rest.cause
            and contact.time_s > self._now_s - rest.rest_s
            and _concerns(contact, rest.scope, offer)
        )


def show_value(attribute: Attribute, code: int) -> str:
    """Return an attribute's value as text; empty when it is missing."""
    value = decode_value(attribute, code)
    if value is None:
        return ""
    if attribute.kind is AttributeKind.FLAG:
        return "true" if value else "false"
    if attribute.kind is AttributeKind.INSTANT:
        return format_instant(float(value))
    unit = f" {attribute.unit}" if attribute.unit else ""
    # All digits that a float32 has: a rule may turn on the last one.
    return f"{value:.9g}{unit}" if attribute.kind is AttributeKind.NUMBER else str(value)


def _concerns(contact: Contact, scope: ContactScope, offer: Offer) -> bool:
    if scope == ContactScope.OFFER:
        return contact.offer == code_of(offer.name)
    if scope == ContactScope.GROUP:
        return contact.group == group_code_of(offer.name, offer.group)
    return True


def _instant(contact: Contact) -> str:
    return format_instant(contact.time_s)


def _covers(quiet: QuietHours, minute: int) -> bool:
    if quiet.start_minute <= quiet.end_minute:
        return quiet.start_minute <= minute < quiet.end_minute
    return not quiet.end_minute <= minute < quiet.start_minute


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
