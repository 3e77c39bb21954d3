"""`HotlistService`: check entries, hand changes to the keeper, read lists."""

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, Final

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from instanter.catalogue.fraud_words import ListKind
from instanter.clock import Clock
from instanter.errors import InvalidFieldError, place_field
from instanter.fraud_limits import HOTLIST_BATCH_MAX, HOTLIST_TEXT_SIZE_MAX
from instanter.keeper.commands import Submit
from instanter.keeper.hotlist_replacement import (
    AddHotlistBlock,
    BeginHotlist,
    HotlistReplaced,
    ReplaceHotlist,
)
from instanter.keeper.hotlist_views import get_entry, get_figures, list_entries
from instanter.keeper.hotlists import CreateHotlistEntries, DeleteHotlistEntry, EntriesCreated
from instanter.rpc.batch_counts import check_count
from instanter.rpc.card_numbers import check_message, may_hold_card_data
from instanter.rpc.chaining import chain
from instanter.rpc.customers import READ_LANE
from instanter.rpc.front import BlockingMethod, CallContext, DeferredMethod, Service
from instanter.rpc.names import (
    check_entry_id,
    format_entry_name,
    parse_entry_name,
    parse_hotlist_name,
)
from instanter.rpc.page_tokens import format_page_token, parse_page_token, read_page_size
from instanter.rpc.timestamps import make_timestamp, read_time_ns
from instanter.store.hotlists import HotlistEntry
from instanter.store.transaction import Readable
from instanter.v1 import hotlist_service_pb2 as messages

_METHOD: Final = "ListHotlist"
_REPLACEMENT_SIZE_MAX: Final = 10


