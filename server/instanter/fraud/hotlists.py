"""Looks for a transaction's parts on the hotlists."""

from collections.abc import Callable

from instanter.catalogue.fraud_words import ListKind, StandInCause
from instanter.fraud.book import Book
from instanter.fraud.questions import Transaction
from instanter.fraud.tables import FraudTables

ReportFailure = Callable[[Exception], None]
"""Takes what failed unexpectedly while a transaction was assessed."""


def find_listed(
    transaction: Transaction, book: Book, time_ns: int, report: ReportFailure
) -> tuple[list[ListKind], bool]:
    """Return the lists with something of a transaction, and whether a list could not be read.

    Each list has its own try: one that cannot be read hides no other.

    Parameters
    ----------
    transaction, book
        What is looked for, and where.
    time_ns
        The time as of which it is assessed.
    report
        Takes what failed.
    """
    found: list[ListKind] = []
    failed = False
    for kind, name in (
        (ListKind.CARDS, transaction.card),
        (ListKind.TERMINALS, transaction.terminal),
        (ListKind.MERCHANTS, transaction.merchant),
        (ListKind.DEVICES, transaction.device),
        (ListKind.BINS, transaction.bin),
    ):
        try:
            if name and book.is_hotlisted(kind, name, time_ns):
                found.append(kind)
        # Whatever it is: nobody knows whether the card may pass, so it does not.
        except Exception as error:  # noqa: BLE001
            report(error)
            failed = True
    return found, failed


def find_list_causes(
    tables: FraudTables, book: Book, now_ns: int, report: ReportFailure
) -> list[StandInCause]:
    """Return what is wrong with the lists that are expected: missing or stale.

    Parameters
    ----------
    tables, book
        Which are expected, and where they are.
    now_ns
        The server's time.
    report
        Takes what failed.
    """
    causes: set[StandInCause] = set()
    for kind in tables.policy.settings.hotlists.expected:
        try:
            loaded_ns = book.find_hotlist_time_ns(kind)
        # A list of which nothing can be read is missing.
        except Exception as error:  # noqa: BLE001
            report(error)
            loaded_ns = 0
        if not loaded_ns:
            causes.add(StandInCause.HOTLIST_MISSING)
        elif tables.stale_ns and now_ns - loaded_ns > tables.stale_ns:
            causes.add(StandInCause.HOTLIST_STALE)
    return sorted(causes)
