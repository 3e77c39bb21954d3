"""How a verdict follows from hotlists, stand-in and rules."""

import math
from dataclasses import dataclass
from typing import Final

from instanter.catalogue.fraud import StandIn
from instanter.catalogue.fraud_words import Disposition, ListKind, Source, StandInCause
from instanter.fraud.tables import FraudTables, Limit
from instanter.fraud_limits import FRAUD_POINTS_MAX, FRAUD_REASONS_MAX

MODEL_REASON: Final = "MODEL"
"""Reason code of the model's part of the risk."""

_LIST_REASONS: Final = {kind: f"HOTLISTED_{kind.name.removesuffix('S')}" for kind in ListKind}
_STAND_IN_REASONS: Final = {cause: f"STAND_IN_{cause.name}" for cause in StandInCause}
_FIRST: Final = 10_000.0
_SECOND: Final = 5_000.0
"""Weights of reasons: hotlists, then the stand-in, then rules as in `fraud/tables`."""

MODEL_POINTS_MIN: Final = 1.0
"""A part of the model below this is no reason."""


@dataclass(slots=True)
class Scored:
    """What rules and model say of one transaction. Not frozen: one is made for each.

    Attributes
    ----------
    points
        Of the rules that fired.
    severity
        The greatest disposition of a rule that fired; 0 for none.
    fired, silent
        Indexes of the rules that fired; of those that would have, but are only reported.
    model_points, probability, features
        What the model says and what it saw; 0, NaN and nothing without one.
    """

    points: float
    severity: int
    fired: list[int]
    silent: list[int]
    model_points: float = 0.0
    probability: float = math.nan
    features: bytes = b""


@dataclass(slots=True)
class Verdict:
    """What rules and model make of it, before hotlists and stand-in. Not frozen either.

    Attributes
    ----------
    disposition, source, risk
        As in `Assessment`.
    declining, referring
        As in `Assessment`.
    """

    disposition: int
    source: Source
    risk: float
    declining: tuple[str, ...]
    referring: tuple[str, ...]


def find_limit(limits: tuple[Limit, ...], merchant: str, amount_minor: int) -> Limit | None:
    """Return the first entry of thresholds that matches; None without thresholds."""
    for limit in limits:
        if amount_minor >= limit.amount_minor_from and (
            limit.merchants is None or merchant in limit.merchants
        ):
            return limit
    return None


def judge(tables: FraudTables, scored: Scored, limit: Limit | None) -> Verdict:
    """Return what the rules' dispositions and the risk lead to.

    A rule counts as declining when it says so, or when the risk had stayed below the threshold
    without its points; so for referring.
    """
    total = scored.points + scored.model_points
    by_risk = _compare(limit, total)
    disposition = max(scored.severity, by_risk)
    risk = min(total, FRAUD_POINTS_MAX)
    if disposition <= Disposition.APPROVE:
        return Verdict(Disposition.APPROVE, Source.RULES, risk, (), ())
    source = Source.RULES
    if by_risk > scored.severity and by_risk > _compare(limit, scored.points):
        source = Source.MODEL
    declines = disposition == Disposition.DECLINE
    spare = math.inf
    if limit is not None and by_risk == disposition:
        spare = total - (limit.decline if declines else limit.refer)
    rules = tables.rules
    stopping = tuple(
        rules[index].name
        for index in scored.fired
        if rules[index].disposition == disposition or rules[index].points > spare
    )
    if declines:
        return Verdict(disposition, source, risk, stopping, ())
    return Verdict(disposition, source, risk, (), stopping)


def find_stand_in(
    stand_in: StandIn, causes: list[StandInCause], amount_minor: int, *, failed: bool
) -> tuple[int, list[StandInCause]]:
    """Return the disposition that the stand-in table has for causes, and those that speak for one.

    The disposition is 0 to continue. A cause with which to continue speaks for none, unless
    something failed.

    Parameters
    ----------
    stand_in
        The table.
    causes
        What is missing.
    amount_minor
        In minor units.
    failed
        Whether something failed that nobody expected: then nothing is approved, whatever the table
        says.
    """
    found = Disposition.REFER.value if failed else 0
    speaking = []
    for cause in causes:
        if cause is StandInCause.DEADLINE_SHORT:
            is_small = amount_minor <= stand_in.approve_up_to_minor
            own: int = Disposition.APPROVE if is_small else stand_in.deadline_otherwise
        else:
            own = getattr(stand_in, cause.name.lower())
        if own or failed:
            speaking.append(cause)
        found = max(found, own)
    return int(found), speaking


def combine(
    tables: FraudTables,
    verdict: Verdict | None,
    stand_in: int,
    hotlists: list[ListKind],
) -> tuple[Disposition, Source]:
    """Return the most severe of what hotlists, stand-in and rules say, and which of them it is.

    Of equally severe ones a hotlist goes first, then the stand-in: they say why most plainly.
    """
    listed = max((tables.hotlists[kind] for kind in hotlists), default=0)
    own = verdict.disposition if verdict is not None else 0
    worst = max(listed, stand_in, own)
    if not worst:
        # Neither assessed nor provided for: whoever does not know, does not approve.
        return Disposition.REFER, Source.STAND_IN
    if listed == worst:
        return Disposition(worst), Source.HOTLIST
    if verdict is None or (stand_in == worst and worst > Disposition.APPROVE):
        return Disposition(worst), Source.STAND_IN
    return Disposition(worst), verdict.source


def list_reasons(
    tables: FraudTables,
    scored: Scored | None,
    hotlists: list[ListKind],
    causes: list[StandInCause],
) -> tuple[str, ...]:
    """Return the codes of what spoke for a verdict, weightiest first, each once.

    Parameters
    ----------
    tables, scored, hotlists
        As in `combine`; what was scored, if it was.
    causes
        Those of the stand-in that speak for a disposition.
    """
    weighed = [(-_FIRST, _LIST_REASONS[kind]) for kind in hotlists]
    weighed += [(-_SECOND, _STAND_IN_REASONS[cause]) for cause in causes]
    if scored is not None:
        reasons = tables.reasons
        weighed += [reasons[index] for index in scored.fired]
        if scored.model_points >= MODEL_POINTS_MIN:
            weighed.append((-scored.model_points, MODEL_REASON))
    weighed.sort()
    return tuple(dict.fromkeys([code for _, code in weighed]))[:FRAUD_REASONS_MAX]


def _compare(limit: Limit | None, risk: float) -> int:
    """Return what a risk leads to."""
    if limit is None:
        return Disposition.APPROVE
    capped = min(risk, FRAUD_POINTS_MAX)
    if capped >= limit.decline:
        return Disposition.DECLINE
    return Disposition.REFER if capped >= limit.refer else Disposition.APPROVE
