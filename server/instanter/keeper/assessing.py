"""Assessing a card transaction: read, decide and count in one step, once for each id.

The record holds the transaction, what the rules saw, the verdict, and what is to be counted. Its
effect is to count that: applying never decides again.
"""

import hashlib
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgpack

from instanter.catalogue.fraud_words import Disposition
from instanter.errors import AlreadyExistsError, show
from instanter.fraud.engine import FraudEngine
from instanter.fraud.questions import Assessment, CountedTransaction, Transaction
from instanter.fraud_limits import ASSESS_NS_MIN, TRANSACTION_KEPT_NS
from instanter.keeper.case_book import open_case
from instanter.keeper.commands import Answered, ApplyContext, pack_body, unpack_body
from instanter.keeper.fraud_desk import FraudDesk, Prepared
from instanter.keeper.records import RecordKind
from instanter.keeper.transaction_records import pack_evidence, pack_transaction
from instanter.keeper.verdicts import Verdict, make_verdict, pack_verdict, unpack_verdict
from instanter.store import transaction as store
from instanter.store.expiry import drop_expired
from instanter.store.hotlist_removal import drop_dead, drop_expired_entries
from instanter.store.log.frames import LogRecord
from instanter.store.transactions import (
    NO_CASE,
    TRANSACTION_QUEUE,
    TransactionRow,
    expire_transaction,
    find_transaction,
    put_transaction,
    transaction_key,
)

_EXPIRED_KEYS: Final = 256
"""Expired keys that go at once: up to 64 transactions share an entry, twice as many as came keep up
with the busiest hour, and each may have a case."""

_DEAD_ENTRIES: Final = 64
"""Entries of replaced hotlists that go with the first of up to 64 transactions: about one each."""


@dataclass(frozen=True, slots=True, eq=False)
class AssessTransaction:
    """Assesses a transaction and counts it; its result is the `Verdict`.

    Attributes
    ----------
    transaction
        Its parts are checked, its declared fields are not.
    deadline_ns
        Time of the clock's `monotonic_ns` at which its caller stops waiting; None for never.
    """

    transaction: Transaction
    deadline_ns: int | None = None

    @property
    def kind(self) -> RecordKind:
        """Kind of its record."""
        return RecordKind.ASSESSMENTS

    def prepare(
        self, transaction: store.Transaction, now_ns: int, context: ApplyContext
    ) -> bytes | Answered:
        """Assess the transaction, unless it was before, and return the body of the record.

        Raises
        ------
        CatalogueMissingError, PreconditionError
            Nothing says how.
        InvalidFieldError
            A declared field is not as declared.
        AlreadyExistsError
            The id was used for another transaction; reason TRANSACTION_ID_CONFLICT.
        DamagedError
            What is known of the id is damaged.
        """
        given = self.transaction
        packed = pack_transaction(given)
        digest = digest_transaction(packed)
        key = transaction_key(given.transaction_id)
        known = find_transaction(transaction, key)
        if known is not None:
            if known.digest != digest:
                raise _conflict(given.transaction_id)
            verdict = unpack_verdict(known.verdict)
            return Answered(verdict._replace(case=known.case, was_known=True))
        desk = context.fraud
        desk.open(transaction, context.published.load(transaction), now_ns)
        assessment = desk.engine.assess(
            given,
            desk.book,
            now_ns=now_ns,
            deadline_short=self.deadline_ns is not None
            and self.deadline_ns - desk.clock.monotonic_ns() < ASSESS_NS_MIN,
        )
        counted = msgpack.packb(assessment.counted.to_row())
        body = make_body(desk.engine, assessment, Named(packed, key, digest), counted)
        packed_body = pack_body(body)
        verdict = make_verdict(assessment)
        desk.prepared = Prepared(packed_body, body, assessment.counted, verdict)
        return packed_body


