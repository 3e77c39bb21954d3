"""Looks at every byte of a store that matters, because LMDB does not.

LMDB has no checksums. Reading finds a damaged value by its own checksum, but a damaged key or
tree can also make a record invisible: its customer is then unknown. A walk through everything
finds that too: keys out of order, records that a search does not lead to, counts that differ.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import google_crc32c

from instanter.errors import InstanterError
from instanter.store.databases import META_KEY_FORMAT, Check, Database
from instanter.store.records import MARKER, RESIDUE
from instanter.store.transaction import Readable

DAMAGES_KEPT: Final = 100
"""Damages reported of one database: more of them are not read by anyone; all are counted."""


@dataclass(frozen=True, slots=True)
class Damage:
    """One thing that is not as it was written.

    Attributes
    ----------
    key
        The key it concerns, empty when the tree itself is broken.
    message
        What is wrong.
    """

    key: bytes
    message: str


@dataclass(frozen=True, slots=True)
class DatabaseReport:
    """What was found in one database of one layer.

    Attributes
    ----------
    layer
        `base` or `overlay`.
    name
        Name of the database.
    entry_count
        Entries that were reached and checked.
    damage_count
        How many of them are damaged, breaks of the tree included.
    damages
        The first of them, at most `DAMAGES_KEPT`.
    """

    layer: str
    name: str
    entry_count: int
    damage_count: int
    damages: tuple[Damage, ...]


@dataclass(frozen=True, slots=True)
class StoreReport:
    """What was found in a store.

    Attributes
    ----------
    databases
        One report for each database of each layer.
    """

    databases: tuple[DatabaseReport, ...]

    @property
    def is_sound(self) -> bool:
        """Whether nothing is damaged."""
        return not any(report.damage_count for report in self.databases)


def verify_database(layer: Readable, name: str, database: Database) -> DatabaseReport:
    """Check all entries of one database of one layer.

    It reads in one transaction, which keeps the pages of that moment; beside a server that writes
    much the store grows meanwhile.

    Parameters
    ----------
    layer
        The environment of one layer.
    name
        What the report calls it.
    database
        Which one.
    """
    damages: list[Damage] = []
    entry_count = 0
    try:
        with layer.read() as transaction:
            before = b""
            is_right = _CHECKS[database.check]
            for key, value in transaction.scan(database):
                entry_count += 1
                if key <= before:
                    damages.append(Damage(key, "it stands in the wrong place"))
                before = key
                # An empty value in the overlay says that the key is deleted.
                if not (is_right(key, bytes(value)) or (name == "overlay" and not len(value))):
                    damages.append(Damage(key, "its value is damaged"))
                elif transaction.get(database, key) != value:
                    damages.append(Damage(key, "a search does not lead to it"))
            counted = transaction.count(database)
        if counted != entry_count:
            damages.append(Damage(b"", f"{counted} entries are counted, {entry_count} are there"))
    except InstanterError as error:
        damages.append(Damage(b"", error.message))
    return DatabaseReport(
        name, database.name, entry_count, len(damages), tuple(damages[:DAMAGES_KEPT])
    )


def _is_bound(key: bytes, value: bytes) -> bool:
    return bool(google_crc32c.value(key + value) == RESIDUE)


def _is_bound_to_customer(key: bytes, value: bytes) -> bool:
    # The checksum knows the customer, not the revision: that is in the record itself.
    revision = value[16:24] == key[:-9:-1]
    return revision and bool(google_crc32c.value(key[:-8] + value) == RESIDUE)


def _is_marker(_: bytes, value: bytes) -> bool:
    return value == MARKER


def _is_meta(key: bytes, value: bytes) -> bool:
    return len(value) == 8 if key == META_KEY_FORMAT else _is_bound(key, value)


_CHECKS: dict[Check, Callable[[bytes, bytes], bool]] = {
    Check.BY_KEY: _is_bound,
    Check.BY_CUSTOMER_KEY: _is_bound_to_customer,
    Check.MARKER: _is_marker,
    Check.META: _is_meta,
}
