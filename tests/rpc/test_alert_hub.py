"""How subscribers are told of alerts: in order, without a gap, never ahead of the disk."""

import asyncio

import pytest

from instanter import wire_limits
from instanter.catalogue.stock import Severity
from instanter.errors import (
    DamagedError,
    ExhaustedError,
    InstanterError,
    OutOfRangeError,
    PermissionDeniedError,
    PreconditionError,
)
from instanter.rpc import alert_hub
from instanter.stock.questions import TransitionKind
from instanter.stock_limits import SUBSCRIBER_LAG_NS_MAX, SUBSCRIBER_STALL_NS_MAX
from instanter.store.databases import STOCK_ALERT_LOG
from instanter.v1 import stock_service_pb2 as messages
from tests.rpc.alert_world import AlertWorld, Reader, make_alert, make_plan, turn, until


def expect(reader: Reader, kind: type[InstanterError], reason: str) -> dict[str, str]:
    """Return the metadata of the error that ended a stream behind everything that was told."""
    reader.take()
    assert reader.stream.drained
    error = reader.stream.error
    assert isinstance(error, kind)
    assert error.reason == reason
    return error.metadata


async def test_a_subscriber_hears_at_once_from_where_to_resume(world: AlertWorld) -> None:
    world.raise_some(3)
    reader = world.watch()
    (first,) = reader.take()
    assert first.progress.sequence == 3
    assert world.tokens.parse(first.resume_token, "") == 3


async def test_all_are_told_the_same_bytes_in_order(world: AlertWorld) -> None:
    readers = [world.watch() for _ in range(3)]
    world.raise_some(40)
    await turn()
    for reader in readers:
        reader.take()
        assert reader.sequences == list(range(1, 41))
    assert all(a is b for a, b in zip(readers[0].raw[1:], readers[1].raw[1:], strict=True)), (
        "encoded once"
    )


async def test_nothing_is_told_before_it_is_on_disk(world: AlertWorld) -> None:
    reader = world.watch()
    world.raise_some(3, synced=False)
    world.hub.note_synced(2)
    await turn()
    reader.take()
    assert reader.sequences == [1, 2]
    late = world.watch()
    assert late.take()[0].progress.sequence == 2, "its token is on disk, too"
    world.hub.note_synced(3)
    await turn()
    assert [reader.take()[0].transition.sequence, late.take()[0].transition.sequence] == [3, 3]


async def test_a_transition_says_everything(world: AlertWorld) -> None:
    reader = world.watch()
    world.write(make_alert(0, 0, 0, Severity.SERIOUS), kind=TransitionKind.RAISED)
    world.hub.note_synced(1)
    await turn()
    told = reader.take()[-1].transition
    assert told.change == messages.STOCK_ALERT_CHANGE_RAISED
    alert = told.alert
    assert (alert.name, alert.cause, alert.severity) == (
        "stockAlerts/1",
        messages.STOCK_ALERT_CAUSE_LOW_COVER,
        messages.STOCK_ALERT_SEVERITY_SERIOUS,
    )
    position = alert.position
    assert (position.name, position.region, position.category) == (
        "sites/berlin/positions/beans",
        "east",
        "coffee",
    )
    assert (position.on_hand_units, position.available_units, position.price_minor) == (3, 2, 499)
    assert position.figures.demand_rate == 4.5
    assert not position.figures.HasField("reorder_point_units")
    assert not position.figures.HasField("latest_stock_out_time")
    assert position.figures.recent_start_time.seconds == alert.update_time.seconds - 60
    assert alert.hints[0].kind == messages.STOCK_HINT_KIND_PRICE_CHANGED
    assert [(each.kind, each.units, each.source_site) for each in alert.actions] == [
        (messages.STOCK_ACTION_KIND_REORDER, 20, ""),
        (messages.STOCK_ACTION_KIND_TRANSFER, 5, "sites/bonn"),
    ]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ({"sites": ["bonn"]}, [2, 5, 8]),
        ({"sites": ["bonn", "berlin"]}, [1, 2, 4, 5, 7, 8]),
        ({"regions": ["west"]}, [2, 3, 5, 6, 8, 9]),
        ({"categories": ["tea"]}, [7, 8, 9]),
        ({"units": ["filters"]}, [4, 5, 6]),
        ({"regions": ["west"], "units": ["filters"]}, [5, 6]),
        ({"distributor": "west-coffee"}, [2, 3, 5, 6]),
        ({"distributor": "west-coffee", "sites": ["bonn"]}, [2, 5]),
    ],
)
@pytest.mark.parametrize("resumes", [False, True])
async def test_each_is_told_what_it_wants_and_may_see(
    world: AlertWorld, wanted: dict[str, list[str]], expected: list[int], resumes: bool
) -> None:
    if resumes:
        world.raise_some(9)
        reader = world.watch(resume=world.tokens.format(0), **wanted)
    else:
        reader = world.watch(**wanted)
        world.raise_some(9)
    await turn()
    reader.take()
    assert reader.sequences == expected


