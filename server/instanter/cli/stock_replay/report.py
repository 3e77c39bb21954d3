"""What a replay of movements found: what was recorded, what was refused, what was alerted."""

from dataclasses import dataclass

from instanter.cli.output import make_console, make_table
from instanter.cli.stock_replay.sending import RejectedLines, Sent

_CHANGES = ("RAISED", "ESCALATED", "CLEARED")


@dataclass(frozen=True, slots=True)
class MovementReplayReport:
    """What a replay found.

    Attributes
    ----------
    line_count, recorded_count, duplicate_count
        Lines of the file, and of them those recorded now and before.
    rejected_count, rejected
        Lines that were refused, and by reason, the most frequent first.
    drawn_count
        Movements that stand in no line: opening stock, drawn stock.
    took_s, rate_per_s
        How long it took, and movements a second.
    transitions
        Changes of alerts by cause, meanwhile.
    """

    line_count: int
    recorded_count: int
    duplicate_count: int
    rejected_count: int
    rejected: tuple[RejectedLines, ...]
    drawn_count: int
    took_s: float
    rate_per_s: float
    transitions: dict[str, dict[str, int]]


def make_report(sent: Sent, transitions: dict[str, dict[str, int]]) -> MovementReplayReport:
    """Return the report of what was sent."""
    took_s = sent.took_ns / 1e9
    count = sent.recorded_count + sent.duplicate_count + sent.drawn_count
    rejected = tuple(sorted(sent.rejected.values(), key=lambda each: -each.count))
    return MovementReplayReport(
        line_count=sent.line_count,
        recorded_count=sent.recorded_count,
        duplicate_count=sent.duplicate_count,
        rejected_count=sum(each.count for each in rejected),
        rejected=rejected,
        drawn_count=sent.drawn_count,
        took_s=took_s,
        rate_per_s=count / took_s if took_s else 0.0,
        transitions=transitions,
    )


def show_report(report: MovementReplayReport) -> None:
    """Write a report to standard output."""
    console = make_console()
    before = f", {report.duplicate_count:,} had been before" if report.duplicate_count else ""
    drawn = f", and {report.drawn_count:,} of stock" if report.drawn_count else ""
    console.print(
        f"{report.line_count:,} lines: {report.recorded_count:,} recorded{before}, "
        f"{report.rejected_count:,} refused{drawn}; {report.took_s:,.1f} s, "
        f"{report.rate_per_s:,.0f} a second"
    )
    if report.rejected:
        table = make_table("refused", "lines", "first", "why", right=("lines", "first"))
        for each in report.rejected:
            first = f"{each.first_line:,}" if each.first_line else "of stock"
            table.add_row(each.reason, f"{each.count:,}", first, each.first_message)
        console.print(table)
    if report.transitions:
        table = make_table("alerts", *map(str.lower, _CHANGES), right=("raised", "escalated",
                                                                       "cleared"))  # fmt: skip
        for cause, changes in sorted(report.transitions.items()):
            cells = (f"{changes.get(change, 0):,}" for change in _CHANGES)
            table.add_row(cause.lower().replace("_", " "), *cells)
        console.print(table)
    else:
        console.print("no alert changed", style="dim")
