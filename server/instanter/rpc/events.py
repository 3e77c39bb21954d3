"""`EventService`: check the requests, hand the events to the keeper, translate its counts."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import lru_cache, partial
from typing import Final

from instanter.errors import InvalidFieldError, place_field
from instanter.events.outline import outline_request
from instanter.keeper.commands import Gather, Submit
from instanter.keeper.events import EventCounts, GivenEvent, RecordEvents
from instanter.limits import EVENT_FIELDS_MAX, EVENT_ID_SIZE_MAX, EVENTS_BATCH_MAX
from instanter.rpc.attribute_values import PlainValue, read_values
from instanter.rpc.batch_counts import check_count
from instanter.rpc.dispatch import decode
from instanter.rpc.durability import read_relaxed
from instanter.rpc.front import CallContext, DeferredMethod, GatheredWork, Service
from instanter.rpc.names import parse_customer_name
from instanter.rpc.request_ids import check_id
from instanter.rpc.timestamps import read_time_ns
from instanter.v1.event_service_pb2 import Event, RecordEventsRequest, RecordEventsResponse

_NO_FIELDS: Final[dict[str, PlainValue]] = {}


class EventService:
    """Answers the methods of `EventService`.

    Parameters
    ----------
    submit, gather
        Carry out commands, as `Keeper.submit` and `Keeper.gather` do.
    """

    def __init__(self, *, submit: Submit, gather: Gather) -> None:
        self._submit = submit
        self._gather = gather

    def describe(self) -> Service:
        """Return the service as fronts serve it."""
        return Service(
            "instanter.v1.EventService",
            (
                DeferredMethod(
                    "RecordEvents",
                    RecordEventsRequest,
                    RecordEventsResponse,
                    self.record_events,
                    _translate_counts,
                    None,
                    encode=_encode_counts,
                    gathered=GatheredWork(make_command, self._gather),
                ),
            ),
        )

    def record_events(
        self, request: RecordEventsRequest, context: CallContext
    ) -> Future[EventCounts]:
        """Queue the recording of a batch of events.

        Raises
        ------
        InvalidFieldError
            As `make_command`.
        """
        command = _make_decoded(request, context.deadline_ns)
        return self._submit(
            command, command.deadline_ns, relaxed=command.relaxed, weight=command.weight
        )


def make_command(request: bytes, deadline_ns: int | None) -> RecordEvents:
    """Return the command that records the events of an encoded request.

    The events themselves are read when their turn comes, off the event loop when they are many: a
    thousand of them take milliseconds. Usual ones are never decoded: kernels read them.

    Raises
    ------
    InvalidFieldError
        There are none or too many events, or the durability is unknown, or it is no request. The
        command raises it for everything else.
    """
    found = outline_request(request)
    if found is None:
        return _make_decoded(decode(RecordEventsRequest, request), deadline_ns)
    count, durability = found
    return _make(partial(_read_encoded, request), lambda: request, count, durability, deadline_ns)


def _make_decoded(request: RecordEventsRequest, deadline_ns: int | None) -> RecordEvents:
    """Return the command that records the events of a request."""
    read = partial(_read_events, request)
    count, durability = len(request.events), request.durability
    return _make(read, request.SerializeToString, count, durability, deadline_ns)


def _make(
    read_events: Callable[[], Sequence[GivenEvent]],
    wire: Callable[[], bytes],
    count: int,
    durability: int,
    deadline_ns: int | None,
) -> RecordEvents:
    """Return the command that records so many events, read by `read_events` or from the wire."""
    check_count("events", count, EVENTS_BATCH_MAX, reason="EVENT_COUNT_INVALID")
    return RecordEvents(read_events, wire, count, deadline_ns, read_relaxed(durability))


def _read_encoded(request: bytes) -> Sequence[GivenEvent]:
    """Return the events of an encoded request.

    Raises
    ------
    InvalidFieldError
        As `_read_events`; or it is no message of this type.
    """
    return _read_events(decode(RecordEventsRequest, request))


def _read_events(request: RecordEventsRequest) -> Sequence[GivenEvent]:
    """Return the events of a request.

    Raises
    ------
    InvalidFieldError
        The id, the customer's name, the time or a value of one cannot be what it stands for.
    """
    found: list[GivenEvent] = []
    for event in request.events:
        try:
            found.append(_read_event(event))
        except InvalidFieldError as error:
            raise place_field(error, f"events[{len(found)}]") from None
    return found


def _read_event(event: Event) -> GivenEvent:
    """Return one event; its kind and fields are checked by the engine."""
    event_id = event.event_id
    check_id(event_id, "event_id", EVENT_ID_SIZE_MAX, reason="EVENT_ID_INVALID")
    fields = event.fields
    if len(fields) > EVENT_FIELDS_MAX:
        raise InvalidFieldError(
            "fields",
            f"{len(fields)} fields",
            f"at most {EVENT_FIELDS_MAX} fields",
            reason="EVENT_FIELDS_TOO_MANY",
        )
    return GivenEvent(
        event_id,
        parse_customer_name(event.customer, "customer"),
        event.kind,
        _read_time_ns(event) if event.HasField("event_time") else None,
        read_values(fields, "fields") if fields else _NO_FIELDS,
    )


def _read_time_ns(event: Event) -> int:
    """Return when an event happened, nanoseconds since 1970."""
    return read_time_ns(
        event.event_time,
        "event_time",
        expected="a time from 90 days ago to 5 minutes ahead",
        reason="EVENT_TIME_OUT_OF_RANGE",
    )


def _translate_counts(counts: EventCounts) -> RecordEventsResponse:
    """Return the response that says what was recorded."""
    return RecordEventsResponse(
        recorded_count=counts.recorded_count, duplicate_count=counts.duplicate_count
    )


def _encode_counts(counts: EventCounts) -> bytes:
    """Return the encoded response that says what was recorded."""
    return _encode(counts.recorded_count, counts.duplicate_count)


@lru_cache(maxsize=1_024)
def _encode(recorded_count: int, duplicate_count: int) -> bytes:
    """Return the encoded response with these counts: nearly always one of very few."""
    encoded: bytes = RecordEventsResponse(
        recorded_count=recorded_count, duplicate_count=duplicate_count
    ).SerializeToString()
    return encoded
