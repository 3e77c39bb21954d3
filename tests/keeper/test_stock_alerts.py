"""Alerts of stock: told once each, in order, with what is behind them; and what time does to them.

When an alert is raised and when it clears is the engine's, see `tests/stock`; here it is kept.
"""

import io
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from instanter.catalogue.stock import Cause, Severity
from instanter.errors import DamagedError, NotFoundError, PreconditionError
from instanter.events_log import make_events_log
from instanter.keeper.clock_watch import ClockWatch
from instanter.keeper.published import PublishedCatalogue
from instanter.keeper.stock_alert_book import (
    ActionKind,
    HintKind,
    StockAction,
    StockAlert,
    find_open_alert,
    pack_alert,
    unpack_alert,
)
from instanter.keeper.stock_alerts import AcknowledgeStockAlert, SnoozeStockAlert
from instanter.keeper.ticking import Ticker
from instanter.stock.questions import MovementKind, TransitionKind
from instanter.store.arm_figures import add_figures
from instanter.store.databases import STOCK_ALERTS
from instanter.store.stock_alert_log import load_extent
from instanter.store.stock_alerts import alert_key
from instanter.store.stock_positions import load_due
from instanter.store.stock_shelves import find_shelf, unpack_shelf
from instanter.store.transaction import Transaction
from tests.keeper.stockroom import (
    DAY_NS,
    MINUTE_NS,
    NOW_NS,
    SHOP,
    STOCK,
    Stockroom,
    move,
    open_stockroom,
    tell,
)

SALE, RECEIPT, PRICE = MovementKind.SALE, MovementKind.RECEIPT, MovementKind.PRICE_CHANGE
HOUR_NS = 60 * MINUTE_NS

_COFFEE = next(line for line in SHOP.splitlines(keepends=True) if "espresso" in line)
"""The offer that is tied to coffee."""


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Stockroom]:
    with open_stockroom(tmp_path / "store") as opened:
        opened.publish()
        opened.record(
            move("r1", RECEIPT, 10, unit="TEA"), move("r2", RECEIPT, 40, unit="TEA", site="dresden")
        )
        opened.tick()
        yield opened


def sell_out(room: Stockroom, name: str = "s") -> StockAlert:
    """Sell all the tea of Berlin, and return the alert that nothing is left."""
    room.clock.time_ns += MINUTE_NS
    room.record(move(name, SALE, room.on_hand(unit="TEA"), unit="TEA"))
    (alert,) = [
        each
        for each in room.open_alerts()
        if each.cause == Cause.STOCK_OUT and each.position.site == "berlin"
    ]
    return alert


def acknowledge(room: Stockroom, number: int, who: str = "bob") -> StockAlert:
    alert: StockAlert = room.do(AcknowledgeStockAlert(number, who))
    return alert


# --- Transitions --------------------------------------------------------------------------------


def test_what_is_sold_out_is_told_and_cleared_when_it_is_back(room: Stockroom) -> None:
    before = room.desk.kept.log.next_sequence
    alert = sell_out(room)
    told = room.transitions()
    assert tell(told) == [
        ("RAISED", "STOCK_OUT", "CRITICAL", "TEA"),
        ("RAISED", "REORDER", "WARNING", "TEA"),
    ]
    assert [each.sequence for each in told] == [1, 2]
    assert {each.record_sequence for each in told} == {before}
    assert told[0].alert == alert
    assert (alert.number, alert.raised_ns) == (1, room.clock.time_ns)
    position = alert.position
    assert (position.site, position.region, position.unit, position.category) == (
        "berlin",
        "east",
        "TEA",
        "hot",
    )
    assert position.figures.available == 0
    room.clock.time_ns += MINUTE_NS
    room.record(move("back", RECEIPT, 30, unit="TEA"))
    cleared = room.transitions(after=2)
    assert {(each.kind, each.alert.number) for each in cleared} == {
        (TransitionKind.CLEARED, 1),
        (TransitionKind.CLEARED, 2),
    }
    assert all(each.alert.cleared_ns == room.clock.time_ns for each in cleared)
    assert all(each.alert.severity_max >= each.alert.severity for each in cleared)
    assert cleared[0].previous_severity > 0
    assert room.open_alerts() == []
    assert sell_out(room, "again").number > 4, "another alert has a number of its own"


