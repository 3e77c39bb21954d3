"""What was sent to a server and what it acknowledged, kept outside of it; and the comparison."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import grpc

from instanter.v1.attribute_value_pb2 import AttributeValue
from instanter.v1.catalogue_service_pb2 import ApplyCatalogueRequest, CatalogueFile
from instanter.v1.catalogue_service_pb2_grpc import CatalogueServiceStub
from instanter.v1.customer_service_pb2 import Customer, GetCustomerRequest, UpdateCustomerRequest
from instanter.v1.customer_service_pb2_grpc import CustomerServiceStub
from instanter.v1.decision_service_pb2_grpc import DecisionServiceStub
from instanter.v1.event_service_pb2 import Event, RecordEventsRequest
from instanter.v1.event_service_pb2_grpc import EventServiceStub

SHOP = """\
currency: EUR
channels: {web: []}
holdout: {rate: 0.0}
attributes:
  - {name: age, kind: number, range: [0, 1000000000]}
  - {name: purchases, kind: number, source: derived,
     derive: {event: purchase, function: count, window: 90d}}
  - {name: spend, kind: number, source: derived,
     derive: {event: purchase, function: sum, field: amount, window: 90d}}
  - {name: largest, kind: number, source: derived,
     derive: {event: purchase, function: maximum, field: amount, window: 90d}}
events:
  - name: purchase
    fields: [{name: amount, kind: number, range: [0, 100000], required: true}]
offers:
  - name: espresso
    value_minor: 100
    prior_propensity: 0.1
    treatments: [{channel: web}]
"""
CUSTOMERS_EACH = 5
"""Customers of one writer; nobody else writes them."""

_PASSING = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}
"""What a writer may hear while something fails, and answers with the same request again."""


class Door:
    """A connection of its own to a server: others of its address do not share how it backs off."""

    def __init__(self, address: str) -> None:
        options = (("grpc.use_local_subchannel_pool", 1),)
        self.channel = grpc.insecure_channel(address, options=options)
        self.customers = CustomerServiceStub(self.channel)
        self.events = EventServiceStub(self.channel)
        self.decisions = DecisionServiceStub(self.channel)
        self.catalogue = CatalogueServiceStub(self.channel)

    def __enter__(self) -> "Door":
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()

    def publish(self, text: str = SHOP) -> None:
        files = [CatalogueFile(path="shop.yaml", content=text)]
        self.catalogue.ApplyCatalogue(ApplyCatalogueRequest(files=files), timeout=60)

    def get(self, customer: str) -> Customer | None:
        """Return a customer, None when there is none."""
        try:
            asked = GetCustomerRequest(name=f"customers/{customer}")
            return self.customers.GetCustomer(asked, timeout=20)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return None
            raise


def read_numbers(customer: Customer) -> dict[str, float]:
    """Return a customer's attributes that are numbers."""
    return {name: value.number_value for name, value in customer.attributes.items()}


def make_event(event_id: str, customer: str, amount: int) -> Event:
    fields = {"amount": AttributeValue(number_value=amount)}
    name = f"customers/{customer}"
    return Event(event_id=event_id, customer=name, kind="purchase", fields=fields)


def make_update(request_id: str, customer: str, age: int) -> UpdateCustomerRequest:
    return UpdateCustomerRequest(
        customer=Customer(
            name=f"customers/{customer}", attributes={"age": AttributeValue(number_value=age)}
        ),
        allow_missing=True,
        request_id=request_id,
    )


@dataclass
class Write:
    """One write, as it is sent until it is acknowledged.

    Attributes
    ----------
    customer
        Whom it changes.
    events, update
        What is sent: one of them.
    tries
        How often it was sent.
    acknowledged_at
        Time of the wall clock in seconds, None before.
    """

    customer: str
    events: RecordEventsRequest | None = None
    update: UpdateCustomerRequest | None = None
    tries: int = 0
    acknowledged_at: float | None = None

    @property
    def amounts(self) -> list[float]:
        listed = self.events.events if self.events is not None else []
        return [event.fields["amount"].number_value for event in listed]

    def send(self, door: Door, timeout_s: float) -> None:
        """Send it once more, and check the reply; raises when there was none."""
        self.tries += 1
        if self.update is not None:
            reply = door.customers.UpdateCustomer(self.update, timeout=timeout_s)
            sent = self.update.customer.attributes["age"].number_value
            replied = read_numbers(reply)
            assert replied.get("age") == sent, f"{sent} replied as {replied}, try {self.tries}"
        else:
            assert self.events is not None
            counts = door.events.RecordEvents(self.events, timeout=timeout_s)
            told = (counts.recorded_count, counts.duplicate_count)
            size = len(self.events.events)
            allowed = {(size, 0)} if self.tries == 1 else {(size, 0), (0, size)}
            assert told in allowed, f"{told} of {size} at try {self.tries}"
        self.acknowledged_at = time.time()


