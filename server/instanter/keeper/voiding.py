"""Takes a record back that is in the log and could not be applied."""

from dataclasses import dataclass

from instanter.keeper.commands import ApplyContext, pack_body, unpack_body
from instanter.keeper.records import RecordKind
from instanter.store.log.frames import LogRecord
from instanter.store.transaction import Transaction


@dataclass(frozen=True, slots=True)
class VoidRecord:
    """Says that a record has no effect: neither now nor when the log is replayed.

    Attributes
    ----------
    sequence
        The record's.
    """

    sequence: int

    @property
    def kind(self) -> RecordKind:
        """Kind of its record."""
        return RecordKind.VOID

    def prepare(self, transaction: Transaction, now_ns: int, context: ApplyContext) -> bytes:
        """Return the body of its record."""
        del transaction, now_ns, context
        return pack_body({"sequence": self.sequence})


def apply_void(transaction: Transaction, record: LogRecord, context: ApplyContext) -> None:
    """Do nothing: whoever replays a log leaves the voided record out."""
    del transaction, record, context


def read_voided(record: LogRecord) -> int:
    """Return the sequence of the record that a VOID record takes back."""
    return int(unpack_body(record)["sequence"])
