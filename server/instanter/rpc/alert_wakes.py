"""How workers learn that there are new alerts to tell: the keeper says so over its socket.

A message holds up to where the log is on disk, the sequence of a record, uint64, little-endian.
Each worker gets one when it connects, so that a worker whose keeper was replaced goes on by itself;
then one whenever transitions of alerts have reached the disk.
"""

import struct
from collections.abc import Callable
from typing import Final

from instanter.errors import DamagedError
from instanter.store.stock_alert_log import load_extent, load_transition
from instanter.store.transaction import Readable

ALERTS_TOPIC: Final = "alerts"
"""What workers are told of."""

_SEQUENCE: Final = struct.Struct("<Q")


class AlertWaker:
    """Wakes the workers of a keeper, and only when there is something to tell.

    Parameters
    ----------
    store
        The store that is read.
    tell
        Tells all workers.
    """

    __slots__ = ("_store", "_synced_sequence", "_tell", "_told_sequence")

    def __init__(self, store: Readable, tell: Callable[[bytes], None]) -> None:
        self._store = store
        self._tell = tell
        self._synced_sequence = 0
        self._told_sequence = 0

    def note_synced(self, sequence: int) -> None:
        """Take up to where the log is on disk. Costs 5 µs when there is nothing to tell."""
        self._synced_sequence = sequence
        if self._find_newest_record() > self._told_sequence:
            self._told_sequence = sequence
            self._tell(self.describe())

    def describe(self) -> bytes:
        """Return the message of now."""
        return _SEQUENCE.pack(self._synced_sequence)

    def _find_newest_record(self) -> int:
        """Return the record of the newest transition, on disk or not yet; 0 for none."""
        with self._store.read() as transaction:
            extent = load_extent(transaction)
            if extent.last < extent.first:
                return 0
            try:
                return load_transition(transaction, extent.last).record_sequence
            except DamagedError:
                # Nobody knows: whoever is woken for nothing goes to sleep again.
                return self._synced_sequence


def read_wake(body: bytes) -> int:
    """Return up to where the log is on disk, as a message says."""
    (sequence,) = _SEQUENCE.unpack(body)
    return int(sequence)
