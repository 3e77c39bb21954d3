"""A keeper over a store in a folder, and commands to try it with."""

import io
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from instanter.clock import Clock, SystemClock
from instanter.events_log import make_events_log
from instanter.keeper.commands import ApplyContext
from instanter.keeper.compiler import LocalCompiler
from instanter.keeper.customers import DeleteCustomer, SlotChange, UpdateCustomer
from instanter.keeper.keeper import OnSynced
from instanter.keeper.opening import KeptStore
from instanter.keeper.published import PublishedCatalogue
from instanter.keeper.publishing import CataloguePublisher
from instanter.keeper.records import RecordKind
from instanter.keeper.voiding import VoidRecord
from instanter.metrics import Metrics
from instanter.store.log.retention import Retention
from instanter.store.profiles import load_profile
from instanter.store.records import key_of
from instanter.store.transaction import Transaction

SHOP = {
    "shop.yaml": """\
currency: EUR
channels: {web: [home]}
attributes:
  - {name: age, kind: number}
  - {name: visits, kind: number}
offers:
  - {name: tea, treatments: [{channel: web}], value_minor: 200}
"""
}


@dataclass(frozen=True)
class Gate:
    """A command that holds the keeper's thread up until it is opened; leaves no trace."""

    begun: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)

    @property
    def kind(self) -> RecordKind:
        return RecordKind.VOID

    def prepare(self, transaction: Transaction, now_ns: int, context: ApplyContext) -> bytes:
        self.begun.set()
        assert self.opened.wait(20)
        return VoidRecord(0).prepare(transaction, now_ns, context)


@dataclass(frozen=True)
class Failing:
    """A command with a mistake of ours in it."""

    error: BaseException

    @property
    def kind(self) -> RecordKind:
        return RecordKind.VOID

    def prepare(self, transaction: Transaction, now_ns: int, context: ApplyContext) -> bytes:
        raise self.error


class Desk:
    """A keeper over a store, with a published catalogue of two numbers."""

    def __init__(
        self,
        folder: Path,
        clock: Clock | None = None,
        on_synced: OnSynced | None = None,
        retention: Retention | None = None,
    ) -> None:
        self.folder = folder
        self.metrics = Metrics()
        self.written = io.StringIO()
        self.clock = clock or SystemClock()
        self.kept = KeptStore.open(
            folder,
            clock=self.clock,
            metrics=self.metrics,
            events_log=make_events_log(self.written, as_json=True),
            on_synced=on_synced,
            retention=retention,
        )
        self.keeper = self.kept.keeper

    def publish(self, files: dict[str, str] | None = None) -> int:
        publisher = CataloguePublisher(
            self.kept.state,
            compiler=LocalCompiler(),
            submit=self.keeper.submit,
            published=PublishedCatalogue(),
            clock=self.clock,
        )
        done = publisher.apply(
            files or SHOP, validate_only=False, expected_revision=None, deadline_ns=None
        )
        assert done.catalogue is not None
        return done.catalogue.revision

    def put(self, name: str, value: int = 1, **given: Any) -> Future[Any]:
        return self.keeper.submit(make_put(name, value), **given)

    def delete(self, name: str) -> Future[Any]:
        return self.keeper.submit(DeleteCustomer(name, allow_missing=False))

    def get(self, name: str) -> int | None:
        with self.kept.state.read() as transaction:
            profile = load_profile(transaction, key_of(name), 2)
            return None if profile is None else int(profile.slots[0])

    def hold(self) -> Callable[[], None]:
        """Keep the keeper's thread busy until what is returned is called."""
        gate = Gate()
        self.keeper.submit(gate)
        assert gate.begun.wait(20)
        return gate.opened.set

    def close(self) -> None:
        self.kept.close()


def make_put(name: str, value: int) -> UpdateCustomer:
    """Return the command that writes a customer's first slot and clears the second."""
    return UpdateCustomer(
        name, lambda _: SlotChange((0,), (value,), replaces_all=True), allow_missing=True
    )


@contextmanager
def open_desk(
    folder: Path, clock: Clock | None = None, on_synced: OnSynced | None = None
) -> Iterator[Desk]:
    """Open a desk and close it."""
    desk = Desk(folder, clock, on_synced)
    try:
        yield desk
    finally:
        desk.close()