def test_numbers_have_no_gap_whatever_happens(room: Stockroom) -> None:
    for number in range(8):
        alert = sell_out(room, f"s{number}")
        if number % 2:
            acknowledge(room, alert.number)
        room.clock.time_ns += 2 * HOUR_NS
        room.tick()
        room.record(move(f"back{number}", RECEIPT, 30, unit="TEA"))
    sequences = [each.sequence for each in room.transitions()]
    assert sequences == list(range(1, len(sequences) + 1))
    records = [each.record_sequence for each in room.transitions()]
    assert records == sorted(records)
    assert [each.time_ns for each in room.transitions()] == sorted(
        each.time_ns for each in room.transitions()
    )


def test_an_alert_is_packed_as_it_is(room: Stockroom) -> None:
    alert = sell_out(room)
    assert unpack_alert(pack_alert(alert)) == alert
    assert alert.actions
    assert isinstance(unpack_alert(pack_alert(alert)).severity, Severity)


def test_an_alert_whose_row_is_damaged_is_cleared_all_the_same(room: Stockroom) -> None:
    alert = sell_out(room)
    key = alert_key(alert.number)

    def change(transaction: Transaction) -> None:
        value = bytes(transaction.get(STOCK_ALERTS, key) or b"")
        transaction.put(STOCK_ALERTS, key, value[:20] + b"\7" + value[21:])

    room.desk.kept.state.write(change)
    with pytest.raises(DamagedError):
        acknowledge(room, alert.number)
    assert alert.number not in [each.number for each in room.open_alerts()]
    room.clock.time_ns += MINUTE_NS
    room.record(move("back", RECEIPT, 30, unit="TEA"))
    assert ("CLEARED", alert.number) in [
        (each.kind.name, each.alert.number) for each in room.transitions()
    ]
    with room.desk.kept.state.read() as transaction:
        assert find_open_alert(transaction, alert.number) is None


# --- What may stand behind it, and what can be done ---------------------------------------------


def test_more_is_to_be_ordered_or_brought_from_where_most_is_left(room: Stockroom) -> None:
    actions = sell_out(room).actions
    assert actions == (
        StockAction(ActionKind.REORDER, 20),
        StockAction(ActionKind.TRANSFER, 20, "dresden"),
    )


def test_a_site_that_has_nothing_is_passed_over(room: Stockroom) -> None:
    room.publish(STOCK.replace("same_region", "[paris, dresden]"))
    for day in range(5):
        room.record(move(f"sold{day}", SALE, 2, unit="TEA", site="dresden"))
        room.clock.time_ns += DAY_NS
    assert room.view("dresden", "TEA").figures.days_of_cover is not None
    (transfer,) = sell_out(room).actions[1:]
    assert (transfer.kind, transfer.source_site) == (ActionKind.TRANSFER, "dresden")


def test_nothing_is_brought_from_where_nothing_is(room: Stockroom) -> None:
    room.record(move("gone", SALE, 40, unit="TEA", site="dresden"))
    assert [action.kind for action in sell_out(room).actions] == [ActionKind.REORDER]


def test_offers_that_push_the_unit_are_named(room: Stockroom) -> None:
    day = NOW_NS // DAY_NS

    def present(transaction: Transaction) -> None:
        add_figures(transaction, day, 1, "espresso", presented=5)
        add_figures(transaction, day, 2, "espresso", presented=2)
        add_figures(transaction, day - 1, 1, "espresso", presented=100)

    room.desk.kept.state.write(present)
    room.record(move("c", RECEIPT, 3, unit="COFFEE"))
    room.clock.time_ns += MINUTE_NS
    room.record(move("d", SALE, 3, unit="COFFEE"))
    (alert,) = [each for each in room.open_alerts() if each.position.unit == "COFFEE"]
    (hint,) = alert.hints
    assert (hint.kind, hint.offers, hint.presented_count) == (
        HintKind.OFFERS_PRESENTED,
        ("espresso",),
        7,
    )


def test_a_changed_price_is_told_for_a_day(room: Stockroom) -> None:
    room.record(move("p1", PRICE, 0, unit="TEA", price=500, time_ns=NOW_NS - DAY_NS))
    room.record(move("p2", PRICE, 0, unit="TEA", price=300))
    (hint,) = sell_out(room).hints
    assert (hint.kind, hint.price_minor, hint.previous_price_minor, hint.time_ns) == (
        HintKind.PRICE_CHANGED,
        300,
        500,
        NOW_NS,
    )
    room.clock.time_ns += DAY_NS
    room.record(move("back", RECEIPT, 30, unit="TEA"))
    assert sell_out(room, "later").hints == ()


