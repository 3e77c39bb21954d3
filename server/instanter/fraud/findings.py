"""What is found of a remarkable transaction of a turn, and the assessment that it stands for.

Remarkable is one that a rule fires on, be it only to be reported, or that is not approved, and
about which nothing else is unusual: nothing on a hotlist, no stand-in that speaks.
"""

from typing import NamedTuple

from instanter.catalogue.fraud_words import Disposition, StandInCause
from instanter.fraud.questions import Assessment, CountedTransaction
from instanter.fraud.tables import FraudTables
from instanter.fraud.verdicts import Scored, find_limit, judge, list_reasons


class Finding(NamedTuple):
    """What `kernels/fraud_turns` has found of one transaction. A tuple, as is `AssessedTurn`.

    Attributes
    ----------
    counted
        What is counted of it, packed: `CountedTransaction.to_row` by msgpack.
    figures
        As in `Assessment`.
    fired
        Indexes of the rules that fire; R more, the number of rules, for one that is only reported.
    points, severity, model_points, probability
        As in `verdicts.Scored`.
    lacks_place
        As in `AssessedTurn`.
    """

    counted: bytes
    figures: bytes
    fired: list[int]
    points: float
    severity: int
    model_points: float
    probability: float
    lacks_place: bool


def explain(tables: FraudTables, finding: Finding, counted: CountedTransaction) -> Assessment:
    """Return what `FraudEngine.assess` returns for a transaction.

    Parameters
    ----------
    tables
        Of the catalogue that it was assessed by.
    finding, counted
        What was found of it; what is counted, unpacked.
    """
    rules = len(tables.rules)
    scored = Scored(
        points=finding.points,
        severity=finding.severity,
        fired=[index for index in finding.fired if index < rules],
        silent=[index - rules for index in finding.fired if index >= rules],
        model_points=finding.model_points,
    )
    limit = find_limit(tables.limits, counted.merchant, counted.amount_minor)
    verdict = judge(tables, scored, limit)
    disposition = Disposition(verdict.disposition)
    assert counted.approved == (disposition is Disposition.APPROVE), "it was counted as answered"
    return Assessment(
        disposition,
        verdict.source,
        verdict.risk,
        finding.probability,
        list_reasons(tables, scored, [], []),
        tuple([tables.names[index] for index in scored.fired]),
        tuple([tables.names[index] for index in scored.silent]),
        verdict.declining,
        verdict.referring,
        (StandInCause.PLACE_MISSING,) if finding.lacks_place else (),
        (),
        counted,
        finding.figures,
        tables.catalogue.revision,
    )