@dataclass
class Account:
    """What one writer has done, in its order; at most the last write is not acknowledged."""

    writer: str
    writes: list[Write] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def begin(self) -> Write:
        """Return the write that is to be acknowledged next."""
        if self.writes and self.writes[-1].acknowledged_at is None:
            return self.writes[-1]
        number = next(self.numbers)
        customer = f"{self.writer}c{number % CUSTOMERS_EACH}"
        made = Write(customer)
        if number % 3 == 2:
            made.update = make_update(f"{self.writer}-{number}", customer, number)
        else:
            made.events = RecordEventsRequest(
                events=[
                    make_event(f"{self.writer}-{number}-{part}", customer, 1 + number % 97 + part)
                    for part in range(1 + number % 4)
                ]
            )
        self.writes.append(made)
        return made


class Ledger:
    """Writers, each with a connection and customers of its own, and what they have achieved.

    Parameters
    ----------
    address
        Where they connect to.
    count
        How many there are.
    letter
        What their names begin with: those of two ledgers on one server differ.
    timeout_s
        How long they wait for a reply.
    """

    def __init__(
        self, address: str, count: int = 8, *, letter: str = "w", timeout_s: float = 3.0
    ) -> None:
        self.address = address
        self.accounts = [Account(f"{letter}{number}") for number in range(count)]
        self.timeout_s = timeout_s
        self.mistakes: list[str] = []
        self.refused: dict[str, int] = {}

    @property
    def writes(self) -> list[Write]:
        """All writes that were acknowledged."""
        return [w for a in self.accounts for w in a.writes if w.acknowledged_at is not None]

    def write(self, until: Callable[[], bool], time_s: float = 60.0) -> None:
        """Let all writers write until something holds; what is under way then stays unknown."""
        stop = threading.Event()
        threads = [
            threading.Thread(target=self._run, args=(account, stop)) for account in self.accounts
        ]
        for thread in threads:
            thread.start()
        end = time.monotonic() + time_s
        try:
            while not (self.mistakes or until()):
                assert time.monotonic() < end, "the writers did not get so far"
                time.sleep(0.002)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert not self.mistakes, self.mistakes[:3]

    def write_more(self, count: int, time_s: float = 60.0) -> None:
        """Let all writers write until so many more writes are acknowledged."""
        goal = len(self.writes) + count
        self.write(lambda: len(self.writes) >= goal, time_s)

    def _run(self, account: Account, stop: threading.Event) -> None:
        door = Door(self.address)
        while not stop.is_set():
            write = account.begin()
            try:
                write.send(door, self.timeout_s)
            except grpc.RpcError as error:
                if error.code() not in _PASSING:
                    self.mistakes.append(f"{error.code()}: {error.details()}")
                    break
                told = f"{error.code().name}: {error.details()}"
                self.refused[told] = self.refused.get(told, 0) + 1
                door.channel.close()
                stop.wait(0.02)
                door = Door(self.address)
            except Exception as error:  # noqa: BLE001 - told by the thread that waits
                self.mistakes.append(repr(error))
                break
        door.channel.close()

    def compare(self) -> list[str]:
        """Return what is not as it was acknowledged, before and after all is sent once more."""
        with Door(self.address) as door:
            wrong = self._compare(door, settled=False)
            for account in self.accounts:
                account.begin().send(door, 20.0)
                wrong += self._send_again(door, account)
            return wrong + self._compare(door, settled=True)

    def _compare(self, door: Door, *, settled: bool) -> list[str]:
        wrong = []
        for account in self.accounts:
            for number in range(CUSTOMERS_EACH):
                customer = f"{account.writer}c{number}"
                own = [write for write in account.writes if write.customer == customer]
                known = [write for write in own if write.acknowledged_at is not None]
                allowed = [_expect(known)] if settled else [_expect(known), _expect(own)]
                found = _describe(door.get(customer))
                if found not in allowed:
                    wrong.append(f"{customer}: {found}, allowed {allowed}")
        return wrong

    def _send_again(self, door: Door, account: Account) -> list[str]:
        """Send everything that was acknowledged once more: nothing of it may count again."""
        events = [e for w in account.writes if w.events is not None for e in w.events.events]
        wrong = []
        for start in range(0, len(events), 1000):
            request = RecordEventsRequest(events=events[start : start + 1000])
            counts = door.events.RecordEvents(request, timeout=60)
            if counts.recorded_count:
                wrong.append(f"{account.writer}: {counts.recorded_count} events were lost")
        for write in [write for write in account.writes if write.update is not None][-20:]:
            door.customers.UpdateCustomer(write.update, timeout=20)
        return wrong


Description = tuple[dict[str, float], int] | None


def _expect(writes: list[Write]) -> Description:
    """Return a customer as it must be after these writes."""
    amounts = [amount for write in writes for amount in write.amounts]
    ages = [
        w.update.customer.attributes["age"].number_value for w in writes if w.update is not None
    ]
    expected: dict[str, float] = {"purchases": len(amounts), "spend": sum(amounts)}
    if amounts:
        expected["largest"] = max(amounts)
    if ages:
        expected["age"] = ages[-1]
    return (expected, len(ages)) if writes else None


def _describe(customer: Customer | None) -> Description:
    return None if customer is None else (read_numbers(customer), customer.revision)