class HotlistService:
    """Answers the methods of `HotlistService`.

    Parameters
    ----------
    store
        The store that is read.
    submit
        Carries out a command, as `Keeper.submit` does.
    clock
        Tells which entries have expired.
    """

    def __init__(self, store: Readable, *, submit: Submit, clock: Clock) -> None:
        self._store = store
        self._submit = submit
        self._clock = clock

    def describe(self) -> Service:
        """Return the service as fronts serve it."""
        return Service(
            "instanter.v1.HotlistService",
            (
                DeferredMethod(
                    "CreateHotlistEntry",
                    messages.CreateHotlistEntryRequest,
                    messages.HotlistEntry,
                    self.create_entry,
                    _keep,
                    None,
                ),
                DeferredMethod(
                    "BatchCreateHotlistEntries",
                    messages.BatchCreateHotlistEntriesRequest,
                    messages.BatchCreateHotlistEntriesResponse,
                    self.create_entries,
                    _translate_created,
                    None,
                ),
                DeferredMethod(
                    "DeleteHotlistEntry",
                    messages.DeleteHotlistEntryRequest,
                    Empty,
                    self.delete_entry,
                    _translate_deleted,
                    None,
                ),
                BlockingMethod(
                    "GetHotlistEntry",
                    messages.GetHotlistEntryRequest,
                    messages.HotlistEntry,
                    self.get_entry,
                    READ_LANE,
                ),
                BlockingMethod(
                    "ListHotlistEntries",
                    messages.ListHotlistEntriesRequest,
                    messages.ListHotlistEntriesResponse,
                    self.list_entries,
                    READ_LANE,
                ),
                DeferredMethod(
                    "ReplaceHotlistEntries",
                    messages.ReplaceHotlistEntriesRequest,
                    messages.ReplaceHotlistEntriesResponse,
                    self.replace,
                    _keep,
                    None,
                ),
            ),
        )

    def create_entry(
        self, request: messages.CreateHotlistEntryRequest, context: CallContext
    ) -> Future[messages.HotlistEntry]:
        """Queue the creation of one entry.

        Raises
        ------
        InvalidFieldError
            List, id or entry is wrong, or holds a card number; the future raises what else is.
        """
        check_message(request)
        kind = parse_hotlist_name(request.parent, "parent")
        entry = _read_entry(kind, request)
        command = CreateHotlistEntries(kind, (entry,))
        future = self._submit(command, context.deadline_ns)
        return chain(future, lambda created: translate_entry(kind, created.entries[0]))

    def create_entries(
        self, request: messages.BatchCreateHotlistEntriesRequest, context: CallContext
    ) -> Future[EntriesCreated]:
        """Queue the creation of several entries.

        Raises
        ------
        InvalidFieldError
            There are none or too many, the list or one of them is wrong, or holds a card number;
            the future raises what else is.
        """
        _check_count(len(request.requests), "requests")
        _check_card_data(
            request,
            [
                text
                for each in request.requests
                for text in (
                    each.parent,
                    each.hotlist_entry_id,
                    each.hotlist_entry.name,
                    each.hotlist_entry.reason,
                    each.hotlist_entry.source,
                )
            ],
        )
        kind = parse_hotlist_name(request.parent, "parent")
        entries: list[HotlistEntry] = []
        for each in request.requests:
            try:
                if each.parent not in ("", request.parent):
                    raise InvalidFieldError(
                        "parent",
                        each.parent,
                        f"'{request.parent}' as for the batch, or nothing",
                        reason="HOTLIST_NAME_INVALID",
                    )
                entries.append(_read_entry(kind, each))
            except InvalidFieldError as error:
                raise place_field(error, f"requests[{len(entries)}]") from None
        command = CreateHotlistEntries(kind, entries)
        return self._submit(command, context.deadline_ns, weight=len(entries))

    def delete_entry(
        self, request: messages.DeleteHotlistEntryRequest, context: CallContext
    ) -> Future[None]:
        """Queue the deletion of one entry.

        Raises
        ------
        InvalidFieldError
            The name is wrong; the future raises what else is.
        """
        check_message(request)
        kind, entry = parse_entry_name(request.name, "name")
        command = DeleteHotlistEntry(kind, entry, request.allow_missing)
        return self._submit(command, context.deadline_ns)

    def get_entry(
        self, request: messages.GetHotlistEntryRequest, context: CallContext
    ) -> messages.HotlistEntry:
        """Return one entry.

        Raises
        ------
        InvalidFieldError
            The name is wrong.
        NotFoundError
            There is none, or it has expired.
        """
        del context
        check_message(request)
        kind, name = parse_entry_name(request.name, "name")
        with self._store.read() as transaction:
            entry = get_entry(transaction, kind, name, self._clock.now_ns())
        return translate_entry(kind, entry)

    def list_entries(
        self, request: messages.ListHotlistEntriesRequest, context: CallContext
    ) -> messages.ListHotlistEntriesResponse:
        """Return one page of a list.

        Raises
        ------
        InvalidFieldError
            List, size or token is wrong.
        """
        del context
        check_message(request)
        kind = parse_hotlist_name(request.parent, "parent")
        limit = read_page_size(request.page_size)
        after = parse_page_token(request.page_token, "page_token", _METHOD)
        with self._store.read() as transaction:
            figures = get_figures(transaction, kind)
            page = list_entries(
                transaction, kind, after=after, limit=limit, now_ns=self._clock.now_ns()
            )
        response = messages.ListHotlistEntriesResponse(
            hotlist_entries=[translate_entry(kind, entry) for entry in page.entries],
            next_page_token=format_page_token(page.after, _METHOD) if page.after else "",
            entry_count=figures.entry_count,
        )
        if figures.update_time_ns:
            response.update_time.CopyFrom(make_timestamp(figures.update_time_ns))
        return response

    def replace(
        self, request: messages.ReplaceHotlistEntriesRequest, context: CallContext
    ) -> Future[messages.ReplaceHotlistEntriesResponse]:
        """Queue one step of a replacement: its beginning, a block, or its end.

        Raises
        ------
        InvalidFieldError
            Something of the request is wrong, or holds a card number; the future raises what else
            is.
        """
        given = request.hotlist_entries
        if len(given) > HOTLIST_BATCH_MAX:
            _check_count(len(given), "hotlist_entries")
        _check_card_data(
            request,
            [text for each in given for text in (each.name, each.reason, each.source)],
        )
        kind = parse_hotlist_name(request.parent, "parent")
        is_block = bool(request.replacement) and not request.commit
        if is_block != bool(given):
            raise InvalidFieldError(
                "hotlist_entries",
                f"{len(given)} entries",
                f"1 to {HOTLIST_BATCH_MAX} entries in a block, none in the first and the last call",
                reason="HOTLIST_ENTRY_COUNT_INVALID",
            )
        if request.commit and not request.replacement:
            raise InvalidFieldError(
                "replacement", "", "the one that is to hold", reason="REPLACEMENT_INVALID"
            )
        if not request.replacement:
            future = self._submit(BeginHotlist(kind), context.deadline_ns)
            return chain(future, _translate_begun)
        generation = _read_replacement(request.replacement)
        if request.commit:
            command = ReplaceHotlist(kind, generation, request.block_count, request.allow_shrink)
            future = self._submit(command, context.deadline_ns)
            return chain(future, lambda done: _translate_replaced(request.replacement, done))
        entries = _read_block(kind, given)
        block = AddHotlistBlock(kind, generation, request.block_index, entries)
        future = self._submit(block, context.deadline_ns, weight=len(entries))
        return chain(
            future,
            lambda count: messages.ReplaceHotlistEntriesResponse(
                replacement=request.replacement, entry_count=count
            ),
        )


