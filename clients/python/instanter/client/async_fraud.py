"""The check at the till for event loops: `AsyncClient.fraud`."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from datetime import datetime
from typing import Any, TypeVar

from instanter.client import fraud_blocks, fraud_replies
from instanter.client.calls import Call
from instanter.client.errors import ClientError
from instanter.client.fraud_calls import BACKTEST_FRAUD_RULES, FraudCalls
from instanter.client.fraud_requests import settle
from instanter.client.fraud_values import (
    ALL_CASES,
    Assessment,
    BacktestProgress,
    BacktestReport,
    CardTransaction,
    Case,
    CaseChange,
    CaseFilter,
    CasePage,
    FraudRule,
    HotlistCounts,
    HotlistEntry,
    HotlistPage,
    HotlistReplacement,
    RecordedOutcomes,
    TransactionOutcome,
)
from instanter.client.stand_in import TerminalStandIn, is_silence

_Result = TypeVar("_Result")


class AsyncFraud:
    """Assesses card transactions, keeps hotlists and cases; made by `AsyncClient`.

    Every method raises a `ClientError`, or one of its kinds, when the call fails.

    Parameters
    ----------
    run
        Makes a call and returns its result.
    stream
        Makes a streamed call and yields its messages.
    calls
        Makes calls from arguments.
    """

    def __init__(
        self,
        run: Callable[[Call[Any]], Awaitable[Any]],
        stream: Callable[[Any, Any, float | None], AsyncIterator[Any]],
        calls: FraudCalls,
    ) -> None:
        self._run = run
        self._stream = stream
        self._calls = calls

    async def assess(
        self,
        transaction: CardTransaction,
        *,
        stand_in: TerminalStandIn | None = None,
        timeout_s: float | None = None,
    ) -> Assessment:
        """Approve, refer or decline a card transaction.

        Parameters
        ----------
        transaction
            What happened.
        stand_in
            Answers when the server is silent for the timeout; without one that is an error.
        timeout_s
            Seconds for all attempts together; None takes `Timeouts.decision_s`.

        Raises
        ------
        InvalidRequestError
            Something of it is wrong, or holds a card number.
        ConflictError
            The id was used for another transaction.
        ClientError
            Or another of its kinds.
        """
        settled = settle(transaction)
        try:
            return await self._ask(self._calls.assess(settled, timeout_s))
        except ClientError as error:
            if stand_in is None or not is_silence(error):
                raise
        return stand_in.answer(settled)

    async def send_waiting(
        self, stand_in: TerminalStandIn, *, timeout_s: float | None = None
    ) -> tuple[Assessment, ...]:
        """Send what a stand-in has answered to the server, and return what that makes of it.

        A transaction that the server refuses for good is forgotten and left out. Ends at the first
        one that finds the server silent.
        """
        found = []
        for transaction in stand_in.list_waiting():
            assert transaction.transaction_id is not None, "it is settled"
            try:
                found.append(await self._ask(self._calls.assess(transaction, timeout_s)))
            except ClientError as error:
                if is_silence(error):
                    break
            stand_in.forget(transaction.transaction_id)
        return tuple(found)

    async def record_outcomes(
        self,
        outcomes: Iterable[TransactionOutcome],
        *,
        relaxed: bool = False,
        timeout_s: float | None = None,
    ) -> RecordedOutcomes:
        """Record what became of transactions, 1 to 1000; those that cannot count are told."""
        return await self._ask(
            self._calls.record_outcomes(outcomes, relaxed=relaxed, timeout_s=timeout_s)
        )

    async def list_case_page(
        self,
        page_size: int = 0,
        page_token: str = "",
        wanted: CaseFilter = ALL_CASES,
        *,
        timeout_s: float | None = None,
    ) -> CasePage:
        """Read one page of cases, the newest first."""
        return await self._ask(self._calls.list_cases(page_size, page_token, wanted, timeout_s))

    async def list_cases(
        self, wanted: CaseFilter = ALL_CASES, *, timeout_s: float | None = None
    ) -> AsyncIterator[Case]:
        """Iterate over cases, the newest first, reading page by page."""
        token = ""
        while True:
            page = await self.list_case_page(0, token, wanted, timeout_s=timeout_s)
            for case in page.cases:
                yield case
            token = page.next_page_token
            if not token:
                return

    async def update_case(
        self, case_id: str, change: CaseChange, *, timeout_s: float | None = None
    ) -> Case:
        """Change a case, and return it as it is then."""
        return await self._ask(self._calls.update_case(case_id, change, timeout_s))

    async def list_rules(self, *, timeout_s: float | None = None) -> tuple[FraudRule, ...]:
        """Return all rules with what they do now, by name."""
        found: list[FraudRule] = []
        token = ""
        while True:
            rules, token = await self._ask(self._calls.list_rules(1000, token, timeout_s))
            found += rules
            if not token:
                return tuple(found)

    async def resume_rule(self, rule: str, *, timeout_s: float | None = None) -> FraudRule:
        """Let a rule that its guard has paused take part again."""
        return await self._ask(self._calls.resume_rule(rule, timeout_s))

    async def snooze_rule(
        self, rule: str, card_token: str, end: datetime, *, timeout_s: float | None = None
    ) -> datetime:
        """Let a rule leave one card alone until a time."""
        return await self._ask(self._calls.snooze_rule(rule, card_token, end, timeout_s))

    async def add_to_hotlist(
        self, hotlist: str, entry: HotlistEntry, *, timeout_s: float | None = None
    ) -> HotlistEntry:
        """Put one entry on `cards`, `terminals`, `merchants`, `devices` or `bins`."""
        return await self._ask(self._calls.create_entry(hotlist, entry, timeout_s))

    async def add_all_to_hotlist(
        self, hotlist: str, entries: Iterable[HotlistEntry], *, timeout_s: float | None = None
    ) -> HotlistCounts:
        """Put 1 to 1000 entries on a hotlist, all of them or none."""
        return await self._ask(self._calls.create_entries(hotlist, entries, timeout_s))

    async def remove_from_hotlist(
        self,
        hotlist: str,
        entry_id: str,
        *,
        allow_missing: bool = False,
        timeout_s: float | None = None,
    ) -> None:
        """Take one entry off its hotlist; it stops at once."""
        await self._ask(
            self._calls.delete_entry(
                hotlist, entry_id, allow_missing=allow_missing, timeout_s=timeout_s
            )
        )

    async def get_hotlist_entry(
        self, hotlist: str, entry_id: str, *, timeout_s: float | None = None
    ) -> HotlistEntry:
        """Read one entry."""
        return await self._ask(self._calls.get_entry(hotlist, entry_id, timeout_s))

    async def list_hotlist_page(
        self,
        hotlist: str,
        page_size: int = 0,
        page_token: str = "",
        *,
        timeout_s: float | None = None,
    ) -> HotlistPage:
        """Read one page of a hotlist, in the byte order of the ids."""
        return await self._ask(self._calls.list_entries(hotlist, page_size, page_token, timeout_s))

    async def list_hotlist(
        self, hotlist: str, *, timeout_s: float | None = None
    ) -> AsyncIterator[HotlistEntry]:
        """Iterate over a hotlist, reading page by page."""
        token = ""
        while True:
            page = await self.list_hotlist_page(hotlist, 1000, token, timeout_s=timeout_s)
            for entry in page.entries:
                yield entry
            token = page.next_page_token
            if not token:
                return

    async def replace_hotlist(
        self,
        hotlist: str,
        entries: Iterable[HotlistEntry],
        *,
        allow_shrink: bool = False,
        on_block: Callable[[int], object] = lambda _: None,
        timeout_s: float | None = None,
    ) -> HotlistReplacement:
        """Replace a whole hotlist: until all has arrived the old one holds, then the new one.

        Parameters
        ----------
        hotlist
            `cards`, `terminals`, `merchants`, `devices` or `bins`.
        entries
            All of the new list; an exception of theirs leaves the old one in force.
        allow_shrink
            Whether the new list may be more than 20 % shorter than the old one.
        on_block
            Told how many entries have been sent.
        timeout_s
            Seconds for each block; None takes `Timeouts.write_s`.

        Raises
        ------
        PreconditionError
            The new list is much shorter, or another replacement has begun meanwhile.
        ClientError
            Or another of its kinds.
        """
        begin = fraud_blocks.begin(hotlist)
        reply = await self._ask(self._calls.replace_block(begin, timeout_s))
        blocks = fraud_blocks.make_blocks(
            hotlist, reply.replacement, entries, allow_shrink=allow_shrink
        )
        for request in blocks:
            reply = await self._ask(self._calls.replace_block(request, timeout_s))
            on_block(reply.entry_count)
        return HotlistReplacement(reply.entry_count, reply.replaced_count)

    async def backtest(
        self,
        fraud_yaml: str,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        on_progress: Callable[[BacktestProgress], object] = lambda _: None,
        timeout_s: float | None = None,
    ) -> BacktestReport:
        """Replay the recorded transactions through other rules, and compare the two.

        Parameters
        ----------
        fraud_yaml
            The `fraud` section of a catalogue.
        start, end
            Which transactions count, with their time zones; None for all.
        on_progress
            Told how far it has come.
        timeout_s
            Seconds; None waits for as long as it takes.
        """
        request = self._calls.backtest(fraud_yaml, start, end)
        async for message in self._stream(BACKTEST_FRAUD_RULES, request, timeout_s):
            told = fraud_replies.backtest(message)
            if isinstance(told, BacktestReport):
                return told
            on_progress(told)
        raise ClientError("the back-test ended without a result", code="INTERNAL")

    async def _ask(self, call: Call[_Result]) -> _Result:
        result: _Result = await self._run(call)
        return result
