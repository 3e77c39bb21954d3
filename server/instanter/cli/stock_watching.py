"""Watches stock alerts in a terminal or a pipe, and remembers how far it has come."""

import os
from pathlib import Path
from typing import Final

from instanter.cli.failures import EXIT_USAGE, CommandError
from instanter.cli.output import make_console, make_plain, print_json_line, print_note
from instanter.cli.stock_views import make_line, show_snapshot
from instanter.client import (
    Client,
    ClientError,
    DamagedError,
    StockAlertFilter,
    StockAlertProgress,
    StockAlertSeverity,
    StockAlertSnapshot,
    StockAlertTransition,
)
from instanter.errors import nearest, show

_SEVERITIES: Final = {each.name.lower(): each for each in StockAlertSeverity if each}
_TOKEN_SIZE_MAX: Final = 4_096


def read_severity(text: str) -> StockAlertSeverity:
    """Return the severity of a word; that of an empty one is any.

    Raises
    ------
    CommandError
        With exit code 2, when it is none.
    """
    if not text:
        return StockAlertSeverity.UNSPECIFIED
    found = _SEVERITIES.get(text.lower())
    if found is None:
        near = nearest(text, _SEVERITIES)
        hint = f"did you mean '{near}'?" if near else f"expected {', '.join(_SEVERITIES)}"
        raise CommandError(f"--severity {show(text)}: {hint}", exit_code=EXIT_USAGE)
    return found


class TokenFile:
    """Keeps the token of what was shown last, if there is a file for it.

    Parameters
    ----------
    path
        The file; None keeps nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._written = ""

    def check(self) -> None:
        """Do nothing if the token can be kept there.

        Raises
        ------
        CommandError
            Its folder is not there, or may not be written; or it is no plain file.
        """
        if self._path is None:
            return
        folder = self._path.parent
        # Asked for and not tried: a file that is made and removed may be that of another watch.
        if not os.access(folder, os.W_OK | os.X_OK):
            what = "cannot be written" if folder.is_dir() else "is not there"
            raise CommandError(f"--state {self._path}: its folder {what}")
        if self._path.exists() and not self._path.is_file():
            # What is new takes the place of what was: never that of a folder or a device.
            raise CommandError(f"--state {self._path}: is no plain file; name one for the token")

    def read(self) -> str:
        """Return the token; empty when there is none yet.

        Raises
        ------
        CommandError
            The file holds no token.
        """
        if self._path is None or not self._path.exists():
            return ""
        text = self._path.read_text("utf-8", "replace").strip()
        if len(text) > _TOKEN_SIZE_MAX or not text.isascii() or len(text.split()) > 1:
            raise CommandError(f"{self._path}: it holds no resume token")
        return text

    def write(self, token: str) -> None:
        """Replace the token, in one step: whoever is killed meanwhile has the old one.

        Raises
        ------
        CommandError
            It cannot be written.
        """
        if self._path is None or not token or token == self._written:
            return
        fresh = self._path.with_name(f"{self._path.name}.new")
        try:
            fresh.write_text(f"{token}\n", "utf-8")
            fresh.replace(self._path)
        except OSError as error:
            raise CommandError(f"--state {self._path}: {error.strerror}") from error
        self._written = token


class _AllToldError(Exception):
    """What has happened by now is told."""


def watch(
    client: Client,
    wanted: StockAlertFilter,
    *,
    resume_token: str,
    state: Path | None,
    open_first: bool,
    once: bool,
    count: int | None,
    as_json: bool,
) -> None:
    """Show what is open and what changes, until somebody ends it.

    Parameters
    ----------
    client
        Connected to the server.
    wanted
        Which alerts.
    resume_token, state
        Where to go on, and the file that keeps it; a token that is given wins.
    open_first
        Whether to begin with what is open, when there is nothing to go on behind.
    once
        Whether to end when all is told that has happened by now.
    count
        Changes after which it ends; None for never.
    as_json
        One object a line.

    Raises
    ------
    CommandError
        The file holds no token, or cannot be written.
    """
    kept = TokenFile(state)
    kept.check()
    token = resume_token or kept.read()
    # A server that is not there is told at once; one that goes away later is waited for.
    client.get_catalogue()
    view = _View(kept, once=once, count=count, as_json=as_json)
    while True:
        news = client.stock.watch_stock_alerts(
            wanted,
            resume_token=token,
            open_alerts_first=open_first and not token,
            on_progress=view.note_progress,
            on_lost=_tell_lost,
        )
        try:
            for told in news:
                view.show(told)
        except _AllToldError:
            return
        except DamagedError as error:
            token = error.metadata.get("resume_token", "")
            if not token:
                raise
            print_note(f"error: {error.message}")
            kept.write(token)


class _View:
    """Shows what is told, writes down how far it has come, and knows when it is enough."""

    def __init__(self, kept: TokenFile, *, once: bool, count: int | None, as_json: bool) -> None:
        self._kept = kept
        self._once = once
        self._left = count
        self._as_json = as_json

    def show(self, told: StockAlertTransition | StockAlertSnapshot) -> None:
        if self._as_json:
            kind = "transition" if isinstance(told, StockAlertTransition) else "snapshot"
            print_json_line({"told": kind, **make_plain(told)})
        elif isinstance(told, StockAlertTransition):
            make_console().print(make_line(told), soft_wrap=True)
        else:
            show_snapshot(told)
        self._kept.write(told.resume_token)
        if self._left is not None and isinstance(told, StockAlertTransition):
            self._left -= 1
        if self._left == 0 or (self._once and isinstance(told, StockAlertSnapshot)):
            raise _AllToldError

    def note_progress(self, progress: StockAlertProgress) -> None:
        self._kept.write(progress.resume_token)
        if self._once:
            raise _AllToldError


def _tell_lost(failure: ClientError | None, _: float) -> None:
    told = "the server has ended the stream" if failure is None else failure.message
    print_note(f"{told}; going on as soon as it can be reached")