async def test_whoever_is_told_of_an_alert_is_told_of_its_end(world: AlertWorld) -> None:
    reader = world.watch(severity=Severity.SERIOUS)
    alert = make_alert(1, 0, 0, Severity.WARNING)
    world.write(alert)
    alert = alert._replace(severity=Severity.CRITICAL, severity_max=Severity.CRITICAL)
    world.write(alert, kind=TransitionKind.ESCALATED)
    alert = alert._replace(severity=Severity.NOTICE, cleared_ns=1)
    world.write(alert, kind=TransitionKind.CLEARED)
    world.hub.note_synced(world.record)
    await turn()
    reader.take()
    assert reader.sequences == [2, 3]


async def test_who_resumes_is_told_everything_since(world: AlertWorld) -> None:
    world.raise_some(100)
    for position in (0, 1, 50, 99, 100):
        reader = world.watch(resume=world.tokens.format(position))
        await turn()
        assert reader.take()[-1].progress.sequence == 100
        assert reader.sequences == list(range(position + 1, 101))
    world.raise_some(1)
    await turn()
    assert reader.take()[0].transition.sequence == 101


async def test_every_message_resumes_behind_itself(world: AlertWorld) -> None:
    world.raise_some(10)
    reader = world.watch(resume=world.tokens.format(0))
    await turn()
    for message in reader.take()[:-1]:
        again = world.watch(resume=message.resume_token)
        await turn()
        again.take()
        assert again.sequences == list(range(message.transition.sequence + 1, 11))


async def test_a_token_that_is_too_old_brings_what_is_open_and_then_the_error(
    world: AlertWorld,
) -> None:
    world.raise_some(10)
    cleared = make_alert(4, 0, 1, Severity.WARNING, cleared_ns=5)
    world.write(cleared, kind=TransitionKind.CLEARED)
    world.hub.note_synced(world.record)
    world.drop(8)
    kept = world.watch(resume=world.tokens.format(7))
    await turn()
    kept.take()
    assert kept.sequences == [8, 9, 10, 11], "the one before the first that is kept is not too old"
    reader = world.watch(resume=world.tokens.format(6))
    await turn()
    place = expect(reader, OutOfRangeError, "RESUME_TOKEN_EXPIRED")
    numbers = [n for n in range(1, 11) if n != 4]
    assert reader.open_names == [f"stockAlerts/{n}" for n in numbers]
    assert reader.read[-1].progress.sequence == 11
    assert place == {"first_sequence": "8", "resume_token": reader.token}
    assert all(not each.resume_token for each in reader.read[:-1])
    world.raise_some(1)
    again = world.watch(resume=reader.token)
    await turn()
    again.take()
    assert again.sequences == [12]


async def test_a_token_ahead_of_the_store_is_refused(world: AlertWorld) -> None:
    world.raise_some(2)
    with pytest.raises(OutOfRangeError, match="transition 3 has not been") as caught:
        world.watch(resume=world.tokens.format(3))
    assert caught.value.reason == "RESUME_TOKEN_AHEAD"
    assert caught.value.metadata["first_sequence"] == "1"
    assert world.tokens.parse(caught.value.metadata["resume_token"], "") == 2


async def test_a_token_of_a_process_that_has_heard_sooner_waits(world: AlertWorld) -> None:
    other = world.make_hub()
    world.raise_some(5, synced=False)
    other.note_synced(5)
    world.hub.note_synced(3)
    told = world.watch(other)
    told.take()
    reader = world.watch(resume=told.token)
    await turn()
    assert reader.take() == []
    world.hub.note_synced(4)
    await turn()
    assert reader.take() == []
    world.raise_some(1, synced=False)
    world.hub.note_synced(6)
    await turn()
    reader.take()
    assert reader.sequences == [6], "neither told twice nor left out"


