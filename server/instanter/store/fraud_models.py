"""The state of the model that learns from labelled transactions: up to 64 kB, under one key.

Each assessment asks for it, and nearly none changes it. So a reader that remembers what it has
read compares 16 bytes instead of copying and checking all of it.
"""

import hashlib
import struct
from typing import Final

from instanter.store.databases import FRAUD_MODELS
from instanter.store.records import seal, unseal
from instanter.store.transaction import Transaction

_KEY: Final = b"\0" * 8
_HEAD: Final = struct.Struct("<16sQ")
"""Digest of model and state, then the model's id."""

_DIGEST: Final = slice(4, 20)
"""Where a sealed value has its digest."""


def put_model_state(transaction: Transaction, model_id: int, state: bytes) -> None:
    """Write the state of a model in the place of any other's."""
    digest = hashlib.blake2b(state, digest_size=16, salt=model_id.to_bytes(8, "little")).digest()
    transaction.put(FRAUD_MODELS, _KEY, seal(_KEY, _HEAD.pack(digest, model_id) + state))


class ModelStates:
    """Reads the state of a model, and remembers what it has read; for one thread."""

    __slots__ = ("_digest", "_model_id", "_state")

    def __init__(self) -> None:
        self._digest = b""
        self._model_id = 0
        self._state = b""

    def find(self, transaction: Transaction, model_id: int) -> bytes:
        """Return the state of a model, empty for none; the same object while it is unchanged.

        Raises
        ------
        DamagedError
            It is not what was written.
        """
        found = transaction.get(FRAUD_MODELS, _KEY)
        if found is None:
            return b""
        if found[_DIGEST] != self._digest:
            value = unseal(_KEY, found)
            self._digest, self._model_id = _HEAD.unpack_from(value)
            self._state = value[_HEAD.size :]
        return self._state if self._model_id == model_id else b""
