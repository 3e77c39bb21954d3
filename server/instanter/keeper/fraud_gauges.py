"""What the metrics show of hotlists and rules as they are now."""

from instanter.errors import DamagedError
from instanter.metrics import Metrics
from instanter.store.fraud_rules import find_paused, read_paused
from instanter.store.hotlists import load_heads
from instanter.store.transaction import Transaction


def measure_fraud(transaction: Transaction, metrics: Metrics) -> None:
    """Write the sizes of the hotlists and the number of paused rules into the metrics.

    Parameters
    ----------
    transaction
        An open read transaction.
    metrics
        Those of the keeper's process: whoever adds up counts them once.
    """
    try:
        for kind, head in load_heads(transaction).items():
            metrics.hotlist_entry_counts[kind] = head.entry_count
        metrics.fraud_rules_paused_count = len(read_paused(find_paused(transaction)))
    except DamagedError:
        # Whoever assesses meets it too, and tells it; a figure that is not known stays as it was.
        return
