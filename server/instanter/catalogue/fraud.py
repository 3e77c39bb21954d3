"""The check at the till as a catalogue declares it: what assessing a transaction runs on."""

from dataclasses import dataclass, field
from enum import IntEnum

from instanter.catalogue.events import EventField
from instanter.catalogue.fraud_words import Disposition, EntityKind, ListKind
from instanter.catalogue.rule_program import RuleProgram

CONTINUE = 0
"""In the place of a disposition: assess as if nothing were wrong."""


class VelocityFunction(IntEnum):
    """What a velocity says of the transactions in its window; to 8 as `Aggregation`."""

    COUNT = 1
    SUM = 2
    MINIMUM = 3
    MAXIMUM = 4
    MEAN = 5
    TIME_SINCE_LAST = 7
    DISTINCT = 8
    FRAUDS = 20
    """Transactions of the window that were reported as fraud meanwhile."""
    LABELS = 21
    """Transactions of the window of which it is known whether they were."""
    FRAUD_RATE = 22
    """The share of frauds among the labels of the window."""


@dataclass(frozen=True, slots=True)
class Velocity:
    """What is counted of one kind of entity in a sliding window.

    Attributes
    ----------
    name
        A CEL identifier: rules name it `velocity.name`.
    state_id
        Names its state, from 1; another one as soon as its meaning changes.
    per
        What it is counted of.
    function
        What it says.
    of
        What it looks at, as declared; empty for functions of whole transactions.
    field_slot
        Slot of that among the transaction's figures; −1 for none.
    window_s
        Length of the window, 10 to 7,776,000.
    approved_only
        Whether only approved transactions count.
    where
        CEL text of its condition; empty for none.
    condition_literal
        Literal in the program of attempts, or from FRAUDS on in that of labels; −1 for none.
    """

    name: str
    state_id: int
    per: EntityKind
    function: VelocityFunction
    of: str
    field_slot: int
    window_s: int
    approved_only: bool
    where: str
    condition_literal: int = -1


@dataclass(frozen=True, slots=True)
class Guard:
    """When a rule has run wild: it is then paused to shadow.

    Attributes
    ----------
    enabled
        Whether it is watched.
    share_max
        Share of the transactions of a period that the rule may decline or refer, in (0, 1].
    period_s
        Length of a period.
    declines_min
        So many in a period it may always.
    times_history
        It must also be so many times the rule's own share before; above 0.
    """

    enabled: bool = True
    share_max: float = 0.05
    period_s: int = 3_600
    declines_min: int = 20
    times_history: float = 5.0


@dataclass(frozen=True, slots=True)
class FraudRule:
    """One rule.

    Attributes
    ----------
    name
        Unique.
    code
        Its number, from 1, never reused: what snoozes name it by.
    when
        CEL text.
    disposition
        REFER or DECLINE; 0 for a rule with points.
    points
        Added to the risk, 0 to 100.
    reason
        Code that a verdict gives, UPPER_SNAKE_CASE.
    valid_from_s, valid_to_s
        Seconds since 1970: valid from (included) to (excluded); 0 and 2**53 when open.
    shadow
        Whether it is only reported.
    guard
        How it is watched.
    """

    name: str
    code: int
    when: str
    disposition: int
    points: float
    reason: str
    valid_from_s: int
    valid_to_s: int
    shadow: bool
    guard: Guard


@dataclass(frozen=True, slots=True)
class FraudModel:
    """The online logistic model on the figures.

    Attributes
    ----------
    model_id
        Names its state, from 1; another one as soon as its features change.
    features
        What it looks at: `velocity.card_count_10m`, for example.
    feature_slot
        Their slots among the figures.
    feature_is_code
        Whether a slot holds a uint32 (a flag), not a float32.
    points
        What a probability of 1 adds to the risk, 0 to 100.
    pairs
        Indexes of two features each that also count together.
    start_rate
        Share of frauds before any label, in (0, 1).
    """

    model_id: int
    features: tuple[str, ...]
    feature_slot: tuple[int, ...]
    feature_is_code: tuple[bool, ...]
    points: float
    pairs: tuple[tuple[int, int], ...] = ()
    start_rate: float = 0.01


@dataclass(frozen=True, slots=True)
class Threshold:
    """From which risk on a transaction is referred or declined.

    Attributes
    ----------
    merchants
        For those only; empty for all.
    amount_minor_from
        For amounts from this on, in minor units.
    refer, decline
        The risks; 101 for never.
    """

    merchants: tuple[str, ...]
    amount_minor_from: int
    refer: float
    decline: float


