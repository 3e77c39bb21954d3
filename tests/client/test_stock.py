"""The client's stock calls against a real server, for threads and for event loops."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from instanter.client import (
    AsyncClient,
    Client,
    ConflictError,
    DeniedError,
    InvalidRequestError,
    NotFoundError,
    PreconditionError,
    StockActionKind,
    StockAlertCause,
    StockAlertChange,
    StockAlertFilter,
    StockAlertSeverity,
    StockAlertSnapshot,
    StockAlertTransition,
    StockMovement,
    StockMovementKind,
    StockPositionFilter,
)
from tests.api.shop import Shop, open_shop
from tests.zones import find_noon_zone

CATALOGUE = """\
currency: EUR
stock:
  sites: {berlin: {region: east, time_zone: NOON}, bonn: {region: west}, potsdam: {region: east}}
  units: {BEAN: coffee, LEAF: tea}
  policies:
    - {categories: [coffee], minimum: 20, order_up_to: 100, transfer_from: same_region}
    - {reorder_point: 5}
  grants: {nord: {regions: [east], categories: [coffee]}}
"""


@pytest.fixture
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with open_shop(tmp_path_factory.mktemp("stock") / "store", "fast") as opened:
        opened.apply({"stock.yaml": CATALOGUE.replace("NOON", find_noon_zone())})
        yield opened


@pytest.fixture
def client(shop: Shop) -> Iterator[Client]:
    with Client(shop.server.target) as opened:
        yield opened


def bring(site: str, unit: str, units: int, movement_id: str | None = None) -> StockMovement:
    return StockMovement(site, unit, StockMovementKind.RECEIPT, units, movement_id)


def sell(site: str, unit: str, units: int, movement_id: str | None = None) -> StockMovement:
    return StockMovement(site, unit, StockMovementKind.SALE, units, movement_id)


def test_movements_are_recorded_once_and_positions_read(client: Client) -> None:
    moment = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=5)
    moved = [
        bring("berlin", "BEAN", 60, "a"),
        StockMovement("berlin", "BEAN", StockMovementKind.RESERVATION, 5, "b"),
        StockMovement("berlin", "BEAN", StockMovementKind.ORDER, 40, "c"),
        StockMovement("berlin", "BEAN", StockMovementKind.TRANSFER, 10, "d", None, "bonn"),
        StockMovement("berlin", "BEAN", StockMovementKind.COUNT, 49, "e"),
        StockMovement("berlin", "LEAF", StockMovementKind.PRICE_CHANGE, 0, "f", moment,
                      price_minor=399),
    ]  # fmt: skip
    assert client.stock.record_movements(moved).recorded_count == 6
    counts = client.stock.record_movements([*moved, bring("bonn", "LEAF", 7)])
    assert (counts.recorded_count, counts.duplicate_count) == (1, 6)
    found = client.stock.get_position("berlin", "BEAN")
    assert (found.on_hand_units, found.committed_units, found.available_units) == (49, 5, 44)
    assert (found.on_order_units, found.region, found.category) == (40, "east", "coffee")
    assert found.count_time is not None
    listed = [(each.site, each.stock_keeping_unit) for each in client.stock.list_positions()]
    # A change of price moves nothing.
    assert [each for each in listed if each != ("berlin", "LEAF")] == [
        ("berlin", "BEAN"),
        ("bonn", "BEAN"),
        ("bonn", "LEAF"),
    ]
    few = StockPositionFilter(site="bonn", categories=("tea",), available_below_units=8)
    (position,) = client.stock.list_positions(few)
    assert (position.on_hand_units, position.figures.cover_days) == (7, None)
    page = client.stock.list_position_page(1)
    assert len(page.positions) == 1
    assert page.next_page_token


@pytest.mark.parametrize(
    ("movement", "kind", "reason"),
    [
        (sell("berlin", "BEAN", 1), PreconditionError, "STOCK_NEGATIVE"),
        (sell("berlin", "BEAN", 0), InvalidRequestError, ""),
        (sell("berlin", "BEAN", 10**18), InvalidRequestError, ""),
        (sell("nowhere", "BEAN", 1), InvalidRequestError, ""),
        (sell("berlin", "NOTHING", 1), InvalidRequestError, ""),
        (bring("bonn", "LEAF", 8, "same"), ConflictError, "MOVEMENT_ID_CONFLICT"),
        (
            StockMovement("berlin", "BEAN", StockMovementKind.RESERVATION, 1),
            PreconditionError,
            "STOCK_NOT_AVAILABLE",
        ),
    ],
)
def test_a_wrong_movement_refuses_its_batch(
    client: Client, movement: StockMovement, kind: type[Exception], reason: str
) -> None:
    client.stock.record_movements([bring("bonn", "LEAF", 7, "same")])
    with pytest.raises(kind, match=rf"movements\[1\]|{reason}" if reason else r"movements\[1\]"):
        client.stock.record_movements([bring("bonn", "LEAF", 1), movement])
    assert client.stock.get_position("bonn", "LEAF").on_hand_units == 7


def test_an_alert_is_watched_acknowledged_and_put_off(client: Client) -> None:
    client.stock.record_movements([bring("berlin", "BEAN", 60), bring("potsdam", "BEAN", 300)])
    news = client.stock.watch_stock_alerts(
        StockAlertFilter("nord", minimum_severity=StockAlertSeverity.WARNING),
        open_alerts_first=True,
    )
    first = next(news)
    assert isinstance(first, StockAlertSnapshot)
    assert (first.alerts, first.is_gap) == ((), False)
    client.stock.record_movements([sell("berlin", "BEAN", 45)])
    raised = next(news)
    assert isinstance(raised, StockAlertTransition)
    assert (raised.change, raised.sequence) == (StockAlertChange.RAISED, 1)
    alert = raised.alert
    assert (alert.id, alert.cause) == ("1", StockAlertCause.REORDER)
    assert alert.position.available_units == 15
    assert {action.kind for action in alert.actions} == {
        StockActionKind.REORDER,
        StockActionKind.TRANSFER,
    }
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=2)
    assert client.stock.snooze("1", end).snooze_end_time == end
    acknowledged = client.stock.acknowledge("1", "Ada", distributor="nord")
    assert (acknowledged.acknowledger, acknowledged.acknowledge_time is None) == ("Ada", False)
    second = next(news)
    assert isinstance(second, StockAlertTransition)
    assert second.change is StockAlertChange.ACKNOWLEDGED
    client.stock.record_movements([bring("berlin", "BEAN", 85)])
    third = next(news)
    assert isinstance(third, StockAlertTransition)
    assert (third.change, third.alert.clear_time is None) == (StockAlertChange.CLEARED, False)
    assert third.sequence == 3
    # The next process goes on behind what this one has dealt with.
    again = client.stock.watch_stock_alerts(resume_token=second.resume_token)
    assert next(again) == third
    with pytest.raises(NotFoundError):
        client.stock.acknowledge("1")
    with pytest.raises(DeniedError):
        client.stock.get_position("bonn", "BEAN", distributor="nord")
    with pytest.raises(DeniedError):
        next(client.stock.watch_stock_alerts(StockAlertFilter("nobody")))
    with pytest.raises(InvalidRequestError, match="RESUME_TOKEN_INVALID"):
        next(client.stock.watch_stock_alerts(resume_token=third.resume_token[:-2]))


def test_the_same_on_an_event_loop(shop: Shop) -> None:
    async def run() -> list[Any]:
        async with AsyncClient(shop.server.target) as client:
            stock = client.stock
            counts = await stock.record_movements([bring("berlin", "BEAN", 60)], relaxed=True)
            news = stock.watch_stock_alerts(open_alerts_first=True)
            snapshot = await anext(news)
            told = asyncio.ensure_future(anext(news))
            await stock.record_movements([sell("berlin", "BEAN", 59)])
            transition = await told
            await stock.snooze("1", datetime.now(UTC))
            await stock.acknowledge("1", "Ada")
            position = await stock.get_position("berlin", "BEAN")
            listed = [each async for each in stock.list_positions()]
            return [counts, snapshot, transition, position, listed]

    counts, snapshot, transition, position, listed = asyncio.run(run())
    assert (counts.recorded_count, snapshot.alerts) == (1, ())
    assert transition.alert.cause is StockAlertCause.REORDER
    assert position.available_units == 1
    assert [each.on_hand_units for each in listed] == [1]
    assert position.figures.demand_rate > 0
