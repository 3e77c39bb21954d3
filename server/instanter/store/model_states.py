"""What learners have learned since the models were published, and the plan made without any.

Beside the states, whose keys are the offers' names, there are two keys that no name can have: the
plan, and its digest, which can be looked at often. Up to where the log has been learned stands in
`meta`.
"""

import struct
from typing import Final, NamedTuple

from instanter.store.databases import META, META_KEY_LEARNED, MODEL_STATES
from instanter.store.records import seal, unseal
from instanter.store.transaction import Transaction

_PLAN_KEY: Final = b"\0" * 8
_DIGEST_KEY: Final = b"\0" * 7 + b"\1"
_LEARNED: Final = struct.Struct("<QQ")


class LearnedUpTo(NamedTuple):
    """How far the states go.

    Attributes
    ----------
    sequence
        The last record of the log that has been learned.
    revision
        Revision of the models that were published by then, 0 for none.
    """

    sequence: int
    revision: int


class LearnedStates(NamedTuple):
    """What is to be written of the models that have changed.

    Attributes
    ----------
    reset
        Sequence of the publication since which the models are others; what was learned before it
        is forgotten.
    states
        By offer the sequence at which its model changed last, and its packed state.
    learned
        How far they go.
    """

    reset: int
    states: dict[str, tuple[int, bytes]]
    learned: LearnedUpTo


def put_learned(transaction: Transaction, found: LearnedStates) -> None:
    """Write what has been learned since the states were written last."""
    stored = load_learned_up_to(transaction) or LearnedUpTo(0, 0)
    if stored.sequence < found.reset:
        delete_states(transaction)
    for offer, (changed, state) in found.states.items():
        if changed > stored.sequence:
            put_state(transaction, offer, state)
    put_learned_up_to(transaction, found.learned)


def put_state(transaction: Transaction, offer: str, state: bytes) -> None:
    """Write the packed state of an offer's learner."""
    key = _key(offer)
    transaction.put(MODEL_STATES, key, seal(key, state))


def load_states(transaction: Transaction) -> dict[str, bytes]:
    """Return all packed states by the offers' names.

    Raises
    ------
    DamagedError
        A state is damaged.
    """
    return {
        key.rstrip(b"\0").decode(): unseal(key, value)
        for key, value in transaction.scan(MODEL_STATES, _DIGEST_KEY, after=True)
    }


def delete_states(transaction: Transaction) -> None:
    """Forget all states; the plan stays."""
    keys = [key for key, _ in transaction.scan(MODEL_STATES, _DIGEST_KEY, after=True)]
    for key in keys:
        transaction.delete(MODEL_STATES, key)


def put_plan(transaction: Transaction, plan: bytes, digest: bytes) -> None:
    """Write the plan that was made without published models, and its digest."""
    transaction.put(MODEL_STATES, _PLAN_KEY, seal(_PLAN_KEY, plan))
    transaction.put(MODEL_STATES, _DIGEST_KEY, seal(_DIGEST_KEY, digest))


def load_plan(transaction: Transaction) -> bytes | None:
    """Return the plan that was made without published models, or None.

    Raises
    ------
    DamagedError
        It is damaged.
    """
    return _load(transaction, _PLAN_KEY)


def load_plan_digest(transaction: Transaction) -> bytes:
    """Return the digest of that plan, empty when there is none. Costs 2 µs.

    Raises
    ------
    DamagedError
        It is damaged.
    """
    return _load(transaction, _DIGEST_KEY) or b""


def put_learned_up_to(transaction: Transaction, learned: LearnedUpTo) -> None:
    """Write how far the states go."""
    value = seal(META_KEY_LEARNED, _LEARNED.pack(*learned))
    transaction.put(META, META_KEY_LEARNED, value)


def load_learned_up_to(transaction: Transaction) -> LearnedUpTo | None:
    """Return how far the states go, or None when nothing was ever learned.

    Raises
    ------
    DamagedError
        It is damaged.
    """
    value = transaction.get(META, META_KEY_LEARNED)
    if value is None:
        return None
    return LearnedUpTo(*_LEARNED.unpack(unseal(META_KEY_LEARNED, value)))


def _load(transaction: Transaction, key: bytes) -> bytes | None:
    value = transaction.get(MODEL_STATES, key)
    return None if value is None else unseal(key, value)


def _key(offer: str) -> bytes:
    encoded = offer.encode()
    return encoded + b"\0" * (-len(encoded) % 8)
