"""What is not the usual way of a request: odd headers, messages in pieces, compressed ones."""

from collections.abc import Mapping
from functools import partial
from typing import Final

from google.protobuf import descriptor_pool
from google.rpc import code_pb2, status_pb2
from ngh2 import Header

from instanter import wire_limits
from instanter.errors import ExhaustedError, ExpiredError
from instanter.rpc.fast.calls import Call, expire
from instanter.rpc.fast.exchange import Exchange
from instanter.rpc.fast.wire import (
    NOT_GRPC_HEADERS,
    NOT_POST_HEADERS,
    PREFIX,
    PREFIX_SIZE_BYTES,
    decompress,
    is_grpc,
    is_known_encoding,
    make_encoding_refusal_headers,
    make_refusal_headers,
    make_status_headers,
    parse_timeout_ns,
    too_long,
)
from instanter.rpc.front import Lane

_SHOWN_PATH_SIZE_MAX: Final = 200
# What fits becomes a megabyte at the most, which takes less than a millisecond.
_OPENED_AT_ONCE_SIZE_BYTES_MAX: Final = 1 << 10
_OPENED_OF_MANY_SIZE_BYTES_MAX: Final = 64 << 10
_OPENING_LANE: Final = Lane("decompress", threads=1, waiting_max=64)


class ExcessError(Exception):
    """A client does something far too often; the reason is the text."""


