"""Shows all processes of a node what has been learned, in a live score table."""

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from instanter.catalogue.compiled import CompiledCatalogue
from instanter.clock import Clock
from instanter.decision.live_table import LiveTableWriter, live_path
from instanter.decision.online_models import OnlineModels
from instanter.decision.scoring import ColumnLayout, make_blank_table, refresh_column
from instanter.keeper.published import PublishedCatalogue
from instanter.store.transaction import Readable

LIVE_FOLDER_NAME: Final = "live"


class LiveScores:
    """Writes the live table of the catalogue and the models in force; the learner's audience.

    Parameters
    ----------
    folder
        The store's folder.
    state
        Has the catalogue in force.
    clock
        Tells how long readers have had to leave a copy of the table.
    """

    def __init__(self, folder: Path, state: Readable, *, clock: Clock) -> None:
        self._folder = folder / LIVE_FOLDER_NAME
        self._state = state
        self._clock = clock
        self._published = PublishedCatalogue()
        self._catalogue: CompiledCatalogue | None = None
        self._columns: dict[str, int] = {}
        self._layout: ColumnLayout | None = None
        self._writer: LiveTableWriter | None = None

    def lay_out(self, models: OnlineModels | None, revision: int) -> None:
        """Take other models, or none, after a publication of a catalogue or models."""
        with self._state.read() as transaction:
            self._catalogue = self._published.load(transaction)
        self._writer = None
        if models is None or self._catalogue is None:
            return
        catalogue = self._catalogue
        self._columns = {offer.name: column for column, offer in enumerate(catalogue.offers)}
        table, self._layout = make_blank_table(models.plan, catalogue, revision=revision)
        for column, offer in enumerate(catalogue.offers):
            model = models.find_served(offer.name)
            refresh_column(table, self._layout, column, model, offer.prior_propensity)
        path = live_path(self._folder, catalogue.revision, revision, models.plan_digest)
        try:
            self._writer = LiveTableWriter(path, table, clock=self._clock)
        except OSError:
            # No room: decisions follow what is published, until the next publication.
            path.unlink(missing_ok=True)
            return
        # Processes that still have an older one mapped go on reading it until they look again.
        for old in self._folder.glob("score_table-*"):
            if old != path:
                with contextlib.suppress(OSError):
                    old.unlink()

    def refresh(self, models: OnlineModels, offers: Iterable[str]) -> None:
        """Take what the models of some offers are now."""
        if self._writer is None or self._layout is None or self._catalogue is None:
            return
        columns = sorted(self._columns[offer] for offer in offers if offer in self._columns)
        for column in columns:
            offer = self._catalogue.offers[column]
            model = models.find_served(offer.name)
            refresh_column(self._writer.table, self._layout, column, model, offer.prior_propensity)
        if columns:
            self._writer.publish(columns)
