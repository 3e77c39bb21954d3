"""What an assessed transaction was answered: as its caller is told, and as it is kept."""

from typing import NamedTuple

import msgpack

from instanter.catalogue.fraud_words import Disposition, ListKind, Source, StandInCause
from instanter.fraud.questions import Assessment
from instanter.store.transactions import NO_CASE


class Verdict(NamedTuple):
    """What one transaction was answered. A tuple, because one is made for each request.

    Attributes
    ----------
    disposition, source, risk, probability, reasons, fired, shadowed
        As in `fraud.questions.Assessment`.
    stand_in_causes, hotlists, catalogue_revision
        Likewise.
    case
        Number of the case that it became, or `NO_CASE`.
    was_known
        Whether the transaction had been assessed before: this is what was answered then.
    paused
        Names of the rules that the guard has paused because of it; nothing in a repeated answer.
    """

    disposition: Disposition
    source: Source
    risk: float
    probability: float
    reasons: tuple[str, ...]
    fired: tuple[str, ...]
    shadowed: tuple[str, ...]
    stand_in_causes: tuple[StandInCause, ...]
    hotlists: tuple[ListKind, ...]
    catalogue_revision: int
    case: int = NO_CASE
    was_known: bool = False
    paused: tuple[str, ...] = ()


class Approval(NamedTuple):
    """The verdict of a usual transaction: approved, by rules of which none fired.

    Attributes
    ----------
    risk, probability, catalogue_revision
        As in `Verdict`.
    names_model
        Whether the model's part is a reason.
    lacks_place
        Whether a cause of the stand-in is told: that the place is missing, which lets it pass.
    """

    risk: float
    probability: float
    names_model: bool
    lacks_place: bool
    catalogue_revision: int


def pack_verdict(assessment: Assessment) -> bytes:
    """Return a verdict as it is logged and kept."""
    packed: bytes = msgpack.packb(
        (
            int(assessment.disposition),
            int(assessment.source),
            assessment.risk,
            assessment.probability,
            assessment.reasons,
            assessment.fired,
            assessment.shadowed,
            [int(cause) for cause in assessment.stand_in_causes],
            [int(kind) for kind in assessment.hotlists],
            assessment.catalogue_revision,
        )
    )
    return packed


def make_verdict(assessment: Assessment) -> Verdict:
    """Return the verdict of an assessment, without what its record brings about."""
    return Verdict(
        assessment.disposition,
        assessment.source,
        assessment.risk,
        assessment.probability,
        assessment.reasons,
        assessment.fired,
        assessment.shadowed,
        assessment.stand_in_causes,
        assessment.hotlists,
        assessment.catalogue_revision,
    )


def unpack_verdict(packed: bytes) -> Verdict:
    """Return what `make_verdict` made of what `pack_verdict` was given."""
    (
        disposition,
        source,
        risk,
        probability,
        reasons,
        fired,
        shadowed,
        causes,
        hotlists,
        revision,
    ) = msgpack.unpackb(packed, use_list=False)
    return Verdict(
        Disposition(disposition),
        Source(source),
        risk,
        probability,
        reasons,
        fired,
        shadowed,
        tuple(map(StandInCause, causes)),
        tuple(map(ListKind, hotlists)),
        revision,
    )