async def test_open_alerts_come_first_where_they_are_wanted(world: AlertWorld) -> None:
    world.raise_some(50)
    world.write(make_alert(3, 2, 0, Severity.WARNING, cleared_ns=5), kind=TransitionKind.CLEARED)
    world.hub.note_synced(world.record)
    reader = world.watch(open_first=True, regions=["west"])
    await turn()
    expected = [n for n in range(1, 51) if n % 3 != 1 and n != 3]
    assert [each.open_alert.name for each in reader.take()[: len(expected)]] == [
        f"stockAlerts/{n}" for n in expected
    ]
    assert [each.progress.sequence for each in reader.read[len(expected) :]] == [51, 51]
    world.raise_some(3)
    await turn()
    reader.take()
    assert reader.sequences == [53, 54]


async def test_what_changes_during_a_snapshot_follows_it(world: AlertWorld) -> None:
    world.raise_some(1_000)
    reader = world.watch(open_first=True)
    await turn()
    assert len(reader.take()) < 1_000, "the rest waits for its reader"
    world.write(make_alert(900, 2, 0, Severity.WARNING, cleared_ns=5), kind=TransitionKind.CLEARED)
    world.write(make_alert(0, 0, 0, Severity.WARNING))
    world.hub.note_synced(world.record)
    await turn()
    while not reader.sequences:
        await turn()
        reader.take()
    reader.take()
    known = {int(name.partition("/")[2]) for name in reader.open_names}
    assert known == set(range(1, 1_001)) - {900}
    assert reader.sequences == [1_001, 1_002]


async def test_whoever_does_not_read_is_cut_and_may_resume(world: AlertWorld) -> None:
    slow, fast = world.watch(), world.watch()
    for _ in range(10):
        world.raise_some(60)
        await turn()
        fast.take()
    assert fast.sequences == list(range(1, 601))
    assert not slow.stream.ended, "it may still catch up"
    world.clock.now += SUBSCRIBER_LAG_NS_MAX
    await until(lambda: slow.stream.ended)
    place = expect(slow, ExhaustedError, "SUBSCRIBER_TOO_SLOW")
    assert len(slow.read) == wire_limits.STREAM_WAITING_MAX
    assert world.tokens.parse(place["resume_token"], "") == slow.sequences[-1]
    again = world.watch(resume=place["resume_token"])
    for _ in range(10):
        await turn()
        again.take()
    assert slow.sequences + again.sequences == list(range(1, 601))
    assert not fast.stream.ended
    world.raise_some(1)
    await turn()
    fast.take()
    assert fast.sequences[-1] == 601


async def test_who_reads_a_burst_in_time_is_not_cut(world: AlertWorld) -> None:
    reader = world.watch()
    world.raise_some(900)
    for _ in range(8):
        world.clock.now += SUBSCRIBER_LAG_NS_MAX // 8 - 1
        await turn()
        reader.take()
    world.clock.now += 10 * SUBSCRIBER_LAG_NS_MAX
    await turn(300)
    assert not reader.stream.ended
    reader.take()
    assert reader.sequences == list(range(1, 901))
    world.raise_some(1)
    await turn()
    assert reader.take()[-1].transition.sequence == 901


async def test_who_catches_up_may_read_slowly_but_must_read(world: AlertWorld) -> None:
    world.raise_some(600)
    reader = world.watch(resume=world.tokens.format(0))
    for _ in range(4):
        await turn()
        world.clock.now += SUBSCRIBER_STALL_NS_MAX - 1
        await turn(20)
        assert not reader.stream.ended
        reader.take(130)
    await turn()
    world.clock.now += SUBSCRIBER_STALL_NS_MAX
    # (What is left fits into the bound by now, so that nothing of it waits for room.)
    reader.take()
    await turn()
    reader.take()
    assert reader.sequences == list(range(1, 601))
    stalled = world.watch(resume=world.tokens.format(0))
    await turn()
    world.clock.now += SUBSCRIBER_STALL_NS_MAX
    await until(lambda: stalled.stream.ended)
    place = expect(stalled, ExhaustedError, "SUBSCRIBER_TOO_SLOW")
    assert world.tokens.parse(place["resume_token"], "") == wire_limits.STREAM_WAITING_MAX


async def test_who_stalls_in_a_snapshot_begins_anew(world: AlertWorld) -> None:
    world.raise_some(600)
    reader = world.watch(open_first=True)
    await turn()
    world.clock.now += SUBSCRIBER_STALL_NS_MAX
    await until(lambda: reader.stream.ended)
    assert expect(reader, ExhaustedError, "SUBSCRIBER_TOO_SLOW") == {}


