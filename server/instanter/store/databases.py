"""The catalogue of the store: every named database with its keys, values, owner and since-version.

All integers are little-endian unless said otherwise; those in keys are big-endian, so that LMDB
keeps them in their order. Keys and values are multiples of 8 bytes long, so that what LMDB lays
out in a page stays aligned. A value is never empty: that is how the overlay says "deleted".

*Sealed* values carry a CRC-32C bound to their key, see `records.seal`. The key forms name these
parts: a *customer key* is the id in UTF-8, padded with NUL to a multiple of 8 bytes; a *decision*
is the decision's id as 16 bytes (prefix 8, turn 6, row 2, big-endian); an *hour* is hours since
1970 as uint64; a *name* is ASCII or UTF-8, padded with NUL to a multiple of 8 bytes; an *entity*
is its kind, one byte, and its name in UTF-8, together padded likewise; a *listed entry* is its list
and the list's generation, uint32 each, then the entry as a name; a *site* is a name with at least
one NUL, and a *position* is a site, then its unit as a name.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

STORE_FORMAT: Final = 5
"""Format of the store as a whole. A store written by a newer one is refused, never guessed at;
one written by an older one is upgraded when it is opened for writing."""


DATA_FILE_NAME: Final = "data.mdb"
"""The file of a layer that holds all databases; LMDB's name for it."""

READERS_FILE_NAME: Final = "lock.mdb"
"""The file with the table of a layer's readers; LMDB's name for it."""


class Check(IntEnum):
    """How a value shows that its bytes are those that were written.

    `BY_KEY`: it ends with a CRC-32C over its key and itself. `BY_CUSTOMER_KEY`: the same, but over
    the key without its last 8 bytes (a record that was moved with its checksum). `MARKER`: it is
    `records.MARKER`. `META`: by key, the format excepted, which programs of format 1 read too.
    """

    BY_KEY = 1
    BY_CUSTOMER_KEY = 2
    MARKER = 3
    META = 4


@dataclass(frozen=True, slots=True)
class Database:
    """One named database of the store.

    Attributes
    ----------
    index
        Its place in `DATABASES`: what transactions find its handle by.
    name
        Its name in LMDB.
    key_form, value_form
        What the bytes mean.
    check
        How its values are checked.
    owner
        The module that alone reads and writes it.
    since_format
        The first store format that has it.
    is_held
        Whether only the process that writes reads it, by single keys: its fresh rows are held in
        that one's memory, see `store/held_rows`, and never in the overlay.
    """

    index: int
    name: str
    key_form: str
    value_form: str
    check: Check
    owner: str
    since_format: int
    is_held: bool = False


