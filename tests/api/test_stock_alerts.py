"""`StockService.WatchStockAlerts` through the wire, and what people do with alerts."""

import contextlib
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from instanter.clock import SystemClock
from instanter.v1 import stock_service_pb2 as pb
from tests.api.refusals import read_refusal, refuse
from tests.api.shop import Shop, open_shop
from tests.api.warehouse import (
    COUNT,
    WAREHOUSE,
    fall,
    fall_and_rise,
    in_seconds,
    make_movement,
    record,
    rise,
    watch,
)

REORDER = pb.STOCK_ALERT_CAUSE_REORDER
OUT = pb.STOCK_ALERT_CAUSE_STOCK_OUT
RAISED = pb.STOCK_ALERT_CHANGE_RAISED
CLEARED = pb.STOCK_ALERT_CHANGE_CLEARED
ACKNOWLEDGED = pb.STOCK_ALERT_CHANGE_ACKNOWLEDGED


@pytest.fixture
def shop(front_name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop that keeps stock: plenty of everything is there."""
    with open_shop(tmp_path_factory.mktemp("alerts") / "store", front_name) as opened:
        opened.apply(WAREHOUSE)
        record(
            opened,
            *(
                make_movement(COUNT, 100, unit, site)
                for site in ("berlin", "bonn", "koeln")
                for unit in ("BEANS", "FILTERS", "GREEN")
            ),
        )
        yield opened


def test_an_alert_is_told_with_all_that_stands_behind_it(shop: Shop) -> None:
    with watch(shop.stock) as watcher:
        assert watcher.read().HasField("progress")
        record(shop, make_movement(pb.STOCK_MOVEMENT_KIND_PRICE_CHANGE, 0, price_minor=499))
        fall(shop)
        (raised,) = watcher.read_transitions(1)
        rise(shop)
        (cleared,) = watcher.read_transitions(1)
    assert (raised.sequence, cleared.sequence) == (1, 2)
    assert (raised.change, cleared.change) == (RAISED, CLEARED)
    alert = raised.alert
    assert (alert.name, alert.cause) == ("stockAlerts/1", REORDER)
    assert alert.position.name == "sites/berlin/positions/BEANS"
    assert (alert.position.on_hand_units, alert.position.price_minor) == (5, 499)
    assert [hint.price_minor for hint in alert.hints] == [499]
    assert [(action.kind, action.units) for action in alert.actions] == [
        (pb.STOCK_ACTION_KIND_REORDER, 45)
    ]
    assert cleared.alert.HasField("clear_time")
    assert cleared.alert.name == alert.name
    assert cleared.alert.position.on_hand_units == 100


def test_each_subscriber_is_told_what_it_wants_and_may_see(shop: Shop) -> None:
    places = [(unit, site) for site in ("berlin", "bonn") for unit in ("BEANS", "FILTERS")]
    wanted: list[tuple[dict[str, Any], list[int]]] = [
        ({}, [1, 2, 3, 4]),
        ({"sites": ["sites/bonn"]}, [3, 4]),
        ({"regions": ["east"], "stock_keeping_units": ["FILTERS"]}, [2]),
        ({"categories": ["coffee"]}, [1, 2, 3, 4]),
        ({"categories": ["tea"]}, []),
        ({"distributor": "distributors/west"}, [3, 4]),
        ({"minimum_severity": pb.STOCK_ALERT_SEVERITY_WARNING}, [1, 2, 3, 4]),
        ({"minimum_severity": pb.STOCK_ALERT_SEVERITY_SERIOUS}, []),
    ]
    with contextlib.ExitStack() as stack:
        watchers = [stack.enter_context(watch(shop.stock, **given)) for given, _ in wanted]
        for watcher in watchers:
            watcher.read()
        for unit, site in places:
            fall(shop, unit, site)
        for watcher, (_, expected) in zip(watchers, wanted, strict=True):
            watcher.read_transitions(len(expected))
    for watcher, (given, expected) in zip(watchers, wanted, strict=True):
        assert [told.sequence for told in watcher.transitions] == expected, given
        # What it was not told live it is not told later either.
        with watch(shop.stock, resume_token=shop.tokens.format(0), **given) as again:
            again.read_to(4)
        assert [told.sequence for told in again.transitions] == expected, given


def test_a_subscriber_goes_on_where_it_was(shop: Shop) -> None:
    seen: list[int] = []
    token = shop.tokens.format(0)
    for _ in range(8):
        fall_and_rise(shop, 4)
        with watch(shop.stock, resume_token=token) as watcher:
            watcher.read_transitions(3)
        token = watcher.token
        seen += [told.sequence for told in watcher.transitions]
    assert seen == list(range(1, 25)), "neither a gap nor a duplicate"


def test_a_token_holds_after_a_restart(
    front_name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("restart") / "store"
    with open_shop(folder, front_name) as shop:
        shop.apply(WAREHOUSE)
        record(shop, make_movement(COUNT, 100))
        with watch(shop.stock) as watcher:
            watcher.read()
            fall_and_rise(shop, 3)
            watcher.read_transitions(2)
    with (
        open_shop(folder, front_name) as shop,
        watch(shop.stock, resume_token=watcher.token) as again,
    ):
        again.read_transitions(1)
        rise(shop)
        again.read_transitions(1)
    assert [told.sequence for told in again.transitions] == [3, 4]


def test_open_alerts_come_first_where_they_are_wanted(shop: Shop) -> None:
    fall(shop)
    fall(shop, site="bonn")
    rise(shop)
    with watch(shop.stock, open_alerts_first=True) as watcher:
        first, second = watcher.read(), watcher.read()
        assert first.open_alert.name == "stockAlerts/2"
        assert not first.resume_token
        assert second.progress.sequence == 3
        fall(shop)
        assert watcher.read_transitions(1)[0].sequence == 4


FOREIGN = {
    "forged": lambda token: token[:20] + ("A" if token[20] != "A" else "B") + token[21:],
    "truncated": lambda token: token[:-1],
    "cut to nothing much": lambda token: token[:1],
    "longer": lambda token: token + "AA",
    "of another making": lambda _: "bm90IGEgdG9rZW4",
    "not even base64": lambda _: "€ uro",
    "endless": lambda _: "A" * 10_000,
}


@pytest.mark.parametrize("how", FOREIGN)
def test_a_token_that_was_not_made_here_is_refused(shop: Shop, how: str) -> None:
    fall(shop)
    token = FOREIGN[how](shop.tokens.format(0))
    refusal = refuse(watch_to_the_end(shop), pb.WatchStockAlertsRequest(resume_token=token))
    assert (refusal.code, refusal.reason, refusal.fields) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "RESUME_TOKEN_INVALID",
        ["resume_token"],
    )


def watch_to_the_end(shop: Shop) -> Any:
    """Return the call that reads a stream until it ends."""

    def call(request: pb.WatchStockAlertsRequest, timeout: float) -> list[Any]:
        return list(shop.stock.WatchStockAlerts(request, timeout=timeout))

    return call


def test_a_token_of_another_store_is_refused(
    shop: Shop, front_name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with open_shop(tmp_path_factory.mktemp("other") / "store", front_name) as other:
        token = other.tokens.format(0)
    refusal = refuse(watch_to_the_end(shop), pb.WatchStockAlertsRequest(resume_token=token))
    assert refusal.reason == "RESUME_TOKEN_INVALID"


def test_a_token_of_the_future_is_refused_with_where_to_go_on(shop: Shop) -> None:
    fall(shop)
    request = pb.WatchStockAlertsRequest(resume_token=shop.tokens.format(2))
    refusal = refuse(watch_to_the_end(shop), request)
    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.OUT_OF_RANGE,
        "RESUME_TOKEN_AHEAD",
    )
    assert refusal.metadata["first_sequence"] == "1"
    with watch(shop.stock, resume_token=refusal.metadata["resume_token"]) as watcher:
        assert watcher.read().progress.sequence == 1


class LateClock(SystemClock):
    """The machine's clock, and what a test adds to it."""

    def __init__(self) -> None:
        self.added_ns = 0

    def now_ns(self) -> int:
        return super().now_ns() + self.added_ns


def test_a_token_older_than_what_is_kept_brings_what_is_open_first(
    front_name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    clock = LateClock()
    folder = tmp_path_factory.mktemp("old") / "store"
    with open_shop(folder, front_name, clock) as shop:
        shop.apply(WAREHOUSE)
        record(shop, make_movement(COUNT, 100), make_movement(COUNT, 100, site="bonn"))
        fall(shop, site="bonn")
        fall_and_rise(shop, 4)
        clock.added_ns = 8 * 86_400_000_000_000
        fall_and_rise(shop, 2)
        with watch(shop.stock, resume_token=shop.tokens.format(1)) as watcher:
            first = watcher.read()
            assert first.open_alert.name == "stockAlerts/1"
            progress = watcher.read()
            refusal = read_refusal(watcher.read_error())
        assert progress.progress.sequence == 7
        assert (refusal.code, refusal.reason) == (
            grpc.StatusCode.OUT_OF_RANGE,
            "RESUME_TOKEN_EXPIRED",
        )
        assert refusal.metadata == {
            "first_sequence": "6",
            "resume_token": progress.resume_token,
        }
        with watch(shop.stock, resume_token=progress.resume_token) as watcher:
            fall(shop)
            assert watcher.read_transitions(1)[0].sequence == 8


@pytest.mark.parametrize(
    ("given", "code", "field", "reason"),
    [
        ({"sites": ["berlin"]}, "INVALID_ARGUMENT", "sites[0]", "RESOURCE_NAME_INVALID"),
        (
            {"sites": ["sites/berlin", "sites/rome"]},
            "INVALID_ARGUMENT",
            "sites[1]",
            "STOCK_FILTER_UNKNOWN",
        ),
        ({"regions": ["north"]}, "INVALID_ARGUMENT", "regions[0]", "STOCK_FILTER_UNKNOWN"),
        ({"categories": [""]}, "INVALID_ARGUMENT", "categories[0]", "STOCK_FILTER_UNKNOWN"),
        (
            {"stock_keeping_units": ["BEAN"]},
            "INVALID_ARGUMENT",
            "stock_keeping_units[0]",
            "STOCK_FILTER_UNKNOWN",
        ),
        (
            {"minimum_severity": 9},
            "INVALID_ARGUMENT",
            "minimum_severity",
            "STOCK_ALERT_SEVERITY_INVALID",
        ),
        ({"distributor": "west"}, "INVALID_ARGUMENT", "distributor", "RESOURCE_NAME_INVALID"),
        ({"distributor": "distributors/x"}, "PERMISSION_DENIED", "", "GRANT_MISSING"),
        (
            {"distributor": "distributors/west", "sites": ["sites/berlin"]},
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
def test_a_subscription_that_cannot_be(
    shop: Shop, given: dict[str, Any], code: str, field: str, reason: str
) -> None:
    refusal = refuse(watch_to_the_end(shop), pb.WatchStockAlertsRequest(**given))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode[code], reason)
    assert refusal.fields == ([field] if field else [])


def test_a_snapshot_and_a_token_do_not_go_together(shop: Shop) -> None:
    request = pb.WatchStockAlertsRequest(resume_token=shop.tokens.format(0), open_alerts_first=True)
    refusal = refuse(watch_to_the_end(shop), request)
    assert refusal.fields == ["open_alerts_first"]


def test_silence_is_broken_by_progress(
    front_name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    files = {"stock.yaml": WAREHOUSE["stock.yaml"].replace("heartbeat: 10s", "heartbeat: 1s")}
    with open_shop(tmp_path_factory.mktemp("beat") / "store", front_name) as shop:
        shop.apply(files)
        with watch(shop.stock) as watcher:
            assert [watcher.read().progress.sequence for _ in range(3)] == [0, 0, 0]


def test_streams_go_on_under_the_next_catalogue_and_end_with_their_grant(shop: Shop) -> None:
    text = WAREHOUSE["stock.yaml"]
    with (
        watch(shop.stock, distributor="distributors/west") as theirs,
        watch(shop.stock, categories=["coffee"]) as ours,
    ):
        assert theirs.read().HasField("progress")
        assert ours.read().HasField("progress")
        shop.apply({"stock.yaml": text.replace("BEANS: coffee", "BEANS: drinks")})
        fall(shop, "FILTERS", "bonn")
        fall(shop, "BEANS", "bonn")
        assert [told.sequence for told in theirs.read_transitions(1)] == [1]
        shop.apply({"stock.yaml": text.replace("    west: {regions: [west]}\n", "")})
        fall(shop, "FILTERS", "koeln")
        refusal = read_refusal(theirs.read_error())
        assert (refusal.code, refusal.reason) == (
            grpc.StatusCode.PERMISSION_DENIED,
            "GRANT_MISSING",
        )
        told = ours.read_transitions(2)
    assert [(each.alert.position.name, each.alert.position.category) for each in told] == [
        ("sites/bonn/positions/FILTERS", "coffee"),
        ("sites/koeln/positions/FILTERS", "coffee"),
    ]
    assert [each.sequence for each in theirs.transitions] == [1], "and nothing after that"


@pytest.mark.parametrize(
    ("gone", "distributor"),
    [
        ("    koeln: {region: west}\n", "west"),
        ("FILTERS: coffee, ", "roaster"),
    ],
)
def test_a_distributor_hears_of_the_end_of_what_is_declared_no_more(
    shop: Shop, gone: str, distributor: str
) -> None:
    with watch(shop.stock, distributor=f"distributors/{distributor}") as theirs:
        assert theirs.read().HasField("progress")
        fall(shop, "FILTERS", "koeln")
        shop.apply({"stock.yaml": WAREHOUSE["stock.yaml"].replace(gone, "")})
        told = theirs.read_transitions(2)
    assert [each.change for each in told] == [RAISED, CLEARED]
    assert told[1].alert.name == told[0].alert.name
    with watch(
        shop.stock,
        distributor=f"distributors/{distributor}",
        resume_token=shop.tokens.format(told[0].sequence),
    ) as again:
        assert [each.sequence for each in again.read_transitions(1)] == [told[1].sequence]


# --- What people do -----------------------------------------------------------------------------


def test_an_acknowledged_alert_is_told_to_all_and_stays_so(shop: Shop) -> None:
    with watch(shop.stock) as watcher:
        watcher.read()
        fall(shop)
        (raised,) = watcher.read_transitions(1)
        request = pb.AcknowledgeStockAlertRequest(name=raised.alert.name, acknowledger="Ada")
        answer = shop.stock.AcknowledgeStockAlert(request, timeout=20)
        assert answer.alert.acknowledger == "Ada"
        assert answer.alert.HasField("acknowledge_time")
        (told,) = watcher.read_transitions(1)
        assert (told.change, told.alert.acknowledger) == (ACKNOWLEDGED, "Ada")
        again = shop.stock.AcknowledgeStockAlert(request, timeout=20)
        assert again.alert == answer.alert
        rise(shop)
        assert watcher.read_transitions(1)[0].change == CLEARED
    refusal = refuse(shop.stock.AcknowledgeStockAlert, request)
    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.NOT_FOUND,
        "STOCK_ALERT_NOT_FOUND",
    )


def test_an_alert_is_put_off(shop: Shop) -> None:
    fall(shop)
    end = in_seconds(3_600)
    request = pb.SnoozeStockAlertRequest(name="stockAlerts/1", snooze_end_time=end)
    alert = shop.stock.SnoozeStockAlert(request, timeout=20).alert
    assert alert.snooze_end_time.seconds == end.seconds
    request.snooze_end_time.CopyFrom(in_seconds(-5))
    assert not shop.stock.SnoozeStockAlert(request, timeout=20).alert.HasField("snooze_end_time")


@pytest.mark.parametrize(
    ("method", "given", "code", "field"),
    [
        ("AcknowledgeStockAlert", {"name": "stockAlerts/0"}, "INVALID_ARGUMENT", "name"),
        ("AcknowledgeStockAlert", {"name": "alerts/1"}, "INVALID_ARGUMENT", "name"),
        ("AcknowledgeStockAlert", {"name": f"stockAlerts/{2**63}"}, "INVALID_ARGUMENT", "name"),
        ("AcknowledgeStockAlert", {"name": "stockAlerts/99"}, "NOT_FOUND", ""),
        ("AcknowledgeStockAlert", {"acknowledger": "x" * 201}, "INVALID_ARGUMENT", "acknowledger"),
        ("AcknowledgeStockAlert", {"acknowledger": "a\nb"}, "INVALID_ARGUMENT", "acknowledger"),
        ("AcknowledgeStockAlert", {"distributor": "distributors/x"}, "PERMISSION_DENIED", ""),
        ("AcknowledgeStockAlert", {"distributor": "distributors/west"}, "PERMISSION_DENIED", ""),
        (
            "AcknowledgeStockAlert",
            {"distributor": "distributors/west", "name": "stockAlerts/99"},
            "NOT_FOUND",
            "",
        ),
        ("SnoozeStockAlert", {}, "INVALID_ARGUMENT", "snooze_end_time"),
        (
            "SnoozeStockAlert",
            {"snooze_end_time": 31 * 86_400.0},
            "INVALID_ARGUMENT",
            "snooze_end_time",
        ),
        (
            "SnoozeStockAlert",
            {"snooze_end_time": 60.0, "distributor": "distributors/west"},
            "PERMISSION_DENIED",
            "",
        ),
        ("SnoozeStockAlert", {"name": "stockAlerts/9", "snooze_end_time": 60.0}, "NOT_FOUND", ""),
    ],
)
def test_what_cannot_be_done_with_an_alert(
    shop: Shop, method: str, given: dict[str, Any], code: str, field: str
) -> None:
    fall(shop)
    fields = {"name": "stockAlerts/1", **given}
    if "snooze_end_time" in fields:
        fields["snooze_end_time"] = in_seconds(fields["snooze_end_time"])
    refusal = refuse(getattr(shop.stock, method), getattr(pb, f"{method}Request")(**fields))
    assert refusal.code == grpc.StatusCode[code]
    assert refusal.fields == ([field] if field else [])


def test_a_distributor_may_do_it_where_its_grant_says_so(shop: Shop) -> None:
    fall(shop, site="bonn")
    request = pb.AcknowledgeStockAlertRequest(name="stockAlerts/1", distributor="distributors/west")
    assert shop.stock.AcknowledgeStockAlert(request, timeout=20).alert.HasField("acknowledge_time")
