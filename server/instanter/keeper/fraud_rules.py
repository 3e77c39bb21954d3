"""Changes of rules at run time: one that was paused goes on; one is silent for a card."""

from dataclasses import dataclass
from typing import NamedTuple

from instanter.catalogue.fraud import FraudPolicy, FraudRule
from instanter.catalogue.fraud_words import EntityKind
from instanter.errors import DamagedError, InvalidFieldError, NotFoundError, nearest, show
from instanter.fraud.book import DAMAGED_STATE
from instanter.fraud.snoozes import snooze_rule
from instanter.fraud_limits import TRANSACTION_KEPT_NS
from instanter.keeper.commands import Answered, ApplyContext, pack_body, unpack_body
from instanter.keeper.fraud_guard import forgive
from instanter.keeper.records import RecordKind
from instanter.store.fraud_rules import (
    RuleFigures,
    find_paused,
    load_figures,
    put_figures,
    put_paused,
    read_paused,
)
from instanter.store.log.frames import LogRecord
from instanter.store.transaction import Transaction


class RuleReport(NamedTuple):
    """A rule as it runs.

    Attributes
    ----------
    rule
        What the catalogue declares.
    is_paused
        Whether the guard has paused it.
    figures
        What it has done.
    """

    rule: FraudRule
    is_paused: bool
    figures: RuleFigures


def list_rules(transaction: Transaction, policy: FraudPolicy) -> tuple[RuleReport, ...]:
    """Return all declared rules, in their order."""
    paused = read_paused(find_paused(transaction))
    return tuple(
        RuleReport(rule, rule.name in paused, load_figures(transaction, rule.name))
        for rule in policy.rules
    )


def get_rule(transaction: Transaction, policy: FraudPolicy, name: str) -> RuleReport:
    """Return a declared rule.

    Raises
    ------
    NotFoundError
        There is none of that name.
    """
    rule = _find_rule(policy, name)
    is_paused = name in read_paused(find_paused(transaction))
    return RuleReport(rule, is_paused, load_figures(transaction, name))


@dataclass(frozen=True, slots=True)
class ResumeFraudRule:
    """Lets a rule go on that the guard has paused; its result is the `RuleReport`.

    Attributes
    ----------
    rule
        Its name.
    """

    rule: str

    @property
    def kind(self) -> RecordKind:
        """Kind of its record."""
        return RecordKind.FRAUD_RULE_CHANGES

    def prepare(
        self, transaction: Transaction, now_ns: int, context: ApplyContext
    ) -> bytes | Answered:
        """Return the body of the record, unless the rule is not paused.

        Raises
        ------
        CatalogueMissingError, PreconditionError
            Nothing declares rules.
        NotFoundError
            There is no such rule.
        """
        policy = context.fraud.open(transaction, context.published.load(transaction), now_ns)
        report = get_rule(transaction, policy, self.rule)
        if not report.is_paused:
            return Answered(report)
        return pack_body({"resume": self.rule})


@dataclass(frozen=True, slots=True)
class SnoozeFraudRule:
    """Silences a rule for a card until an end; its result is None.

    Attributes
    ----------
    rule
        Its name.
    card
        The card's token.
    until_ns
        The end, nanoseconds since 1970; one that has passed ends the snooze.
    """

    rule: str
    card: str
    until_ns: int

    @property
    def kind(self) -> RecordKind:
        """Kind of its record."""
        return RecordKind.FRAUD_RULE_CHANGES

    def prepare(
        self, transaction: Transaction, now_ns: int, context: ApplyContext
    ) -> bytes | Answered:
        """Check the end, and return the body of the record.

        Raises
        ------
        CatalogueMissingError, PreconditionError
            Nothing declares rules.
        NotFoundError
            There is no such rule.
        InvalidFieldError
            The end is too far away.
        ExhaustedError
            The card has as many snoozes as a card may have.
        DamagedError
            The state of the card is damaged.
        """
        policy = context.fraud.open(transaction, context.published.load(transaction), now_ns)
        rule = _find_rule(policy, self.rule)
        if self.until_ns > now_ns + TRANSACTION_KEPT_NS:
            raise InvalidFieldError(
                "snooze_end_time",
                f"{(self.until_ns - now_ns) / 86_400_000_000_000:,.1f} days ahead",
                f"at most {TRANSACTION_KEPT_NS // 86_400_000_000_000} days ahead",
                reason="SNOOZE_TOO_LONG",
            )
        state = context.fraud.book.find_state(EntityKind.CARD, self.card)
        if state is DAMAGED_STATE:
            raise DamagedError(
                f"the state of card {show(self.card)} is damaged in the store; rebuild the store "
                "from the log",
                metadata={"card": self.card},
            )
        snoozes = snooze_rule(state.snoozes, rule.code, self.until_ns, now_ns)
        if snoozes == state.snoozes:
            return Answered(None)
        return pack_body({"card": self.card, "snoozes": snoozes})


def apply_rule_change(
    transaction: Transaction, record: LogRecord, context: ApplyContext
) -> RuleReport | None:
    """Resume a rule, or write the snoozes of a card."""
    body = unpack_body(record)
    desk = context.fraud
    policy = desk.open(transaction, context.published.load(transaction), record.time_ns)
    if "card" in body:
        state = desk.book.find_state(EntityKind.CARD, body["card"])
        state = state._replace(snoozes=body["snoozes"])
        desk.book.put_state(EntityKind.CARD, body["card"], state)
        desk.book.flush()
        return None
    name = body["resume"]
    put_paused(transaction, read_paused(find_paused(transaction)) - {name})
    put_figures(transaction, name, forgive(load_figures(transaction, name)))
    return get_rule(transaction, policy, name)


def _find_rule(policy: FraudPolicy, name: str) -> FraudRule:
    for rule in policy.rules:
        if rule.name == name:
            return rule
    close = nearest(name, [rule.name for rule in policy.rules])
    hint = f"; did you mean {close!r}?" if close else ""
    raise NotFoundError(
        f"the catalogue has no rule {show(name)}{hint}",
        reason="FRAUD_RULE_NOT_FOUND",
        metadata={"rule": name},
    )
