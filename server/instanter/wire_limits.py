"""The limits of connections, calls and messages, each with its reason; all others: `limits`."""

from typing import Final

from instanter.limits import (
    CATALOGUE_FILE_SIZE_BYTES_MAX,
    CATALOGUE_SIZE_BYTES_MAX,
    FORWARDED_SIZE_BYTES_MAX,
)

MESSAGE_SIZE_BYTES_MAX: Final = 16 << 20
"""Bytes of one request message: a whole catalogue must fit."""

REPLY_SIZE_BYTES_MAX: Final = 64 << 20
"""Bytes of one response message: the longest is a catalogue or a large `BatchGetCustomers`."""

PAGE_SIZE_BYTES_MAX: Final = 3 << 20
"""Bytes of a page of customers: clients refuse more than 4 MiB unless told otherwise."""

CALLS_IN_FLIGHT_MAX: Final = 10_000
"""Calls of a process at the same time; more are refused with RESOURCE_EXHAUSTED."""

METADATA_SIZE_BYTES_MAX: Final = 16 << 10
"""Bytes of a request's headers."""

METADATA_SIZE_BYTES_HARD_MAX: Final = 64 << 10
"""Bytes of a request's headers above which its connection is closed: no mistake is that large."""

METADATA_FIELDS_MAX: Final = 256
"""Fields of a request's headers above which its connection is closed."""

REQUESTS_UNFINISHED_SIZE_BYTES_MAX: Final = 256 << 20
"""Bytes of requests that have not arrived whole, of all connections together."""

REQUESTS_UNFINISHED_PER_CONNECTION_SIZE_BYTES_MAX: Final = 32 << 20
"""The same of one connection: two of the longest messages at the same time."""

REQUEST_ARRIVAL_NS_MAX: Final = 60_000_000_000
"""Time that a request without a deadline may take to arrive whole."""

REPLIES_WAITING_SIZE_BYTES_MAX: Final = 64 << 20
"""Bytes that wait for a client who asks faster than it reads; further calls are refused."""

WRITE_BUFFER_SIZE_BYTES_MAX: Final = 1 << 20
"""Bytes for the socket of a connection above which the server stops reading from it."""

READER_STOPPED_NS_MAX: Final = 60_000_000_000
"""Time without progress of a client that has replies to read, after which it is disconnected."""

STREAM_WAITING_MAX: Final = 256
"""Responses of one stream that wait for a caller who reads slower than they are made."""

STREAM_WAITING_SIZE_BYTES_MAX: Final = 1 << 20
"""Bytes of these; one more response is taken below, however long."""

STREAM_AHEAD_SIZE_BYTES: Final = 64 << 10
"""Bytes of one stream that are made ready for the socket ahead of its reader: what a window of
HTTP/2 has by default."""

STREAMS_PER_CONNECTION_MAX: Final = 256
"""Calls at the same time on one connection."""

CONNECTIONS_MAX: Final = 10_000
"""Connections of a process; each costs about 30 kB. Where it may have fewer file descriptors, it
takes fewer connections (`descriptors`)."""

STREAM_WINDOW_SIZE_BYTES: Final = 1 << 20
"""Bytes of one request that may be on the way: 10 ms of a 1 Gbit/s line."""

CONNECTION_WINDOW_SIZE_BYTES: Final = 4 << 20
"""The same of all requests of a connection together."""

RESETS_PER_SECOND_MAX: Final = 200
"""Calls a second that one connection may cancel for long: a client that cancels more than it lets
finish costs work and gets nothing from it."""

RESETS_BURST_MAX: Final = 512
"""Calls that it may cancel at once, when a client of its own goes away for example: twice as many
as it can have at the same time."""

CONTROL_FRAMES_PER_SECOND_MAX: Final = 2_000
"""Frames that carry no call (settings, pings, windows, priorities) a second beside those that its
calls explain: each costs about 0.5 µs and brings nobody anything."""

HANDSHAKE_NS_MAX: Final = 10_000_000_000
"""Time a new connection has to become a working one."""

CONNECTION_IDLE_NS_MAX: Final = 900_000_000_000
"""Time without calls after which a connection is closed."""

CONNECTION_AGE_NS_MAX: Final = 3_600_000_000_000
"""Age at which a connection is asked to move, give or take a tenth: clients spread over workers."""

CONNECTION_AGE_GRACE_NS_MAX: Final = 60_000_000_000
"""Time that its calls then have to end, on the reference front, which cannot ask streams to."""

KEEPALIVE_NS: Final = 60_000_000_000
"""Silence on a connection after which the server asks whether the client is still there."""

KEEPALIVE_ANSWER_NS_MAX: Final = 20_000_000_000
"""Time that the client has to answer that."""

CERTIFICATE_END_TOLD_NS: Final = 14 * 86_400_000_000_000
"""Time before the end of a certificate from which it is told: what is renewed by itself, as a rule
30 days before, has been by then."""

PING_INTERVAL_NS_MIN: Final = 10_000_000_000
"""Time between two pings that a client without calls may send."""

PING_STRIKES_MAX: Final = 3
"""Pings sent too early after which the connection is closed."""

assert CATALOGUE_FILE_SIZE_BYTES_MAX <= CATALOGUE_SIZE_BYTES_MAX < MESSAGE_SIZE_BYTES_MAX
assert PAGE_SIZE_BYTES_MAX < 4 << 20, "grpcio's clients refuse longer messages by default"
assert METADATA_SIZE_BYTES_MAX < METADATA_SIZE_BYTES_HARD_MAX
assert MESSAGE_SIZE_BYTES_MAX < REQUESTS_UNFINISHED_PER_CONNECTION_SIZE_BYTES_MAX
assert REQUESTS_UNFINISHED_PER_CONNECTION_SIZE_BYTES_MAX < REQUESTS_UNFINISHED_SIZE_BYTES_MAX
assert REPLY_SIZE_BYTES_MAX <= REPLIES_WAITING_SIZE_BYTES_MAX, "the longest reply must fit"
assert STREAM_AHEAD_SIZE_BYTES * STREAMS_PER_CONNECTION_MAX < REPLIES_WAITING_SIZE_BYTES_MAX, (
    "streams leave room for replies"
)
assert STREAMS_PER_CONNECTION_MAX <= RESETS_BURST_MAX, "a client may cancel all that it has"
assert KEEPALIVE_ANSWER_NS_MAX < KEEPALIVE_NS < CONNECTION_IDLE_NS_MAX < CONNECTION_AGE_NS_MAX
assert MESSAGE_SIZE_BYTES_MAX < FORWARDED_SIZE_BYTES_MAX, "the longest request can be forwarded"