class RefusalError(Exception):
    """A request breaks gRPC's rules.

    Attributes
    ----------
    headers
        What the call is ended with.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.headers = make_refusal_headers(code, message)


NO_MESSAGE_HEADERS: Final = make_refusal_headers(
    code_pb2.UNIMPLEMENTED, "the method takes exactly one message; the request has none"
)
"""The answer to a request that ends before its message."""


def find_refusal(
    fields: Mapping[bytes, bytes], headers: tuple[Header, ...], exchange: Exchange
) -> tuple[Header, ...] | list[Header] | None:
    """Return what a call with unusual headers is ended with, or None when they are in order.

    Parameters
    ----------
    fields
        The headers by name.
    headers
        The same, with those that occur twice.
    exchange
        Knows the routes, and how many calls there are.
    """
    if not is_grpc(fields.get(b"content-type", b"")):
        return NOT_GRPC_HEADERS
    if fields.get(b":method") != b"POST":
        return NOT_POST_HEADERS
    path = fields.get(b":path", b"")
    if path not in exchange.routes:
        return make_refusal_headers(code_pb2.UNIMPLEMENTED, _explain_absence(path))
    if b"te" not in fields:
        return make_refusal_headers(
            code_pb2.INTERNAL,
            "the header 'te: trailers' is missing; a proxy on the way may drop trailers, and with"
            " them the status of every call",
        )
    encoding = fields.get(b"grpc-encoding", b"identity")
    if not is_known_encoding(encoding):
        return make_encoding_refusal_headers(encoding)
    timeout = fields.get(b"grpc-timeout")
    if timeout is not None and parse_timeout_ns(timeout) is None:
        return make_refusal_headers(
            code_pb2.INTERNAL,
            "grpc-timeout is malformed; expected up to 8 digits and one of H, M, S, m, u, n",
        )
    error = _find_exhaustion(headers, exchange)
    if error is None:
        return None
    status = exchange.dispatcher.fail(exchange.routes[path].name, error)
    return make_status_headers(status)


def take_piece(call: Call, data: bytes, exchange: Exchange) -> bytes | bytearray | None:
    """Add a piece to a call's message; return the message when the caller has sent everything.

    A long compressed message is opened on another thread, and taken by the connection then.

    Parameters
    ----------
    call
        The call; its `half_closed` says whether this is the last piece.
    data
        The piece, any number of bytes.
    exchange
        Counts what is unfinished.

    Raises
    ------
    RefusalError
        The message is cut, or there are two, or it is compressed although its headers deny it.
    ExhaustedError
        It is too long, or too much is unfinished.
    InvalidFieldError
        Its compressed form is damaged.
    """
    if call.buffer is None:
        call.buffer = bytearray()
        call.begun_ns = exchange.clock.monotonic_ns()
    buffer = call.buffer
    buffer += data
    _count_unfinished(call, len(data), exchange)
    if len(buffer) < PREFIX_SIZE_BYTES:
        if not call.half_closed:
            return None
        if not buffer:
            raise _no_message()
        raise _cut()
    flag, size_bytes = PREFIX.unpack_from(buffer)
    if size_bytes > wire_limits.MESSAGE_SIZE_BYTES_MAX:
        raise too_long(size_bytes, wire_limits.MESSAGE_SIZE_BYTES_MAX)
    missing_bytes = PREFIX_SIZE_BYTES + size_bytes - len(buffer)
    if missing_bytes < 0:
        raise RefusalError(
            code_pb2.UNIMPLEMENTED, "the method takes exactly one message; the request has more"
        )
    if not call.half_closed:
        _check_unfinished(call, exchange)
        return None
    if missing_bytes:
        raise _cut()
    raw = memoryview(buffer)[PREFIX_SIZE_BYTES:]
    if not _is_compressed(flag, call.encoding):
        return bytes(raw)
    if size_bytes <= _OPENED_AT_ONCE_SIZE_BYTES_MAX:
        return decompress(raw, call.encoding, wire_limits.MESSAGE_SIZE_BYTES_MAX)
    call.work = exchange.loop.create_task(_open_apart(call, raw, exchange))
    return None


def take_messages(call: Call, data: bytes, exchange: Exchange) -> list[bytes]:
    """Add a piece to a request of many messages; return those that are complete now.

    Parameters and errors are those of `take_piece`.
    """
    if call.buffer is None:
        call.buffer = bytearray()
    call.begun_ns = exchange.clock.monotonic_ns()
    buffer = call.buffer
    buffer += data
    _count_unfinished(call, len(data), exchange)
    messages = []
    taken = 0
    while len(buffer) - taken >= PREFIX_SIZE_BYTES:
        flag, size_bytes = PREFIX.unpack_from(buffer, taken)
        if size_bytes > wire_limits.MESSAGE_SIZE_BYTES_MAX:
            raise too_long(size_bytes, wire_limits.MESSAGE_SIZE_BYTES_MAX)
        end = taken + PREFIX_SIZE_BYTES + size_bytes
        if len(buffer) < end:
            break
        raw = bytes(memoryview(buffer)[taken + PREFIX_SIZE_BYTES : end])
        if _is_compressed(flag, call.encoding):
            raw = bytes(decompress(raw, call.encoding, _OPENED_OF_MANY_SIZE_BYTES_MAX))
        messages.append(raw)
        taken = end
    del buffer[:taken]
    _count_unfinished(call, -taken, exchange)
    _check_unfinished(call, exchange)
    if call.half_closed and buffer:
        raise _cut()
    return messages


def check_arrival(call: Call, now_ns: int, exchange: Exchange) -> None:
    """End a call whose request takes too long to arrive; called about once a second."""
    if not call.begun_ns:
        call.begun_ns = now_ns
    if call.deadline_ns is not None:
        if call.deadline_ns <= now_ns:
            expire(call, exchange.dispatcher)
    elif now_ns - call.begun_ns >= wire_limits.REQUEST_ARRIVAL_NS_MAX:
        error = ExpiredError("the request took too long to arrive")
        status = exchange.dispatcher.fail(call.route.name, error)
        call.connection.refuse(call, make_status_headers(status))


def is_refused_unread(call: Call, waiting_bytes: int, message: bytes, exchange: Exchange) -> bool:
    """End a call whose reply does not fit behind those that the client has not read, if so."""
    if waiting_bytes + len(message) <= wire_limits.REPLIES_WAITING_SIZE_BYTES_MAX:
        return False
    error = ExhaustedError(
        f"{waiting_bytes:,} bytes of replies wait for this client to read them",
        reason="REPLIES_WAITING_EXHAUSTED",
    )
    status = exchange.dispatcher.fail(call.route.name, error)
    call.connection.refuse(call, make_status_headers(status))
    return True


def _explain_absence(path: bytes) -> str:
    """Say why there is no method of this path."""
    shown = path[:_SHOWN_PATH_SIZE_MAX].decode("ascii", "backslashreplace")
    try:
        found = descriptor_pool.Default().FindMethodByName(shown[1:].replace("/", "."))
    except KeyError:
        return f"there is no method '{shown}' here"
    if found.client_streaming:
        return (
            f"the method '{shown}' takes a stream of requests, which the fast front does not read;"
            " only the reference front can: serve with --transport grpcio"
        )
    return f"the method '{shown}' is known, but not served here"


async def _open_apart(call: Call, raw: memoryview, exchange: Exchange) -> None:
    """Decompress a call's message on a thread, and let the connection take it."""
    work = partial(decompress, raw, call.encoding, wire_limits.MESSAGE_SIZE_BYTES_MAX)
    answer = await exchange.dispatcher.run_apart(call.route.name, _OPENING_LANE, work)
    # The task ends by itself from here on: nobody has to cancel it.
    call.work = None
    if not call.open:
        return
    if isinstance(answer, status_pb2.Status):
        call.connection.refuse(call, make_status_headers(answer))
    else:
        call.connection.take_message(call, answer)