@pytest.mark.parametrize(
    "gone",
    [
        "    berlin: {region: east, time_zone: Europe/Berlin}\n",
        "COFFEE: {category: hot}, ",
    ],
)
def test_an_alert_of_what_is_declared_no_more_ends_under_the_names_it_had(
    room: Stockroom, gone: str
) -> None:
    room.clock.time_ns += MINUTE_NS
    room.record(move("r", RECEIPT, 1, unit="COFFEE"), move("s", SALE, 1, unit="COFFEE"))
    (alert,) = room.open_alerts()
    room.publish(STOCK.replace(gone, ""))
    room.tick()
    (ended,) = room.transitions()[-1:]
    assert (ended.kind, ended.alert.number) == (TransitionKind.CLEARED, alert.number)
    assert (ended.alert.position.region, ended.alert.position.category) == ("east", "hot")


# --- What people do -----------------------------------------------------------------------------


def test_an_alert_is_acknowledged_once_and_that_is_told(room: Stockroom) -> None:
    number = sell_out(room).number
    told = len(room.transitions())
    room.clock.time_ns += MINUTE_NS
    alert = acknowledge(room, number)
    assert (alert.acknowledger, alert.acknowledged_ns) == ("bob", room.clock.time_ns)
    assert acknowledge(room, number, "eve").acknowledger == "bob"
    (transition,) = room.transitions(told)
    assert (transition.kind, transition.alert.number) == (TransitionKind.ACKNOWLEDGED, number)
    assert transition.alert.acknowledger == "bob"
    assert [each.acknowledger for each in room.open_alerts() if each.number == number] == ["bob"]


def test_an_alert_that_nobody_acknowledges_escalates(room: Stockroom) -> None:
    sell_out(room)
    told = len(room.transitions())
    room.clock.time_ns += HOUR_NS + MINUTE_NS
    room.tick()
    escalated = room.transitions(told)
    assert ("ESCALATED", "REORDER", "SERIOUS", "TEA") in tell(escalated)
    assert all(each.is_overdue for each in escalated)


@pytest.mark.parametrize("handled", ["acknowledged", "snoozed"])
def test_an_alert_that_is_handled_does_not_escalate(room: Stockroom, handled: str) -> None:
    sell_out(room)
    for alert in room.open_alerts():
        if handled == "acknowledged":
            acknowledge(room, alert.number)
        else:
            until_ns = room.clock.time_ns + 5 * HOUR_NS
            changed = room.do(SnoozeStockAlert(alert.number, until_ns))
            assert changed.snoozed_until_ns == until_ns
            assert room.do(SnoozeStockAlert(alert.number, until_ns)) == changed
    told = len(room.transitions())
    room.clock.time_ns += HOUR_NS + MINUTE_NS
    room.tick()
    assert room.transitions(told) == []
    room.clock.time_ns += 6 * HOUR_NS
    room.tick()
    assert bool(room.transitions(told)) == (handled == "snoozed")


def test_a_snooze_ends_when_it_is_taken_back(room: Stockroom) -> None:
    for alert in [sell_out(room), *room.open_alerts()]:
        room.do(SnoozeStockAlert(alert.number, room.clock.time_ns + 5 * HOUR_NS))
        assert room.do(SnoozeStockAlert(alert.number, 0)).snoozed_until_ns == 0
    told = len(room.transitions())
    room.clock.time_ns += HOUR_NS + MINUTE_NS
    room.tick()
    assert room.transitions(told)


def test_nobody_handles_an_alert_that_is_not_open(room: Stockroom) -> None:
    number = sell_out(room).number
    room.clock.time_ns += MINUTE_NS
    room.record(move("back", RECEIPT, 30, unit="TEA"))
    for command in (
        AcknowledgeStockAlert(number),
        AcknowledgeStockAlert(10**12),
        SnoozeStockAlert(number, room.clock.time_ns + HOUR_NS),
    ):
        with pytest.raises(NotFoundError) as caught:
            room.do(command)
        assert caught.value.reason == "STOCK_ALERT_NOT_FOUND"
    room.desk.publish()
    with pytest.raises(PreconditionError):
        room.do(AcknowledgeStockAlert(number))


# --- What time and publications do --------------------------------------------------------------


def test_transitions_go_when_the_catalogue_keeps_them_no_longer(room: Stockroom) -> None:
    sell_out(room)
    first = len(room.transitions())
    room.clock.time_ns += 4 * DAY_NS
    room.record(move("back", RECEIPT, 30, unit="TEA"))
    later = room.transitions(first)
    assert later
    room.clock.time_ns += 3 * DAY_NS + MINUTE_NS
    room.tick()
    assert room.transitions()[: len(later)] == later
    room.clock.time_ns += 40 * DAY_NS
    room.tick()
    with room.desk.kept.state.read() as transaction:
        extent = load_extent(transaction)
    assert extent.first == extent.last + 1
    sell_out(room, "after all")
    assert room.transitions()[0].sequence == extent.last + 1


