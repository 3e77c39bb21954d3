"""`instanter token`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer


def token(
    unexpected: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    *,
    key: Annotated[
        Path,
        typer.Option(
            "--key", metavar="FILE", help="File with the secret key, readable by you alone (0600)."
        ),
    ],
    tenant: Annotated[
        str, typer.Option("--tenant", metavar="NAME", help="Whose tokens: others have others.")
    ] = "default",
    make_key: Annotated[
        bool, typer.Option("--make-key", help="Make a new key file, and no tokens.")
    ] = False,
    with_bin: Annotated[
        bool, typer.Option("--bin", help="Write the first 8 digits behind each token too.")
    ] = False,
) -> None:
    """Make the tokens that stand for cards: one number a line on standard input, one token back.

    A token is HMAC-SHA-256 of the digits under a key derived from the file's and the tenant. The
    numbers are read from standard input only: arguments are seen by everybody on the machine, and
    kept by shells. Nothing of them is written anywhere.

    For example:
      instanter token --key shop.key --make-key
      instanter token --key shop.key < card-numbers.txt
      instanter token --key shop.key --tenant north --bin < card-numbers.txt

    What next: `instanter hotlist add cards TOKEN` stops a card.
    """
    from instanter.cli.failures import EXIT_USAGE, CommandError
    from instanter.client import TokenMaker, make_key_file

    if unexpected:
        # What was given may be a card number: it is not repeated.
        raise CommandError(
            "card numbers are read from standard input only, never from arguments",
            hint="write them into a pipe, one a line: instanter token --key FILE < numbers",
            exit_code=EXIT_USAGE,
        )
    if make_key:
        try:
            make_key_file(key)
        except FileExistsError as error:
            raise CommandError(f"{key} is there already: its key may be in use") from error
        typer.echo(f"{key} has a new key, for you alone; whoever loses it loses all tokens")
        return
    try:
        maker = TokenMaker.from_file(key, tenant)
    except (PermissionError, ValueError) as error:
        raise CommandError(str(error)) from error
    for number, line in enumerate(_read_lines(), 1):
        if not line.strip():
            continue
        try:
            made = maker.make(line.strip())
        except ValueError as error:
            raise CommandError(f"line {number} of standard input: {error}") from None
        digits = "".join(character for character in line if character.isdigit())
        typer.echo(f"{made}\t{digits[:8]}" if with_bin else made)


def _read_lines() -> Iterator[str]:
    """Yield the lines of standard input; at a terminal one, which is not shown."""
    from instanter.cli.standard_streams import open_input

    lines = open_input()
    if lines.isatty():
        yield typer.prompt("Card number", hide_input=True, err=True)
        return
    yield from lines
