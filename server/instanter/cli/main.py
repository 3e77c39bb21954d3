"""The command `instanter`: which commands there are, and what happens when one fails.

Nothing heavy is imported here or at the top of a command's module: `instanter --help` and shell
completion cost little more than typer itself. Help is plain text and not rich's: importing
rich's help renderer alone takes longer than everything else that `--help` does.
"""

import io
import sys
from collections.abc import Sequence
from typing import NoReturn

import typer

from instanter.cli.apply_command import apply
from instanter.cli.assess_command import assess
from instanter.cli.bench_command import bench
from instanter.cli.cases_command import cases_app
from instanter.cli.config_command import config_app
from instanter.cli.decide_command import decide
from instanter.cli.demo_command import demo
from instanter.cli.explain_command import explain
from instanter.cli.failures import EXIT_INTERRUPTED, report
from instanter.cli.fit_command import fit
from instanter.cli.fraud_command import fraud_app
from instanter.cli.get_command import get
from instanter.cli.help_text import add_command
from instanter.cli.hotlist_command import hotlist_app
from instanter.cli.load_command import load_app
from instanter.cli.log_command import log_app
from instanter.cli.record_command import record_app
from instanter.cli.report_command import report_app
from instanter.cli.schema_command import schema_app
from instanter.cli.serve_command import serve
from instanter.cli.standard_streams import fill_in_closed
from instanter.cli.stock_command import stock_app
from instanter.cli.token_command import token
from instanter.cli.version_command import version
from instanter.cli.watch_command import watch_app

_EPILOG = """\
\b
First steps:
  instanter schema infer customers.parquet --key id -o shop/attributes.yaml
  instanter serve --data store &
  instanter apply -f shop
  instanter load customers customers.parquet --key id --data store
  instanter decide c-17 --channel web --offers 3

\b
Exit codes: 0 done, 1 refused (by the data, the server, the machine), 2 usage.
Settings: flag > INSTANTER_* > --config or ./instanter.toml > user's file > default.
`instanter COMMAND --help` shows examples; INSTANTER_DEBUG=1 shows tracebacks.
"""

app = typer.Typer(
    name="instanter",
    help="Decide in under a millisecond what is right for this customer, now.",
    epilog=_EPILOG,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
add_command(app, serve)
add_command(app, apply)
app.add_typer(load_app, name="load")
app.add_typer(record_app, name="record")
add_command(app, fit)
add_command(app, decide)
add_command(app, explain)
app.add_typer(report_app, name="report")
add_command(app, get)
add_command(app, token)
add_command(app, assess)
app.add_typer(hotlist_app, name="hotlist")
app.add_typer(cases_app, name="cases")
app.add_typer(fraud_app, name="fraud")
app.add_typer(stock_app, name="stock")
app.add_typer(watch_app, name="watch")
app.add_typer(schema_app, name="schema")
app.add_typer(log_app, name="log")
app.add_typer(config_app, name="config")
add_command(app, demo)
add_command(app, bench)
add_command(app, version)


def run(arguments: Sequence[str]) -> int:
    """Run the command, and return its exit code; whatever fails has been said on stderr.

    A reader that has seen enough (`| head`) ends it quietly: typer and rich see to that.
    """
    try:
        typer.main.get_command(app)(list(arguments), prog_name="instanter")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last door: nobody is shown a traceback
        return report(error)
    return 0


def main() -> NoReturn:
    """Run the command with the process's arguments and end the process."""
    fill_in_closed()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A locale without `µ` is no reason to fail.
            stream.reconfigure(errors="replace")
    sys.exit(run(sys.argv[1:]))
