"""Drives the served demo through real gRPC and keeps the score.

Nine of ten questions ask for the best offer; one of ten asks for all eligible offers and takes one
of them at random, so that both arms draw from the same offers and the same customers. Whether a
customer accepts is drawn from the world's hidden truth.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from instanter.cli.demo.world import World
from instanter.client import AsyncClient
from instanter.client.errors import ClientError
from instanter.client.values import Decision
from instanter.clock import Clock

RANDOM_SHARE = 0.1
_SKEW = 1.1
_LATENCIES_KEPT = 20_000
_SURFACES = (
    ("web", "home_hero", "desktop"),
    ("mobile", "home", "phone"),
    ("store", "till", "till"),
)
_TURN_QUESTIONS = 4096


@dataclass(slots=True)
class Arm:
    """How often one way of choosing was tried, and accepted. Not frozen: it counts."""

    presented_count: int = 0
    accepted_count: int = 0
    value_minor: int = 0

    @property
    def acceptance_rate(self) -> float:
        """Share of presented offers that were accepted, 0 when there is none yet."""
        return self.accepted_count / self.presented_count if self.presented_count else 0.0


@dataclass(slots=True)
class Score:
    """What happened so far. Not frozen: it counts.

    Attributes
    ----------
    clock
        Measures latency and how long driving takes.
    start_ns
        When driving began, on a clock that never goes back.
    decision_count, error_count, none_count, holdout_count
        Decisions answered; calls that failed; decisions without an offer; of those in the holdout.
    latency_ns
        The last 20,000 times from call to reply, as the client sees them.
    took_us
        The last 20,000 times that the server itself reported.
    best, random
        The two arms.
    last
        The decision shown in the view: customer, surface, decision.
    """

    clock: Clock
    start_ns: int
    decision_count: int = 0
    error_count: int = 0
    none_count: int = 0
    holdout_count: int = 0
    latency_ns: deque[int] = field(default_factory=lambda: deque(maxlen=_LATENCIES_KEPT))
    took_us: deque[int] = field(default_factory=lambda: deque(maxlen=_LATENCIES_KEPT))
    best: Arm = field(default_factory=Arm)
    random: Arm = field(default_factory=Arm)
    last: tuple[str, str, Decision] | None = None

    @property
    def elapsed_s(self) -> float:
        """Seconds since driving began."""
        return (self.clock.monotonic_ns() - self.start_ns) / 1e9


class Drive:
    """Asks for decisions, `concurrency` at a time, until stopped.

    Parameters
    ----------
    world
        The retailer with its hidden truth.
    target
        Host and port of the server.
    concurrency
        Questions in flight at a time.
    seed
        Draws customers, surfaces, arms and answers.
    clock
        Measures latency.
    """

    def __init__(
        self, world: World, target: str, *, concurrency: int, seed: int, clock: Clock
    ) -> None:
        self._world = world
        self._target = target
        self._concurrency = concurrency
        self._draw = np.random.default_rng(seed)
        self._offer_index = {offer.name: at for at, offer in enumerate(world.offers)}
        self.score = Score(clock, clock.monotonic_ns())

    async def run(self, stop: asyncio.Event) -> None:
        """Drive until `stop` is set."""
        async with AsyncClient(self._target) as client:
            askers = [self._ask(client, stop) for _ in range(self._concurrency)]
            await asyncio.gather(*askers)

    async def _ask(self, client: AsyncClient, stop: asyncio.Event) -> None:
        """Ask one question after the other."""
        count = self._world.table.num_rows
        while not stop.is_set():
            ranks = self._draw.zipf(_SKEW, _TURN_QUESTIONS) % count
            surfaces = self._draw.integers(0, len(_SURFACES), _TURN_QUESTIONS)
            shuffles = self._draw.random(_TURN_QUESTIONS) < RANDOM_SHARE
            baskets = self._draw.exponential(40.0, _TURN_QUESTIONS)
            for customer, surface, shuffle, basket in zip(
                ranks.tolist(), surfaces.tolist(), shuffles.tolist(), baskets.tolist(), strict=True
            ):
                if stop.is_set():
                    return
                await self._decide(client, customer, surface, shuffle=shuffle, basket=basket)

    async def _decide(
        self, client: AsyncClient, customer: int, surface: int, *, shuffle: bool, basket: float
    ) -> None:
        """Ask for one decision and let the customer answer."""
        channel, placement, device = _SURFACES[surface]
        start_ns = self.score.clock.monotonic_ns()
        try:
            decision = await client.decide_offers(
                f"c{customer:07d}",
                channel,
                placement,
                offer_count=100 if shuffle else 1,
                context={"basket_value": round(basket, 2), "device": device},
            )
        except ClientError:
            self.score.error_count += 1
            return
        score = self.score
        score.decision_count += 1
        if not shuffle:
            score.latency_ns.append(score.clock.monotonic_ns() - start_ns)
            score.took_us.append(decision.took_us)
            score.last = (f"c{customer:07d}", f"{channel}/{placement}", decision)
        score.holdout_count += decision.in_holdout
        if not decision.offers:
            score.none_count += 1
            return
        at = int(self._draw.integers(len(decision.offers))) if shuffle else 0
        self._present(score.random if shuffle else score.best, customer, decision.offers[at].offer)

    def _present(self, arm: Arm, customer: int, offer: str) -> None:
        """Show an offer to a customer, who accepts it or not."""
        index = self._offer_index[offer]
        chance = float(self._world.acceptance(np.array([customer]), index)[0])
        arm.presented_count += 1
        if self._draw.random() < chance:
            arm.accepted_count += 1
            arm.value_minor += self._world.offers[index].value_minor
