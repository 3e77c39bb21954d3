"""What a replay of movements found: what was recorded, what was refused, what was alerted."""

from dataclasses import dataclass

from instanter.cli.output import count_of, make_console, make_table
from instanter.cli.stock_replay.sending import RejectedLines, Sent

_CHANGES = ("RAISED", "ESCALATED", "CLEARED")


@dataclass(frozen=True, slots=True)
class MovementReplayReport:
    """What a replay found.

    Attributes
    ----------
    line_count
        Lines of the file.
    drawn_count
        Movements that stand in no line: opening stock, drawn stock.
    recorded_count, duplicate_count
        Movements recorded now, and before.
    rejected_count, rejected
        Lines that were refused, and by reason, the most frequent first; movements that stand in no
        line are in the second only.
    took_s, rate_per_s
        How long it took, and movements a second.
    transitions
        Changes of alerts by cause, meanwhile.
    """

    line_count: int
    drawn_count: int
    recorded_count: int
    duplicate_count: int
    rejected_count: int
    rejected: tuple[RejectedLines, ...]
    took_s: float
    rate_per_s: float
    transitions: dict[str, dict[str, int]]


def make_report(sent: Sent, transitions: dict[str, dict[str, int]]) -> MovementReplayReport:
    """Return the report of what was sent."""
    took_s = sent.took_ns / 1e9
    count = sent.recorded_count + sent.duplicate_count
    rejected = tuple(sorted(sent.rejected.values(), key=lambda each: -each.count))
    return MovementReplayReport(
        line_count=sent.line_count,
        drawn_count=sent.drawn_count,
        recorded_count=sent.recorded_count,
        duplicate_count=sent.duplicate_count,
        rejected_count=sum(each.count for each in rejected if each.first_line),
        rejected=rejected,
        took_s=took_s,
        rate_per_s=count / took_s if took_s else 0.0,
        transitions=transitions,
    )


def show_report(report: MovementReplayReport) -> None:
    """Write a report to standard output."""
    console = make_console()
    before = f", {report.duplicate_count:,} had been before" if report.duplicate_count else ""
    read = count_of(report.line_count, "line")
    if report.drawn_count:
        read += f" and {count_of(report.drawn_count, 'movement')} of stock"
    console.print(
        f"{read}: {report.recorded_count:,} recorded{before}, "
        f"{count_of(report.rejected_count, 'line')} refused; {report.took_s:,.1f} s, "
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