class Named(NamedTuple):
    """A transaction as it is logged, and by what it is known.

    Attributes
    ----------
    packed
        From `pack_transaction`.
    key, digest
        From `transaction_key` and `digest_transaction`.
    """

    packed: bytes
    key: bytes
    digest: bytes


def make_body(
    engine: FraudEngine, assessment: Assessment, named: Named, counted: bytes
) -> dict[str, Any]:
    """Return the body of an assessment's record, for `pack_body`.

    Parameters
    ----------
    engine
        With the catalogue that it was assessed by.
    assessment, named
        What was found of which transaction.
    counted
        What is counted of it, packed.
    """
    stopped = assessment.disposition != Disposition.APPROVE
    evidence = engine.describe(assessment.figures) if stopped else ()
    return {
        "transaction": named.packed,
        "key": named.key,
        "digest": named.digest,
        "verdict": pack_verdict(assessment),
        "counted": counted,
        "figures": assessment.figures,
        "fired": assessment.fired if stopped else (),
        "stopping": (*assessment.declining, *assessment.referring) if stopped else (),
        "shadowed": assessment.shadowed,
        "evidence": pack_evidence(evidence) if stopped else None,
    }


def apply_assessment(
    transaction: store.Transaction, record: LogRecord, context: ApplyContext
) -> Verdict:
    """Count a transaction, remember it, open a case for one that was not approved."""
    desk = context.fraud
    desk.open(transaction, context.published.load(transaction), record.time_ns)
    _, body, counted, verdict = _find_prepared(record, desk)
    desk.engine.count(counted, desk.book)
    desk.book.flush()
    paused = desk.guard.count(
        transaction,
        card=counted.card,
        time_ns=counted.time_ns,
        now_ns=record.time_ns,
        fired=body["fired"],
        stopping=body["stopping"],
        shadowed=body["shadowed"],
    )
    case = NO_CASE if body["evidence"] is None else open_case(transaction, record, body)
    key = body["key"]
    row = TransactionRow(
        body["digest"], record.sequence, case, 0, 0, 0, body["verdict"], body["counted"]
    )
    put_transaction(transaction, key, row)
    if expire_transaction(
        transaction,
        key,
        sequence=record.sequence,
        case=case,
        until_ns=record.time_ns + TRANSACTION_KEPT_NS,
    ):
        drop_what_is_over(transaction, record.time_ns)
    return verdict._replace(case=case, paused=paused) if case else verdict


def digest_transaction(packed: bytes) -> bytes:
    """Return 16 bytes that stand for a transaction, from what `pack_transaction` has made."""
    return hashlib.blake2b(packed, digest_size=16).digest()


def drop_what_is_over(transaction: store.Transaction, now_ns: int) -> None:
    """Drop what has had its time of transactions, cases and hotlists; after each new entry.

    Parameters
    ----------
    transaction
        An open write transaction.
    now_ns
        The time of the record that began the entry.
    """
    drop_expired(transaction, TRANSACTION_QUEUE, now_ns, _EXPIRED_KEYS)
    drop_expired_entries(transaction, now_ns, _DEAD_ENTRIES)
    drop_dead(transaction, _DEAD_ENTRIES)


def _find_prepared(record: LogRecord, desk: FraudDesk) -> Prepared:
    """Return what a record says: read from it, unless it was prepared this moment."""
    prepared = desk.prepared
    if prepared is not None and prepared.packed is record.body:
        return prepared
    body = unpack_body(record)
    counted = CountedTransaction.from_row(msgpack.unpackb(body["counted"]))
    return Prepared(record.body, body, counted, unpack_verdict(body["verdict"]))


def _conflict(transaction_id: str) -> AlreadyExistsError:
    """Return the error for an id that stands for another transaction."""
    return AlreadyExistsError(
        f"transaction_id: {show(transaction_id)} was used for a transaction with another content; "
        "a retry must repeat the transaction as it was, and a new one needs an id of its own",
        reason="TRANSACTION_ID_CONFLICT",
        field="transaction_id",
        metadata={"transaction_id": transaction_id},
    )
