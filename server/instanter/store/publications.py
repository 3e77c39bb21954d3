"""Publications: versioned documents, the catalogue and the models, each revision whole.

A revision is one value. Key: the kind, padded with NUL to 16 bytes, and the revision as a
big-endian uint64, so that the last key of a kind is the current revision: there is no pointer
that could disagree. Value, little-endian: magic uint16 0x5550 "PU", format uint16 1, reserve
uint32, publish time int64 (nanoseconds since 1970), body size uint64, reserve uint64; the body;
NUL to a multiple of 8; reserve uint32; CRC-32C over key and value up to here, uint32.
"""

import struct
from dataclasses import dataclass
from typing import Final

import google_crc32c

from instanter import limits
from instanter.errors import ConflictError, DamagedError
from instanter.store.databases import PUBLICATIONS
from instanter.store.records import RESIDUE
from instanter.store.transaction import Transaction

CATALOGUE: Final = "catalogue"
"""Kind of the compiled catalogue with the files it came from."""

MODELS: Final = "models"
"""Kind of the propensity models."""

_KINDS = {kind: kind.encode().ljust(16, b"\0") for kind in (CATALOGUE, MODELS)}
_KEPT = {CATALOGUE: limits.CATALOGUE_REVISIONS_KEPT, MODELS: limits.MODELS_REVISIONS_KEPT}
_REMEDIES = {
    # Its slots must go on from those given before, and only it knows them.
    CATALOGUE: "restore the folder from a backup",
    MODELS: "`instanter fit --fresh` begins anew",
}
_HEADER = struct.Struct("<HHIqQQ")
_MAGIC, _FORMAT = 0x5550, 1
_TAIL_SIZE_BYTES = 8


@dataclass(frozen=True, slots=True)
class PublishedRevision:
    """One revision that is still kept.

    Attributes
    ----------
    revision
        From 1, without gaps as published; old ones are dropped.
    publish_time_ns
        When, nanoseconds since 1970.
    body
        The document.
    """

    revision: int
    publish_time_ns: int
    body: bytes


def publish(
    transaction: Transaction,
    kind: str,
    body: bytes,
    now_ns: int,
    expected_revision: int | None = None,
) -> int:
    """Write the next revision of a document and return its number.

    The oldest revisions beyond those that `limits` keeps of its kind are dropped with it.

    Parameters
    ----------
    transaction
        An open write transaction.
    kind
        `CATALOGUE` or `MODELS`.
    body
        The document.
    now_ns
        Nanoseconds since 1970.
    expected_revision
        The current revision as the caller last saw it, 0 for none; None to publish in any case.

    Raises
    ------
    ConflictError
        The current revision is another one.
    """
    if expected_revision is not None:
        check_revision(transaction, kind, expected_revision)
    revision = current_revision(transaction, kind) + 1
    key = _key(kind, revision)
    padding = -len(body) % 8 + _TAIL_SIZE_BYTES - 4
    header = _HEADER.pack(_MAGIC, _FORMAT, 0, now_ns, len(body), 0)
    value = b"".join((header, body, b"\0" * padding))
    checksum = google_crc32c.extend(google_crc32c.value(key), value)
    transaction.put(PUBLICATIONS, key, value + checksum.to_bytes(4, "little"))
    for old in kept_revisions(transaction, kind)[: -_KEPT[kind]]:
        transaction.delete(PUBLICATIONS, _key(kind, old))
    return revision


def check_revision(transaction: Transaction, kind: str, expected_revision: int) -> None:
    """Refuse to go on from another revision than the current one; 0 stands for none.

    Raises
    ------
    ConflictError
        The current revision is another one.
    """
    current = current_revision(transaction, kind)
    if expected_revision != current:
        raise ConflictError(
            f"the {kind} is at revision {current}, not {expected_revision}; look at the changes "
            "and apply again",
            metadata={"current": str(current), "expected": str(expected_revision)},
        )


def current_revision(transaction: Transaction, kind: str) -> int:
    """Return the current revision of a document, 0 when none has been published. Costs 1 µs."""
    prefix = _KINDS[kind]
    for key, _ in transaction.scan_back(PUBLICATIONS, prefix + b"\xff" * 8):
        return int.from_bytes(key[16:], "big") if key.startswith(prefix) else 0
    return 0


def kept_revisions(transaction: Transaction, kind: str) -> list[int]:
    """Return the revisions of a document that are still kept, oldest first."""
    revisions = []
    for key, _ in transaction.scan(PUBLICATIONS, _KINDS[kind]):
        if not key.startswith(_KINDS[kind]):
            break
        revisions.append(int.from_bytes(key[16:], "big"))
    return revisions


def load_current(transaction: Transaction, kind: str) -> tuple[int, bytes] | None:
    """Return the current revision of a document and its body, or None when there is none.

    Raises
    ------
    DamagedError
        Its bytes are damaged.
    """
    revision = current_revision(transaction, kind)
    if not revision:
        return None
    published = load_revision(transaction, kind, revision)
    assert published is not None
    return revision, published.body


def load_revision(transaction: Transaction, kind: str, revision: int) -> PublishedRevision | None:
    """Return one revision of a document, or None when it is not kept.

    Raises
    ------
    DamagedError
        Its bytes are damaged.
    """
    key = _key(kind, revision)
    value = transaction.get(PUBLICATIONS, key)
    if value is None:
        return None
    joined = b"".join((key, value))
    start = len(key) + _HEADER.size
    if len(joined) >= start + _TAIL_SIZE_BYTES and google_crc32c.value(joined) == RESIDUE:
        magic, form, _, publish_time_ns, size, _ = _HEADER.unpack_from(joined, len(key))
        if (magic, form) == (_MAGIC, _FORMAT) and start + size + _TAIL_SIZE_BYTES <= len(joined):
            return PublishedRevision(revision, publish_time_ns, joined[start : start + size])
    raise DamagedError(
        f"revision {revision} of the {kind} is damaged in the store; {_REMEDIES[kind]}",
        metadata={"kind": kind, "revision": str(revision)},
    )


def _key(kind: str, revision: int) -> bytes:
    return _KINDS[kind] + revision.to_bytes(8, "big")
