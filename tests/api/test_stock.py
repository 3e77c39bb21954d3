"""`StockService` through the wire: movements, positions, and what is refused."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from instanter.v1 import attribute_value_pb2 as values_pb
from instanter.v1 import event_service_pb2 as events_pb
from instanter.v1 import stock_service_pb2 as pb
from tests.api.refusals import refuse
from tests.api.shop import SHOP, Shop, open_shop
from tests.api.warehouse import (
    ADJUSTMENT,
    CANCELLATION,
    COUNT,
    ORDER,
    PRICE_CHANGE,
    RECEIPT,
    RELEASE,
    RESERVATION,
    RETURN,
    SALE,
    TRANSFER,
    WAREHOUSE,
    get_position,
    in_seconds,
    list_positions,
    make_movement,
    record,
)

DAY_S = 86_400.0


@pytest.fixture
def shop(front_name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop that keeps stock."""
    with open_shop(tmp_path_factory.mktemp("stock") / "store", front_name) as opened:
        opened.apply(WAREHOUSE)
        yield opened


def figures(position: pb.StockPosition) -> tuple[int, int, int, int]:
    return (
        position.on_hand_units,
        position.on_order_units,
        position.committed_units,
        position.available_units,
    )


def test_each_kind_of_movement_does_what_it_says(shop: Shop) -> None:
    steps = [
        (make_movement(COUNT, 100), (100, 0, 0, 100)),
        (make_movement(SALE, 10), (90, 0, 0, 90)),
        (make_movement(RETURN, 2), (92, 0, 0, 92)),
        (make_movement(ORDER, 30), (92, 30, 0, 92)),
        (make_movement(RECEIPT, 20), (112, 10, 0, 112)),
        (make_movement(CANCELLATION, 10), (112, 0, 0, 112)),
        (make_movement(ADJUSTMENT, -12), (100, 0, 0, 100)),
        (make_movement(RESERVATION, 40), (100, 0, 40, 60)),
        (make_movement(RELEASE, 15), (100, 0, 25, 75)),
        (make_movement(TRANSFER, 5, destination_site="sites/bonn"), (95, 0, 25, 70)),
        (make_movement(PRICE_CHANGE, 0, price_minor=499), (95, 0, 25, 70)),
    ]
    for movement, expected in steps:
        assert record(shop, movement).recorded_count == 1
        assert figures(get_position(shop)) == expected
    assert figures(get_position(shop, site="bonn")) == (5, 0, 0, 5)
    position = get_position(shop)
    assert (position.region, position.category, position.price_minor) == ("east", "coffee", 499)
    assert position.HasField("count_time")


def test_a_retry_counts_once_and_another_content_is_refused(shop: Shop) -> None:
    movements = [make_movement(COUNT, 50), make_movement(SALE, 3), make_movement(SALE, 4)]
    assert record(shop, *movements).recorded_count == 3
    again = record(shop, *movements, movements[1], make_movement(SALE, 1))
    assert (again.recorded_count, again.duplicate_count) == (1, 4)
    assert get_position(shop).on_hand_units == 42
    other = pb.StockMovement()
    other.CopyFrom(movements[1])
    other.units = 5
    request = pb.RecordStockMovementsRequest(movements=[make_movement(SALE, 1), other])
    refusal = refuse(shop.stock.RecordStockMovements, request)
    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.ALREADY_EXISTS,
        "MOVEMENT_ID_CONFLICT",
    )
    assert refusal.fields == ["movements[1].movement_id"]
    assert get_position(shop).on_hand_units == 42, "the batch is atomic"


