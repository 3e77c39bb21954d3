"""The benchmark of the stock side still runs: its small size, with its exact figures."""

import math

import pytest

from bench import load
from bench.stock.__main__ import KEYS
from bench.stock.followers import Follower
from bench.stock.sizes import SMALL
from bench.stock.wire import Streams
from bench.stock.world import AlertingMovements, make_files
from instanter.v1 import stock_service_pb2 as messages
from tests.bench.small_runs import run_small
from tests.catalogue.worlds import compile_files

_BY_H2LOAD = ("decide_p99_ratio", "streams_p99_ratio")


@pytest.mark.slow
def test_it_prints_every_figure_or_why_not():
    result = run_small("bench.stock", timeout_s=200)
    assert set(KEYS) <= set(result)
    for key in KEYS:
        if result[key] is None:
            assert isinstance(result["details"][key], str)
            assert key in _BY_H2LOAD or "data" in result["details"][key].lower()
            assert key not in _BY_H2LOAD or not load.is_available()
        else:
            assert math.isfinite(result[key])
            # A small run's alert may be read before the till has read its answer.
            assert abs(result[key]) < 1e6
    assert result["alerts_lost_count"] == 0
    lost = result["details"]["alerts_lost_count"]
    assert lost["kills"] == SMALL.lost_subscribers * SMALL.lost_reconnects
    assert lost["keepers_killed"] == SMALL.lost_keepers


def test_the_world_has_one_line_for_what_is_watched_and_all_for_the_rest():
    plan = compile_files(make_files(SMALL), None, revision=1).catalogue.stock
    assert plan is not None
    watched = plan.find_policy(0, plan.unit_index["w00000"])
    assert (watched.reorder_point, watched.cover, watched.lead_time_s) == (10, (), 0)
    other = plan.find_policy(0, plan.unit_index["u00000"])
    assert other.plunge_false_alarms_per_day == 0.001
    assert len(other.cover) == 2
    assert all(plan.grants["everything"].site_covered)


def test_each_alerting_movement_crosses_the_line_of_its_position():
    alerting = AlertingMovements(SMALL)
    on_hand: dict[tuple[str, str], int] = {}
    changes = []
    for _ in range(3 * SMALL.sites * SMALL.watched_units):
        movement = alerting.make()
        position = (movement.site, movement.stock_keeping_unit)
        before = on_hand.get(position, 15)
        sign = -1 if movement.kind == messages.STOCK_MOVEMENT_KIND_SALE else 1
        on_hand[position] = before + sign * movement.units
        changes.append(sorted((before, on_hand[position])))
    assert changes == [[5, 15]] * len(changes)
    again = AlertingMovements(SMALL, first=7)
    first = AlertingMovements(SMALL)
    assert [first.make() for _ in range(8)][7] == again.make()


def frame(kind: int, stream: int, payload: bytes, flags: int = 0) -> bytes:
    head = len(payload).to_bytes(3, "big") + bytes((kind, flags))
    return head + stream.to_bytes(4, "big") + payload


def test_messages_are_found_however_they_are_cut():
    body = [b"one", b"", b"three" * 100]
    framed = [b"\0" + len(each).to_bytes(4, "big") + each for each in body]
    data = framed[0] + framed[1] + framed[2]
    raw = frame(4, 0, b"") + frame(0, 1, data[:4]) + frame(0, 3, framed[0])
    raw += frame(0, 1, data[4:20]) + frame(6, 0, b"12345678") + frame(0, 1, data[20:])
    for size in (1, 7, len(raw)):
        streams = Streams()
        found = []
        for at in range(0, len(raw), size):
            found += streams.feed(raw[at : at + size])
        assert [each for stream, each in found if stream == 1] == body
        assert [each for stream, each in found if stream == 3] == [b"one"]
        # Settings and a ping are answered.
        assert bytes(streams.replies) == frame(4, 0, b"", 1) + frame(6, 0, b"12345678", 1)


def tell(sequence: int) -> messages.WatchStockAlertsResponse:
    told = messages.WatchStockAlertsResponse(resume_token=str(sequence))
    told.transition.sequence = sequence
    return told


def test_a_follower_notices_what_is_lost_late_or_repeated():
    follower = Follower([])
    for sequence in range(1, 21):
        follower.take(tell(sequence))
    assert (follower.written, follower.token) == (16, "16")
    assert (follower.lost_count, follower.disordered_count, follower.repeated_count) == (0, 0, 0)
    # Killed: what was not written down may come again, and is told to have.
    follower.last = follower.written
    follower.take(tell(17))
    assert (follower.allowed_count, follower.repeated_count) == (1, 0)
    follower.take(tell(16))
    assert follower.repeated_count == 1
    follower.take(tell(20))
    assert follower.lost_count == 2
    follower.take(tell(19))
    assert follower.disordered_count == 1
