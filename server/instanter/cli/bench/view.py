"""The report in the terminal."""

from rich.console import Console
from rich.text import Text

from instanter.cli.bench.histogram import Bar
from instanter.cli.bench.report import Percentiles, Report
from instanter.cli.output import count_of, make_table

_BAR_SIZE = 48
_EIGHTHS = " ▏▎▍▌▋▊▉"
_FIGURES = ("p50", "p90", "p99", "p99.9", "max", "mean")


def show_report(report: Report, console: Console) -> None:
    """Draw the report: figures, histogram, errors, and how to read them."""
    console.print(describe(report), style="dim")
    console.print(
        f"{count_of(report.decisions, 'decision')} in {report.duration_s:g} s: "
        f"{report.decisions_per_s:,.0f} a second; {report.without_offer:,} without an offer",
        style="bold",
    )
    table = make_table("", *_FIGURES, right=_FIGURES)
    for name, figures in list_figures(report):
        table.add_row(name, *(show_time(figure) for figure in figures))
    console.print(table)
    _draw_histogram(report.latency_histogram, report.decisions, console)
    for reason, count in report.errors.items():
        console.print(f"failed, {reason}: {count:,}", style="bold red")
    for remark in report.remarks:
        console.print(remark, style="dim")


def describe(report: Report) -> str:
    """Return in one line what was measured."""
    how = (
        "in a closed loop"
        if report.rate_per_s_asked is None
        else f"at {report.rate_per_s_asked:,g} a second (open loop)"
    )
    placement = f"/{report.placement}" if report.placement else ""
    end = ", ended by Ctrl-C" if report.is_cut_short else ""
    return (
        f"{report.server} {how}: {count_of(report.offers, 'offer')} at {report.channel}{placement} "
        f"for {count_of(report.customers, 'customer')}; {report.processes} × Python, "
        f"{count_of(report.connections, 'connection')}, {report.in_flight} in flight on each; "
        f"catalogue {report.catalogue_revision}, models {report.model_revision}{end}"
    )


def list_figures(report: Report) -> list[tuple[str, tuple[float, ...]]]:
    """Return rows of figures in microseconds; a closed loop has no schedule to be late for."""
    rows = [("latency (Python client)", report.latency)]
    if report.rate_per_s_asked is not None:
        rows = [
            ("latency from when it was due", report.latency),
            ("latency from sending", report.from_sending),
        ]
    rows.append(("inside the server (took_us)", report.server_took))
    return [(name, _in_order(figures)) for name, figures in rows]


def _in_order(figures: Percentiles) -> tuple[float, ...]:
    return (
        figures.p50_us,
        figures.p90_us,
        figures.p99_us,
        figures.p99_9_us,
        figures.longest_us,
        figures.mean_us,
    )


def show_time(time_us: float) -> str:
    """Return a time with three significant digits and its unit."""
    for limit, divisor, unit in ((1e3, 1.0, "µs"), (1e6, 1e3, "ms")):
        # Rounding must not show 1000 of a unit.
        if time_us < limit * 0.9995:
            return f"{_round(time_us / divisor)} {unit}"
    return f"{_round(time_us / 1e6)} s"


def _round(number: float) -> str:
    digits = 0 if number >= 99.95 else 1 if number >= 9.995 else 2
    text = f"{number:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _draw_histogram(bars: tuple[Bar, ...], total: int, console: Console) -> None:
    """Draw one row a bar; the longest takes the whole width."""
    top = max((bar.count for bar in bars), default=0)
    seen = 0
    for bar in bars:
        seen += bar.count
        eighths = round(bar.count / top * _BAR_SIZE * 8)
        # What is there at all is seen, however little.
        eighths = max(eighths, 1) if bar.count else 0
        drawn = "█" * (eighths // 8) + _EIGHTHS[eighths % 8]
        console.print(
            Text.assemble(
                (f"{show_time(bar.start_ns / 1e3):>9} ", "dim"),
                (f"{drawn:<{_BAR_SIZE + 1}}", "green"),
                f" {bar.count:>10,}",
                (f" {seen / total:>8.2%}", "dim"),
            )
        )
    if bars:
        console.print(f"{show_time(bars[-1].end_ns / 1e3):>9}", style="dim")
