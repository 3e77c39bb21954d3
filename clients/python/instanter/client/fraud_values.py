"""What the fraud calls return and take: plain frozen values, no messages.

Ids are plain (`t-17`), never resource names, save where a comment says so. The members of the
enumerations are those of the contract, in the contract's order.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import Final

from instanter.client.values import AttributeValue


class Disposition(IntEnum):
    """What to do with a transaction."""

    UNSPECIFIED = 0
    APPROVE = 1
    REFER = 2
    DECLINE = 3


class AssessmentSource(IntEnum):
    """What a verdict rests on."""

    UNSPECIFIED = 0
    RULES = 1
    MODEL = 2
    HOTLIST = 3
    STAND_IN = 4


class StandInCause(IntEnum):
    """What kept a transaction from being assessed as declared."""

    UNSPECIFIED = 0
    HOTLIST_MISSING = 1
    HOTLIST_STALE = 2
    STATE_DAMAGED = 3
    PLACE_MISSING = 4
    CLOCK_JUMPED = 5
    DEADLINE_SHORT = 6
    SERVER_SILENT = 7


class TransactionOutcomeKind(IntEnum):
    """What became of a transaction."""

    CONFIRMED_FRAUD = 1
    GENUINE = 2
    CHARGEBACK = 3


class TransactionOutcomeState(IntEnum):
    """Whether an outcome of a transaction counts."""

    UNSPECIFIED = 0
    RECORDED = 1
    DUPLICATE = 2
    TRANSACTION_UNKNOWN = 3
    CHANGED = 4
    CONFLICT = 5
    TOO_EARLY = 6
    TRANSACTION_DAMAGED = 7


class CaseLabel(IntEnum):
    """What a case was."""

    UNSPECIFIED = 0
    FRAUD = 1
    GENUINE = 2


class CaseState(IntEnum):
    """Whether somebody still has to look at a case; UNSPECIFIED for any."""

    UNSPECIFIED = 0
    OPEN = 1
    CLOSED = 2


class FraudRuleState(IntEnum):
    """Whether a rule takes part."""

    UNSPECIFIED = 0
    LIVE = 1
    SHADOW = 2
    PAUSED = 3
    NOT_CURRENT = 4


@dataclass(frozen=True, slots=True)
class CardTransaction:
    """One card transaction to be assessed.

    Attributes
    ----------
    card_token
        What stands for the card, as `TokenMaker` makes it; never the card's number.
    terminal, merchant
        Ids.
    mcc
        The merchant's category code (ISO 18245), 1 to 9999.
    amount_minor
        In minor units of the currency, at least 1.
    currency
        ISO 4217 code.
    card_present
        Whether the terminal read the card.
    transaction_id
        The same in every retry, a UUID for example. None makes one at each call, which only the
        client's own retries of that call share.
    transaction_time
        When it happened, with its time zone; None for now.
    customer, device
        Ids; empty when not known.
    latitude, longitude
        Where it happened, in degrees; None for the terminal's place in the catalogue.
    bin
        First 6 to 8 digits of the card's number; empty when not known.
    fields
        Values of further fields that the catalogue declares; None is left out.
    """

    card_token: str
    terminal: str
    merchant: str
    mcc: int
    amount_minor: int
    currency: str
    card_present: bool = True
    transaction_id: str | None = None
    transaction_time: datetime | None = None
    customer: str = ""
    device: str = ""
    latitude: float | None = None
    longitude: float | None = None
    bin: str = ""
    fields: Mapping[str, AttributeValue | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Assessment:
    """The verdict on one transaction.

    Attributes
    ----------
    transaction_id
        The transaction's id.
    disposition, source
        What to do, and what that rests on.
    risk
        0 to 100.
    fraud_probability
        What the model says, 0 to 1; 0 without a model.
    reasons
        Codes of what spoke for the verdict, the weightiest first.
    fraud_rules
        Names of the rules that fired.
    stand_in_causes
        What kept it from being assessed as declared; empty as a rule.
    case_id
        Empty when it was approved.
    catalogue_revision
        What assessed it; 0 from a terminal's own stand-in.
    is_durable
        Whether it is on the server's disk.
    is_duplicate
        Whether the same transaction was assessed before and this is that answer.
    """

    transaction_id: str
    disposition: Disposition
    source: AssessmentSource
    risk: float = 0.0
    fraud_probability: float = 0.0
    reasons: tuple[str, ...] = ()
    fraud_rules: tuple[str, ...] = ()
    stand_in_causes: tuple[StandInCause, ...] = ()
    case_id: str = ""
    catalogue_revision: int = 0
    is_durable: bool = False
    is_duplicate: bool = False


@dataclass(frozen=True, slots=True)
class TransactionOutcome:
    """What became of one transaction.

    Attributes
    ----------
    transaction_id
        The transaction's id.
    kind
        What became of it.
    outcome_time
        When that became known, with its time zone; None for when the server records it.
    """

    transaction_id: str
    kind: TransactionOutcomeKind
    outcome_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class HotlistSuggestion:
    """A terminal whose share of fraud is so high that it should be put on the hotlist."""

    terminal: str
    fraud_rate: float
    fraud_count: int
    label_count: int


@dataclass(frozen=True, slots=True)
class RecordedOutcomes:
    """What was recorded: one state for each outcome, and the terminals that stand out now."""

    states: tuple[TransactionOutcomeState, ...]
    hotlist_suggestions: tuple[HotlistSuggestion, ...]


@dataclass(frozen=True, slots=True)
class CaseNote:
    """What somebody wrote about a case, and when; the author is empty when not said."""

    note_time: datetime
    author: str
    text: str


@dataclass(frozen=True, slots=True)
class Case:
    """A transaction that was declined or referred.

    Attributes
    ----------
    id
        `cases/{id}` is its resource name.
    state, assignee, label
        Whether somebody still has to look, who does, and what it was.
    transaction_id, card_token, customer, terminal, merchant, amount_minor, currency
        The transaction.
    transaction_time
        When it happened.
    disposition, risk, source, reasons
        The verdict.
    figures
        What the verdict was given on: number, flag (0 or 1) or category by name; attributes of the
        profile are not among it.
    notes
        What people wrote about it, the oldest first.
    create_time, update_time, revision
        When it was opened and last changed, and how often it was written.
    """

    id: str
    state: CaseState
    assignee: str
    label: CaseLabel
    transaction_id: str
    card_token: str
    customer: str
    terminal: str
    merchant: str
    amount_minor: int
    currency: str
    transaction_time: datetime
    disposition: Disposition
    risk: float
    source: AssessmentSource
    reasons: tuple[str, ...]
    figures: Mapping[str, float | str]
    notes: tuple[CaseNote, ...]
    create_time: datetime
    update_time: datetime
    revision: int


@dataclass(frozen=True, slots=True)
class CasePage:
    """One page of cases; the token is empty on the last one."""

    cases: tuple[Case, ...]
    next_page_token: str


@dataclass(frozen=True, slots=True)
class CaseFilter:
    """Which cases are wanted; unspecified and empty for all."""

    state: CaseState = CaseState.UNSPECIFIED
    label: CaseLabel = CaseLabel.UNSPECIFIED
    assignee: str = ""
    card_token: str = ""
    terminal: str = ""
    merchant: str = ""


ALL_CASES: Final = CaseFilter()
"""Wants every case."""


@dataclass(frozen=True, slots=True)
class CaseChange:
    """What to change of a case.

    Attributes
    ----------
    assignee, state, label
        Who works on it, whether somebody still has to look, what it was; None leaves it. A label
        is recorded as the transaction's outcome, and closes the case.
    note, note_author
        Added to its notes; empty adds nothing.
    expected_revision
        Change it only at this revision; 0 for any.
    """

    assignee: str | None = None
    state: CaseState | None = None
    label: CaseLabel | None = None
    note: str = ""
    note_author: str = ""
    expected_revision: int = 0


@dataclass(frozen=True, slots=True)
class FraudRule:
    """A fraud rule with what it does now.

    Attributes
    ----------
    name, when, reason, disposition, points
        As the catalogue declares it.
    state
        Whether it takes part.
    fired_count
        Transactions that were not approved and on which it fired.
    shadowed_count
        Transactions on which it would have fired, but was in shadow, paused or snoozed.
    stopped_count
        Transactions that it has referred or declined: as it says, or because the risk had stayed
        below the threshold without its points.
    pause_time
        When its guard paused it; None when it is not paused.
    """

    name: str
    when: str
    reason: str
    disposition: Disposition
    points: float
    state: FraudRuleState
    fired_count: int
    shadowed_count: int
    stopped_count: int
    pause_time: datetime | None


@dataclass(frozen=True, slots=True)
class HotlistEntry:
    """One entry of a hotlist.

    Attributes
    ----------
    id
        The card's token, the id of the terminal, merchant or device, or 6 to 8 digits.
    reason, source
        Why it is there, and where that comes from.
    expire_time
        Until when it holds, with its time zone; None for ever.
    create_time
        When it was put there; None in what is to be put there.
    """

    id: str
    reason: str = ""
    source: str = ""
    expire_time: datetime | None = None
    create_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class HotlistPage:
    """One page of a hotlist; the token is empty on the last one, the time None without one."""

    entries: tuple[HotlistEntry, ...]
    next_page_token: str
    entry_count: int
    update_time: datetime | None


@dataclass(frozen=True, slots=True)
class HotlistCounts:
    """How many entries were new, and how many were there before."""

    created_count: int
    existing_count: int


@dataclass(frozen=True, slots=True)
class HotlistReplacement:
    """How many entries a new list has, and how many the old one had."""

    entry_count: int
    replaced_count: int


@dataclass(frozen=True, slots=True)
class BacktestProgress:
    """How far a back-test has come."""

    transaction_count: int
    done_rate: float


@dataclass(frozen=True, slots=True)
class BacktestFigures:
    """What one set of rules did; stopped means referred or declined, amounts are in minor units."""

    transaction_count: int
    referred_count: int
    declined_count: int
    caught_count: int
    caught_minor: int
    missed_count: int
    missed_minor: int
    false_positive_count: int
    false_positive_minor: int


@dataclass(frozen=True, slots=True)
class BacktestRule:
    """What one rule did in a back-test."""

    rule: str
    fired_count: int
    caught_count: int
    false_positive_count: int


@dataclass(frozen=True, slots=True)
class BacktestReport:
    """What other rules would have done, beside what the live ones did.

    Attributes
    ----------
    live, given
        What the live rules did, and what the given ones would have done.
    rules
        The given rules that fired, those that did most often first; none of those in shadow.
    newly_stopped_count, newly_caught_count
        Transactions that only the given rules would have stopped; those of them that were fraud.
    released_count, newly_missed_count
        Transactions that only the live rules stopped; those of them that were fraud.
    start_time, end_time
        Times of the first and last transaction; None when there was none.
    misfit_count
        Transactions whose declared fields are not what the given rules declare: what they have too
        many was left out, what they lack or have otherwise was missing.
    """

    live: BacktestFigures
    given: BacktestFigures
    rules: tuple[BacktestRule, ...]
    newly_stopped_count: int
    newly_caught_count: int
    released_count: int
    newly_missed_count: int
    start_time: datetime | None
    end_time: datetime | None
    misfit_count: int
