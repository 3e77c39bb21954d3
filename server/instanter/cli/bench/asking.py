"""Asks for decisions in a closed or an open loop, and takes times.

Closed loop: a call begins when the one before it in its slot has been answered. Open loop: calls
begin on a schedule, and a call's time counts from the moment at which it should have begun. When
the server stalls, the calls that had to wait for a free slot carry that wait in their times; a
loop that counts from sending would leave out exactly the bad moments ("coordinated omission",
G. Tene, "How NOT to Measure Latency", 2013).
"""

import asyncio
import math
import random
import time
from collections.abc import Sequence

from instanter.cli.bench.plan import Plan
from instanter.cli.bench.tally import Tally
from instanter.client import AsyncClient, ClientError
from instanter.clock import Clock

_DRAWN_COUNT = 4096


class Asker:
    """Asks during one run.

    Parameters
    ----------
    plan
        What is measured.
    process_index
        Which generator this is.
    start_ns
        When the warm-up begins, on the clock that never goes back.
    clock
        Takes the times.
    """

    def __init__(self, plan: Plan, process_index: int, start_ns: int, clock: Clock) -> None:
        self._plan = plan
        self._clock = clock
        self._draw = random.Random(plan.load.seed * 1000 + process_index)  # noqa: S311 - a workload, no secret
        self._customers: list[str] = []
        load = plan.load
        self._start_ns = start_ns
        self._count_ns = start_ns + round(load.warm_up_s * 1e9)
        self._end_ns = self._count_ns + round(load.duration_s * 1e9)
        self._interval_ns = load.process_count * 1e9 / load.rate_per_s if load.is_open else 0.0
        # The generators take turns: their calls stand evenly between one another.
        self._first_due_ns = start_ns + self._interval_ns * process_index / load.process_count
        self._due_count = 0
        self.tally = Tally()

    async def run(self, clients: Sequence[AsyncClient], stop: asyncio.Event) -> Tally:
        """Ask on all connections until the time is over or `stop` is set; return the tally."""
        slot = self._ask_on_schedule if self._plan.load.is_open else self._ask_in_turn
        slots = [
            asyncio.create_task(slot(client))
            for client in clients
            for _ in range(self._plan.load.in_flight)
        ]
        watch = asyncio.create_task(self._watch_time(stop))
        stopping = asyncio.create_task(stop.wait())
        asking = asyncio.create_task(asyncio.wait(slots, return_when=asyncio.FIRST_EXCEPTION))
        await asyncio.wait((asking, stopping), return_when=asyncio.FIRST_COMPLETED)
        stop.set()
        for task in slots:
            task.cancel()
        # An exception that is no failed call is a mistake of ours: let it out.
        for result in await asyncio.gather(*slots, return_exceptions=True):
            if isinstance(result, Exception):
                raise result
        await asyncio.gather(watch, stopping, asking)
        if self._plan.load.is_open:
            self._count_unsent()
        return self.tally

    async def _ask_in_turn(self, client: AsyncClient) -> None:
        await self._sleep_until(self._start_ns)
        while (now_ns := self._clock.monotonic_ns()) < self._end_ns:
            await self._ask(client, now_ns)

    async def _ask_on_schedule(self, client: AsyncClient) -> None:
        while (due_ns := self._take_due_ns()) < self._end_ns:
            await self._sleep_until(due_ns)
            await self._ask(client, due_ns)
            if self._clock.monotonic_ns() >= self._end_ns:
                return

    def _take_due_ns(self) -> int:
        """Return when the next call is due; what is late from the warm-up is dropped."""
        due_ns = self._next_due_ns()
        if due_ns < self._count_ns <= self._clock.monotonic_ns():
            # An overload would else carry the warm-up's backlog into the figures.
            self._due_count = math.ceil((self._count_ns - self._first_due_ns) / self._interval_ns)
            due_ns = self._next_due_ns()
        self._due_count += 1
        return due_ns

    def _next_due_ns(self) -> int:
        return round(self._first_due_ns + self._due_count * self._interval_ns)

    def _count_unsent(self) -> None:
        """Count the calls that were due in the counted time and that no slot has begun."""
        over_ns = self._count_ns + self.tally.counted_ns
        while (due_ns := self._next_due_ns()) < over_ns:
            self._due_count += 1
            self.tally.unsent_count += due_ns >= self._count_ns

    async def _ask(self, client: AsyncClient, due_ns: int) -> None:
        """Ask once, and count it when it was due in the time that counts."""
        question = self._plan.question
        customer = self._next_customer()
        counts = self._count_ns <= due_ns
        sent_ns = self._clock.monotonic_ns()
        try:
            decision = await client.decide_offers(
                customer,
                question.channel,
                question.placement,
                question.offer_count,
                question.context,
            )
        except ClientError as error:
            if counts:
                self.tally.errors[error.reason or error.code] += 1
            return
        if counts:
            answered_ns = self._clock.monotonic_ns()
            tally = self.tally
            tally.latency.record(answered_ns - due_ns)
            tally.from_sending.record(answered_ns - sent_ns)
            tally.server.record(decision.took_us * 1000)
            tally.without_offer_count += not decision.offers

    def _next_customer(self) -> str:
        """Draw a customer; thousands at a time, which costs a tenth of one at a time."""
        if not self._customers:
            self._customers = self._draw.choices(self._plan.customers, k=_DRAWN_COUNT)
        return self._customers.pop()

    async def _sleep_until(self, moment_ns: int) -> None:
        left_ns = moment_ns - self._clock.monotonic_ns()
        if left_ns > 0:
            await asyncio.sleep(left_ns / 1e9)

    async def _watch_time(self, stop: asyncio.Event) -> None:
        """Measure how long is counted, and what processor time this process needs for it."""
        if await self._is_stopped_by(stop, self._count_ns):
            return
        begin_ns, begin_processor_ns = self._clock.monotonic_ns(), time.process_time_ns()
        await self._is_stopped_by(stop, self._end_ns)
        self.tally.counted_ns = self._clock.monotonic_ns() - begin_ns
        self.tally.processor_ns = time.process_time_ns() - begin_processor_ns

    async def _is_stopped_by(self, stop: asyncio.Event, moment_ns: int) -> bool:
        """Wait for a moment; return whether `stop` was set before it."""
        left_s = (moment_ns - self._clock.monotonic_ns()) / 1e9
        try:
            await asyncio.wait_for(stop.wait(), max(left_s, 0.0))
        except TimeoutError:
            return False
        return True
