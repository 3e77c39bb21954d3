"""Watching stock alerts: nothing twice, nothing lost in silence, whatever connections do."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import pytest

from instanter.client import (
    AsyncClient,
    Client,
    ClientError,
    DeniedError,
    InvalidRequestError,
    StockAlertFilter,
    StockAlertProgress,
    StockAlertSeverity,
    StockAlertSnapshot,
    StockAlertTransition,
    UnavailableError,
    WatchPolicy,
)
from tests.client.toy_stock import ToyStock, open_alert, progress, tell, toy_stock, transition

AT_ONCE = WatchPolicy(pause_s_first=0.001, pause_s_max=0.001)
Watch = Callable[..., list[Any]]


@pytest.fixture
def toy() -> Iterator[ToyStock]:
    with toy_stock() as served:
        yield served


def _watch(address: str, count: int, **options: Any) -> list[Any]:
    with Client(address) as client:
        return list(islice(client.stock.watch_stock_alerts(**options), count))


def _watch_async(address: str, count: int, **options: Any) -> list[Any]:
    async def run() -> list[Any]:
        found = []
        async with AsyncClient(address) as client:
            news = client.stock.watch_stock_alerts(**options)
            while len(found) < count:
                found.append(await anext(news))
            await news.aclose()  # type: ignore[attr-defined] # it is a generator
        return found

    return asyncio.run(run())


@pytest.fixture(params=[_watch, _watch_async], ids=["sync", "async"])
def watch(request: pytest.FixtureRequest, toy: ToyStock) -> Watch:
    """Return so many pieces of news of the toy."""

    def run(count: int, **options: Any) -> list[Any]:
        found: list[Any] = request.param(toy.address, count, **{"policy": AT_ONCE, **options})
        return found

    return run


def sequences(news: list[Any]) -> list[int]:
    assert all(isinstance(each, StockAlertTransition) for each in news), news
    return [each.sequence for each in news]


@pytest.mark.parametrize(
    "end",
    [
        {},
        {"code": "UNAVAILABLE"},
        {"code": "UNAVAILABLE", "reason": "CONNECTION_DRAINING"},
        {"code": "CANCELLED"},
        {"code": "INTERNAL"},
        {"code": "RESOURCE_EXHAUSTED", "reason": "SUBSCRIBER_TOO_SLOW", "resume_token": "t9"},
    ],
    ids=lambda end: end.get("reason") or end.get("code") or "success",
)
def test_it_goes_on_behind_what_was_told(toy: ToyStock, watch: Watch, end: dict[str, str]) -> None:
    toy.scripts = [
        tell(transition(4), transition(5), **end),
        # At least once: the last one may come again.
        tell(transition(5), transition(6), transition(8)),
    ]
    lost: list[Any] = []
    news = watch(4, on_lost=lambda *told: lost.append(told))
    assert sequences(news) == [4, 5, 6, 8]
    assert [request.resume_token for request in toy.seen] == ["", "t5"]
    assert [each.resume_token for each in news] == ["t4", "t5", "t6", "t8"]
    assert news[0].alert.position.site == "berlin"
    assert len(lost) == 1
    assert isinstance(lost[0][0], ClientError if end else type(None))


def test_it_asks_for_what_is_wanted(toy: ToyStock, watch: Watch) -> None:
    toy.scripts = [tell(transition(1))]
    wanted = StockAlertFilter("nord", ("a", "b"), ("east",), ("tea",), ("SKU1",),
                              StockAlertSeverity.SERIOUS)  # fmt: skip
    watch(1, wanted=wanted, resume_token="t0")
    (request,) = toy.seen
    assert (request.resume_token, request.distributor) == ("t0", "distributors/nord")
    assert list(request.sites) == ["sites/a", "sites/b"]
    assert (list(request.regions), list(request.categories)) == (["east"], ["tea"])
    assert (list(request.stock_keeping_units), request.minimum_severity) == (["SKU1"], 3)


def test_progress_is_told_and_resumed_behind(toy: ToyStock, watch: Watch) -> None:
    toy.scripts = [
        tell(progress(40), progress(50), code="UNAVAILABLE"),
        tell(progress(50), transition(51)),
    ]
    told: list[StockAlertProgress] = []
    assert sequences(watch(1, on_progress=told.append)) == [51]
    assert [each.sequence for each in told] == [40, 50]
    assert [request.resume_token for request in toy.seen] == ["", "t50"]


def test_an_expired_token_comes_to_a_snapshot_that_says_so(toy: ToyStock, watch: Watch) -> None:
    toy.scripts = [
        tell(
            open_alert(7), open_alert(9), progress(90),
            code="OUT_OF_RANGE", reason="RESUME_TOKEN_EXPIRED", first_sequence="60",
            resume_token="t90",
        ),
        # What is in the snapshot is not told again.
        tell(transition(90), transition(91)),
    ]  # fmt: skip
    snapshot, last = watch(2, resume_token="t3")
    assert isinstance(snapshot, StockAlertSnapshot)
    assert [alert.id for alert in snapshot.alerts] == ["7", "9"]
    assert (snapshot.sequence, snapshot.resume_token, snapshot.is_gap) == (90, "t90", True)
    assert sequences([last]) == [91]
    assert [request.resume_token for request in toy.seen] == ["t3", "t90"]
    assert not any(request.open_alerts_first for request in toy.seen)


@pytest.mark.parametrize("alerts", [[], [open_alert(7)]], ids=["none open", "one open"])
def test_a_connection_lost_before_the_word_that_it_expired_hides_no_gap(
    toy: ToyStock, watch: Watch, alerts: list[Any]
) -> None:
    expired = {"code": "OUT_OF_RANGE", "reason": "RESUME_TOKEN_EXPIRED"}
    toy.scripts = [
        tell(*alerts, progress(90), code="UNAVAILABLE"),
        tell(*alerts, progress(92), **expired),
        tell(transition(93)),
    ]
    snapshot, last = watch(2, resume_token="t3")
    assert (snapshot.is_gap, snapshot.sequence, len(snapshot.alerts)) == (True, 92, len(alerts))
    assert sequences([last]) == [93]
    assert [request.resume_token for request in toy.seen] == ["t3", "t3", "t92"]


def test_a_store_that_was_put_back_comes_to_a_snapshot(toy: ToyStock, watch: Watch) -> None:
    toy.scripts = [
        tell(transition(500), code="UNAVAILABLE"),
        tell(code="OUT_OF_RANGE", reason="RESUME_TOKEN_AHEAD"),
        tell(open_alert(7), progress(20), transition(21)),
    ]
    first, snapshot, last = watch(3)
    assert sequences([first, last]) == [500, 21]
    assert (snapshot.is_gap, snapshot.sequence) == (True, 20)
    assert [request.open_alerts_first for request in toy.seen] == [False, False, True]
    assert toy.seen[2].resume_token == ""


def test_a_snapshot_that_was_cut_is_asked_for_again(toy: ToyStock, watch: Watch) -> None:
    toy.scripts = [
        tell(open_alert(1), open_alert(2), code="UNAVAILABLE"),
        tell(open_alert(1), progress(3), transition(4), code="UNAVAILABLE"),
        tell(transition(5)),
    ]
    snapshot, *rest = watch(3, open_alerts_first=True)
    assert ([alert.id for alert in snapshot.alerts], snapshot.is_gap) == (["1"], False)
    assert sequences(rest) == [4, 5]
    assert [request.open_alerts_first for request in toy.seen] == [True, True, False]
    assert toy.seen[2].resume_token == "t4"


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        ("INVALID_ARGUMENT", "RESUME_TOKEN_INVALID", InvalidRequestError),
        ("PERMISSION_DENIED", "DISTRIBUTOR_UNKNOWN", DeniedError),
        ("DATA_LOSS", "RECORD_DAMAGED", ClientError),
        ("INTERNAL", "INTERNAL", ClientError),
    ],
)
def test_what_another_attempt_does_not_help_is_raised(
    toy: ToyStock, watch: Watch, code: str, reason: str, kind: type[ClientError]
) -> None:
    toy.scripts = [tell(code=code, reason=reason)]
    with pytest.raises(kind) as caught:
        watch(1)
    assert (caught.value.reason, len(toy.seen)) == (reason, 1)


def test_it_gives_up_when_it_is_told_to(toy: ToyStock, watch: Watch) -> None:
    toy.scripts = [
        tell(transition(1), code="UNAVAILABLE"),
        tell(code="UNAVAILABLE"),
        tell(transition(2), code="UNAVAILABLE"),
        *[tell(code="UNAVAILABLE")] * 3,
    ]
    policy = WatchPolicy(0.001, 0.001, attempts_max=3)
    told: list[Any] = []
    with pytest.raises(UnavailableError):
        watch(3, policy=policy, on_lost=lambda *each: told.append(each))
    # What brings something begins the count anew.
    assert len(toy.seen) == 5
    assert all(0 <= pause_s <= 0.001 for _, pause_s in told)


def test_whoever_stops_watching_ends_the_call(toy: ToyStock, watch: Watch) -> None:
    ended = threading.Event()

    def endless(context: Any) -> Iterator[Any]:
        context.add_callback(ended.set)
        yield transition(1)
        ended.wait(30)

    toy.scripts = [endless]
    assert sequences(watch(1)) == [1]
    assert ended.wait(30)


def test_a_mistake_of_the_callers_own_is_not_a_lost_connection(toy: ToyStock, watch: Watch) -> None:
    toy.scripts = [tell(progress(1))]

    def fail(_: StockAlertProgress) -> None:
        raise UnavailableError("the caller's own database", code="UNAVAILABLE")

    with pytest.raises(UnavailableError, match="own database"):
        watch(1, on_progress=fail)
    assert len(toy.seen) == 1