PROFILES: Final = Database(
    index=0,
    name="profiles",
    key_form="customer key",
    value_form="profile record of store/records: 48-byte header, uint32 slots, 32-byte tail",
    check=Check.BY_KEY,
    owner="store/profiles",
    since_format=1,
)
META: Final = Database(
    index=1,
    name="meta",
    key_form="name in ASCII, padded with NUL to 16 bytes",
    value_form="`format`: uint64, the store format; all others sealed",
    check=Check.META,
    owner="store/environment, store/state",
    since_format=1,
)
PUBLICATIONS: Final = Database(
    index=2,
    name="publications",
    key_form="kind in ASCII, padded with NUL to 16 bytes, then the revision, uint64",
    value_form="32-byte header, body, NUL to a multiple of 8, 8-byte tail with CRC-32C",
    check=Check.BY_KEY,
    owner="store/publications",
    since_format=1,
)
ACTIVITY: Final = Database(
    index=3,
    name="activity",
    key_form="customer key",
    value_form="activity record of store/activity: header, table of sections, payloads, tail",
    check=Check.BY_KEY,
    owner="store/activity",
    since_format=2,
)
PROFILE_HISTORY: Final = Database(
    index=4,
    name="profile_history",
    key_form="customer key, then the profile's revision, uint64",
    value_form="the profile record as it stood in `profiles`, its checksum over the customer key",
    check=Check.BY_CUSTOMER_KEY,
    owner="store/history",
    since_format=2,
)
HISTORY_EXPIRY: Final = Database(
    index=5,
    name="history_expiry",
    key_form="hour from which on it may go, then the key in `profile_history`",
    value_form="marker",
    check=Check.MARKER,
    owner="store/history",
    since_format=2,
)
EVENT_IDS: Final = Database(
    index=6,
    name="event_ids",
    key_form="16-byte hash of the event id",
    value_form="sealed: 16-byte digest of what the event came with",
    check=Check.BY_KEY,
    owner="store/event_ids",
    since_format=2,
    is_held=True,
)
EVENT_ID_EXPIRY: Final = Database(
    index=7,
    name="event_id_expiry",
    key_form="hour from which on they may go, then the sequence of their record, uint64",
    value_form="sealed: keys in `event_ids`, one after the other",
    check=Check.BY_KEY,
    owner="store/event_ids",
    since_format=2,
)
DECISIONS: Final = Database(
    index=8,
    name="decisions",
    key_form="decision prefix, 8 bytes, then the turn, uint64",
    value_form="sealed: sequence, segment and offset of its record in the log, uint64 each",
    check=Check.BY_KEY,
    owner="store/decision_index",
    since_format=2,
)
DECISION_NAMES: Final = Database(
    index=9,
    name="decision_names",
    key_form="16-byte id that was given to a decision with a request id",
    value_form="sealed: prefix, turn and row of each try, the latest first; hour from which on it "
    "may go",
    check=Check.BY_KEY,
    owner="store/decision_index",
    since_format=2,
)
DECISION_EXPIRY: Final = Database(
    index=10,
    name="decision_expiry",
    key_form="hour from which on it may go, index of the database, uint64, then the key there",
    value_form="marker",
    check=Check.MARKER,
    owner="store/decision_index",
    since_format=2,
)
OUTCOME_MARKS: Final = Database(
    index=11,
    name="outcome_marks",
    key_form="decision, then the offer's name",
    value_form="sealed: which kinds of outcome were recorded",
    check=Check.BY_KEY,
    owner="store/outcomes",
    since_format=2,
)
PENDING: Final = Database(
    index=12,
    name="pending",
    key_form="time at which the wait ends, nanoseconds since 1970, uint64, decision, offer's name",
    value_form="sealed: segment and offset of its record in the log, uint64 each, the entry there, "
    "uint32, int64 time of the presentation, then customer, channel and group with NUL between",
    check=Check.BY_KEY,
    owner="store/outcomes",
    since_format=2,
)
ARM_FIGURES: Final = Database(
    index=13,
    name="arm_figures",
    key_form="day since 1970 and arm, uint32 each, then the offer's name",
    value_form="sealed: decisions, presented, accepted, sum of values, sum of their squares",
    check=Check.BY_KEY,
    owner="store/arm_figures",
    since_format=2,
)
MODEL_STATES: Final = Database(
    index=14,
    name="model_states",
    key_form="the offer's name",
    value_form="sealed: the packed state of its learner",
    check=Check.BY_KEY,
    owner="store/model_states",
    since_format=2,
)

FRAUD_STATES: Final = Database(
    index=15,
    name="fraud_states",
    key_form="entity",
    value_form="sealed: sizes of its four sections, uint32 each, then the sections",
    check=Check.BY_KEY,
    owner="store/fraud_states",
    since_format=3,
    is_held=True,
)
FRAUD_MODELS: Final = Database(
    index=16,
    name="fraud_models",
    key_form="eight NUL: there is one",
    value_form="sealed: 16-byte digest, the model's id, uint64, its state",
    check=Check.BY_KEY,
    owner="store/fraud_models",
    since_format=3,
)
FRAUD_RULES: Final = Database(
    index=17,
    name="fraud_rules",
    key_form="the rule's name; without one, the figures of all assessments",
    value_form="sealed: what the guard has counted",
    check=Check.BY_KEY,
    owner="store/fraud_rules",
    since_format=3,
)
HOTLISTS: Final = Database(
    index=18,
    name="hotlists",
    key_form="listed entry; under lists 0 and 0xffffffff what concerns whole lists",
    value_form="sealed: created and expires, int64 each, then reason, NUL, source",
    check=Check.BY_KEY,
    owner="store/hotlists",
    since_format=3,
)
HOTLIST_EXPIRY: Final = Database(
    index=19,
    name="hotlist_expiry",
    key_form="hour from which on it may go, then the listed entry",
    value_form="marker",
    check=Check.MARKER,
    owner="store/hotlists",
    since_format=3,
)
TRANSACTIONS: Final = Database(
    index=20,
    name="transactions",
    key_form="16-byte hash of the transaction id",
    value_form="sealed: digest of the request, what became of it, the verdict and what it counted",
    check=Check.BY_KEY,
    owner="store/transactions",
    since_format=3,
    is_held=True,
)
TRANSACTION_EXPIRY: Final = Database(
    index=21,
    name="transaction_expiry",
    key_form="hour from which on they may go, then the sequence of their records over 64, uint64",
    value_form="sealed: key in `transactions` and in `cases`, or 0, one pair after the other",
    check=Check.BY_KEY,
    owner="store/transactions",
    since_format=3,
)
CASES: Final = Database(
    index=22,
    name="cases",
    key_form="number of the case, uint64: the sequence of its assessment's record",
    value_form="sealed: the case, packed",
    check=Check.BY_KEY,
    owner="store/cases",
    since_format=3,
)

