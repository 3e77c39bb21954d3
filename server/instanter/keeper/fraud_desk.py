"""What the commands of the check at the till share: engine, guard, and the book over the store."""

from collections.abc import Callable
from typing import Any, NamedTuple

from instanter.catalogue.compiled import CompiledCatalogue
from instanter.catalogue.fraud import FraudPolicy
from instanter.clock import Clock, SystemClock
from instanter.errors import CatalogueMissingError, PreconditionError
from instanter.fraud.engine import FraudEngine
from instanter.fraud.questions import CountedTransaction
from instanter.fraud.requests import RequestReader
from instanter.fraud.turns import TurnAssessor
from instanter.keeper.fraud_book import StoreBook
from instanter.keeper.fraud_guard import FraudGuard
from instanter.keeper.verdicts import Verdict
from instanter.store.transaction import Transaction


def _take_note(error: Exception) -> None:
    """Do no more about a failure than what the stand-in table says."""
    del error


class Prepared(NamedTuple):
    """What preparing an assessment has found, for applying its record right after.

    Attributes
    ----------
    packed
        The body of the record.
    body, counted, verdict
        What reading it gives.
    """

    packed: bytes
    body: dict[str, Any]
    counted: CountedTransaction
    verdict: Verdict


class FraudDesk:
    """Engine, guard and book, one of each. Belongs to the thread that carries out commands.

    Parameters
    ----------
    report
        Takes what failed unexpectedly while a transaction was assessed, which is answered all the
        same.
    clock
        Tells how much of a caller's time is left, by `monotonic_ns`: the time of records stands
        still after the machine's was set back.

    Attributes
    ----------
    report, clock
        As given.
    engine, guard, book
        The parts, ready after `open`.
    requests, assessor
        Read and assess transactions together; the latter likewise.
    prepared
        The assessment that was prepared last. Its record says the same, and is what counts.
    """

    __slots__ = ("assessor", "book", "clock", "engine", "guard", "prepared", "report", "requests")

    def __init__(
        self, report: Callable[[Exception], None] = _take_note, clock: Clock | None = None
    ) -> None:
        self.report = report
        self.clock = clock or SystemClock()
        self.engine = FraudEngine(report)
        self.guard = FraudGuard()
        self.book = StoreBook()
        self.requests = RequestReader()
        self.assessor: TurnAssessor
        self.prepared: Prepared | None = None

    def install(self, catalogue: CompiledCatalogue) -> None:
        """Use a catalogue from now on; costs nothing when it is the one in use."""
        if catalogue.fraud is not None:
            if self.engine.install(catalogue):
                self.assessor = TurnAssessor(self.engine.tables)
            self.guard.install(catalogue)

    def open(
        self, transaction: Transaction, catalogue: CompiledCatalogue | None, now_ns: int
    ) -> FraudPolicy:
        """Make all ready for a command or a record, and return what the catalogue declares.

        Parameters
        ----------
        transaction
            The store.
        catalogue
            The one in force in it.
        now_ns
            The time of the record.

        Raises
        ------
        CatalogueMissingError
            No catalogue has been published.
        PreconditionError
            It says nothing about card transactions; reason FRAUD_NOT_DECLARED.
        """
        if catalogue is None:
            raise CatalogueMissingError
        if catalogue.fraud is None:
            raise PreconditionError(
                "the catalogue has no `fraud:` section, so card transactions are not assessed; "
                "publish one that has",
                reason="FRAUD_NOT_DECLARED",
            )
        self.install(catalogue)
        self.book.begin(transaction, catalogue, now_ns)
        return catalogue.fraud
