"""What an outcome does to what is known of its offer: pure functions, independent of the order.

Outcomes of one offer of one decision may arrive late and in any order. In the end it has taught a
model at most one positive and at most one negative response, and it counts once in each figure. A
presentation is a negative response only until it is accepted: that takes it back.
"""

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final

from instanter.kernels.learning import LABEL_REVERSED
from instanter.store.outcomes import Mark


class OutcomeKind(IntEnum):
    """What became of an offer; the numbers are the contract's."""

    PRESENTED = 1
    CLICKED = 2
    ACCEPTED = 3
    REJECTED = 4
    CONVERTED = 5


class OutcomeState(IntEnum):
    """Whether an outcome counts; the numbers are the contract's."""

    RECORDED = 1
    DUPLICATE = 2
    DECISION_UNKNOWN = 3
    CUSTOMER_MISMATCH = 4
    OFFER_MISMATCH = 5
    TOO_LATE = 6
    TOO_EARLY = 7


LABEL_NONE: Final = -1
"""Teaches nothing."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What an outcome changes.

    Attributes
    ----------
    mark
        What is known now.
    label
        1, 0 or `LABEL_REVERSED` to be learned, or `LABEL_NONE`.
    presented, accepted
        What to add to the arm's counts.
    value_minor
        What to add to the arm's value, in minor units; may be negative.
    ended_wait_ns
        When the wait would have ended that has ended now; 0 for none.
    begun_wait_ns
        When the wait ends that begins now; 0 for none.
    """

    mark: Mark
    label: int
    presented: int
    accepted: int
    value_minor: int
    ended_wait_ns: int
    begun_wait_ns: int


def take_outcome(
    mark: Mark,
    kind: OutcomeKind,
    value_minor: int,
    due_ns: int,
    *,
    at_once: bool,
    teachable: bool = True,
) -> Effect:
    """Return what an outcome changes that was not recorded before.

    Parameters
    ----------
    mark
        What was known.
    kind
        What happened.
    value_minor
        Worth of an acceptance or conversion, in minor units.
    due_ns
        When the wait ends that a presentation begins.
    at_once
        Whether a presentation is a negative response until it is accepted, and not only from the
        end of its wait.
    teachable
        Whether what was decided by is known, so that a model can learn.
    """
    positive_before = mark.has(OutcomeKind.ACCEPTED) or mark.has(OutcomeKind.CONVERTED)
    positive_now = kind in (OutcomeKind.ACCEPTED, OutcomeKind.CONVERTED)
    answered_before = positive_before or mark.has(OutcomeKind.REJECTED)
    answered_now = positive_now or kind == OutcomeKind.REJECTED
    presented_now = kind == OutcomeKind.PRESENTED
    label = LABEL_NONE
    if not teachable:
        pass
    elif positive_now and not mark.taught_positive:
        # Whoever rejected an offer and accepts it later has answered twice.
        is_reversed = mark.taught_negative and not mark.has(OutcomeKind.REJECTED)
        label = LABEL_REVERSED if is_reversed else 1
    elif kind == OutcomeKind.REJECTED or (presented_now and at_once and not answered_before):
        label = LABEL_NONE if mark.taught_negative else 0
    # A conversion knows the worth better than the acceptance before it.
    knows_value = kind == OutcomeKind.CONVERTED or (
        kind == OutcomeKind.ACCEPTED and not mark.has(OutcomeKind.CONVERTED)
    )
    value = value_minor if knows_value else mark.value_minor
    begun_wait_ns = due_ns if presented_now and not answered_before else 0
    return Effect(
        mark=replace(
            mark,
            kinds=mark.kinds | 1 << kind,
            taught_positive=mark.taught_positive or label in (1, LABEL_REVERSED),
            taught_negative=label == 0 or (mark.taught_negative and label != LABEL_REVERSED),
            due_ns=0 if answered_now else begun_wait_ns or mark.due_ns,
            value_minor=value,
        ),
        label=label,
        presented=int(presented_now),
        accepted=int(
            (presented_now and positive_before)
            or (positive_now and not positive_before and mark.has(OutcomeKind.PRESENTED))
        ),
        value_minor=value - mark.value_minor,
        ended_wait_ns=mark.due_ns if answered_now else 0,
        begun_wait_ns=begun_wait_ns,
    )


def has_taught(mark: Mark) -> bool:
    """Return whether the end of a wait has nothing left to teach."""
    return mark.taught_negative or mark.taught_positive


def end_wait(mark: Mark, *, teachable: bool) -> tuple[Mark, int]:
    """Return what is known, and what is learned, when nobody answered a presentation in time."""
    label = 0 if teachable and not has_taught(mark) else LABEL_NONE
    return (
        replace(mark, due_ns=0, taught_negative=mark.taught_negative or label == 0),
        label,
    )
