"""Back-tests and rules: asks the server, shows progress and what was found."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from instanter.catalogue.instants import INSTANT_EXPECTED, find_instant_s
from instanter.cli.failures import EXIT_USAGE, CommandError
from instanter.cli.output import count_of, make_console, make_plain, make_table, show_value
from instanter.cli.progress import show_progress
from instanter.client import (
    BacktestFigures,
    BacktestProgress,
    BacktestReport,
    CatalogueInvalidError,
    Client,
    FraudRule,
)
from instanter.clock import SystemClock
from instanter.errors import show


def run_backtest(
    client: Client, file: Path, since: str | None, until: str | None
) -> BacktestReport:
    """Run a back-test and return what it found.

    Raises
    ------
    CommandError
        A time is none, the file is not UTF-8, or the rules have mistakes.
    """
    start = None if since is None else read_moment(since, "--since")
    end = None if until is None else read_moment(until, "--until")
    text = _read_rules(file)
    with show_progress(f"back-testing {file.name}", "transactions", SystemClock()) as tell:

        def on_progress(progress: BacktestProgress) -> None:
            rate = progress.done_rate
            count = progress.transaction_count
            tell(count, round(count / rate) if rate else 0)

        try:
            return client.fraud.backtest(text, start, end, on_progress=on_progress)
        except CatalogueInvalidError as error:
            lines = [f"{each.field}: {each.description}" for each in error.violations]
            raise CommandError("\n".join((f"{file}: {error.message}", *lines))) from error


def _read_rules(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise CommandError(
            f"{file}: byte {error.start:,} is not UTF-8; expected YAML with a `fraud` section"
        ) from None


def show_backtest(report: BacktestReport) -> None:
    """Write what a back-test found to standard output."""
    console = make_console()
    if report.start_time is not None and report.end_time is not None:
        console.print(
            f"{count_of(report.given.transaction_count, 'transaction')} from "
            f"{make_plain(report.start_time)} to {make_plain(report.end_time)}"
        )
    else:
        console.print("no transactions")
    table = make_table("", "live", "given", "difference", right=("live", "given", "difference"))
    for title, name in (
        ("declined", "declined_count"),
        ("referred", "referred_count"),
        ("frauds caught", "caught_count"),
        ("  amount, minor", "caught_minor"),
        ("frauds missed", "missed_count"),
        ("  amount, minor", "missed_minor"),
        ("false positives", "false_positive_count"),
        ("  amount, minor", "false_positive_minor"),
    ):
        live, given = _get(report.live, name), _get(report.given, name)
        table.add_row(title, f"{live:,}", f"{given:,}", f"{given - live:+,}")
    console.print(table)
    console.print(
        f"newly stopped {report.newly_stopped_count:,}, frauds among them "
        f"{report.newly_caught_count:,}; released {report.released_count:,}, frauds among them "
        f"{report.newly_missed_count:,}"
    )
    if report.misfit_count:
        console.print(
            f"{report.misfit_count:,} of the transactions have other fields than the given rules "
            "declare: unknown ones are left out, others are missing"
        )
    if report.rules:
        numbers = ("fired", "on frauds", "on others")
        table = make_table("rule", *numbers, right=numbers)
        for rule in report.rules:
            table.add_row(
                rule.rule,
                f"{rule.fired_count:,}",
                f"{rule.caught_count:,}",
                f"{rule.false_positive_count:,}",
            )
        console.print(table)


def _get(figures: BacktestFigures, name: str) -> int:
    value: int = getattr(figures, name)
    return value


def show_rules(rules: Sequence[FraudRule]) -> None:
    """Write rules to standard output."""
    numbers = ("points", "fired", "stopped", "shadowed")
    table = make_table(
        "rule", "", "disposition", *numbers, "reason", "paused", "when", right=numbers
    )
    for rule in rules:
        table.add_row(
            rule.name,
            show_value(rule.state),
            show_value(rule.disposition) if rule.disposition else "",
            f"{rule.points:g}" if rule.points else "",
            f"{rule.fired_count:,}",
            f"{rule.stopped_count:,}",
            f"{rule.shadowed_count:,}",
            rule.reason,
            show_value(rule.pause_time),
            rule.when,
        )
    make_console().print(table)


def read_moment(text: str, option: str) -> datetime:
    """Return the moment of a date or an instant.

    Raises
    ------
    CommandError
        It is none.
    """
    seconds = find_instant_s(text)
    if seconds is None:
        raise CommandError(
            f"{option} {show(text)}: expected {INSTANT_EXPECTED}", exit_code=EXIT_USAGE
        )
    return datetime.fromtimestamp(seconds, UTC)
