"""Stock alerts that are open, each as it was at its latest transition.

Key: the number of the alert, uint64, big-endian. Value, sealed: the alert, packed.
"""

from collections.abc import Iterator

from instanter.errors import DamagedError
from instanter.store.databases import STOCK_ALERTS
from instanter.store.records import seal, unseal
from instanter.store.transaction import Transaction


def alert_key(number: int) -> bytes:
    """Return the key of an alert."""
    return number.to_bytes(8, "big")


def find_alert(transaction: Transaction, number: int) -> bytes | None:
    """Return an open alert, packed, or None when there is none.

    Raises
    ------
    DamagedError
        It is damaged.
    """
    key = alert_key(number)
    found = transaction.get(STOCK_ALERTS, key)
    return None if found is None else unseal(key, found)


def put_alert(transaction: Transaction, number: int, packed: bytes) -> None:
    """Write an open alert."""
    key = alert_key(number)
    transaction.put(STOCK_ALERTS, key, seal(key, packed))


def delete_alert(transaction: Transaction, number: int) -> None:
    """Delete an alert that was cleared, damaged or not."""
    transaction.delete(STOCK_ALERTS, alert_key(number))


def scan_alerts(transaction: Transaction, after: int) -> Iterator[tuple[int, bytes | None]]:
    """Yield numbers and packed alerts in the order of their numbers, None for a damaged one.

    Parameters
    ----------
    transaction
        An open read or write transaction.
    after
        Begin behind the alert of this number; 0 for the first.
    """
    for key, value in transaction.scan(STOCK_ALERTS, alert_key(after), after=True):
        number = int.from_bytes(key, "big")
        try:
            yield number, unseal(key, value)
        except DamagedError:
            yield number, None