def translate_entry(kind: ListKind, entry: HotlistEntry) -> messages.HotlistEntry:
    """Return the message of an entry."""
    message = messages.HotlistEntry(
        name=format_entry_name(kind, entry.entry), reason=entry.reason, source=entry.source
    )
    if entry.create_time_ns:
        message.create_time.CopyFrom(make_timestamp(entry.create_time_ns))
    if entry.expire_time_ns:
        message.expire_time.CopyFrom(make_timestamp(entry.expire_time_ns))
    return message


def _read_entry(kind: ListKind, request: messages.CreateHotlistEntryRequest) -> HotlistEntry:
    check_entry_id(kind, request.hotlist_entry_id, "hotlist_entry_id")
    try:
        return _make_entry(request.hotlist_entry_id, request.hotlist_entry)
    except InvalidFieldError as error:
        raise place_field(error, "hotlist_entry") from None


def _read_block(kind: ListKind, given: Sequence[messages.HotlistEntry]) -> list[HotlistEntry]:
    entries: list[HotlistEntry] = []
    for each in given:
        try:
            named, entry = parse_entry_name(each.name, "name")
            if named is not kind:
                raise InvalidFieldError(
                    "name", each.name, "an entry of the parent", reason="HOTLIST_NAME_INVALID"
                )
            entries.append(_make_entry(entry, each))
        except InvalidFieldError as error:
            raise place_field(error, f"hotlist_entries[{len(entries)}]") from None
    return entries


def _make_entry(entry_id: str, message: messages.HotlistEntry) -> HotlistEntry:
    expire_ns = 0
    if message.HasField("expire_time"):
        expire_ns = read_time_ns(
            message.expire_time,
            "expire_time",
            expected="a time since 1970; unset for ever",
            reason="EXPIRE_TIME_INVALID",
            seconds_max=(1 << 33) - 1,
        )
        # Zero would mean for ever.
        expire_ns = max(expire_ns, 1)
    return HotlistEntry(
        entry_id,
        _check_line(message.reason, "reason"),
        _check_line(message.source, "source"),
        0,
        expire_ns,
    )


def _check_line(text: str, field: str) -> str:
    if len(text) > HOTLIST_TEXT_SIZE_MAX or (text and not text.isprintable()):
        raise InvalidFieldError(
            field,
            text,
            f"at most {HOTLIST_TEXT_SIZE_MAX} characters without control characters",
            reason="HOTLIST_TEXT_INVALID",
        )
    return text


def _check_count(count: int, field: str) -> None:
    reason = "HOTLIST_ENTRY_COUNT_INVALID"
    check_count(field, count, HOTLIST_BATCH_MAX, reason=reason, things="entries")


def _check_card_data(request: Message, texts: list[str]) -> None:
    """Refuse card numbers; the long way only when a short look finds something."""
    parent: str = getattr(request, "parent")  # noqa: B009 - of both kinds of requests
    if may_hold_card_data([parent, *texts]):
        check_message(request)


def _read_replacement(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= _REPLACEMENT_SIZE_MAX):
        raise InvalidFieldError(
            "replacement", text, "as the first call's response named it",
            reason="REPLACEMENT_INVALID",
        )  # fmt: skip
    return int(text)


def _translate_begun(generation: int) -> messages.ReplaceHotlistEntriesResponse:
    return messages.ReplaceHotlistEntriesResponse(replacement=str(generation))


def _translate_replaced(
    replacement: str, done: HotlistReplaced
) -> messages.ReplaceHotlistEntriesResponse:
    return messages.ReplaceHotlistEntriesResponse(
        replacement=replacement,
        entry_count=done.entry_count,
        committed=True,
        replaced_count=done.replaced_count,
    )


def _translate_created(created: EntriesCreated) -> messages.BatchCreateHotlistEntriesResponse:
    return messages.BatchCreateHotlistEntriesResponse(
        created_count=created.created_count,
        existing_count=len(created.entries) - created.created_count,
    )


def _translate_deleted(_: None) -> Empty:
    return Empty()


def _keep(message: Any) -> Any:
    """Return what was made when the keeper answered."""
    return message
