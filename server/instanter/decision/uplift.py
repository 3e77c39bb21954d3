"""What deciding is worth: acceptance and value of each arm, and their differences, with intervals.

All intervals have a confidence of 95 %. Values are looked at one decision at a time; that one
decision may have two offers with values of their own is left out of the variance, which it widens
a little where it happens.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, Protocol

from instanter.decision.questions import Arm

Z: Final = 1.959963984540054
"""Quantile of the normal distribution that leaves 2.5 % above."""


class Figures(Protocol):
    """Counts and sums of one arm; `store/arm_figures.ArmDay` has them."""

    @property
    def arm(self) -> int:
        """Number of the arm."""
        ...

    @property
    def offer(self) -> str:
        """Name of the offer, empty for what belongs to none."""
        ...

    @property
    def decisions(self) -> int:
        """Decisions made."""
        ...

    @property
    def presented(self) -> int:
        """Presentations."""
        ...

    @property
    def accepted(self) -> int:
        """Presentations that were accepted."""
        ...

    @property
    def value_minor(self) -> int:
        """Sum of values."""
        ...

    @property
    def value_squares(self) -> int:
        """Sum of their squares."""
        ...


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its interval.

    Attributes
    ----------
    value, low, high
        The figure and the ends of its interval.
    defined
        Whether there is enough to estimate it from; all three are 0 when not.
    """

    value: float = 0.0
    low: float = 0.0
    high: float = 0.0
    defined: bool = False


UNDEFINED: Final = Estimate()
"""Nothing to estimate it from."""


@dataclass(frozen=True, slots=True)
class ArmReport:
    """What happened in one arm.

    Attributes
    ----------
    arm
        Number of the contract's `Arm`.
    decisions, presented, accepted, value_minor, value_squares
        Counts and sums.
    acceptance
        accepted ÷ presented.
    value_per_decision
        value_minor ÷ decisions.
    """

    arm: int
    decisions: int = 0
    presented: int = 0
    accepted: int = 0
    value_minor: int = 0
    value_squares: int = 0
    acceptance: Estimate = UNDEFINED
    value_per_decision: Estimate = UNDEFINED


@dataclass(frozen=True, slots=True)
class UpliftReport:
    """All arms and what deciding is worth.

    Attributes
    ----------
    arms
        Those with decisions, in the order of their numbers.
    acceptance_uplift
        Acceptance of the decided arm less that of the random arm.
    value_uplift_over_random, value_uplift_over_holdout
        Value per decision of the decided arm less that of the other.
    """

    arms: tuple[ArmReport, ...]
    acceptance_uplift: Estimate
    value_uplift_over_random: Estimate
    value_uplift_over_holdout: Estimate


def report_uplift(figures: Iterable[Figures], *, of_one_offer: bool = False) -> UpliftReport:
    """Sum figures up by arm and estimate what deciding is worth.

    Parameters
    ----------
    figures
        Rows in any order.
    of_one_offer
        Whether the rows are those of one offer and of none: then the values of none are left out,
        and nothing compares with the holdout, whose conversions belong to no offer.
    """
    sums: dict[int, ArmReport] = {}
    for row in figures:
        total = sums.get(row.arm, ArmReport(row.arm))
        valued = bool(row.offer) or not of_one_offer
        sums[row.arm] = replace(
            total,
            decisions=total.decisions + row.decisions,
            presented=total.presented + row.presented,
            accepted=total.accepted + row.accepted,
            value_minor=total.value_minor + row.value_minor * valued,
            value_squares=total.value_squares + row.value_squares * valued,
        )
    arms = {
        arm: replace(
            total,
            acceptance=estimate_rate(total.accepted, total.presented),
            value_per_decision=estimate_mean(
                total.decisions, total.value_minor, total.value_squares
            ),
        )
        for arm, total in sorted(sums.items())
        if total.decisions
    }
    decided = arms.get(Arm.DECIDED, ArmReport(Arm.DECIDED))
    by_chance = arms.get(Arm.RANDOM, ArmReport(Arm.RANDOM))
    held = arms.get(Arm.HOLDOUT, ArmReport(Arm.HOLDOUT))
    return UpliftReport(
        tuple(arms.values()),
        compare_rates(decided.acceptance, by_chance.acceptance),
        compare_means(decided.value_per_decision, by_chance.value_per_decision),
        UNDEFINED
        if of_one_offer
        else compare_means(decided.value_per_decision, held.value_per_decision),
    )


def estimate_rate(successes: int, trials: int) -> Estimate:
    """Estimate a rate, with its Wilson interval.

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference,
    Journal of the American Statistical Association 22 (1927); without correction of continuity.

    Parameters
    ----------
    successes, trials
        0 ≤ successes ≤ trials.
    """
    if trials <= 0:
        return UNDEFINED
    rate = successes / trials
    weight = 1.0 / (1.0 + Z * Z / trials)
    middle = weight * (rate + Z * Z / (2 * trials))
    reach = weight * Z * math.sqrt(rate * (1.0 - rate) / trials + Z * Z / (4 * trials * trials))
    # At the ends the interval is exact, but for the last bit.
    low = 0.0 if successes == 0 else max(middle - reach, 0.0)
    high = 1.0 if successes == trials else min(middle + reach, 1.0)
    return Estimate(rate, low, high, True)


def compare_rates(first: Estimate, second: Estimate) -> Estimate:
    """Estimate the difference of two independent rates, with its Newcombe interval.

    Source: R. G. Newcombe, Interval estimation for the difference between independent proportions:
    comparison of eleven methods, Statistics in Medicine 17 (1998), method 10: the ends of both
    Wilson intervals, squared and added.

    Parameters
    ----------
    first, second
        From `estimate_rate`.
    """
    if not (first.defined and second.defined):
        return UNDEFINED
    difference = first.value - second.value
    below = math.hypot(first.value - first.low, second.high - second.value)
    above = math.hypot(first.high - first.value, second.value - second.low)
    return Estimate(difference, difference - below, difference + above, True)


def estimate_mean(count: int, total: int, squares: int) -> Estimate:
    """Estimate a mean, with its normal interval.

    Source: the central limit theorem, with the unbiased sample variance; as in G. W. Snedecor,
    W. G. Cochran, Statistical Methods, chapter 4. The variance is computed in whole numbers, so
    nothing cancels out.

    Parameters
    ----------
    count
        How many values; those that are 0 count too.
    total, squares
        Sum of the values, and sum of their squares.
    """
    if count < 2:
        return UNDEFINED
    mean = total / count
    spread = max(count * squares - total * total, 0)
    reach = Z * math.sqrt(spread / (count * count * (count - 1)))
    return Estimate(mean, mean - reach, mean + reach, True)


def compare_means(first: Estimate, second: Estimate) -> Estimate:
    """Estimate the difference of two independent means, with its normal interval.

    Source: as `estimate_mean`; the variances add up.

    Parameters
    ----------
    first, second
        From `estimate_mean`.
    """
    if not (first.defined and second.defined):
        return UNDEFINED
    difference = first.value - second.value
    reach = math.hypot(first.high - first.value, second.high - second.value)
    return Estimate(difference, difference - reach, difference + reach, True)
