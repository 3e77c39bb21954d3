"""Ids of decisions: 16 bytes, made of where a decision stands, or of what makes it a retry."""

import hashlib
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from instanter.decision.questions import Question
from instanter.limits import BATCH_TURN_MAX

DECISION_ID_SIZE_BYTES: Final = 16
"""Bytes of a decision's id: prefix 8, turn 6, row 2, big-endian; or the hash of a question."""

_MISSING_BYTE: Final = b"\xff"
"""Each byte of `MISSING_CODE`."""

_ROW_BYTES = tuple(row.to_bytes(2, "big") for row in range(BATCH_TURN_MAX))


def format_decision_id(prefix: bytes, turn: int, row: int) -> bytes:
    """Return the id of a decision without a request id."""
    return prefix + turn.to_bytes(6, "big") + row.to_bytes(2, "big")


def name_decisions(
    prefix: bytes, turn: int, questions: Sequence[Question], context: NDArray[np.uint32]
) -> list[bytes]:
    """Return the ids of a turn's decisions; a retry gets the id that the first try got.

    Parameters
    ----------
    prefix, turn
        8 bytes, and below 2**48.
    questions
        What was asked, a row each.
    context
        uint32[n, X], read-only: their context, `MISSING_CODE` where nothing was given.
    """
    stem = prefix + turn.to_bytes(6, "big")
    return [
        hash_question(question, context[row].tobytes() if question.context else b"")
        if question.request_id
        else stem + _ROW_BYTES[row]
        for row, question in enumerate(questions)
    ]


def parse_decision_id(decision_id: bytes) -> tuple[bytes, int, int]:
    """Return prefix, turn and row of an id; they mean nothing when it is a hash."""
    return (
        decision_id[:8],
        int.from_bytes(decision_id[8:14], "big"),
        int.from_bytes(decision_id[14:], "big"),
    )


def hash_question(question: Question, context: bytes) -> bytes:
    """Return the id of a decision with a request id: the same for every retry, for nothing else.

    Whoever asks for another place, another count or in another context asks something else, even
    with the same request id: one page may ask for several places under one id of its own. Were
    they one decision, each would take the place of the one before, its reservations included.

    Parameters
    ----------
    question
        What was asked.
    context
        The slots of its context, uint32 each, little-endian. Missing ones at the end count for
        nothing, so that a context attribute that is declared meanwhile does not make another
        question of it. To sort the values by name and write them down took 1.7 µs.
    """
    asked = (
        f"{question.customer_id}\0{question.request_id}\0{question.channel}\0"
        f"{question.placement}\0{question.offer_count}"
    ).encode()
    if context:
        asked += b"\0" + context.rstrip(_MISSING_BYTE)
    return hashlib.blake2b(asked, digest_size=DECISION_ID_SIZE_BYTES).digest()


def hash_request(customer_id: str, request_id: str) -> bytes:
    """Return the id that a request id led to while it stood for one question only.

    Records of format 1 do not say the ids of their decisions.
    """
    return hashlib.blake2b(f"{customer_id}\0{request_id}".encode(), digest_size=16).digest()