def test_another_catalogue_is_brought_to_all_positions(room: Stockroom) -> None:
    for site in ("berlin", "dresden", "paris"):
        for unit in ("COFFEE", "BAG"):
            room.record(move(f"{site}{unit}", RECEIPT, 30, site=site, unit=unit))
    room.tick()
    assert room.open_alerts() == []
    watched = STOCK.replace("- {negative: refused}", "- {negative: refused, maximum: 20}")
    room.publish(watched)
    room.tick()
    assert {(each.position.site, each.position.unit) for each in room.open_alerts()} == {
        (site, "COFFEE") for site in ("berlin", "dresden", "paris")
    }
    assert {each.cause for each in room.open_alerts()} == {Cause.OVERSTOCK}
    room.publish(watched.replace("COFFEE: {category: hot}, ", ""))
    room.tick()
    assert room.open_alerts() == [], "nothing is watched that is not declared"


class Frozen:
    """A store as it was once."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def read(self) -> AbstractContextManager[Transaction]:
        return nullcontext(self._transaction)


def test_a_look_from_before_a_publication_does_not_bring_that_back(room: Stockroom) -> None:
    published = PublishedCatalogue(is_told=True)
    events_log = make_events_log(io.StringIO(), as_json=True)
    with room.desk.kept.state.read() as before:
        assert published.load(before) is not None
        ticker = Ticker(
            Frozen(before),
            room.desk.keeper.submit,
            make_tick=room.desk.kept.response.make_tick,
            published=published,
            clock=room.clock,
            events_log=events_log,
            clock_watch=ClockWatch(
                lambda: 0, clock=room.clock, metrics=room.desk.metrics, events_log=events_log
            ),
        )
        # A thread has one transaction at a time.
        changed = STOCK.replace("minimum: 2", "minimum: 3")
        publishing = threading.Thread(target=room.publish, args=(changed,))
        publishing.start()
        publishing.join()
        published.forget()
        ticker.tick()
    with room.desk.kept.state.read() as after:
        found = published.load(after)
    assert found is not None
    assert found.revision == room.catalogue().revision


def test_a_position_stands_once_in_the_queue_under_its_earliest_time(room: Stockroom) -> None:
    def due() -> list[int]:
        with room.desk.kept.state.read() as transaction:
            return [due_ms for due_ms, _ in load_due(transaction, 2**62, 100)]

    def snooze(until_ns: int) -> None:
        for alert in room.open_alerts():
            room.do(SnoozeStockAlert(alert.number, until_ns))

    sell_out(room)
    raised_ms = room.clock.time_ns // 1_000_000
    hour_ms = HOUR_NS // 1_000_000
    assert due() == [raised_ms + hour_ms]
    snooze(room.clock.time_ns + 5 * HOUR_NS)
    assert due() == [raised_ms + hour_ms], "a later time is left to whoever looks"
    room.clock.time_ns += 2 * HOUR_NS
    room.tick()
    assert due() == [raised_ms + 5 * hour_ms]
    told = len(room.transitions())
    snooze(0)
    assert {each.kind for each in room.transitions(told)} == {TransitionKind.ESCALATED}
    assert due() == [raised_ms + 3 * hour_ms], "an earlier one is not"
    for _ in range(40):
        room.clock.time_ns += DAY_NS
        room.tick()
        assert len(due()) <= 1


def test_the_units_that_offers_are_tied_to_stand_on_the_shelf(room: Stockroom) -> None:
    room.publish(STOCK + "  offers: {site_is: berlin}\n")
    room.record(move("c", RECEIPT, 3, unit="COFFEE"), move("t", RECEIPT, 3, unit="TEA"))

    def shelf() -> list[int]:
        with room.desk.kept.state.read() as transaction:
            return unpack_shelf(find_shelf(transaction, "berlin") or b"").available.tolist()

    assert shelf() == [3]
    room.record(move("d", SALE, 3, unit="COFFEE"))
    assert shelf() == [0]
    with_tea = SHOP.replace(_COFFEE, f"{_COFFEE}{_COFFEE.replace('espresso', 'tea')}")
    room.publish(STOCK + "  offers: {site_is: berlin}\n", with_tea.replace("COFFEE}\ne", "TEA}\ne"))
    room.tick()
    assert shelf() == [0, 13], "what is newly tied is there without a movement"
