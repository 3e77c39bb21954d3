"""The secret of a store: drawn once, kept in its base, the same in all processes and for ever.

What is signed with it can only have come from this store. It is not in the log, and so not in the
overlay: nothing that follows from the log depends on it.
"""

import secrets
from typing import Final

from instanter.errors import DamagedError
from instanter.store.databases import META, META_KEY_SECRET
from instanter.store.environment import Environment
from instanter.store.records import seal, unseal
from instanter.store.transaction import Transaction

SECRET_SIZE_BYTES: Final = 32
"""As many as the digest of HMAC-SHA256 has: more would not make it harder to guess."""


def load_secret(base: Environment) -> bytes:
    """Return the secret of a store.

    Parameters
    ----------
    base
        The lower layer of the state.

    Raises
    ------
    DamagedError
        It is damaged, or missing: whoever opens a store for writing makes it.
    """
    with base.read() as transaction:
        found = _find(transaction)
    if found is None:
        raise DamagedError("the secret of the store is missing")
    return found


def make_secret(base: Environment) -> None:
    """Draw the secret of a store that has none yet; for the process that writes.

    Raises
    ------
    DamagedError
        There is one, damaged.
    """
    with base.read() as transaction:
        found = _find(transaction)
    if found is None:
        value = seal(META_KEY_SECRET, secrets.token_bytes(SECRET_SIZE_BYTES))
        base.write(lambda transaction: transaction.put(META, META_KEY_SECRET, value))


def _find(transaction: Transaction) -> bytes | None:
    found = transaction.get(META, META_KEY_SECRET)
    return None if found is None else bytes(unseal(META_KEY_SECRET, found))