STOCK_POSITIONS: Final = Database(
    index=23,
    name="stock_positions",
    key_form="position",
    value_form="sealed: head of store/stock_positions, four int64, then the state of stock/",
    check=Check.BY_KEY,
    owner="store/stock_positions",
    since_format=4,
)
STOCK_PROFILES: Final = Database(
    index=24,
    name="stock_profiles",
    key_form="site",
    value_form="sealed: when it sells, the state of stock/",
    check=Check.BY_KEY,
    owner="store/stock_positions",
    since_format=4,
)
STOCK_ALERTS: Final = Database(
    index=25,
    name="stock_alerts",
    key_form="number of the alert, uint64: the sequence of its first transition",
    value_form="sealed: the open alert, packed",
    check=Check.BY_KEY,
    owner="store/stock_alerts",
    since_format=4,
)
STOCK_ALERT_LOG: Final = Database(
    index=26,
    name="stock_alert_log",
    key_form="sequence of a transition, uint64, from 1; under 0 first and last of them",
    value_form="sealed: sequence of its record, uint64, then the transition, packed",
    check=Check.BY_KEY,
    owner="store/stock_alert_log",
    since_format=4,
)
STOCK_DUE: Final = Database(
    index=27,
    name="stock_due",
    key_form="time from which on to look, milliseconds since 1970, uint64, then the position",
    value_form="marker",
    check=Check.MARKER,
    owner="store/stock_positions",
    since_format=4,
)
STOCK_SHELVES: Final = Database(
    index=28,
    name="stock_shelves",
    key_form="site",
    value_form="sealed: what of its stocked units is available, and for how many days",
    check=Check.BY_KEY,
    owner="store/stock_shelves",
    since_format=4,
)

DATABASES: Final = (
    PROFILES,
    META,
    PUBLICATIONS,
    ACTIVITY,
    PROFILE_HISTORY,
    HISTORY_EXPIRY,
    EVENT_IDS,
    EVENT_ID_EXPIRY,
    DECISIONS,
    DECISION_NAMES,
    DECISION_EXPIRY,
    OUTCOME_MARKS,
    PENDING,
    ARM_FIGURES,
    MODEL_STATES,
    FRAUD_STATES,
    FRAUD_MODELS,
    FRAUD_RULES,
    HOTLISTS,
    HOTLIST_EXPIRY,
    TRANSACTIONS,
    TRANSACTION_EXPIRY,
    CASES,
    STOCK_POSITIONS,
    STOCK_PROFILES,
    STOCK_ALERTS,
    STOCK_ALERT_LOG,
    STOCK_DUE,
    STOCK_SHELVES,
)
"""All of them. A name or a form never changes its meaning; a new one gets a new name."""


def meta_key(name: str) -> bytes:
    """Return the key of a name in `meta`."""
    return name.encode("ascii").ljust(16, b"\0")


META_KEY_FORMAT: Final = meta_key("format")
"""Key of the store format in `meta`."""

META_KEY_FOLDED: Final = meta_key("folded")
"""Base only: sequence of the last record of the log that the base holds the effect of."""

META_KEY_APPLIED: Final = meta_key("applied")
"""Overlay only: sequence of the last record that was applied to it."""

META_KEY_BOOT: Final = meta_key("boot")
"""Overlay only: which start of the operating system it was made in."""

META_KEY_EVENT_IDS_EXPIRED: Final = meta_key("event_ids_gone")
META_KEY_HISTORY_EXPIRED: Final = meta_key("history-dropped")
META_KEY_DECISIONS_EXPIRED: Final = meta_key("decisions_gone")
META_KEY_HOTLISTS_EXPIRED: Final = meta_key("hotlists_gone")
META_KEY_TRANSACTIONS_EXPIRED: Final = meta_key("transacts_gone")
"""Keys of how far each queue of expiry was acted upon, sealed: the last entry that was, or the hour
before which all is done."""

META_KEY_SECRET: Final = meta_key("secret")
"""Base only: what the store signs with, sealed, see `store/secret`."""

META_KEY_LEARNED: Final = meta_key("learned")
"""Base only: up to which record of the log, and on top of which models, learners have learned."""

LAYER_META_KEYS: Final = frozenset(
    {
        META_KEY_FORMAT,
        META_KEY_FOLDED,
        META_KEY_APPLIED,
        META_KEY_BOOT,
        META_KEY_LEARNED,
        META_KEY_SECRET,
    }
)
"""Keys of `meta` that say something about one layer; a fold leaves them where they are."""

assert [database.index for database in DATABASES] == list(range(len(DATABASES)))
assert len({database.name for database in DATABASES}) == len(DATABASES)
assert all(database.since_format <= STORE_FORMAT for database in DATABASES)
