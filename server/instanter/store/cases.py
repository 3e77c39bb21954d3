"""Cases: transactions that were referred or declined, for people to look at.

A case goes with its transaction, see `store/transactions`.
"""

from collections.abc import Iterator

from instanter.errors import DamagedError
from instanter.store.databases import CASES
from instanter.store.records import seal, unseal
from instanter.store.transaction import Transaction


def case_key(number: int) -> bytes:
    """Return the key of a case."""
    return number.to_bytes(8, "big")


def find_case(transaction: Transaction, number: int) -> bytes | None:
    """Return a case, packed, or None when there is none.

    Raises
    ------
    DamagedError
        It is damaged.
    """
    key = case_key(number)
    found = transaction.get(CASES, key)
    return None if found is None else unseal(key, found)


def put_case(transaction: Transaction, number: int, packed: bytes) -> None:
    """Write a case."""
    key = case_key(number)
    transaction.put(CASES, key, seal(key, packed))


def scan_cases(transaction: Transaction, before: int) -> Iterator[tuple[int, bytes | None]]:
    """Yield numbers and packed cases, the newest first, None for a damaged one.

    Parameters
    ----------
    transaction
        An open read or write transaction.
    before
        Begin with the case before this one; 0 for the newest.
    """
    start = case_key(before) if before else b"\xff" * 9
    for key, value in transaction.scan_back(CASES, start):
        number = int.from_bytes(key, "big")
        try:
            yield number, unseal(key, value)
        except DamagedError:
            yield number, None
