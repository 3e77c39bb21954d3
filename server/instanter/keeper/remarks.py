"""Remarkable transactions of a turn: what is logged, kept and answered of them.

A rule fired on each of them, be it only to be reported, or it was not approved. The kernel has
found all that there is to find (`fraud/findings`); here it becomes what `assessing` makes of one by
itself.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import msgpack

from instanter.fraud.engine import FraudEngine
from instanter.fraud.findings import explain
from instanter.fraud.questions import CountedTransaction
from instanter.fraud.turns import AssessedTurn, Turn
from instanter.keeper.assessing import Named, make_body
from instanter.keeper.commands import pack_body
from instanter.keeper.fraud_guard import Marked
from instanter.keeper.verdicts import Verdict, make_verdict
from instanter.store.transactions import NO_CASE, TransactionRow, seal_row


class Remark(NamedTuple):
    """One remarkable transaction.

    Attributes
    ----------
    content, body
        The body of its record, before and after packing.
    counted
        What is counted of it.
    verdict
        What it is answered, without what its record brings about.
    case
        The number of its case, which is the sequence of its record; `NO_CASE` for none.
    sequence
        Of its record.
    """

    content: dict[str, Any]
    body: bytes
    counted: CountedTransaction
    verdict: Verdict
    case: int
    sequence: int

    def make_row(self) -> bytes:
        """Return its row in the store, sealed."""
        content = self.content
        row = TransactionRow(
            content["digest"],
            self.sequence,
            self.case,
            0,
            0,
            0,
            content["verdict"],
            content["counted"],
        )
        return seal_row(content["key"], row)


def make_remarks(engine: FraudEngine, turn: Turn, done: AssessedTurn) -> dict[int, Remark]:
    """Return the remarkable transactions by their indexes among those that are done, in order.

    Parameters
    ----------
    engine
        With the catalogue that they were assessed by.
    turn, done
        What was asked, and what was found.
    """
    remarks = {}
    for index, finding in done.findings.items():
        at = turn.first + index
        start, end = turn.packed_cut[at : at + 2].tolist()
        named = Named(turn.packed[start:end].tobytes(), turn.keys[at], turn.digests[at])
        counted = CountedTransaction.from_row(msgpack.unpackb(finding.counted))
        assessment = explain(engine.tables, finding, counted)
        content = make_body(engine, assessment, named, finding.counted)
        sequence = turn.first_sequence + index
        remarks[index] = Remark(
            content,
            pack_body(content),
            counted,
            make_verdict(assessment),
            NO_CASE if content["evidence"] is None else sequence,
            sequence,
        )
    return remarks


def list_marked(remarks: dict[int, Remark]) -> list[Marked]:
    """Return what the guard counts of them: those with rules that stopped or were reported."""
    return [
        Marked(
            index,
            remark.counted.card,
            remark.content["fired"],
            remark.content["stopping"],
            remark.content["shadowed"],
        )
        for index, remark in remarks.items()
        if remark.content["fired"] or remark.content["shadowed"]
    ]


def cut_turn(turn: Turn, count: int) -> Turn:
    """Return a turn of the first transactions only."""
    return replace(
        turn,
        count=count,
        keys=turn.keys[:count],
        digests=turn.digests[:count],
        entities=turn.entities[: 5 * count],
        profile_of=turn.profile_of[:count],
    )
