"""All limits of the server, each with its reason; their relations are asserted at the end.

A limit is named most significant word first, unit last. Whoever needs a bound takes it from here,
so that an operator can read in one place what the server will refuse.
"""

from typing import Final

# --- Profiles -----------------------------------------------------------------------------------

PROFILE_SLOTS_PAGE: Final = 1_000
"""Slots that fit one 4096-byte LMDB page with header and tail; more cost a second page."""

PROFILE_SLOTS_MAX: Final = 2_000
"""Slots of a profile, retired ones included: bounds the record (8,080 bytes) and a decision."""

CONTEXT_SLOTS_MAX: Final = 100
"""Context attributes of a schema: each costs a slot in every request's context row."""

CUSTOMER_ID_SIZE_BYTES_MAX: Final = 256
"""UTF-8 bytes of a customer id: far above any real key, far below LMDB's 511-byte keys."""

CATEGORY_VALUES_MAX: Final = 4_096
"""Declared values of one category, retired ones included: bounds dictionaries and error texts."""

CATEGORY_VALUE_SIZE_BYTES_MAX: Final = 256
"""UTF-8 bytes of one category value."""

NAME_SIZE_MAX: Final = 100
"""Characters of an attribute, offer, channel, placement, issue, group or treatment name."""

# --- Catalogue ----------------------------------------------------------------------------------

OFFERS_MAX: Final = 2_000
"""Offers of a catalogue, expired ones included: a decision scores all of them."""

CHANNELS_MAX: Final = 32
"""Channels of a catalogue."""

SURFACES_MAX: Final = 256
"""Pairs of channel and placement: each holds one row of treatments over all offers."""

RULE_SIZE_BYTES_MAX: Final = 16_384
"""UTF-8 bytes of one CEL rule: a rule that long is generated, and belongs into an attribute."""

RULE_DEPTH_MAX: Final = 32
"""Nesting of one rule: keeps the parser's and the compiler's recursion shallow."""

PROGRAM_PREDICATES_MAX: Final = 60_000
"""Distinct comparisons of all rules together: bounds the time of one decision's rules."""

PROGRAM_EDGES_MAX: Final = 200_000
"""Operands of all `&&`, `||` and `!` together: bounds the time of one decision's rules."""

CATALOGUE_FILES_MAX: Final = 1_000
"""Files of one publication."""

CATALOGUE_FILE_SIZE_BYTES_MAX: Final = 4 << 20
"""Bytes of one catalogue file: 1000 attributes take about 200 kB."""

CATALOGUE_SIZE_BYTES_MAX: Final = 12 << 20
"""Bytes of all catalogue files together; below the message limit, so that a clear error comes."""

# --- Decisions ----------------------------------------------------------------------------------

OFFER_COUNT_MAX: Final = 100
"""Offers of one decision."""

BATCH_REQUESTS_MAX: Final = 1_000
"""Decisions, or customers read, in one batch call: bounds the time others wait for it."""

BATCH_TURN_MAX: Final = 64
"""Requests that one turn of the event loop decides together: 64 × 50 µs is about 3 ms."""

REQUEST_ID_SIZE_MAX: Final = 64
"""Characters of a request id: a UUID has 36."""

PAGE_SIZE_DEFAULT: Final = 100
"""Customers of a page when the request does not say."""

PAGE_SIZE_MAX: Final = 1_000
"""Customers of a page."""

# --- Propensity models --------------------------------------------------------------------------

PREDICTOR_BINS_MAX: Final = 64
"""Bins of one predictor, the missing bin included."""

# --- The wire -----------------------------------------------------------------------------------

MESSAGE_SIZE_BYTES_MAX: Final = 16 << 20
"""Bytes of one request message: a whole catalogue must fit."""

METADATA_SIZE_BYTES_MAX: Final = 16 << 10
"""Bytes of a request's headers."""

STREAMS_PER_CONNECTION_MAX: Final = 256
"""Calls at the same time on one connection."""

HANDSHAKE_NS_MAX: Final = 10_000_000_000
"""Time a new connection has to become a working one."""

CONNECTION_IDLE_NS_MAX: Final = 900_000_000_000
"""Time without calls after which a connection is closed."""

WRITES_WAITING_MAX: Final = 4_096
"""Writes that may wait for the disk; more are refused with RESOURCE_EXHAUSTED."""

DRAIN_NS_MAX: Final = 5_000_000_000
"""Time that calls in flight have to finish when the server stops."""

# --- The store ----------------------------------------------------------------------------------

STORE_MAP_SIZE_BYTES_INITIAL: Final = 1 << 30
"""Address space of a new store; it doubles when it is full."""

STORE_READERS_MAX: Final = 126
"""Slots of LMDB's reader table: one a thread that reads."""

REVISION_POLL_NS: Final = 100_000_000
"""How often a process looks for a new catalogue or model: a tenth of the promised second."""

assert PROFILE_SLOTS_PAGE <= PROFILE_SLOTS_MAX
assert CUSTOMER_ID_SIZE_BYTES_MAX + 8 <= 511, "a padded key must fit LMDB's key size"
assert CATALOGUE_FILE_SIZE_BYTES_MAX <= CATALOGUE_SIZE_BYTES_MAX < MESSAGE_SIZE_BYTES_MAX
assert OFFER_COUNT_MAX <= OFFERS_MAX
assert BATCH_TURN_MAX <= BATCH_REQUESTS_MAX
assert REVISION_POLL_NS * 5 < 1_000_000_000, "a new revision is promised within one second"
assert PAGE_SIZE_DEFAULT <= PAGE_SIZE_MAX
