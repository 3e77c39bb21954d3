"""One generator: a process with connections of its own."""

import asyncio
import contextlib
import selectors
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Final

from instanter.cli.bench.asking import Asker
from instanter.cli.bench.plan import Plan
from instanter.cli.bench.tally import Tally
from instanter.client import AsyncClient, ClientError, RetryPolicy, Timeouts
from instanter.clock import SystemClock

READY: Final = "ready"
"""What a generator says when its connections stand."""

_TELL_INTERVAL_S = 0.2
# A failure is counted, not tried again.
_NO_RETRIES = RetryPolicy(attempts_max=1)
# Two channels to one address share a connection unless each keeps a pool of its own.
_OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1),)


def run_generator(plan: Plan, process_index: int, pipe: Connection) -> None:
    """Be a generator: connect, say so, wait for the moment to begin, ask, hand over the tally.

    Parameters
    ----------
    plan
        What is measured.
    process_index
        Which generator this is.
    pipe
        To the command. Takes `READY`, then how many calls were made so far, at last a `Tally`.
        Brings the moment to begin, an int on the clock that never goes back; whatever comes after
        it, the closing too, ends the asking.
    """
    # A pipe without another end: the command is gone, and nobody is left to tell.
    with (
        contextlib.suppress(BrokenPipeError, EOFError),
        asyncio.Runner(loop_factory=_make_precise_loop) as runner,
    ):
        runner.run(_generate(plan, process_index, pipe))


def _make_precise_loop() -> asyncio.AbstractEventLoop:
    """Make a loop that sleeps to the microsecond; epoll, and uvloop, know milliseconds only."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


async def _generate(plan: Plan, process_index: int, pipe: Connection) -> None:
    clients = [_make_client(plan) for _ in range(plan.load.connections_of(process_index))]
    try:
        await asyncio.gather(*(_connect(client, plan) for client in clients))
        pipe.send(READY)
        start_ns = await asyncio.to_thread(pipe.recv)
        asker = Asker(plan, process_index, start_ns, SystemClock())
        pipe.send(await _ask(asker, clients, pipe))
    finally:
        for client in clients:
            await client.close()


def _make_client(plan: Plan) -> AsyncClient:
    return AsyncClient(
        plan.address,
        tls=plan.tls,
        timeouts=Timeouts(decision_s=plan.timeout_s),
        retries=_NO_RETRIES,
        options=_OWN_CONNECTION,
    )


async def _connect(client: AsyncClient, plan: Plan) -> None:
    """Make the first call of a connection, which opens it and is not measured."""
    # Should it fail, so will the measured ones, and they are counted.
    with contextlib.suppress(ClientError):
        await client.decide_offers(plan.customers[0], plan.question.channel)


async def _ask(asker: Asker, clients: Sequence[AsyncClient], pipe: Connection) -> Tally:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def end() -> None:
        loop.remove_reader(pipe.fileno())
        stop.set()

    loop.add_reader(pipe.fileno(), end)
    telling = asyncio.create_task(_tell(asker.tally, pipe))
    try:
        return await asker.run(clients, stop)
    finally:
        loop.remove_reader(pipe.fileno())
        telling.cancel()
        await asyncio.wait((telling,))


async def _tell(tally: Tally, pipe: Connection) -> None:
    """Say every now and then how far it is."""
    while True:
        await asyncio.sleep(_TELL_INTERVAL_S)
        pipe.send(tally.decision_count + tally.error_count)
