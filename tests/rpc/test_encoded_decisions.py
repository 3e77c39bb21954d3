"""Decisions without messages: every byte is what the way over messages gives."""

from collections.abc import Iterator

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from instanter.decision.engine import DecisionEngine
from instanter.decision.tables import make_tables
from instanter.errors import InstanterError, InvalidFieldError
from instanter.limits import REQUEST_ENDINGS_KEPT
from instanter.metrics import Metrics
from instanter.rpc.decision_requests import RequestReader, read_question
from instanter.rpc.decisions import DecisionService
from instanter.rpc.front import BatchedMethod
from instanter.store.environment import Environment
from instanter.store.profiles import put_profile
from instanter.store.records import key_of
from instanter.v1.attribute_value_pb2 import AttributeValue
from instanter.v1.decision_service_pb2 import DecideOffersRequest, DecideOffersResponse
from tests.decision.worlds import FILES, draw_slots, make_catalogue, make_score_table

NOW_NS = 1_790_000_000_000_000_000
CUSTOMERS = 60
RANDOM = FILES | {"shop.yaml": FILES["shop.yaml"] + "arms: {random_rate: 0.3, salt: chance}\n"}


class StoppedClock:
    """A clock that stands."""

    def now_ns(self) -> int:
        return NOW_NS

    def monotonic_ns(self) -> int:
        return 1


class Twins:
    """The same service twice over one store: whatever one decides, so does the other."""

    def __init__(self, store: Environment, files: dict[str, str], revision: int = 3) -> None:
        self.metrics = [Metrics(), Metrics()]
        self.methods: list[BatchedMethod] = []
        catalogue = make_catalogue(files, revision)
        self.tables = make_tables(catalogue, make_score_table(catalogue, revision, revision))
        self.engines = []
        for metrics in self.metrics:
            engine = DecisionEngine(
                store,
                StoppedClock(),
                decision_id_prefix="0123456789abcdef",
                on_damaged=lambda _: None,
            )
            engine.install(self.tables)
            self.engines.append(engine)
            service = DecisionService(engine, engine, clock=StoppedClock(), metrics=metrics)
            method = service.describe().methods[0]
            assert isinstance(method, BatchedMethod)
            self.methods.append(method)

    def ask(self, requests: list[DecideOffersRequest]) -> None:
        """Ask both ways, and compare the answers."""
        by_messages = self.methods[0].function(requests)
        encoded = self.methods[1].encoded
        assert encoded is not None
        by_bytes = encoded([request.SerializeToString() for request in requests])
        for found, wanted in zip(by_bytes, by_messages, strict=True):
            if isinstance(wanted, InstanterError):
                assert isinstance(found, InstanterError)
                assert (type(found), found.message) == (type(wanted), wanted.message)
            else:
                assert isinstance(found, bytes)
                assert DecideOffersResponse.FromString(found) == wanted
                assert found == wanted.SerializeToString()
        assert _count(self.metrics[0]) == _count(self.metrics[1])