async def test_the_heartbeat_of_whoever_comes_does_not_wait_for_those_who_have_gone(
    world: AlertWorld,
) -> None:
    world.published.plan = make_plan(heartbeat_s=1.0)
    gone = [world.watch() for _ in range(15)]
    fresh = world.watch()
    for reader in gone:
        reader.stream.close()
    start_s = asyncio.get_running_loop().time()
    fresh.take()
    await until(lambda: fresh.take() != [])
    assert fresh.read[-1].HasField("progress")
    # Those who had gone kept it waiting for 3 s.
    assert asyncio.get_running_loop().time() - start_s < 2


async def test_those_who_come_together_are_told_one_after_the_other(world: AlertWorld) -> None:
    world.published.plan = make_plan(heartbeat_s=3.0)
    readers = [world.watch() for _ in range(60)]
    for reader in readers:
        reader.take()
    await until(lambda: any(reader.take() for reader in readers))
    assert sum(len(reader.read) == 2 for reader in readers) < 30
    await until(lambda: all(len(reader.read) > 1 or reader.take() for reader in readers))


async def test_silence_is_broken_by_heartbeats(
    world: AlertWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alert_hub, "_TICK_S", 0.001)
    world.published.plan = make_plan(heartbeat_s=0.02)
    readers = [world.watch(), world.watch(sites=["bonn"])]
    world.write(make_alert(0, 0, 0, Severity.WARNING))
    world.hub.note_synced(1)
    await until(lambda: [len(reader.take()) for reader in readers] and len(readers[1].read) > 5)
    assert readers[1].read[-1].progress.sequence == 1, "past what it does not want"
    assert readers[1].sequences == []


async def test_who_is_passed_over_for_long_is_told_how_far_it_is(world: AlertWorld) -> None:
    world.raise_some(2_500)
    reader = world.watch(resume=world.tokens.format(0), regions=["nowhere"])
    await until(lambda: reader.take() and reader.read[-1].progress.sequence == 2_500)
    assert len(reader.read) >= 3
    assert [each.progress.sequence for each in reader.read] == sorted(
        each.progress.sequence for each in reader.read
    )


async def test_a_damaged_transition_is_told_and_not_passed_over(world: AlertWorld) -> None:
    world.raise_some(2)
    live = world.watch()
    world.raise_some(1, synced=False)
    key = (3).to_bytes(8, "big")
    world.state.write(lambda transaction: transaction.put(STOCK_ALERT_LOG, key, b"\1" * 16))
    world.raise_some(2)
    await turn()
    resumed = world.watch(resume=world.tokens.format(0))
    await turn()
    for reader, before in ((live, []), (resumed, [1, 2])):
        place = expect(reader, DamagedError, "RECORD_DAMAGED")
        assert reader.sequences == before
        assert place["sequence"] == "3"
        again = world.watch(resume=place["resume_token"])
        await turn()
        again.take()
        assert again.sequences == [4, 5]


async def test_a_grant_that_is_withdrawn_ends_the_stream(world: AlertWorld) -> None:
    theirs, ours = world.watch(distributor="west-coffee"), world.watch()
    world.raise_some(2)
    await turn()
    world.published.plan = make_plan(grants={})
    world.raise_some(3)
    await until(lambda: theirs.stream.ended)
    expect(theirs, PermissionDeniedError, "GRANT_MISSING")
    ours.take()
    await turn()
    ours.take()
    assert (theirs.sequences, ours.sequences) == ([2], [1, 2, 3, 4, 5])


async def test_a_catalogue_without_stock_ends_all_streams(world: AlertWorld) -> None:
    reader = world.watch()
    world.published.plan = None
    await until(lambda: reader.stream.ended)
    expect(reader, PreconditionError, "STOCK_MISSING")


async def test_a_catalogue_that_cannot_be_read_ends_all_streams(
    world: AlertWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = world.watch()

    def fail(_: object) -> None:
        raise DamagedError("the catalogue is damaged")

    monkeypatch.setattr(world.published, "load", fail)
    world.published.plan = make_plan()
    world.raise_some(1)
    await until(lambda: reader.stream.ended)
    expect(reader, DamagedError, "RECORD_DAMAGED")
    assert reader.sequences == []


async def test_who_has_gone_is_forgotten(world: AlertWorld) -> None:
    gone = [world.watch() for _ in range(5)]
    kept = world.watch()
    for reader in gone:
        reader.stream.close()
    world.raise_some(3)
    await turn()
    kept.take()
    assert kept.sequences == [1, 2, 3]
    assert all(reader.take() == [] for reader in gone)
    kept.stream.close()
    world.raise_some(3)
    await turn()
    late = world.watch()
    assert late.take()[0].progress.sequence == 6, "nobody followed meanwhile"