@dataclass(frozen=True, slots=True)
class Hotlists:
    """What an entry of a hotlist means.

    Attributes
    ----------
    dispositions
        By list, REFER or DECLINE, in the order of `ListKind`; DECLINE for cards always.
    expected
        Lists without which transactions are answered by the stand-in table.
    stale_after_s
        Age from which on an expected list is stale; 0 for never.
    """

    dispositions: tuple[int, ...] = (Disposition.DECLINE,) * len(ListKind)
    expected: tuple[ListKind, ...] = ()
    stale_after_s: int = 0


@dataclass(frozen=True, slots=True)
class StandIn:
    """What happens when something is missing: a disposition each, or 0 to continue.

    Attributes
    ----------
    hotlist_missing, hotlist_stale, state_damaged, place_missing, clock_jumped
        By `StandInCause`; APPROVE is not among them.
    approve_up_to_minor
        Up to this amount a transaction is approved whose deadline is too short; 0 for none.
    deadline_otherwise
        What the others are, REFER or DECLINE.
    """

    hotlist_missing: int = Disposition.REFER
    hotlist_stale: int = Disposition.REFER
    state_damaged: int = Disposition.REFER
    place_missing: int = CONTINUE
    clock_jumped: int = Disposition.REFER
    approve_up_to_minor: int = 0
    deadline_otherwise: int = Disposition.REFER


@dataclass(frozen=True, slots=True)
class Travel:
    """When travel is impossible: farther and faster than these."""

    distance_km_min: float = 50.0
    speed_kmh_max: float = 900.0


@dataclass(frozen=True, slots=True)
class CompromisedTerminal:
    """When a terminal is suggested for the hotlist.

    Attributes
    ----------
    window_s
        Time over which labels are counted, by the times of their transactions.
    labels_min
        So many labels there must be.
    suggest_rate
        Share of frauds among them, in (0, 1].
    """

    window_s: int = 35 * 86_400
    labels_min: int = 5
    suggest_rate: float = 0.2


@dataclass(frozen=True, slots=True)
class TerminalPlace:
    """Where a terminal stands; NaN where nothing is declared, and "" for its merchant."""

    name: str
    latitude: float
    longitude: float
    merchant: str


@dataclass(frozen=True, slots=True)
class FraudSettings:
    """All of the check at the till that is neither a list nor a program.

    Attributes
    ----------
    hotlists, stand_in, travel, compromised_terminal, guard
        As declared, or their defaults. `guard` is the one of rules that declare none.
    baseline_half_life_s
        Time after which a transaction weighs half in baselines.
    clock_ahead_s, clock_behind_s
        How far a transaction's time may be from the server's.
    """

    hotlists: Hotlists = field(default_factory=Hotlists)
    stand_in: StandIn = field(default_factory=StandIn)
    travel: Travel = field(default_factory=Travel)
    compromised_terminal: CompromisedTerminal = field(default_factory=CompromisedTerminal)
    guard: Guard = field(default_factory=Guard)
    baseline_half_life_s: int = 30 * 86_400
    clock_ahead_s: int = 600
    clock_behind_s: int = 86_400


@dataclass(frozen=True, slots=True, eq=False)
class FraudPolicy:
    """The whole `fraud:` of a catalogue.

    Attributes
    ----------
    fields
        Declared fields of transactions; field i has index i, those withdrawn are among them.
    velocities
        In the order of their declarations; the two that `terminal.fraud_rate` follows from, whose
        names begin with `terminal.`, are the last.
    rules
        In the order of their declarations.
    model
        None when there is none.
    thresholds
        The first that matches counts; the last matches everything. Empty when nothing has points.
    terminals
        Those with declared places.
    settings
        The rest.
    program, rule_literals
        The rules' program over figures and profile, and the literal of each rule.
    attempt_program, label_program
        The programs of the velocities' conditions on transactions and on labels.
    reads_profile
        Whether a rule names an attribute of the profile.
    """

    fields: tuple[EventField, ...]
    velocities: tuple[Velocity, ...]
    rules: tuple[FraudRule, ...]
    model: FraudModel | None
    thresholds: tuple[Threshold, ...]
    terminals: tuple[TerminalPlace, ...]
    settings: FraudSettings
    program: RuleProgram
    rule_literals: tuple[int, ...]
    attempt_program: RuleProgram
    label_program: RuleProgram
    reads_profile: bool