@pytest.mark.parametrize(
    ("changes", "field", "reason"),
    [
        ({"units": 0}, "units", ""),
        ({"units": -1}, "units", ""),
        ({"units": 10**9 + 1}, "units", ""),
        ({"units": 10**18}, "units", ""),
        ({"units": 2**63 - 1}, "units", ""),
        ({"kind": ADJUSTMENT, "units": 0}, "units", ""),
        ({"kind": ADJUSTMENT, "units": -(10**18)}, "units", ""),
        ({"kind": COUNT, "units": -1}, "units", ""),
        ({"kind": PRICE_CHANGE, "units": 1, "price_minor": 5}, "units", "UNITS_INVALID"),
        ({"kind": PRICE_CHANGE, "units": 1}, "units", "UNITS_INVALID"),
        ({"kind": PRICE_CHANGE, "units": 0, "price_minor": -5}, "price_minor", "PRICE_INVALID"),
        ({"price_minor": 5}, "price_minor", "PRICE_INVALID"),
        ({"kind": 0}, "kind", "MOVEMENT_KIND_INVALID"),
        ({"kind": 12}, "kind", "MOVEMENT_KIND_INVALID"),
        ({"kind": 99}, "kind", "MOVEMENT_KIND_INVALID"),
        ({"site": "sites/rome"}, "site", ""),
        ({"site": "berlin"}, "site", "RESOURCE_NAME_INVALID"),
        ({"site": ""}, "site", "RESOURCE_NAME_INVALID"),
        ({"site": "sites/berlin/x"}, "site", ""),
        ({"stock_keeping_unit": "NOTHING"}, "stock_keeping_unit", ""),
        ({"stock_keeping_unit": ""}, "stock_keeping_unit", ""),
        ({"stock_keeping_unit": "B\0NS"}, "stock_keeping_unit", ""),
        ({"kind": TRANSFER}, "destination_site", "RESOURCE_NAME_INVALID"),
        (
            {"kind": TRANSFER, "destination_site": "sites/berlin"},
            "destination_site",
            "DESTINATION_SITE_INVALID",
        ),
        ({"kind": TRANSFER, "destination_site": "sites/rome"}, "destination_site", ""),
        ({"destination_site": "sites/bonn"}, "destination_site", "DESTINATION_SITE_INVALID"),
        ({"movement_id": ""}, "movement_id", "MOVEMENT_ID_INVALID"),
        ({"movement_id": "x" * 65}, "movement_id", "MOVEMENT_ID_INVALID"),
        ({"movement_id": "é"}, "movement_id", "MOVEMENT_ID_INVALID"),
        ({"movement_id": "a\n"}, "movement_id", "MOVEMENT_ID_INVALID"),
        ({"movement_time": -91 * DAY_S}, "movement_time", "MOVEMENT_TIME_OUT_OF_RANGE"),
        ({"movement_time": 600.0}, "movement_time", "MOVEMENT_TIME_OUT_OF_RANGE"),
        (
            {"movement_time": Timestamp(seconds=-1)},
            "movement_time",
            "MOVEMENT_TIME_OUT_OF_RANGE",
        ),
        (
            {"movement_time": Timestamp(nanos=-1, seconds=1)},
            "movement_time",
            "MOVEMENT_TIME_OUT_OF_RANGE",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_its_index(
    shop: Shop, changes: dict[str, Any], field: str, reason: str
) -> None:
    right = make_movement(COUNT, 50)
    wrong = make_movement(SALE)
    for name, value in changes.items():
        if name == "movement_time":
            time = value if isinstance(value, Timestamp) else in_seconds(value)
            wrong.movement_time.CopyFrom(time)
        else:
            setattr(wrong, name, value)
    request = pb.RecordStockMovementsRequest(movements=[right, right, wrong])
    refusal = refuse(shop.stock.RecordStockMovements, request)
    assert refusal.code == grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.fields == [f"movements[2].{field}"]
    assert refusal.reason == reason or (not reason and refusal.reason)
    assert list_positions(shop) == [], "the batch is atomic"


@pytest.mark.parametrize("count", [0, 1_001])
def test_a_batch_has_1_to_1000_movements(shop: Shop, count: int) -> None:
    movements = [make_movement(RECEIPT) for _ in range(count)]
    request = pb.RecordStockMovementsRequest(movements=movements)
    refusal = refuse(shop.stock.RecordStockMovements, request)
    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "MOVEMENT_COUNT_INVALID",
    )


def test_the_longest_batch_is_taken_once(shop: Shop) -> None:
    movements = [
        make_movement(RECEIPT, 1, unit, site)
        for unit in ("BEANS", "FILTERS", "GREEN")
        for site in ("berlin", "bonn", "koeln")
        for _ in range(111)
    ]
    assert record(shop, *movements).recorded_count == 999
    assert record(shop, *movements).duplicate_count == 999
    assert [position.on_hand_units for position in list_positions(shop)] == [111] * 9


def test_stock_that_is_not_there_is_not_sold(shop: Shop) -> None:
    record(shop, make_movement(COUNT, 3))
    request = pb.RecordStockMovementsRequest(
        movements=[make_movement(SALE, 2), make_movement(SALE, 2)]
    )
    refusal = refuse(shop.stock.RecordStockMovements, request)
    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "STOCK_NEGATIVE",
    )
    assert refusal.fields == ["movements[1].units"]
    assert refusal.metadata["site"] == "berlin"
    assert refusal.metadata["on_hand_units"] == "1"
    request = pb.RecordStockMovementsRequest(movements=[make_movement(RESERVATION, 4)])
    assert refuse(shop.stock.RecordStockMovements, request).reason == "STOCK_NOT_AVAILABLE"
    assert figures(get_position(shop)) == (3, 0, 0, 3)
    record(shop, make_movement(SALE, 2, "GREEN"))
    assert get_position(shop, "GREEN").on_hand_units == -2, "where the policy allows it"
    call = shop.stock.WatchStockAlerts(
        pb.WatchStockAlertsRequest(open_alerts_first=True, stock_keeping_units=["GREEN"]),
        timeout=20,
    )
    found = {}
    while (message := next(call)).HasField("open_alert"):
        found[message.open_alert.cause] = message.open_alert
    call.cancel()
    hints = found[pb.STOCK_ALERT_CAUSE_DATA_ERROR].hints
    assert [(hint.data_error, hint.difference_units) for hint in hints] == [
        (pb.STOCK_DATA_ERROR_NEGATIVE_ON_HAND, 2)
    ]


def test_a_movement_a_day_late_is_taken_and_the_count_holds(shop: Shop) -> None:
    record(shop, make_movement(COUNT, 50, movement_time=in_seconds(-3_600)))
    late = make_movement(SALE, 5, movement_time=in_seconds(-DAY_S))
    assert record(shop, late).recorded_count == 1
    assert get_position(shop).on_hand_units == 50, "it is in the count"
    record(shop, make_movement(SALE, 5, movement_time=in_seconds(-60)))
    assert get_position(shop).on_hand_units == 45


def test_a_count_that_contradicts_the_position_is_taken_and_told(shop: Shop) -> None:
    record(shop, make_movement(COUNT, 50))
    record(shop, make_movement(COUNT, 20))
    assert get_position(shop).on_hand_units == 20
    request = pb.WatchStockAlertsRequest(open_alerts_first=True)
    call = shop.stock.WatchStockAlerts(request, timeout=20)
    alert = next(call).open_alert
    call.cancel()
    assert alert.cause == pb.STOCK_ALERT_CAUSE_DATA_ERROR
    hints = [hint for hint in alert.hints if hint.kind == pb.STOCK_HINT_KIND_DATA_ERROR]
    assert hints[0].data_error == pb.STOCK_DATA_ERROR_COUNT_CONTRADICTS


def test_a_purchase_moves_stock_and_counts_once(shop: Shop) -> None:
    record(shop, make_movement(COUNT, 50))

    def buy(event_id: str, count: float) -> None:
        fields = {
            "sku": values_pb.AttributeValue(category_value="BEANS"),
            "store": values_pb.AttributeValue(category_value="berlin"),
            "count": values_pb.AttributeValue(number_value=count),
        }
        event = events_pb.Event(
            event_id=event_id, customer="customers/c", kind="purchase", fields=fields
        )
        shop.events.RecordEvents(events_pb.RecordEventsRequest(events=[event]), timeout=20)

    buy("e-1", 2)
    buy("e-1", 2)
    assert get_position(shop).on_hand_units == 48
    record(shop, make_movement(SALE, 2, movement_id="e-1"))
    assert get_position(shop).on_hand_units == 48, "it came by the other door already"
    record(shop, make_movement(SALE, 3, movement_id="e-2"))
    buy("e-2", 3)
    assert get_position(shop).on_hand_units == 45


def test_a_position_has_its_figures(shop: Shop) -> None:
    record(shop, make_movement(COUNT, 60, movement_time=in_seconds(-40 * DAY_S)))
    for day in range(39, 0, -1):
        record(shop, make_movement(SALE, 1, movement_time=in_seconds(-day * DAY_S)))
    position = get_position(shop)
    assert position.on_hand_units == 21
    found = position.figures
    assert found.demand_rate == pytest.approx(1, rel=0.3)
    assert found.cover_days == pytest.approx(21 / found.demand_rate, rel=1e-6)
    early, out = found.earliest_stock_out_time.seconds, found.stock_out_time.seconds
    assert position.move_time.seconds < early <= out


@pytest.mark.parametrize(
    ("name", "code", "reason"),
    [
        ("sites/rome/positions/BEANS", grpc.StatusCode.NOT_FOUND, "POSITION_UNKNOWN"),
        ("sites/berlin/positions/NONE", grpc.StatusCode.NOT_FOUND, "POSITION_UNKNOWN"),
        ("sites/berlin", grpc.StatusCode.INVALID_ARGUMENT, "POSITION_NAME_INVALID"),
        ("berlin/BEANS", grpc.StatusCode.INVALID_ARGUMENT, "POSITION_NAME_INVALID"),
        ("", grpc.StatusCode.INVALID_ARGUMENT, "POSITION_NAME_INVALID"),
        (
            f"sites/{'s' * 101}/positions/x",
            grpc.StatusCode.INVALID_ARGUMENT,
            "POSITION_NAME_INVALID",
        ),
    ],
)
def test_a_position_that_is_not_there(
    shop: Shop, name: str, code: grpc.StatusCode, reason: str
) -> None:
    refusal = refuse(shop.stock.GetStockPosition, pb.GetStockPositionRequest(name=name))
    assert (refusal.code, refusal.reason) == (code, reason)


def test_a_declared_position_is_there_before_anything_has_moved(shop: Shop) -> None:
    position = get_position(shop, "GREEN", "koeln")
    assert figures(position) == (0, 0, 0, 0)
    assert not position.HasField("move_time")
    assert list_positions(shop) == []


def fill(shop: Shop) -> list[str]:
    """Put something everywhere, and return the names in the order of lists."""
    places = [
        (unit, site)
        for site in ("berlin", "bonn", "koeln")
        for unit in ("BEANS", "FILTERS", "GREEN")
    ]
    record(
        shop,
        *(make_movement(COUNT, 10 * at, unit, site) for at, (unit, site) in enumerate(places)),
    )
    return [f"sites/{site}/positions/{unit}" for unit, site in places]


def test_lists_come_in_pages_and_by_filter(shop: Shop) -> None:
    names = fill(shop)

    def find(parent: str = "sites/-", **given: Any) -> list[int]:
        return [names.index(each.name) for each in list_positions(shop, parent, **given)]

    for page_size in (1, 2, 4, 9, 1_000):
        assert find(page_size=page_size) == list(range(9))
    assert find("sites/bonn") == [3, 4, 5]
    assert find("sites/bonn", page_size=2) == [3, 4, 5]
    assert find(regions=["west"], page_size=4) == [3, 4, 5, 6, 7, 8]
    assert find(categories=["tea"], page_size=1) == [2, 5, 8]
    assert find(stock_keeping_units=["GREEN", "BEANS"], page_size=3) == [0, 2, 3, 5, 6, 8]
    assert find(stock_keeping_units=["GREEN"], categories=["coffee"]) == []
    assert find(available_below_units=30) == [0, 1, 2]
    assert find(available_below_units=0) == []
    assert find(distributor="distributors/west") == [3, 4, 5, 6, 7, 8]
    assert find(distributor="distributors/roaster", page_size=1) == [0, 1, 3, 4, 6, 7]
    assert find("sites/koeln", distributor="distributors/roaster") == [6, 7]


def test_a_page_token_of_another_site_is_no_end_of_this_one(shop: Shop) -> None:
    fill(shop)
    request = pb.ListStockPositionsRequest(parent="sites/koeln", page_size=1)
    token = shop.stock.ListStockPositions(request, timeout=20).next_page_token
    request = pb.ListStockPositionsRequest(parent="sites/bonn", page_token=token)
    assert refuse(shop.stock.ListStockPositions, request).reason == "PAGE_TOKEN_INVALID"
    request.parent = "sites/-"
    assert len(shop.stock.ListStockPositions(request, timeout=20).positions) == 2


@pytest.mark.parametrize(
    ("given", "code", "field", "reason"),
    [
        ({"parent": "sites"}, "INVALID_ARGUMENT", "parent", "RESOURCE_NAME_INVALID"),
        ({"parent": "sites/rome"}, "INVALID_ARGUMENT", "parent", "STOCK_FILTER_UNKNOWN"),
        ({"page_size": -1}, "INVALID_ARGUMENT", "page_size", "PAGE_SIZE_INVALID"),
        ({"page_token": "x"}, "INVALID_ARGUMENT", "page_token", "PAGE_TOKEN_INVALID"),
        ({"regions": ["north"]}, "INVALID_ARGUMENT", "regions[0]", "STOCK_FILTER_UNKNOWN"),
        ({"regions": ["west", ""]}, "INVALID_ARGUMENT", "regions[1]", "STOCK_FILTER_UNKNOWN"),
        ({"categories": ["x"]}, "INVALID_ARGUMENT", "categories[0]", "STOCK_FILTER_UNKNOWN"),
        (
            {"stock_keeping_units": ["BEANS", "X"]},
            "INVALID_ARGUMENT",
            "stock_keeping_units[1]",
            "STOCK_FILTER_UNKNOWN",
        ),
        (
            {"stock_keeping_units": ["BEANS"] * 1_001},
            "INVALID_ARGUMENT",
            "stock_keeping_units",
            "STOCK_FILTER_TOO_LONG",
        ),
        ({"distributor": "west"}, "INVALID_ARGUMENT", "distributor", "RESOURCE_NAME_INVALID"),
        ({"distributor": "distributors/x"}, "PERMISSION_DENIED", "", "GRANT_MISSING"),
        (
            {"distributor": "distributors/west", "parent": "sites/berlin"},
            "PERMISSION_DENIED",
            "",
            "NOT_GRANTED",
        ),
        (
            {"distributor": "distributors/west", "parent": "sites/rome"},
            "PERMISSION_DENIED",
            "",
            "NOT_GRANTED",
        ),
        (
            {"distributor": "distributors/west", "regions": ["east"]},
            "PERMISSION_DENIED",
            "",
            "NOT_GRANTED",
        ),
        (
            {"distributor": "distributors/roaster", "stock_keeping_units": ["GREEN"]},
            "PERMISSION_DENIED",
            "",
            "NOT_GRANTED",
        ),
        (
            {"distributor": "distributors/roaster", "categories": ["tea"]},
            "PERMISSION_DENIED",
            "",
            "NOT_GRANTED",
        ),
    ],
)
def test_a_list_that_cannot_be(
    shop: Shop, given: dict[str, Any], code: str, field: str, reason: str
) -> None:
    request = pb.ListStockPositionsRequest(**{"parent": "sites/-", **given})
    refusal = refuse(shop.stock.ListStockPositions, request)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode[code], reason)
    assert refusal.fields == ([field] if field else [])


