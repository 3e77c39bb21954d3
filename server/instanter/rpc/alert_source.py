"""What subscribers of stock alerts are told, read from the store and encoded once for all."""

from collections import OrderedDict
from dataclasses import dataclass
from itertools import islice
from typing import Final

from instanter.catalogue.stock import StockPlan
from instanter.errors import DamagedError
from instanter.keeper.published import PublishedCatalogue
from instanter.keeper.stock_alert_book import (
    AlertTransition,
    StockAlert,
    scan_open_alerts,
    unpack_transition,
)
from instanter.rpc.resume_tokens import ResumeTokens
from instanter.rpc.stock_messages import encode_progress, encode_transition
from instanter.store.stock_alert_log import (
    AlertExtent,
    load_extent,
    load_transition,
)
from instanter.store.transaction import Readable, Transaction

_KEPT_MAX: Final = 2_048
"""Transitions that are kept decoded and encoded: 5 MB. Whoever comes back after a moment is told
from them."""


class ToldTransition:
    """A transition with its message.

    Attributes
    ----------
    sequence, alert
        As in `AlertTransition`.
    """

    __slots__ = ("_raw", "_tokens", "_transition", "alert", "sequence")

    def __init__(self, transition: AlertTransition, tokens: ResumeTokens) -> None:
        self.sequence = transition.sequence
        self.alert = transition.alert
        self._transition = transition
        self._tokens = tokens
        self._raw = b""

    def encode(self) -> bytes:
        """Return its message, the same for everybody; made when somebody is told."""
        if not self._raw:
            token = self._tokens.format(self.sequence)
            self._raw = encode_transition(self._transition, token)
        return self._raw


@dataclass(frozen=True, slots=True)
class AlertSlice:
    """Some transitions that follow one another, and what else the snapshot says.

    Attributes
    ----------
    told
        The transitions; none when there is none yet, or the first of them is not kept any more.
    extent
        Which transitions are there.
    plan
        What the catalogue declares of stock; None for nothing.
    is_ready
        Whether the catalogue of the snapshot is decoded already. Else nothing else is said: nobody
        is told of anything by another one.
    """

    told: list[ToldTransition]
    extent: AlertExtent
    plan: StockPlan | None = None
    is_ready: bool = True


class AlertSource:
    """Reads transitions and open alerts. For one event loop.

    Parameters
    ----------
    store
        The store that is read.
    published
        Knows the catalogue in force.
    tokens
        Makes resume tokens.
    """

    def __init__(
        self, store: Readable, *, published: PublishedCatalogue, tokens: ResumeTokens
    ) -> None:
        self._store = store
        self._published = published
        self._tokens = tokens
        self._kept: OrderedDict[int, ToldTransition] = OrderedDict()
        self._progress = (-1, b"")

    def load_plan(self) -> StockPlan | None:
        """Return what the catalogue in force declares of stock; None for nothing. On a thread.

        Raises
        ------
        DamagedError
            The catalogue is damaged.
        """
        with self._store.read() as transaction:
            return self._load_plan(transaction)

    def load_extent(self) -> AlertExtent:
        """Return which transitions are there, on disk or not yet."""
        with self._store.read() as transaction:
            return load_extent(transaction)

    def find_newest(self, synced_sequence: int) -> int:
        """Return the number of the newest transition that is on disk, or of the one before all.

        Parameters
        ----------
        synced_sequence
            Up to where the log is on disk.
        """
        with self._store.read() as transaction:
            first, newest = load_extent(transaction)
            while newest >= first:
                try:
                    if load_transition(transaction, newest).record_sequence <= synced_sequence:
                        break
                except DamagedError:
                    # It has been there for a while: whoever follows is told when it comes to it.
                    break
                newest -= 1
        return newest

    def read(self, after: int, limit: int, synced_sequence: int) -> AlertSlice:
        """Return the transitions behind one.

        Parameters
        ----------
        after
            The number before the first that is wanted.
        limit
            How many at most: each that is not known yet costs 13 µs.
        synced_sequence
            Up to where the log is on disk: what is not yet is not told.

        Raises
        ------
        DamagedError
            The first of them is damaged; its `metadata` names it as `sequence`.
        """
        told: list[ToldTransition] = []
        with self._store.read() as transaction:
            extent = load_extent(transaction)
            if not self._published.is_loaded(transaction):
                return AlertSlice(told, extent, is_ready=False)
            plan = self._load_plan(transaction)
            if after + 1 >= extent.first:
                for sequence in range(after + 1, min(extent.last, after + limit) + 1):
                    try:
                        found = self._find(transaction, sequence, synced_sequence)
                    except DamagedError:
                        if not told:
                            raise
                        break
                    if found is None:
                        break
                    told.append(found)
        return AlertSlice(told, extent, plan)

    def read_open(self, after: int, limit: int) -> list[StockAlert]:
        """Return open alerts in the order of their numbers, those behind one."""
        with self._store.read() as transaction:
            return list(islice(scan_open_alerts(transaction, after), limit))

    def encode_progress(self, sequence: int) -> bytes:
        """Return the message that says that all up to a transition has been told."""
        if self._progress[0] != sequence:
            raw = encode_progress(sequence, self._tokens.format(sequence))
            self._progress = (sequence, raw)
        return self._progress[1]

    def _find(
        self, transaction: Transaction, sequence: int, synced_sequence: int
    ) -> ToldTransition | None:
        """Return one transition, or None when it is not on disk yet."""
        found = self._kept.get(sequence)
        if found is not None:
            return found
        logged = load_transition(transaction, sequence)
        if logged.record_sequence > synced_sequence:
            return None
        found = ToldTransition(unpack_transition(logged), self._tokens)
        self._kept[sequence] = found
        if len(self._kept) > _KEPT_MAX:
            self._kept.popitem(last=False)
        return found

    def _load_plan(self, transaction: Transaction) -> StockPlan | None:
        catalogue = self._published.load(transaction)
        return None if catalogue is None else catalogue.stock
