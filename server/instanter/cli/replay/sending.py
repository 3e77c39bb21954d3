"""Sends recorded transactions to a server, many at a time, and labels when they become known."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from instanter.cli.failures import CommandError
from instanter.cli.replay.recorded import RecordedTransactions
from instanter.client import (
    AsyncClient,
    ClientError,
    ConflictError,
    InvalidRequestError,
    TransactionOutcome,
    TransactionOutcomeKind,
)
from instanter.clock import Clock

_REFUSED_RATE_MAX: Final = 0.01
"""Share of transactions that may be refused, of amount 0 for example; more is a wrong mapping."""

_REFUSED_MIN: Final = 20
"""So many may always be refused."""

_OUTCOMES: Final = 1_000
"""Outcomes of one call: what the server takes."""


@dataclass(frozen=True, slots=True, eq=False)
class ReplayedVerdicts:
    """What the server said of each transaction.

    Attributes
    ----------
    risks, probabilities
        float64[N].
    dispositions, sources
        int8[N]: the contract's numbers.
    refused
        bool[N]: those that the server refused.
    refusal
        Why it refused the first of these; empty for none.
    label_count
        Outcomes that were sent.
    duplicate_count
        Transactions that the server had assessed before.
    took_ns
        From the first to the last answer.
    """

    risks: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    dispositions: NDArray[np.int8]
    sources: NDArray[np.int8]
    refused: NDArray[np.bool_]
    refusal: str
    label_count: int
    duplicate_count: int
    took_ns: int


class Replay:
    """Sends the transactions of a file in their order, without waiting for each.

    Transactions go out as fast as `in_flight` of them may be on their way, in the order of their
    times, on one connection, so that the server takes them in that order. Labels are sent at the
    beginning of each day of the file, or as often as the mapping says, those of the transactions
    that are old enough by then; until they are recorded nothing else is sent.

    Parameters
    ----------
    recorded
        What is sent.
    in_flight
        How many may be on their way.
    clock
        Takes the time.
    tell
        Told how many are done, and of how many.
    """

    def __init__(
        self,
        recorded: RecordedTransactions,
        *,
        in_flight: int,
        clock: Clock,
        tell: Callable[[int, int], None],
    ) -> None:
        self._recorded = recorded
        self._in_flight = in_flight
        self._clock = clock
        self._tell = tell
        count = len(recorded)
        self._risks = np.zeros(count)
        self._probabilities = np.zeros(count)
        self._dispositions = np.zeros(count, np.int8)
        self._sources = np.zeros(count, np.int8)
        self._refused = np.zeros(count, np.bool_)
        self._refused_count = 0
        self._refusal = ""
        self._done_count = 0
        self._duplicate_count = 0
        self._label_count = 0
        self._unlabelled = 0
        self._tasks: deque[asyncio.Task[None]] = deque()

    async def run(self, client: AsyncClient) -> ReplayedVerdicts:
        """Send everything, and return what was answered.

        Raises
        ------
        CommandError
            The server refuses more than a few transactions; the first is named.
        ClientError
            It cannot be reached.
        """
        start_ns = self._clock.monotonic_ns()
        step_us = self._recorded.mapping.label_every_s * 1_000_000
        steps = (self._recorded.times_us // step_us).tolist()
        step = steps[0]
        try:
            for row, its_step in enumerate(steps):
                if its_step != step:
                    step = its_step
                    await self._finish(0)
                    await self._send_labels(client, step * step_us)
                await self._finish(self._in_flight - 1)
                self._tasks.append(asyncio.create_task(self._assess(client, row)))
            await self._finish(0)
        finally:
            for task in self._tasks:
                task.cancel()
        return ReplayedVerdicts(
            self._risks,
            self._probabilities,
            self._dispositions,
            self._sources,
            self._refused,
            self._refusal,
            self._label_count,
            self._duplicate_count,
            self._clock.monotonic_ns() - start_ns,
        )

    async def _finish(self, left: int) -> None:
        """Wait until at most `left` transactions are on their way."""
        while len(self._tasks) > left:
            await self._tasks.popleft()

    async def _assess(self, client: AsyncClient, row: int) -> None:
        try:
            found = await client.fraud.assess(self._recorded.make(row))
        except (InvalidRequestError, ValueError, TypeError) as error:
            self._note_refusal(row, error)
            return
        except ConflictError as error:
            raise CommandError(
                f"transaction {row + 1} of the file by time: {error.message}",
                hint="replay into a new store, or give ids another prefix in the mapping file",
            ) from error
        self._risks[row] = found.risk
        self._probabilities[row] = found.fraud_probability
        self._dispositions[row] = found.disposition
        self._sources[row] = found.source
        self._duplicate_count += found.is_duplicate
        self._done_count += 1
        self._tell(self._done_count, len(self._recorded))

    def _note_refusal(self, row: int, error: Exception) -> None:
        """Count a transaction that was refused; too many are an error."""
        told = error.message if isinstance(error, ClientError) else str(error)
        message = f"transaction {row + 1} of the file by time: {told}"
        self._refusal = self._refusal or message
        self._refused[row] = True
        self._refused_count += 1
        self._done_count += 1
        allowed = max(_REFUSED_MIN, _REFUSED_RATE_MAX * self._done_count)
        if self._refused_count > allowed:
            raise CommandError(
                f"{self._refused_count:,} of {self._done_count:,} transactions were refused; the "
                f"first: {self._refusal}",
                hint="mend the mapping file, and replay into a new store",
            ) from error

    async def _send_labels(self, client: AsyncClient, now_us: int) -> None:
        """Send the labels that are known at a time of the file."""
        recorded = self._recorded
        if recorded.frauds is None:
            return
        delay_us = recorded.mapping.label_delay_s * 1_000_000
        end = int(np.searchsorted(recorded.times_us, now_us - delay_us, side="left"))
        while self._unlabelled < end:
            rows = range(self._unlabelled, min(end, self._unlabelled + _OUTCOMES))
            outcomes = [
                TransactionOutcome(
                    recorded.make_id(row),
                    TransactionOutcomeKind.CONFIRMED_FRAUD
                    if recorded.frauds[row]
                    else TransactionOutcomeKind.GENUINE,
                )
                for row in rows
                if not self._refused[row]
            ]
            if outcomes:
                await client.fraud.record_outcomes(outcomes)
            self._unlabelled = rows.stop
            self._label_count += len(outcomes)
