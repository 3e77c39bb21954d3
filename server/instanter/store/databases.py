"""The catalogue of the store: every named database with its keys, values, owner and since-version.

All integers are little-endian unless said otherwise. Keys and values are multiples of 8 bytes
long, so that what LMDB lays out in a page stays aligned.
"""

from dataclasses import dataclass
from typing import Final

STORE_FORMAT: Final = 1
"""Format of the store as a whole. A store written by a newer one is refused, never guessed at."""


@dataclass(frozen=True, slots=True)
class Database:
    """One named database of the store.

    Attributes
    ----------
    name
        Its name in LMDB.
    key_form, value_form
        What the bytes mean.
    owner
        The module that alone reads and writes it.
    since_format
        The first store format that has it.
    """

    name: str
    key_form: str
    value_form: str
    owner: str
    since_format: int


META: Final = Database(
    name="meta",
    key_form="name in ASCII, padded with NUL to 16 bytes",
    value_form="uint64; `format` is the store format",
    owner="store/environment",
    since_format=1,
)
PROFILES: Final = Database(
    name="profiles",
    key_form="customer id in UTF-8, padded with NUL to a multiple of 8 bytes",
    value_form="profile record of store/records: 48-byte header, uint32 slots, 32-byte tail",
    owner="store/profiles",
    since_format=1,
)
PUBLICATIONS: Final = Database(
    name="publications",
    key_form="kind in ASCII, padded with NUL to 16 bytes, then the revision, uint64 big-endian",
    value_form="32-byte header, body, NUL to a multiple of 8, 8-byte tail with CRC-32C",
    owner="store/publications",
    since_format=1,
)

DATABASES: Final = (META, PROFILES, PUBLICATIONS)
"""All of them. A name or a form never changes its meaning; a new one gets a new name."""

META_KEY_FORMAT: Final = b"format".ljust(16, b"\0")
"""Key of the store format in `meta`."""

assert len({database.name for database in DATABASES}) == len(DATABASES)
assert all(database.since_format <= STORE_FORMAT for database in DATABASES)
