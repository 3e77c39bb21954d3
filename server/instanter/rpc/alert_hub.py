"""Tells subscribers of stock alerts what happens, as soon as it is on disk.

Everything runs on the event loop, in steps that are short however many subscribers and alerts
there are. Those who **follow** are told of each new transition: it is read, matched once for all
who want the same, encoded once, and given to their sinks. All others **catch up** from the store,
step by step and no faster than they read: those who have resumed from a token, those who are told
of the open alerts first, and those who fell behind. So whoever does not read costs the bound of
its sink and nothing else, and nobody waits for anybody.

What is told is never ahead of the disk: the keeper says, to itself or over its socket to workers,
up to where the log is on it.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Iterator
from functools import partial
from typing import Final

from instanter.catalogue.stock import StockPlan
from instanter.clock import Clock
from instanter.errors import (
    DamagedError,
    ExhaustedError,
    InstanterError,
    OutOfRangeError,
)
from instanter.events_log import EventsLog
from instanter.rpc.alert_audience import AlertFilter, Audience, Pass, Subscriber
from instanter.rpc.alert_source import AlertSource, ToldTransition
from instanter.rpc.front import Sink
from instanter.rpc.heartbeats import Heartbeats
from instanter.rpc.resume_tokens import ResumeTokens
from instanter.rpc.stock_filters import check_plan, find_grant
from instanter.rpc.stock_messages import encode_open_alert
from instanter.stock_limits import (
    SUBSCRIBER_LAG_NS_MAX,
    SUBSCRIBER_STALL_NS_MAX,
)
from instanter.store.stock_alert_log import AlertExtent

_SLICE: Final = 16
"""Transitions that are read at a time: 0.6 ms at most, with their messages."""
_TURN_COST: Final = 160
"""Cost of the passes of one turn of the event loop: 0.2 ms with the writes, for three connections
with 47 subscribers or ten with one. So the first are on their way while the last still wait."""
_PASSED_MAX: Final = 1_000
"""Transitions that do not match, after which a subscriber who catches up is told how far it is."""
_TICK_S: Final = 0.25
_TICKS_A_LOOK: Final = 4
"""Ticks between two looks whether grants have changed."""
_HEARTBEAT_S: Final = 10.0
"""Of a catalogue without stock; its subscribers are about to be told."""
_ALL_TOLD: Final = (1 << 64) - 1
"""In the place of the last alert of a snapshot: it has come to its end."""


class AlertHub:
    """Has the subscribers of one process. For one event loop.

    Parameters
    ----------
    source
        What they are told.
    tokens
        Makes resume tokens.
    clock
        Tells who has been slow for too long.
    log
        Told of bugs.
    """

    def __init__(
        self, source: AlertSource, *, tokens: ResumeTokens, clock: Clock, log: EventsLog
    ) -> None:
        self._source = source
        self._tokens = tokens
        self._clock = clock
        self._log = log
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._synced_sequence = 0
        self._plan: StockPlan | None = None
        self._learning: asyncio.Task[None] | None = None
        self._subscribers: set[Subscriber] = set()
        self._audience = Audience()
        self._head = 0
        self._following: Iterator[None] | None = None
        self._early: list[Subscriber] = []
        self._queue: deque[Subscriber] = deque()
        self._catching_up = False
        self._late: dict[Subscriber, int] = {}
        self._heartbeats = Heartbeats()
        self._ticker: asyncio.TimerHandle | None = None
        self._tick_count = 0

    @property
    def subscriber_count(self) -> int:
        """How many are being told."""
        return len(self._subscribers)

    @property
    def _heartbeat_s(self) -> float:
        return _HEARTBEAT_S if self._plan is None else float(self._plan.heartbeat_s)

    def attach(self) -> None:
        """Serve on the running event loop from now on."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    def detach(self) -> None:
        """Tell nobody any more; on the loop."""
        self._loop = None
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None

    def note_synced(self, sequence: int) -> None:
        """Take up to where the log is on disk, and tell what is new; on any thread."""
        self._synced_sequence = max(self._synced_sequence, sequence)
        loop = self._loop
        if loop is None or not self._subscribers:
            return
        if threading.get_ident() == self._thread:
            self._follow_on()
        else:
            loop.call_soon_threadsafe(self._follow_on)

    def subscribe(
        self,
        wanted: AlertFilter,
        sink: Sink,
        *,
        plan: StockPlan,
        resume_after: int | None,
        open_first: bool,
    ) -> None:
        """Begin to tell somebody; on the loop.

        Parameters
        ----------
        wanted
            What of.
        sink
            Takes it.
        plan
            What the catalogue declares, which the filter was read by.
        resume_after
            The transition behind which to begin; None for now.
        open_first
            Whether to begin with the open alerts.

        Raises
        ------
        OutOfRangeError
            There has been no such transition yet; reason RESUME_TOKEN_AHEAD.
        """
        assert self._loop is not None, "the front is started when the hub is attached"
        if not self._subscribers:
            # Nobody has followed meanwhile.
            self._head = self._source.find_newest(self._synced_sequence)
            self._plan = plan
        elif plan is not self._plan:
            # One of the two is older: the store knows which.
            self._follow_on()
        if resume_after is not None and resume_after > self._head:
            self._check_ahead(resume_after)
        position = self._head if resume_after is None else resume_after
        subscriber = Subscriber(wanted, sink, position)
        if open_first:
            subscriber.snapshot_after = 0
        self._subscribers.add(subscriber)
        self._heartbeats.note_told(subscriber, self._loop.time())
        sink.call_when_ended(partial(self._drop, subscriber))
        self._go_on(subscriber)
        if self._ticker is None:
            self._ticker = self._loop.call_later(_TICK_S, self._tick)

    # --- following ------------------------------------------------------------------------------

    def _follow_on(self) -> None:
        """Tell those who follow what is new, in a turn of its own: answers leave before alerts."""
        if self._following is None and self._subscribers and self._loop is not None:
            self._following = self._follow()
            self._loop.call_soon(self._take_turn)

    def _take_turn(self) -> None:
        assert self._following is not None, "a turn is taken for somebody"
        try:
            next(self._following)
        except StopIteration:
            self._following = None
        except Exception as error:  # noqa: BLE001 - a bug ends the streams, not the server
            self._following = None
            self._log.error("alerts_failed_by_bug", exc_info=error)
            for subscriber in tuple(self._subscribers):
                self._end(subscriber, error)
        if self._following is not None and self._loop is not None:
            self._loop.call_soon(self._take_turn)

    def _follow(self) -> Iterator[None]:
        """Tell everything that is on disk and new; yields when others should have their turn."""
        turn_cost, is_done = 0, False
        while self._subscribers and not is_done:
            synced_sequence = self._synced_sequence
            try:
                found = self._source.read(self._head, _SLICE, synced_sequence)
            except InstanterError as error:
                self._give_up(error)
                if isinstance(error, DamagedError) and "sequence" in error.metadata:
                    continue
                break
            if not found.is_ready:
                self._learn_catalogue()
                break
            self._note_plan(found.plan)
            if self._head + 1 < found.extent.first:
                self._leave_behind(found.extent)
                continue
            if not found.told:
                break
            for told in found.told:
                passes = self._audience.list_passes(told.alert, found.plan)
                # First: whoever joins from here on has been told of it by itself.
                self._head = told.sequence
                for each in passes:
                    self._tell(told, each)
                    turn_cost += each.cost
                    if turn_cost >= _TURN_COST:
                        turn_cost = 0
                        yield
                self._beat()
            yield
            # Whatever is on disk by now and was not then is behind a later word of the keeper.
            is_done = self._head == found.extent.last and synced_sequence == self._synced_sequence
        early, self._early = self._early, []
        for subscriber in early:
            self._go_on(subscriber)

    def _give_up(self, error: InstanterError) -> None:
        """End those who follow when what comes next cannot be read; they may resume behind it."""
        sequence = int(error.metadata.get("sequence", 0))
        if sequence:
            error = self._make_damaged(sequence)
            self._head = sequence
        for subscriber in self._audience.list_all():
            self._end(subscriber, error)

    def _leave_behind(self, extent: AlertExtent) -> None:
        """Go on with what is still kept; those who followed find out that they have missed some."""
        for subscriber in self._audience.list_all():
            self._fall_behind(subscriber, self._head)
        self._head = extent.first - 1

    def _tell(self, told: ToldTransition, listeners: Pass) -> None:
        """Tell some a transition; who has no room for it falls behind."""
        for sink in listeners.group.offer_encoded(told.encode(), listeners.sinks):
            subscriber = self._audience.find(sink)
            # (Whoever went away meanwhile is not found.)
            if subscriber is not None:
                self._fall_behind(subscriber, told.sequence - 1)

    def _fall_behind(self, subscriber: Subscriber, position: int) -> None:
        """Let somebody who does not keep up catch up, within a time."""
        self._audience.discard(subscriber)
        if subscriber.sink.ended:
            return
        subscriber.position = position
        subscriber.lags = True
        self._late[subscriber] = self._clock.monotonic_ns() + SUBSCRIBER_LAG_NS_MAX
        subscriber.sink.call_when_room(partial(self._go_on, subscriber))

    # --- catching up ----------------------------------------------------------------------------

    def _go_on(self, subscriber: Subscriber) -> None:
        """Let somebody follow who has come to the end, and everybody else catch up."""
        if subscriber not in self._subscribers:
            return
        if not subscriber.lags:
            self._late.pop(subscriber, None)
        if subscriber.snapshot_after is None and subscriber.position == self._head:
            self._late.pop(subscriber, None)
            subscriber.lags = False
            # It says from where to resume; one that finds no room is of no use later.
            subscriber.sink.offer_encoded(self._source.encode_progress(self._head))
            self._audience.add(subscriber)
            if self._loop is not None:
                self._heartbeats.note_told(subscriber, self._loop.time())
        elif subscriber.snapshot_after is None and subscriber.position > self._head:
            # It was told by a process that has heard sooner of what is on disk.
            self._early.append(subscriber)
        else:
            self._queue.append(subscriber)
            self._catch_up_soon()

    def _catch_up_soon(self) -> None:
        if not self._catching_up and self._queue and self._loop is not None:
            self._catching_up = True
            self._loop.call_soon(self._catch_up)

    def _catch_up(self) -> None:
        """Take one step with one of those who catch up."""
        self._catching_up = False
        subscriber = self._queue.popleft()
        if subscriber in self._subscribers:
            try:
                done = self._take_step(subscriber)
                if done is None:
                    self._queue.appendleft(subscriber)
                    self._learn_catalogue()
                    return
                if done:
                    self._go_on(subscriber)
                else:
                    self._wait_for_room(subscriber)
            except InstanterError as error:
                sequence = int(error.metadata.get("sequence", 0))
                self._end(subscriber, self._make_damaged(sequence) if sequence else error)
            except Exception as error:  # noqa: BLE001 - a bug ends the stream, not the server
                self._end(subscriber, error)
        self._catch_up_soon()

    def _wait_for_room(self, subscriber: Subscriber) -> None:
        """Go on with somebody when it has read some."""
        if subscriber not in self._subscribers or subscriber.sink.ended:
            return
        self._late.setdefault(subscriber, self._clock.monotonic_ns() + SUBSCRIBER_STALL_NS_MAX)
        subscriber.sink.call_when_room(partial(self._go_on, subscriber))

    def _take_step(self, subscriber: Subscriber) -> bool | None:
        """Tell somebody a few things; return whether there was room, None before it can be done."""
        if subscriber.snapshot_after is not None:
            return self._tell_open(subscriber, subscriber.snapshot_after)
        found = self._source.read(subscriber.position, _SLICE, self._synced_sequence)
        if not found.is_ready:
            return None
        if subscriber.position + 1 < found.extent.first:
            self._begin_again(subscriber, found.extent)
            return True
        assert found.told, "what the head has passed is on disk"
        for told in found.told:
            if subscriber.wanted.matches(told.alert, found.plan):
                if not subscriber.sink.offer_encoded(told.encode()):
                    return False
                subscriber.passed_count = 0
            subscriber.position = told.sequence
            subscriber.passed_count += 1
        if subscriber.passed_count > _PASSED_MAX:
            subscriber.passed_count = 0
            return subscriber.sink.offer_encoded(self._source.encode_progress(subscriber.position))
        return True

    def _begin_again(self, subscriber: Subscriber, extent: AlertExtent) -> None:
        """Tell the open alerts to somebody who has missed transitions, and then that it has."""
        first = subscriber.position + 1
        subscriber.position = self._head
        subscriber.snapshot_after = 0
        subscriber.ending = OutOfRangeError(
            f"resume_token: transition {first} is not kept any more, the first one is"
            f" {extent.first}; what is open now was told before this, go on from its last message",
            reason="RESUME_TOKEN_EXPIRED",
            metadata=self._describe_place(self._head, extent),
        )

    def _tell_open(self, subscriber: Subscriber, after: int) -> bool:
        """Tell somebody a few of the open alerts; return whether there was room for all of them.

        Those that were raised meanwhile follow as transitions, and those that were cleared are
        told to be: it is no snapshot of one moment, and need not be one.
        """
        alerts = self._source.read_open(after, _SLICE) if after != _ALL_TOLD else []
        for alert in alerts:
            if alert.number > subscriber.position:
                alerts = []
                break
            if subscriber.wanted.matches(alert, self._plan) and not subscriber.sink.offer_encoded(
                encode_open_alert(alert)
            ):
                return False
            subscriber.snapshot_after = alert.number
        if alerts:
            return True
        subscriber.snapshot_after = _ALL_TOLD
        if not subscriber.sink.offer_encoded(self._source.encode_progress(subscriber.position)):
            return False
        subscriber.snapshot_after = None
        if subscriber.ending is not None:
            self._end(subscriber, subscriber.ending)
        return True

    # --- time, and the end ----------------------------------------------------------------------

    def _tick(self) -> None:
        """Cut who has been slow for too long, send heartbeats, look whether grants have changed."""
        self._ticker = None
        if self._loop is None or not self._subscribers:
            return
        now_ns = self._clock.monotonic_ns()
        for subscriber, until_ns in tuple(self._late.items()):
            if now_ns >= until_ns:
                self._end(subscriber, self._make_slow(subscriber))
        self._heartbeats.note_tick(_TICK_S, self._heartbeat_s)
        if self._following is None:
            self._beat()
        self._tick_count += 1
        if self._tick_count % _TICKS_A_LOOK == 0:
            # Should the word of the keeper get lost, this is the second chance, too.
            self._follow_on()
        self._ticker = self._loop.call_later(_TICK_S, self._tick)

    def _beat(self) -> None:
        """Tell those whose turn it is how far they are; only between two transitions."""
        if self._loop is None:
            return
        for subscriber in self._heartbeats.take(self._loop.time(), _TICK_S, self._heartbeat_s):
            if subscriber.follows:
                subscriber.sink.offer_encoded(self._source.encode_progress(self._head))

    def _learn_catalogue(self) -> None:
        """Decode a catalogue that was published, apart from the loop; then go on."""
        if self._learning is None and self._loop is not None:
            self._learning = self._loop.create_task(self._learn())

    async def _learn(self) -> None:
        try:
            self._note_plan(await asyncio.to_thread(self._source.load_plan))
        except Exception as error:  # noqa: BLE001 - each stream's reader is told, or it is a bug
            for subscriber in tuple(self._subscribers):
                self._end(subscriber, error)
        finally:
            self._learning = None
        self._follow_on()
        self._catch_up_soon()

    def _note_plan(self, plan: StockPlan | None) -> None:
        """End those who may not see anything any more under another catalogue."""
        if plan is self._plan:
            return
        self._plan = plan
        for subscriber in tuple(self._subscribers):
            try:
                find_grant(check_plan(plan), subscriber.wanted.positions.distributor)
            except InstanterError as error:
                self._end(subscriber, error)

    def _check_ahead(self, position: int) -> None:
        extent = self._source.load_extent()
        if position > extent.last:
            raise OutOfRangeError(
                f"resume_token: transition {position} has not been yet, the newest one is"
                f" {extent.last}: the store was put back to an earlier state; begin with"
                " open_alerts_first",
                reason="RESUME_TOKEN_AHEAD",
                metadata=self._describe_place(self._head, extent),
            )

    def _make_slow(self, subscriber: Subscriber) -> ExhaustedError:
        # Whoever has not heard all of its snapshot begins anew.
        place = {"resume_token": self._tokens.format(subscriber.position)}
        return ExhaustedError(
            "the subscriber reads slower than alerts come, or not at all; resume from the last"
            " message that it has read",
            reason="SUBSCRIBER_TOO_SLOW",
            metadata=place if subscriber.snapshot_after is None else {},
        )

    def _make_damaged(self, sequence: int) -> DamagedError:
        return DamagedError(
            f"transition {sequence} of the stock alerts is damaged in the store and cannot be told;"
            " resume behind it",
            metadata={
                "sequence": str(sequence),
                "resume_token": self._tokens.format(sequence),
            },
        )

    def _describe_place(self, sequence: int, extent: AlertExtent) -> dict[str, str]:
        return {
            "first_sequence": str(extent.first),
            "resume_token": self._tokens.format(sequence),
        }

    def _end(self, subscriber: Subscriber, error: Exception) -> None:
        """End a subscriber's stream behind what waits for it."""
        self._drop(subscriber)
        subscriber.sink.fail(error)

    def _drop(self, subscriber: Subscriber) -> None:
        """Forget a subscriber."""
        self._subscribers.discard(subscriber)
        self._audience.discard(subscriber)
        self._late.pop(subscriber, None)
        self._heartbeats.discard(subscriber)
