"""What a replay found: how well the verdicts rank frauds, and what was stopped."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from instanter.cli.output import count_of, make_console, make_table
from instanter.cli.replay.recorded import RecordedTransactions
from instanter.cli.replay.sending import ReplayedVerdicts
from instanter.client import AssessmentSource, Disposition
from instanter.data.ranking_quality import (
    find_auc,
    find_average_precision,
    find_card_precision,
)

_DAY_US: Final = 86_400 * 1_000_000


@dataclass(frozen=True, slots=True)
class RankingFigures:
    """How well one score ranks frauds; None where there is nothing to tell from."""

    score: str
    auc: float | None
    average_precision: float | None
    card_precision_100: float | None


@dataclass(frozen=True, slots=True)
class ScenarioFigures:
    """The frauds of one scenario: how well the risk ranks them, and how many were stopped."""

    scenario: str
    fraud_count: int
    stopped_count: int
    auc: float | None
    auc_probability: float | None


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What a replay found.

    Attributes
    ----------
    transaction_count, label_count, duplicate_count
        Transactions sent, outcomes sent, and transactions that had been assessed before.
    refused_count, refusal
        Transactions that the server refused, which are not judged, and why the first was.
    took_s, rate_per_s
        How long it took, and transactions a second.
    dispositions, sources
        Transactions by verdict and by what it rests on.
    scored_count, fraud_count
        Transactions that are judged, and those of them that are frauds.
    caught_count, false_positive_count
        Frauds that were referred or declined, and others that were.
    rankings
        By risk and by the model's probability.
    scenarios
        By kind of fraud, when the file tells them.
    """

    transaction_count: int
    label_count: int
    duplicate_count: int
    refused_count: int
    refusal: str
    took_s: float
    rate_per_s: float
    dispositions: dict[str, int]
    sources: dict[str, int]
    scored_count: int
    fraud_count: int
    caught_count: int
    false_positive_count: int
    rankings: tuple[RankingFigures, ...]
    scenarios: tuple[ScenarioFigures, ...]


def make_report(recorded: RecordedTransactions, verdicts: ReplayedVerdicts) -> ReplayReport:
    """Return what a replay found."""
    count = len(recorded)
    frauds = recorded.frauds if recorded.frauds is not None else np.zeros(count, np.bool_)
    scored = recorded.find_scored() & ~verdicts.refused
    stopped = verdicts.dispositions > Disposition.APPROVE
    days = recorded.times_us // _DAY_US
    rankings: tuple[RankingFigures, ...] = ()
    if recorded.frauds is not None:
        rankings = tuple(
            RankingFigures(
                name,
                _plain(find_auc(scores[scored], frauds[scored])),
                _plain(find_average_precision(scores[scored], frauds[scored])),
                _plain(
                    find_card_precision(
                        scores[scored], frauds[scored], recorded.cards[scored], days[scored]
                    )
                ),
            )
            for name, scores in (
                ("risk", verdicts.risks),
                ("fraud_probability", verdicts.probabilities),
            )
        )
    took_s = verdicts.took_ns / 1e9
    return ReplayReport(
        transaction_count=count,
        label_count=verdicts.label_count,
        duplicate_count=verdicts.duplicate_count,
        refused_count=int(verdicts.refused.sum()),
        refusal=verdicts.refusal,
        took_s=took_s,
        rate_per_s=count / took_s if took_s else 0.0,
        dispositions={
            each.name: int(np.sum(verdicts.dispositions == each)) for each in list(Disposition)[1:]
        },
        sources={
            each.name: int(np.sum(verdicts.sources == each)) for each in list(AssessmentSource)[1:]
        },
        scored_count=int(scored.sum()),
        fraud_count=int(np.sum(frauds & scored)),
        caught_count=int(np.sum(frauds & scored & stopped)),
        false_positive_count=int(np.sum(~frauds & scored & stopped)),
        rankings=rankings,
        scenarios=tuple(_list_scenarios(recorded, verdicts, scored, stopped)),
    )


def _list_scenarios(
    recorded: RecordedTransactions,
    verdicts: ReplayedVerdicts,
    scored: NDArray[np.bool_],
    stopped: NDArray[np.bool_],
) -> list[ScenarioFigures]:
    """Return the figures of each scenario: its frauds against all that is none."""
    if recorded.scenarios is None or recorded.frauds is None:
        return []
    scenarios = np.array(recorded.scenarios)
    frauds = recorded.frauds
    found = []
    for scenario in np.unique(scenarios[frauds & scored]).tolist():
        own = frauds & (scenarios == scenario)
        rows = scored & (own | ~frauds)
        found.append(
            ScenarioFigures(
                scenario,
                int(np.sum(own & scored)),
                int(np.sum(own & scored & stopped)),
                _plain(find_auc(verdicts.risks[rows], own[rows])),
                _plain(find_auc(verdicts.probabilities[rows], own[rows])),
            )
        )
    return found


def show_report(report: ReplayReport) -> None:
    """Write a report to standard output."""
    console = make_console()
    console.print(
        f"{count_of(report.transaction_count, 'transaction')} in {report.took_s:,.1f} s "
        f"({report.rate_per_s:,.0f}/s), {count_of(report.label_count, 'label')}"
    )
    if report.duplicate_count:
        console.print(
            f"{report.duplicate_count:,} had been assessed before: replay into a new store"
        )
    if report.refused_count:
        console.print(f"{report.refused_count:,} were refused; the first: {report.refusal}")
    for title, counts in (("verdicts", report.dispositions), ("by", report.sources)):
        told = ", ".join(f"{name.lower()} {count:,}" for name, count in counts.items() if count)
        console.print(f"  {title}: {told}")
    if not report.rankings:
        return
    console.print(
        f"judged {report.scored_count:,}, frauds {report.fraud_count:,}: caught "
        f"{report.caught_count:,}, false positives {report.false_positive_count:,}"
    )
    numbers = ("AUC", "average precision", "card precision@100")
    table = make_table("score", *numbers, right=numbers)
    for ranking in report.rankings:
        table.add_row(
            ranking.score,
            _show(ranking.auc),
            _show(ranking.average_precision),
            _show(ranking.card_precision_100),
        )
    console.print(table)
    if report.scenarios:
        columns = ("frauds", "stopped", "AUC of risk", "AUC of probability")
        table = make_table("scenario", *columns, right=columns)
        for each in report.scenarios:
            table.add_row(
                each.scenario,
                f"{each.fraud_count:,}",
                f"{each.stopped_count:,}",
                _show(each.auc),
                _show(each.auc_probability),
            )
        console.print(table)


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 6)


def _show(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