def _is_compressed(flag: int, encoding: bytes) -> bool:
    """Say whether a message is compressed; RefusalError when its prefix is not in order."""
    if flag == 0:
        return False
    if flag != 1:
        raise RefusalError(
            code_pb2.INTERNAL, f"the message's prefix begins with {flag}, not 0 or 1"
        )
    if not encoding or encoding == b"identity":
        raise RefusalError(
            code_pb2.INTERNAL, "the message is marked as compressed, but grpc-encoding names none"
        )
    return True


def _find_exhaustion(headers: tuple[Header, ...], exchange: Exchange) -> ExhaustedError | None:
    """Return the error of a request that comes on top of too much, or is too much itself."""
    size_bytes = sum(len(name) + len(value) + 32 for name, value in headers)
    if size_bytes > wire_limits.METADATA_SIZE_BYTES_MAX:
        return ExhaustedError(
            f"headers of {size_bytes:,} bytes (32 for each field included) are refused; the limit"
            f" is {wire_limits.METADATA_SIZE_BYTES_MAX:,} bytes",
            reason="METADATA_TOO_LONG",
        )
    if exchange.calls_count >= wire_limits.CALLS_IN_FLIGHT_MAX:
        return ExhaustedError(
            f"{exchange.calls_count} calls are being answered; retry later",
            reason="CALLS_IN_FLIGHT_EXHAUSTED",
        )
    return None


def _count_unfinished(call: Call, size_bytes: int, exchange: Exchange) -> None:
    """Count bytes that a call's buffer has more than before: whoever drops it takes all off."""
    exchange.unfinished_size_bytes += size_bytes
    call.connection.unfinished_size_bytes += size_bytes


def _check_unfinished(call: Call, exchange: Exchange) -> None:
    """Raise when there are more bytes of unfinished requests than memory is set aside for."""
    of_connection = call.connection.unfinished_size_bytes
    if (
        of_connection > wire_limits.REQUESTS_UNFINISHED_PER_CONNECTION_SIZE_BYTES_MAX
        or exchange.unfinished_size_bytes > wire_limits.REQUESTS_UNFINISHED_SIZE_BYTES_MAX
    ):
        raise ExhaustedError(
            f"{of_connection:,} bytes of unfinished requests have arrived on this connection and"
            f" {exchange.unfinished_size_bytes:,} on all; send large requests one after the other",
            reason="REQUESTS_UNFINISHED_EXHAUSTED",
        )


def _cut() -> RefusalError:
    return RefusalError(code_pb2.INTERNAL, "the request ended in the middle of its message")


def _no_message() -> RefusalError:
    return RefusalError(
        code_pb2.UNIMPLEMENTED, "the method takes exactly one message; the request has none"
    )
