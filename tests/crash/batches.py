"""Batches of customers that are there whole or not at all, and how they are written and read.

Processes that are killed or hurt import this alone: a server's imports would take each of them
two seconds of a core.
"""

import numpy as np

from instanter import limits
from instanter.store import profiles, records
from instanter.store.environment import Environment

BATCH_ROWS = 20


def put_batch(environment: Environment, batch: int) -> None:
    """Write one batch: customers that all hold the batch's number in all slots."""
    keys = [records.key_of(f"{batch:06d}-{row:03d}") for row in range(BATCH_ROWS)]
    slots = np.full((BATCH_ROWS, 1000), batch, np.uint32)
    environment.write(lambda t: profiles.put_block(t, keys, slots, schema_revision=1, now_ms=1))


def whole_batches(environment: Environment) -> set[int]:
    """Return the batches that are there, after checking each for being whole and undamaged."""
    with environment.read() as transaction:
        listed = profiles.list_profiles(transaction, b"", limits.LIST_ROWS_MAX, 1000)
    rows_of_batch: dict[int, int] = {}
    for row in listed:
        assert row.profile is not None, f"{row.customer_id} is damaged"
        batch = int(row.customer_id.split("-")[0])
        assert (row.profile.slots == batch).all()
        rows_of_batch[batch] = rows_of_batch.get(batch, 0) + 1
    assert set(rows_of_batch.values()) <= {BATCH_ROWS}, "a batch is there in part"
    return set(rows_of_batch)
