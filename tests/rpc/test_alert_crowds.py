"""Many subscribers at once: nobody misses anything, and nobody costs much."""

import random
import tracemalloc

import pytest

from instanter.rpc.alert_hub import AlertHub
from instanter.stock_limits import SUBSCRIBER_LAG_NS_MAX
from tests.rpc.alert_world import SITES, AlertWorld, turn, until


async def test_a_thousand_who_do_not_read_share_what_waits_for_them(world: AlertWorld) -> None:
    world.raise_some(1)
    # Waiting for it by subscribing again and again would cost more the slower the machine is.
    prompt = world.watch(sites=["koeln"])
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        readers = [world.watch(sites=[SITES[n % 3][0]]) for n in range(1_000)]
        idle, _ = tracemalloc.get_traced_memory()
        world.raise_some(300)
        await until(lambda: prompt.take() and prompt.sequences[-1:] == [301])
        await turn()
        waiting, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert idle - before < 4 << 20, "four kilobytes each"
    assert waiting - idle < 4 << 20, "a reference a message, and each message once"
    for reader in readers:
        reader.take()
    assert {len(reader.sequences) for reader in readers} == {100}


async def test_others_have_their_turn_while_many_are_told(world: AlertWorld) -> None:
    readers = [world.watch() for _ in range(200)]
    gone, *kept = (reader for reader in reversed(readers))
    for reader in readers:
        reader.take()
    world.raise_some(1)
    told = 0
    while not told:
        await turn(1)
        told = sum(bool(reader.take()) for reader in readers)
    assert told < 50, "the first are told while the last still wait"
    # Who leaves meanwhile is left out, and who comes is told of it by where it begins.
    gone.stream.close()
    late = world.watch()
    assert [each.progress.sequence for each in late.take()] == [1]
    await turn()
    for reader in kept:
        reader.take()
        assert reader.sequences == [1]
    assert (gone.take(), late.take()) == ([], [])
    world.raise_some(1)
    await turn()
    for reader in (*kept, late):
        reader.take()
        assert reader.sequences[-1] == 2


class Wanderer:
    """A subscriber that reads, stalls, goes and resumes, now here, now there."""

    def __init__(self, world: AlertWorld, draw: random.Random, wanted: dict[str, list[str]]):
        self.world = world
        self.draw = draw
        self.wanted = wanted
        self.token = world.tokens.format(0)
        self.seen: list[int] = []
        self.reader = world.watch(resume=self.token, **wanted)

    def read(self, count: int = 1 << 30) -> None:
        for message in self.reader.take(count):
            if message.HasField("transition"):
                assert not self.seen or message.transition.sequence > self.seen[-1], "in order"
                self.seen.append(message.transition.sequence)
            self.token = message.resume_token

    def wander(self, hub: AlertHub) -> None:
        self.read(self.draw.choice([0, 0, 1, 20, 200]))
        if self.reader.stream.drained or self.draw.random() < 0.03:
            self.move(hub)

    def move(self, hub: AlertHub) -> None:
        self.reader.stream.close()
        self.reader = self.world.watch(hub, resume=self.token, **self.wanted)


@pytest.mark.parametrize("seed", range(6))
async def test_nobody_ever_misses_anything(world: AlertWorld, seed: int) -> None:
    draw = random.Random(seed)
    hubs = [world.hub, world.make_hub()]
    filters: list[dict[str, list[str]]] = [{}, {"sites": ["bonn"]}, {"categories": ["tea"]}]
    wanderers = [Wanderer(world, draw, filters[n % 3]) for n in range(6)]
    for _ in range(300):
        if draw.random() < 0.5:
            world.raise_some(draw.choice([1, 1, 5, 90]), synced=False)
        for hub in hubs:
            if draw.random() < 0.5:
                hub.note_synced(max(world.record - draw.randrange(3), 0))
        await turn(draw.randrange(6))
        world.clock.now += draw.choice([0, SUBSCRIBER_LAG_NS_MAX // 3])
        for wanderer in wanderers:
            wanderer.wander(draw.choice(hubs))
    for hub in hubs:
        hub.note_synced(world.record)
    last = len(world.written)
    for at, wanderer in enumerate(wanderers):
        wanderer.move(hubs[at % 2])
        while world.tokens.parse(wanderer.token, "") < last:
            await turn()
            wanderer.read()
    matching = [
        [n for n, _ in enumerate(world.written, 1)],
        [n for n, (site, _) in enumerate(world.written, 1) if site == "bonn"],
        [n for n, (_, unit) in enumerate(world.written, 1) if unit == "green"],
    ]
    assert [wanderer.seen for wanderer in wanderers] == [matching[n % 3] for n in range(6)]
    assert last > 1_000
    hubs[1].detach()
