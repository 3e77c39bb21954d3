"""`instanter apply`."""

from pathlib import Path
from typing import Annotated

import typer

from instanter.cli.options import (
    ConfigOption,
    JsonOption,
    OutputOption,
    ServerOption,
    TimeoutOption,
)


def apply(
    folder: Annotated[
        Path,
        typer.Option(
            "--folder",
            "-f",
            metavar="DIR",
            exists=True,
            help="Folder with the catalogue's YAML files, subfolders included.",
        ),
    ],
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would change, publish nothing.")
    ] = False,
    expect_revision: Annotated[
        int | None,
        typer.Option(
            "--expect-revision",
            metavar="N",
            help="Publish only on top of this revision; 0: only as the first.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="DIR",
            file_okay=False,
            help="Publish into this store without a server.",
        ),
    ] = None,
    server: ServerOption = None,
    timeout: TimeoutOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Publish a catalogue: all of it, or with any mistake nothing.

    Shows what it creates (+), updates (~) and deletes (-). Every decision uses either the old
    revision or the new one, whole; the new one within a second. With mistakes it lists them all
    with file and line, and ends with exit code 1.

    For example:
      instanter apply -f shop --dry-run
      instanter apply -f shop
      instanter apply -f shop --expect-revision 41
      instanter apply -f shop --data store

    What next: `instanter decide CUSTOMER --channel CHANNEL` decides with it.
    """
    from instanter.catalogue.folder import load_files
    from instanter.cli import publication
    from instanter.cli.configuration import load_settings
    from instanter.cli.failures import EXIT_USAGE, CommandError
    from instanter.cli.output import print_json

    if data is not None and server is not None:
        raise CommandError(
            "--server and --data exclude each other: publish through a server, or into a store",
            exit_code=EXIT_USAGE,
        )
    settings = load_settings(
        {
            "server": server,
            "timeout_s": timeout,
            "output": "json" if as_json else output,
        },
        config=config,
    )
    files = load_files(folder)
    if data is None:
        published = publication.publish_to_server(
            files, settings.configuration, dry_run=dry_run, expected_revision=expect_revision
        )
    else:
        published = publication.publish_to_store(
            files, data, dry_run=dry_run, expected_revision=expect_revision
        )
    if settings.wants_json:
        print_json(published)
    else:
        publication.show(published, dry_run=dry_run)
