"""Card tokens: what stands for a card's number, which never leaves the place where it was read.

A token is HMAC-SHA-256 (RFC 2104) of the card's digits under a key that is derived, by the same
function, from the secret key and the tenant's name. So tokens of two tenants, or of two keys, have
nothing in common, and who has no key learns nothing by trying numbers. It is written in 64 letters
from `a` to `p`, four bits each: without a digit no scanner takes a token for a card number.
"""

import hmac
import os
import re
import stat
from pathlib import Path
from typing import Final, Self

KEY_SIZE_BYTES_MIN: Final = 32
"""Bytes of a key, at least: the size of the digest, as RFC 2104 advises."""

KEY_SIZE_BYTES_MAX: Final = 4_096
"""Bytes of a key file, at most: what is longer is another file."""

_TENANT: Final = re.compile(r"[\x21-\x7e]{1,64}")
_BETWEEN: Final = re.compile(r"[\s\-–]+")
_NUMBER: Final = re.compile(r"[0-9]{13,19}")
_LETTERS: Final = str.maketrans("0123456789abcdef", "abcdefghijklmnop")
_PURPOSE: Final = b"instanter card token 1\0"


class TokenMaker:
    """Makes tokens of card numbers.

    Parameters
    ----------
    key
        The secret, at least 32 random bytes.
    tenant
        Whose tokens they are: 1 to 64 printable ASCII characters without spaces.

    Raises
    ------
    ValueError
        The key is too short, or the tenant is not right.
    """

    __slots__ = ("_key",)

    def __init__(self, key: bytes, tenant: str) -> None:
        if len(key) < KEY_SIZE_BYTES_MIN:
            raise ValueError(
                f"the key has {len(key)} bytes; expected at least {KEY_SIZE_BYTES_MIN} random ones"
            )
        if _TENANT.fullmatch(tenant) is None:
            raise ValueError(
                f"tenant: {tenant!r} is not right; expected 1 to 64 printable ASCII characters "
                "without spaces"
            )
        self._key = hmac.digest(key, _PURPOSE + tenant.encode(), "sha256")

    @classmethod
    def from_file(cls, path: Path | str, tenant: str) -> Self:
        """Return a maker with the key of a file: its bytes, without line ends behind them.

        Raises
        ------
        PermissionError
            Others than the file's owner may read or write it, or it is another user's.
        ValueError
            It is no plain file, too long, or as for the class.
        OSError
            It cannot be read.
        """
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            _check_key_file(descriptor, path)
            # Not by a file object: a folder cannot have one, and its error names the descriptor.
            key = os.read(descriptor, KEY_SIZE_BYTES_MAX + 1)
        finally:
            os.close(descriptor)
        if len(key) > KEY_SIZE_BYTES_MAX:
            raise ValueError(
                f"{path} has more than {KEY_SIZE_BYTES_MAX:,} bytes; expected a file with the key"
            )
        return cls(key.rstrip(b"\r\n"), tenant)

    def make(self, card_number: str) -> str:
        """Return the token of a card number, which may have spaces and dashes.

        Raises
        ------
        ValueError
            It is no card number. The message does not repeat it.
        """
        digits = _BETWEEN.sub("", card_number)
        if _NUMBER.fullmatch(digits) is None or not _is_right(digits):
            raise ValueError("it is no card number: expected 13 to 19 digits with a check digit")
        return hmac.digest(self._key, digits.encode(), "sha256").hex().translate(_LETTERS)


def make_key_file(path: Path | str) -> None:
    """Write a new random key of 32 bytes in hexadecimal to a new file, for its owner only.

    Raises
    ------
    FileExistsError
        There is such a file: its key may be in use.
    OSError
        It cannot be written.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(os.urandom(KEY_SIZE_BYTES_MIN).hex().encode() + b"\n")


def _check_key_file(descriptor: int, path: Path | str) -> None:
    """Do nothing if an open file may be taken for a key; raise as `TokenMaker.from_file`."""
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"{path} is no plain file; expected a file with the key")
    if found.st_mode & 0o077:
        raise PermissionError(
            f"{path} may be read by others (mode {found.st_mode & 0o777:04o}); expected "
            "0600: chmod 600 it, and make a new key if it was so for long"
        )
    if found.st_uid not in (os.geteuid(), 0):
        raise PermissionError(f"{path} belongs to another user; expected your own file")


def _is_right(digits: str) -> bool:
    """Return whether the check digit is right (Luhn, ISO/IEC 7812-1, annex B)."""
    total = 0
    for place, character in enumerate(reversed(digits)):
        doubled = int(character) * (1 + place % 2)
        total += doubled // 10 + doubled % 10
    return total % 10 == 0