def test_a_distributor_sees_no_position_outside_its_grant(shop: Shop) -> None:
    assert get_position(shop, site="bonn", distributor="distributors/west").region == "west"
    for site, unit in (("berlin", "BEANS"), ("rome", "BEANS"), ("bonn", "NONE")):
        request = pb.GetStockPositionRequest(
            name=f"sites/{site}/positions/{unit}", distributor="distributors/west"
        )
        refusal = refuse(shop.stock.GetStockPosition, request)
        assert (refusal.code, refusal.reason) == (
            grpc.StatusCode.PERMISSION_DENIED,
            "NOT_GRANTED",
        )


def test_a_catalogue_without_stock_has_none(empty_shop: Shop) -> None:
    calls = [
        (
            empty_shop.stock.RecordStockMovements,
            pb.RecordStockMovementsRequest(movements=[make_movement(SALE)]),
        ),
        (
            empty_shop.stock.GetStockPosition,
            pb.GetStockPositionRequest(name="sites/berlin/positions/BEANS"),
        ),
        (empty_shop.stock.ListStockPositions, pb.ListStockPositionsRequest(parent="sites/-")),
        (
            empty_shop.stock.AcknowledgeStockAlert,
            pb.AcknowledgeStockAlertRequest(name="stockAlerts/1"),
        ),
        (
            lambda request, timeout: list(
                empty_shop.stock.WatchStockAlerts(request, timeout=timeout)
            ),
            pb.WatchStockAlertsRequest(),
        ),
    ]
    for call, request in calls:
        assert refuse(call, request).reason == "CATALOGUE_MISSING"
    empty_shop.apply(SHOP)
    for call, request in calls:
        refusal = refuse(call, request)
        assert (refusal.code, refusal.reason) == (
            grpc.StatusCode.FAILED_PRECONDITION,
            "STOCK_MISSING",
        )
