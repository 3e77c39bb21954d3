"""Movements through the keeper: each counts once, in any order, and all of a batch or none."""

import contextlib
import random
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from instanter.errors import (
    AlreadyExistsError,
    DamagedError,
    ExhaustedError,
    InvalidFieldError,
    PreconditionError,
)
from instanter.keeper.stock_movements import MovementCounts
from instanter.limits import EVENT_AGE_NS_MAX, EVENT_AHEAD_NS_MAX
from instanter.stock.questions import MovementKind
from instanter.store.databases import EVENT_ID_EXPIRY, EVENT_IDS, STOCK_POSITIONS
from instanter.store.expiry import HOUR_NS
from instanter.store.log.log import Log
from instanter.store.stock_positions import position_key
from instanter.store.transaction import Transaction
from tests.keeper.stockroom import (
    DAY_NS,
    MINUTE_NS,
    NOW_NS,
    Stockroom,
    StoodClock,
    move,
    open_stockroom,
)
from tests.keeper.test_keeper import read_all
from tests.oracles.stock_books import Books

ADJUSTMENT, COUNT, ORDER = MovementKind.ADJUSTMENT, MovementKind.COUNT, MovementKind.ORDER
RECEIPT, RESERVATION, RELEASE = (
    MovementKind.RECEIPT,
    MovementKind.RESERVATION,
    MovementKind.RELEASE,
)
RETURN, SALE, TRANSFER = MovementKind.RETURN, MovementKind.SALE, MovementKind.TRANSFER
CANCELLATION, PRICE = MovementKind.ORDER_CANCELLATION, MovementKind.PRICE_CHANGE

ALLOWED = """\
stock:
  sites: {berlin: {region: east}, dresden: {region: east}, paris: {region: west}}
  units: {COFFEE: hot, TEA: hot, BAG: none}
  policies: [{negative: allowed}]
"""


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Stockroom]:
    with open_stockroom(tmp_path / "store") as opened:
        opened.publish()
        yield opened


# --- Positions ----------------------------------------------------------------------------------


def test_every_kind_of_movement_does_what_its_name_says(room: Stockroom) -> None:
    given: list[tuple[MovementKind, int, tuple[int, int, int]]] = [
        (RECEIPT, 10, (10, 0, 0)),
        (SALE, 3, (7, 0, 0)),
        (RETURN, 1, (8, 0, 0)),
        (ORDER, 20, (8, 20, 0)),
        (CANCELLATION, 5, (8, 15, 0)),
        (RECEIPT, 6, (14, 9, 0)),
        (RESERVATION, 4, (14, 9, 4)),
        (RELEASE, 1, (14, 9, 3)),
        (ADJUSTMENT, -2, (12, 9, 3)),
        (ADJUSTMENT, 5, (17, 9, 3)),
        (COUNT, 16, (16, 9, 3)),
        (RECEIPT, 30, (46, 0, 3)),
    ]
    for number, (kind, units, expected) in enumerate(given):
        room.clock.time_ns += MINUTE_NS
        assert room.record(move(f"m{number}", kind, units)) == MovementCounts(1, 0)
        figures = room.view().figures
        assert (figures.on_hand, figures.on_order, figures.committed) == expected, kind
        assert figures.available == expected[0] - expected[2]
    room.clock.time_ns += MINUTE_NS
    room.record(move("t", TRANSFER, 6, to="dresden"))
    assert (room.on_hand("berlin"), room.on_hand("dresden")) == (40, 6)


SITES, UNITS = ("berlin", "dresden", "paris"), ("BAG", "COFFEE")


