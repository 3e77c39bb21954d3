"""Options that several commands share; each says where its default comes from.

Every default is None here: `configuration.py` finds the value by flag, environment, file and
default, in that order.
"""

from pathlib import Path
from typing import Annotated

import typer

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Read settings from this file instead of ./instanter.toml.",
        envvar="INSTANTER_CONFIG",
        show_envvar=False,
    ),
]

DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="Folder of the store. [INSTANTER_DATA_FOLDER; default: instanter-data]",
    ),
]

ServerOption = Annotated[
    str | None,
    typer.Option(
        "--server",
        "-s",
        metavar="HOST:PORT",
        help="Server to ask. [INSTANTER_SERVER; default: 127.0.0.1:7878]",
    ),
]

TimeoutOption = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        help="How long to wait for an answer. [INSTANTER_TIMEOUT_S; default: 10]",
    ),
]

OutputOption = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="text|json",
        help="How to show the result. [INSTANTER_OUTPUT; default: text]",
    ),
]

JsonOption = Annotated[bool, typer.Option("--json", help="The same as -o json.")]
