"""The whole of `instanter bench`: ask once, measure, show."""

from pathlib import Path

from instanter.cli.bench.crew import run_plan
from instanter.cli.bench.customers import read_customers, sample_customers
from instanter.cli.bench.page import make_page
from instanter.cli.bench.plan import Load, Plan, Question
from instanter.cli.bench.report import Report, make_report
from instanter.cli.bench.view import show_report
from instanter.cli.configuration import Settings
from instanter.cli.failures import EXIT_INTERRUPTED, EXIT_REFUSED, CommandError
from instanter.cli.output import make_console, print_json, print_note
from instanter.cli.progress import show_progress
from instanter.cli.server_connection import connect, make_tls
from instanter.clock import SystemClock


def run_bench(
    settings: Settings, question: Question, load: Load, customers: Path | None, page: Path | None
) -> int:
    """Measure a server and show how fast it decides; return the exit code.

    Parameters
    ----------
    settings
        Name the server, how long a call may take, and how results are shown.
    question, load
        What is asked, and how hard.
    customers
        File with the ids to ask for; None for a sample of the server's own.
    page
        Where to write the report as HTML; None for nowhere.

    Raises
    ------
    CommandError
        The server cannot be reached or refuses the question, or there are no customers.
    OSError
        A file cannot be read or written.
    """
    configuration = settings.configuration
    clock = SystemClock()
    if page is not None and not page.parent.is_dir():
        # Known before the measuring and not after it.
        raise CommandError(f"--html {page}: there is no folder '{page.parent}'")
    with connect(configuration) as client:
        ids = (
            sample_customers(client, load.seed, clock)
            if customers is None
            else read_customers(customers)
        )
        answer = client.decide_offers(
            ids[0],
            question.channel,
            question.placement,
            question.offer_count,
            question.context,
        )
    plan = Plan(
        configuration.server, make_tls(configuration), question, load, ids, configuration.timeout_s
    )
    with show_progress("measuring", "calls", clock) as tell:
        tally, is_cut_short = run_plan(plan, clock, lambda count: tell(count, 0))
    report = make_report(
        plan,
        tally,
        catalogue_revision=answer.catalogue_revision,
        model_revision=answer.model_revision,
        is_cut_short=is_cut_short,
    )
    _show(report, page, as_json=settings.wants_json)
    if is_cut_short:
        return EXIT_INTERRUPTED
    return EXIT_REFUSED if report.errors or not report.decisions else 0


def _show(report: Report, page: Path | None, *, as_json: bool) -> None:
    if as_json:
        print_json(report)
    else:
        show_report(report, make_console())
    if page is not None:
        page.write_text(make_page(report), encoding="utf-8")
        print_note(f"the same as a page: {page}")
