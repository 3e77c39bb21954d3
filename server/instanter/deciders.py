"""What a process decides with: its engines, and the published tables that they decide by."""

import asyncio
import itertools
import secrets
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from instanter.clock import Clock
from instanter.decision.engine import DecisionEngine
from instanter.decision.published import (
    NOTHING_PUBLISHED,
    Revisions,
    find_revisions,
    load_tables,
)
from instanter.decision.recording import Recorder
from instanter.decision.reservations import Reservations
from instanter.errors import InstanterError
from instanter.events_log import DamagedRecords, EventsLog
from instanter.kernels.table import count_compiled
from instanter.limits import REVISION_POLL_NS
from instanter.metrics import Metrics
from instanter.store.transaction import Readable

_POLL_S: Final = REVISION_POLL_NS / 1e9

_COUNT_TURNS: Final = 50
"""Turns of the watch between two counts of compiled kernels, which take 2 ms of the event loop."""


class Deciders:
    """The engines of one process, kept up to date with what is published.

    Parameters
    ----------
    store
        The store that is read.
    clock, log, metrics
        Time, the events log, and what counts.
    record
        Takes what each turn leaves in the log; None when decisions are not recorded.
    live_folder
        Where the live tables of what is being learned are, and the reservations that all processes
        share; None to follow and share none.

    Attributes
    ----------
    engine, batch_engine
        One for the event loop, one for the thread of batches.
    """

    def __init__(
        self,
        store: Readable,
        *,
        clock: Clock,
        log: EventsLog,
        metrics: Metrics,
        record: Recorder | None = None,
        live_folder: Path | None = None,
    ) -> None:
        self._store = store
        self._log = log
        self._metrics = metrics
        self._revisions = NOTHING_PUBLISHED
        self._refused = NOTHING_PUBLISHED
        self._refreshing = threading.Lock()
        self._live_folder = live_folder
        self._live_path: Path | None = None
        reservations = Reservations(live_folder, clock=clock)
        self.engine, self.batch_engine = (
            DecisionEngine(
                store,
                clock,
                # Each belongs to one thread and names its decisions apart.
                decision_id_prefix=secrets.token_hex(8),
                on_damaged=DamagedRecords(log=log, metrics=metrics, clock=clock),
                record=record,
                reservations=reservations,
                call_later=call_later,
            )
            for call_later in (_call_after_answers, None)
        )

    def refresh(self) -> bool:
        """Use the newest published catalogue and models; return whether there were newer ones.

        What cannot be read (damaged, or written by a newer version) is logged once a revision and
        not used: models give way to the newest that can be read, a catalogue to the one that
        decides already. May be called on any thread.
        """
        with self._refreshing:
            return self._refresh()

    async def watch(self) -> None:
        """Look for newer publications ten times a second, for late compilations now and then."""
        compiled_count = count_compiled()
        for turn in itertools.count():
            await asyncio.sleep(_POLL_S)
            if turn % _COUNT_TURNS == 0:
                self._metrics.kernels_compiled_late_count = count_compiled() - compiled_count
            try:
                # Looking costs microseconds; laying out new tables takes a thread's while.
                if find_revisions(self._store) != self._revisions or self._has_live():
                    await asyncio.to_thread(self.refresh)
            except InstanterError as error:
                self._log.error("publication_unreadable", message=error.message)
            except Exception as error:  # noqa: BLE001 - the watch outlives every bug it meets
                self._log.error("publication_watch_failed", exc_info=error)

    def _refresh(self) -> bool:
        """Do what `refresh` promises; only one thread at a time does."""
        revisions = find_revisions(self._store)
        if revisions in (self._revisions, self._refused) and not self._has_live():
            return False
        try:
            tables = load_tables(self._store, self._log_refused, self._live_folder)
        except InstanterError as error:
            self._refused = revisions
            self._log_refused(error)
            return False
        if tables is not None:
            self._live_path = tables.live_path
            self.engine.install(tables)
            self.batch_engine.install(tables)
            self._metrics.catalogue_revision = tables.catalogue.revision
            self._metrics.model_revision = tables.score_table.revision
            found = Revisions(tables.catalogue.revision, tables.score_table.revision)
            self._log.info("publication_installed", catalogue=found.catalogue, models=found.models)
        self._revisions = revisions
        return True

    def _has_live(self) -> bool:
        """Return whether there is now a live table that was not there when tables were made."""
        return self._live_path is not None and self._live_path.exists()

    def _log_refused(self, error: InstanterError) -> None:
        self._log.error("publication_refused", reason=error.reason, message=error.message)


def _call_after_answers(function: Callable[[], None]) -> None:
    """Call a function when this turn of the event loop is over, and its answers have left."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        # Nobody serves: an embedding program asks the engine itself.
        function()
    else:
        loop.call_soon(function)
