"""Ids of decisions: 16 bytes, made of where a decision stands, or of what makes it a retry."""

import hashlib
from collections.abc import Sequence
from typing import Final

from instanter.decision.questions import Question
from instanter.limits import BATCH_TURN_MAX

DECISION_ID_SIZE_BYTES: Final = 16
"""Bytes of a decision's id: prefix 8, turn 6, row 2, big-endian; or the hash of a request id."""

_ROW_BYTES = tuple(row.to_bytes(2, "big") for row in range(BATCH_TURN_MAX))


def format_decision_id(prefix: bytes, turn: int, row: int) -> bytes:
    """Return the id of a decision without a request id."""
    return prefix + turn.to_bytes(6, "big") + row.to_bytes(2, "big")


def name_decisions(prefix: bytes, turn: int, questions: Sequence[Question]) -> list[bytes]:
    """Return the ids of a turn's decisions; a retry gets the id that the first try got."""
    stem = prefix + turn.to_bytes(6, "big")
    return [
        hash_request(question.customer_id, question.request_id)
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


def hash_request(customer_id: str, request_id: str) -> bytes:
    """Return the id of a decision with a request id: the same for every retry."""
    return hashlib.blake2b(f"{customer_id}\0{request_id}".encode(), digest_size=16).digest()
