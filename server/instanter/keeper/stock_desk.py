"""What the commands of the stock side share: the engine, and what was prepared this moment."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from instanter.catalogue.compiled import CompiledCatalogue
from instanter.catalogue.stock import StockPlan
from instanter.errors import CatalogueMissingError, PreconditionError
from instanter.kernels.stock_moves import COUNT, TRANSFER
from instanter.kernels.stock_rows import (
    COUNTED_MS,
    MOVE_COLUMNS,
    MOVE_DESTINATION,
    MOVE_KIND,
    MOVE_POSITION,
    MOVE_TIME,
    PLACE_PROFILE,
    PROFILE_WORDS,
    STATE_WORDS,
)
from instanter.stock.engine import StockEngine
from instanter.stock.questions import Batch
from instanter.store.stock_positions import (
    HEAD_WORDS,
    Rows,
    load_positions,
    load_profiles,
    position_key,
    site_key,
)
from instanter.store.transaction import Transaction

NO_MOVES: Final[NDArray[np.int64]] = np.zeros((0, MOVE_COLUMNS), np.int64)
"""The movements of a batch that only names positions."""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Rows of the store as the engine works on them.

    Attributes
    ----------
    batch
        Which positions and sites, and the movements, if there are any.
    positions, profiles
        Rows of `batch.positions` and of `batch.sites`.
    states
        int64[P, STATE_WORDS], written: a copy of what `positions` hold behind their heads.
    """

    batch: Batch
    positions: Rows
    profiles: Rows
    states: NDArray[np.int64]

    @property
    def profile_words(self) -> NDArray[np.float64]:
        """float64[S, PROFILE_WORDS], written: a view of `profiles`."""
        return self.profiles.words.view(np.float64)

    def collect(self) -> None:
        """Put the states back behind the heads."""
        self.positions.words[:, HEAD_WORDS:] = self.states


class Prepared(NamedTuple):
    """What preparing a record has loaded, for applying it right after.

    Attributes
    ----------
    packed
        The body of the record.
    table
        What it needs, as it is before the record.
    ids
        Keys and digests of the movements' ids.
    """

    packed: bytes
    table: Table
    ids: list[tuple[bytes, bytes]]


class StockDesk:
    """The engine, and what goes with a catalogue. Belongs to the thread that carries out commands.

    Attributes
    ----------
    engine
        Ready after `open`.
    plan
        What the catalogue declares.
    catalogue
        The catalogue itself.
    stocked
        bool[units]: whether an offer's availability depends on the unit; None when no offer's does.
    offers
        Names of the offers tied to a unit, by the unit's name.
    regions
        Names of the sites of each region, in their order.
    prepared
        The record that was prepared last. It says the same, and is what counts.
    """

    __slots__ = ("catalogue", "engine", "offers", "plan", "prepared", "regions", "stocked")

    def __init__(self) -> None:
        self.engine = StockEngine()
        self.prepared: Prepared | None = None
        self.catalogue: CompiledCatalogue | None = None
        self.plan: StockPlan | None = None
        self.stocked: NDArray[np.bool_] | None = None
        self.offers: dict[str, list[str]] = {}
        self.regions: dict[str, list[str]] = {}

    def install(self, catalogue: CompiledCatalogue) -> None:
        """Use a catalogue from now on; costs nothing when it is the one in use."""
        plan = catalogue.stock
        if plan is None or self.catalogue is catalogue:
            return
        self.engine.install(catalogue)
        self.plan = plan
        self.stocked = None
        if plan.stocked_units:
            self.stocked = np.zeros(len(plan.units), np.bool_)
            self.stocked[list(plan.stocked_units)] = True
        self.offers = {}
        for offer in catalogue.offers:
            if offer.stock_keeping_unit in plan.unit_index:
                self.offers.setdefault(offer.stock_keeping_unit, []).append(offer.name)
        self.regions = {}
        for site in plan.sites:
            self.regions.setdefault(site.region, []).append(site.name)
        self.catalogue = catalogue

    def open(self, catalogue: CompiledCatalogue | None) -> StockPlan:
        """Make all ready for a command or a record, and return what the catalogue declares.

        Parameters
        ----------
        catalogue
            The one in force.

        Raises
        ------
        CatalogueMissingError
            No catalogue has been published.
        PreconditionError
            It says nothing about stock; reason STOCK_MISSING.
        """
        if catalogue is None:
            raise CatalogueMissingError
        if catalogue.stock is None:
            raise PreconditionError(
                "the catalogue has no `stock:` section, so no stock is kept; publish one that has",
                reason="STOCK_MISSING",
            )
        self.install(catalogue)
        return catalogue.stock


def load_table(transaction: Transaction, batch: Batch) -> Table:
    """Return what a batch needs, as it is stored."""
    keys = [position_key(site, unit) for site, unit in batch.positions]
    positions = load_positions(transaction, keys, STATE_WORDS)
    profiles = load_profiles(transaction, [site_key(site) for site in batch.sites], PROFILE_WORDS)
    states = np.ascontiguousarray(positions.words[:, HEAD_WORDS:])
    return Table(batch, positions, profiles, states)


def put_behind_counts(table: Table, now_ms: int) -> None:
    """Let what happens now have happened after the counts that came before it.

    A count has in it what happened at its own time. Whoever says no time, or one that is not over
    yet, has the server's, which is that of many movements: each would be in a count of the same
    millisecond, and lost. So it gets the first time behind it.

    Parameters
    ----------
    table
        Of movements that are to be checked; the times of some in its batch are written.
    now_ms
        The server's time, milliseconds since 1970. No movement is later.
    """
    rows = table.batch.rows
    counted = table.states[:, COUNTED_MS]
    if not ((counted >= now_ms).any() or (rows[:, MOVE_KIND] == COUNT).any()):
        return
    counted_ms: list[int] = counted.tolist()
    for row in rows:
        kind, position = int(row[MOVE_KIND]), int(row[MOVE_POSITION])
        if row[MOVE_TIME] >= now_ms:
            behind_ms = counted_ms[position] + 1
            if kind == TRANSFER:
                behind_ms = max(behind_ms, counted_ms[row[MOVE_DESTINATION]] + 1)
            row[MOVE_TIME] = max(row[MOVE_TIME], behind_ms)
        if kind == COUNT:
            counted_ms[position] = max(counted_ms[position], int(row[MOVE_TIME]))


def gather(
    engine: StockEngine, positions: Sequence[tuple[str, str]], moves: NDArray[np.int64]
) -> Batch:
    """Return a batch of movements that were laid out before, by the catalogue in force now.

    Parameters
    ----------
    engine
        With that catalogue.
    positions
        Site and unit of each.
    moves
        int64[N, MOVE_COLUMNS], read-only: `Batch.rows` of these positions.
    """
    sites = {site: index for index, site in enumerate(dict.fromkeys(p[0] for p in positions))}
    places = engine.place(positions)
    places[:, PLACE_PROFILE] = [sites[site] for site, _ in positions]
    return Batch(moves, places, tuple(positions), tuple(sites))