def _count(metrics: Metrics) -> object:
    return (
        metrics.decisions_by_state,
        metrics.no_offer_by_reason,
        metrics.decisions_by_arm,
        metrics.turns_count,
        sum(metrics.decision_time_buckets),
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    with Environment.open(tmp_path_factory.mktemp("twins") / "store") as environment:
        slots = draw_slots(make_catalogue(), CUSTOMERS, 1)
        for number in range(CUSTOMERS):
            environment.write(
                lambda transaction, n=number: put_profile(
                    transaction, key_of(f"c{n}"), slots[n], schema_revision=1, now_ms=1
                )
            )
        yield environment


def _draw_requests(seed: int, count: int) -> list[DecideOffersRequest]:
    draw = np.random.default_rng(seed)
    requests = []
    for number in range(count):
        channel, placement = draw.choice(
            [("web", "home"), ("web", "basket"), ("web", ""), ("store", ""), ("web", "nowhere"),
             ("moon", ""), ("", "")],
            p=[0.4, 0.1, 0.1, 0.25, 0.05, 0.05, 0.05],
        )  # fmt: skip
        request = DecideOffersRequest(
            customer=f"customers/{'cu'[int(draw.random() < 0.2)]}{draw.integers(0, CUSTOMERS)}",
            channel=str(channel),
            placement=str(placement),
        )
        if draw.random() < 0.8:
            request.offer_count = int(
                draw.choice([1, 2, 3, 100, 0, 101], p=[0.3, 0.2, 0.2, 0.2, 0.05, 0.05])
            )
        if draw.random() < 0.3:
            request.context["basket"].CopyFrom(AttributeValue(number_value=70.0))
        if draw.random() < 0.1:
            request.context["device"].CopyFrom(AttributeValue(category_value="fridge"))
        if draw.random() < 0.2:
            request.request_id = str(draw.choice(["r1", "r2", "no\ttabs"]))
        if draw.random() < 0.05:
            request.customer = str(draw.choice(["", "customers/", "customers/a/b", "c1"]))
        requests.append(request)
        assert number < count
    return requests


@pytest.mark.parametrize("files", [FILES, RANDOM], ids=["holdout", "random arm"])
@pytest.mark.parametrize("seed", range(5))
def test_bytes_in_and_out_say_what_messages_say(
    store: Environment, files: dict[str, str], seed: int
) -> None:
    twins = Twins(store, files)
    for count in (1, 40, 150, 64):
        twins.ask(_draw_requests(seed, count))


def test_what_is_published_later_is_said_from_then_on(store: Environment) -> None:
    twins, later = Twins(store, FILES), Twins(store, FILES, 4)
    requests = _draw_requests(9, 40)
    twins.ask(requests)
    for engine in twins.engines:
        engine.install(later.tables)
    twins.ask(requests)


def test_a_response_that_is_longer_than_the_room_gets_more(store: Environment) -> None:
    name = "treatment-" + "x" * 80
    offers = "offers:\n" + "".join(
        f"  - {{name: o{n:03}, value_minor: 100, treatments: [{{channel: web, name: {name}}}]}}\n"
        for n in range(120)
    )
    twins = Twins(store, FILES | {"offers.yaml": offers})
    request = DecideOffersRequest(customer="customers/c1", channel="web", offer_count=100)
    twins.ask([request] * 64)


def _read_both_ways(reader: RequestReader, raw: bytes) -> None:
    """Read a request twice by the reader and once as a message, and compare."""
    try:
        wanted: object = read_question(DecideOffersRequest.FromString(raw))
    except InvalidFieldError as error:
        wanted = error.message
    except DecodeError:
        wanted = "request"
    for _ in range(2):
        try:
            found: object = reader.read(raw)
        except InvalidFieldError as error:
            found = "request" if error.field == "request" else error.message
        assert found == wanted


_PIECES = st.sampled_from(
    [
        DecideOffersRequest(customer="customers/c1").SerializeToString(),
        DecideOffersRequest(customer="customers/é").SerializeToString(),
        DecideOffersRequest(customer="customers/" + "x" * 200).SerializeToString(),
        DecideOffersRequest(customer="somebody").SerializeToString(),
        DecideOffersRequest(channel="web").SerializeToString(),
        DecideOffersRequest(channel="web", placement="home").SerializeToString(),
        DecideOffersRequest(offer_count=3).SerializeToString(),
        DecideOffersRequest(offer_count=0).SerializeToString(),
        DecideOffersRequest(request_id="r").SerializeToString(),
        DecideOffersRequest(
            context={"basket": AttributeValue(number_value=1.0)}
        ).SerializeToString(),
        b"\x0a\x00",
        b"\x0a\x05abc",
        b"\x0a\x02\xff\xfe",
        b"\x12\x00",
        b"\x78\x01",
        b"\x0a",
        b"\xff",
        b"",
    ]
)


@given(st.lists(st.lists(_PIECES, max_size=5), max_size=6))
def test_a_reader_reads_what_the_message_says_whatever_it_has_read_before(
    requests: list[list[bytes]],
) -> None:
    reader = RequestReader()
    for pieces in requests:
        _read_both_ways(reader, b"".join(pieces))


def test_a_reader_remembers_no_more_than_it_may() -> None:
    reader = RequestReader()
    for number in range(REQUEST_ENDINGS_KEPT + 10):
        raw = DecideOffersRequest(customer="customers/c", channel=f"c{number}").SerializeToString()
        _read_both_ways(reader, raw)
    assert len(reader) <= REQUEST_ENDINGS_KEPT
