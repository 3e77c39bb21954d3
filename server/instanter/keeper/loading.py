"""Blocks of a bulk load: many profiles in one record."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from instanter.errors import ConflictError
from instanter.keeper.commands import ApplyContext, pack_body, unpack_body
from instanter.keeper.profile_history import drop_old_profiles, keep_until_s
from instanter.keeper.records import RecordKind
from instanter.store.log.frames import LogRecord
from instanter.store.profiles import BlockResult, put_block
from instanter.store.transaction import Transaction

_MS_NS: Final = 1_000_000


@dataclass(frozen=True, slots=True, eq=False)
class LoadBlock:
    """Writes many profiles at once.

    Attributes
    ----------
    keys
        n keys, all different.
    slots
        uint32[n, S], missing is all bits set; read-only.
    slot_mask
        bool[S]: the slots to write, the others keep what they hold; None for all.
    schema_revision
        The schema that the slots are of.
    """

    keys: Sequence[bytes]
    slots: NDArray[np.uint32]
    slot_mask: NDArray[np.bool_] | None
    schema_revision: int

    @property
    def kind(self) -> RecordKind:
        """Kind of its record."""
        return RecordKind.LOAD_BLOCK

    def prepare(self, transaction: Transaction, now_ns: int, context: ApplyContext) -> bytes:
        """Check the schema, and return the body of its record.

        Raises
        ------
        ConflictError
            Another catalogue has been published since the file's columns were looked up.
        """
        del now_ns
        revision = context.published.load_schema(transaction).revision
        if revision != self.schema_revision:
            raise ConflictError(
                f"the schema has changed from revision {self.schema_revision} to {revision} while "
                "the file was loaded; load it again",
                metadata={"current": str(revision), "expected": str(self.schema_revision)},
            )
        mask = None if self.slot_mask is None else self.slot_mask.tobytes()
        return pack_body(
            {
                "keys": list(self.keys),
                "slots": self.slots.astype("<u4", copy=False).tobytes(),
                "mask": mask,
            }
        )


def apply_load_block(
    transaction: Transaction, record: LogRecord, context: ApplyContext
) -> BlockResult:
    """Write a block of profiles."""
    body = unpack_body(record)
    keys = body["keys"]
    schema = context.published.load_schema(transaction)
    slots = np.frombuffer(body["slots"], "<u4").reshape(len(keys), -1)
    mask = None if body["mask"] is None else np.frombuffer(body["mask"], np.bool_)
    if schema.revision:
        stored = schema.stored_slot_count
        slots = np.ascontiguousarray(slots[:, :stored])
        mask = None if mask is None else mask[:stored]
    result = put_block(
        transaction,
        keys,
        slots,
        schema_revision=schema.revision,
        now_ms=record.time_ns // _MS_NS,
        slot_mask=mask,
        keep_until_s=keep_until_s(record),
    )
    drop_old_profiles(transaction, record, len(keys))
    return result