def draw(chance: random.Random, number: int) -> Any:
    """Return some movement of the last 30 days."""
    kind = chance.choice((SALE, SALE, SALE, RECEIPT, RETURN, ADJUSTMENT, TRANSFER, COUNT))
    site, to = chance.sample(SITES, 2)
    sign = chance.choice((-1, 1)) if kind == ADJUSTMENT else 1
    return move(
        f"m{number}",
        kind,
        sign * chance.randint(1, 9),
        site=site,
        unit=chance.choice(UNITS),
        time_ns=NOW_NS + chance.randrange(30 * DAY_NS // 1_000_000) * 1_000_000,
        to=to if kind == TRANSFER else "",
    )


@pytest.mark.parametrize("seed", range(4))
def test_positions_are_those_of_the_books_under_disorder_and_retries(
    tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    with open_stockroom(tmp_path / "store") as room:
        room.publish(ALLOWED)
        room.clock.time_ns += 40 * DAY_NS
        books = Books()
        movements = [draw(chance, number) for number in range(500)]
        # Late by up to two days: as far as a position remembers.
        movements.sort(key=lambda each: each.time_ns + chance.random() * 2 * DAY_NS)
        sent = 0
        while sent < len(movements):
            size = chance.choice((1, 3, 10, 40))
            batch = movements[sent : sent + size]
            again = chance.sample(movements[:sent], min(sent, chance.randint(0, 5)))
            mixed = [*batch, *again, *batch[:2]]
            chance.shuffle(mixed)
            assert room.record(*mixed) == MovementCounts(len(batch), len(mixed) - len(batch))
            for each in mixed:
                name = MovementKind(each.kind).name
                time_ms = each.time_ns // 1_000_000
                said = (each.site, each.unit, each.units, time_ms, each.destination_site)
                books.tell(each.movement_id, name, *said)
            sent += size
        expected = {(site, unit): books.on_hand(site, unit) for site in SITES for unit in UNITS}
        assert len(set(expected.values())) > 1
        assert {each: room.on_hand(*each) for each in expected} == expected
        assert room.record(*movements) == MovementCounts(0, len(movements))
        assert {each: room.on_hand(*each) for each in expected} == expected


def test_a_movement_that_is_older_than_the_count_is_in_it_already(room: Stockroom) -> None:
    hour = 60 * MINUTE_NS
    room.record(move("c", COUNT, 50, time_ns=NOW_NS - hour))
    room.record(move("late", SALE, 7, time_ns=NOW_NS - 2 * hour))
    assert room.on_hand() == 50
    room.record(move("now", SALE, 7))
    assert room.on_hand() == 43
    room.record(move("late count", COUNT, 60, time_ns=NOW_NS - hour // 2))
    assert room.on_hand() == 53
    room.record(move("later than its successor", COUNT, 1, time_ns=NOW_NS - hour))
    assert room.on_hand() == 53


Told = tuple[MovementKind, int]

AFTER_A_COUNT: list[tuple[list[Told], int]] = [
    ([(RECEIPT, 50), (COUNT, 40), (SALE, 3)], 37),
    ([(RECEIPT, 50), (SALE, 3), (COUNT, 40)], 40),
    ([(COUNT, 10), (COUNT, 7)], 7),
    ([(COUNT, 10), (SALE, 3), (COUNT, 5), (RECEIPT, 2), (RETURN, 1)], 8),
    ([(COUNT, 9), (ADJUSTMENT, -2), (TRANSFER, 4)], 3),
]


@pytest.mark.parametrize("ahead_ns", [None, 0, MINUTE_NS])
@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize(("told", "expected"), AFTER_A_COUNT)
def test_what_comes_behind_a_count_in_the_same_millisecond_is_not_in_it(
    room: Stockroom, told: list[Told], expected: int, together: bool, ahead_ns: int | None
) -> None:
    time_ns = None if ahead_ns is None else NOW_NS + ahead_ns
    movements = [
        move(f"m{at}", kind, units, time_ns=time_ns, to="dresden" if kind == TRANSFER else "")
        for at, (kind, units) in enumerate(told)
    ]
    for batch in [movements] if together else [[movement] for movement in movements]:
        assert room.record(*batch) == MovementCounts(len(batch), 0)
    assert room.on_hand() == expected


def test_what_is_brought_behind_the_count_of_where_it_comes_to_is_not_in_it(
    room: Stockroom,
) -> None:
    room.record(move("r", RECEIPT, 9), move("c", COUNT, 5, site="dresden"))
    room.record(move("t", TRANSFER, 4, to="dresden"))
    assert (room.on_hand(), room.on_hand("dresden")) == (5, 9)


def test_a_past_time_that_is_told_is_taken_at_its_word(room: Stockroom) -> None:
    time_ns = NOW_NS - MINUTE_NS
    room.record(move("c", COUNT, 50, time_ns=time_ns), move("s", SALE, 7, time_ns=time_ns))
    assert room.on_hand() == 50


def test_a_count_behind_which_too_much_has_moved_is_refused(room: Stockroom) -> None:
    for number in range(40):
        room.clock.time_ns += MINUTE_NS
        room.record(move(f"r{number}", RECEIPT, 1))
    with pytest.raises(PreconditionError) as caught:
        room.record(move("c", COUNT, 5, time_ns=NOW_NS + 2 * MINUTE_NS))
    assert caught.value.reason == "COUNT_TOO_OLD"
    assert room.on_hand() == 40
    room.record(move("c", COUNT, 5, time_ns=NOW_NS + 20 * MINUTE_NS))
    assert room.on_hand() == 5 + 20


def test_prices_are_kept_by_their_times(room: Stockroom) -> None:
    room.record(move("p1", PRICE, 0, price=500))
    room.clock.time_ns += MINUTE_NS
    room.record(move("p2", PRICE, 0, price=400), move("s", RECEIPT, 1))
    room.record(move("late", PRICE, 0, price=450, time_ns=NOW_NS + MINUTE_NS // 2))
    assert room.view().price_minor == 400
    assert room.on_hand() == 1


# --- What is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (move("x", SALE, 6, unit="COFFEE"), "STOCK_NEGATIVE"),
        (move("x", SALE, 4, unit="COFFEE"), "STOCK_NOT_AVAILABLE"),
        (move("x", RESERVATION, 4, unit="COFFEE"), "STOCK_NOT_AVAILABLE"),
        (move("x", TRANSFER, 9, unit="COFFEE", to="paris"), "STOCK_NEGATIVE"),
        (move("x", RELEASE, 3, unit="COFFEE"), "STOCK_NOT_COMMITTED"),
        (move("x", CANCELLATION, 1, unit="COFFEE"), "STOCK_NOT_COMMITTED"),
    ],
)
def test_a_batch_is_taken_whole_or_not_at_all(room: Stockroom, bad: Any, reason: str) -> None:
    room.record(move("r", RECEIPT, 5, unit="COFFEE"), move("p", RESERVATION, 2, unit="COFFEE"))
    room.tick()
    before = read_all(room.desk.kept.state)
    good = move("good", RECEIPT, 5, unit="TEA")
    with pytest.raises(PreconditionError) as caught:
        room.record(good, move("r", RECEIPT, 5, unit="COFFEE"), bad)
    assert caught.value.reason == reason
    assert caught.value.field == "movements[2].units"
    assert "'COFFEE' at 'berlin' had 5 on hand, 2 committed" in caught.value.message
    assert caught.value.metadata["on_hand_units"] == "5"
    assert read_all(room.desk.kept.state) == before
    assert room.record(good) == MovementCounts(1, 0), "its id was not remembered"


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (move("x", SALE, 0), "units"),
        (move("x", SALE, -1), "units"),
        (move("x", SALE, 10**18), "units"),
        (move("x", COUNT, -1), "units"),
        (move("x", ADJUSTMENT, 0), "units"),
        (move("x", SALE, site="rome"), "site"),
        (move("x", SALE, unit="MILK"), "stock_keeping_unit"),
        (move("x", TRANSFER, to="rome"), "destination_site"),
        (move("x", SALE, time_ns=NOW_NS - EVENT_AGE_NS_MAX - 1), "movement_time"),
        (move("x", SALE, time_ns=NOW_NS + EVENT_AHEAD_NS_MAX + 1), "movement_time"),
    ],
)
def test_a_mistake_names_its_movement_and_its_field(room: Stockroom, bad: Any, field: str) -> None:
    room.record(move("known", RECEIPT, 5))
    good = [move("a", RECEIPT, 5), move("known", RECEIPT, 5), move("a", RECEIPT, 5)]
    with pytest.raises(InvalidFieldError) as caught:
        room.record(*good, bad)
    assert caught.value.field == f"movements[3].{field}"
    assert room.on_hand() == 5


def test_without_a_stock_section_nothing_is_kept(room: Stockroom) -> None:
    room.desk.publish()
    with pytest.raises(PreconditionError) as caught:
        room.record(move("x", SALE))
    assert caught.value.reason == "STOCK_MISSING"


# --- Ids ----------------------------------------------------------------------------------------


def test_a_movement_that_is_sent_again_counts_once(room: Stockroom) -> None:
    batch = [move("a", RECEIPT, 10), move("b", SALE, 2), move("a", RECEIPT, 10)]
    assert room.record(*batch) == MovementCounts(2, 1)
    room.tick()
    before = read_all(room.desk.kept.state)
    assert room.record(*batch) == MovementCounts(0, 3)
    assert read_all(room.desk.kept.state) == before
    assert room.on_hand() == 8


@pytest.mark.parametrize(
    "other",
    [
        move("a", RECEIPT, 11),
        move("a", RETURN, 10),
        move("a", RECEIPT, 10, site="paris"),
        move("a", RECEIPT, 10, unit="TEA"),
        move("a", RECEIPT, 10, time_ns=NOW_NS),
    ],
)
def test_an_id_stands_for_one_content(room: Stockroom, other: Any) -> None:
    room.record(move("a", RECEIPT, 10))
    with pytest.raises(AlreadyExistsError) as caught:
        room.record(move("b", RECEIPT, 1), other)
    assert caught.value.reason == "MOVEMENT_ID_CONFLICT"
    assert caught.value.field == "movements[1].movement_id"
    with pytest.raises(AlreadyExistsError):
        room.record(move("c", RECEIPT, 1), move("c", RECEIPT, 2))
    assert room.on_hand() == 10


@pytest.mark.parametrize("later_ns", [31 * HOUR_NS, 29 * DAY_NS, 30 * DAY_NS - 1])
def test_a_movement_that_is_sent_again_within_30_days_counts_once(
    room: Stockroom, later_ns: int
) -> None:
    room.record(move("a", RECEIPT, 10))
    room.clock.time_ns += later_ns
    for number in range(3):
        room.record(move(f"z{number}", RECEIPT, 1))
    assert room.record(move("a", RECEIPT, 10)) == MovementCounts(0, 1)
    with pytest.raises(AlreadyExistsError):
        room.record(move("a", RECEIPT, 11))
    assert room.on_hand() == 13


def test_ids_are_forgotten_after_their_time_but_what_they_did_stays(room: Stockroom) -> None:
    room.record(move("a", RECEIPT, 10))
    room.clock.time_ns = NOW_NS + 31 * DAY_NS
    for number in range(3):
        room.record(move(f"z{number}", RECEIPT, 1))
    assert room.record(move("a", RECEIPT, 10)) == MovementCounts(1, 0)
    assert room.on_hand() == 23
    with room.desk.kept.state.read() as transaction:
        assert transaction.count(EVENT_IDS) == 4
        assert transaction.count(EVENT_ID_EXPIRY) == 4


# --- What survives ------------------------------------------------------------------------------


def work(room: Stockroom, seed: int, count: int) -> None:
    """Let all sorts of things happen."""
    chance = random.Random(seed)
    kinds = (SALE, SALE, SALE, RECEIPT, COUNT, ORDER, RESERVATION, PRICE, TRANSFER)
    for number in range(count):
        room.clock.time_ns += chance.randrange(3 * HOUR_NS)
        batch = []
        for part in range(chance.choice((1, 2, 20))):
            kind = chance.choice(kinds)
            site, to = chance.sample(SITES, 2)
            late_ns = room.clock.time_ns - chance.randrange(DAY_NS)
            batch.append(
                move(
                    f"{seed}-{number}-{part}",
                    kind,
                    0 if kind == PRICE else chance.randint(1, 4),
                    site=site,
                    unit=chance.choice(("COFFEE", "TEA", "BAG", "BAG")),
                    time_ns=chance.choice((None, late_ns)),
                    to=to if kind == TRANSFER else "",
                    price=chance.randint(1, 500) if kind == PRICE else 0,
                )
            )
        with contextlib.suppress(PreconditionError):
            room.record(*batch)
        if number % 10 == 0:
            room.tick()


def test_the_log_replayed_gives_the_same_bytes(tmp_path: Path) -> None:
    folder, replayed = tmp_path / "store", tmp_path / "replayed"
    clock = StoodClock()
    with open_stockroom(folder, clock) as room:
        room.publish()
        work(room, 3, 60)
        room.publish(ALLOWED)
        work(room, 4, 20)
        room.publish()
        work(room, 5, 20)
        room.tick()
        assert len(room.transitions()) > 10
    shutil.copytree(folder / "log", replayed / "log")
    with open_stockroom(replayed, clock) as again, open_stockroom(folder, clock) as room:
        expected = read_all(room.desk.kept.state)
        assert read_all(again.desk.kept.state) == expected
        names = {name for name, _ in expected}
        assert names >= {"stock_positions", "stock_profiles", "stock_alert_log"}


def test_what_was_not_folded_is_replayed_to_the_same_bytes(tmp_path: Path) -> None:
    folder, copied = tmp_path / "store", tmp_path / "copied"
    clock = StoodClock()
    with open_stockroom(folder, clock) as room:
        room.publish()
        work(room, 6, 30)
        room.tick()
        copied.mkdir()
        for name in ("log", "overlay"):
            shutil.copytree(folder / name, copied / name)
        shutil.copy(folder / "data.mdb", copied / "data.mdb")
        expected = read_all(room.desk.kept.state)
    with open_stockroom(copied, clock) as again:
        assert read_all(again.desk.kept.state) == expected


def test_a_group_that_the_log_has_no_room_for_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_stockroom(tmp_path / "store") as room:
        room.publish()
        room.record(move("a", RECEIPT, 10), move("t", RECEIPT, 5, unit="TEA"))
        room.tick()
        expected, told = read_all(room.desk.kept.state), room.transitions()

        def refuse(log: Log) -> None:
            log._group.forget()
            raise ExhaustedError("the disk is full", reason="LOG_DISK_FULL")

        with monkeypatch.context() as patch:
            patch.setattr(Log, "write_group", refuse)
            for _ in range(3):
                with pytest.raises(ExhaustedError):
                    room.record(move("b", SALE, 4), move("u", SALE, 5, unit="TEA"))
        assert read_all(room.desk.kept.state) == expected
        assert room.transitions() == told
        assert room.record(move("b", SALE, 4), move("u", SALE, 5, unit="TEA")) == (2, 0)
        assert room.on_hand() == 6
        sequences = [each.sequence for each in room.transitions()]
        assert sequences == list(range(1, len(sequences) + 1))
        assert len(sequences) > len(told)


def test_many_tills_write_at_once_and_nothing_is_lost_or_done_twice(room: Stockroom) -> None:
    def sell(till: int) -> None:
        for number in range(25):
            name = f"{till}-{number}"
            batch = (move(name, SALE, 1), move(f"{name}-r", RECEIPT, 3, site="paris"))
            counted = [room.record(*batch).recorded_count for _ in range(2)]
            assert counted == [2, 0]

    threads = [threading.Thread(target=sell, args=(till,)) for till in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (room.on_hand(), room.on_hand("paris")) == (-150, 450)


def test_a_damaged_position_is_told_and_others_are_not_hurt(room: Stockroom) -> None:
    room.record(move("a", RECEIPT, 10), move("b", RECEIPT, 10, unit="TEA"))
    key = position_key("berlin", "BAG")

    def change(transaction: Transaction) -> None:
        value = bytes(transaction.get(STOCK_POSITIONS, key) or b"")
        transaction.put(STOCK_POSITIONS, key, value[:30] + b"\7" + value[31:])

    room.desk.kept.state.write(change)
    with pytest.raises(DamagedError):
        room.record(move("c", SALE, 1), move("d", SALE, 1, unit="TEA"))
    with pytest.raises(DamagedError):
        room.view()
    assert room.record(move("d", SALE, 1, unit="TEA")) == MovementCounts(1, 0)
    assert room.on_hand(unit="TEA") == 9
    told = len(room.transitions())
    room.clock.time_ns += 40 * DAY_NS
    room.tick()
    with pytest.raises(DamagedError):
        room.view()
    assert not [each for each in room.transitions(told) if each.alert.position.unit == "BAG"]
