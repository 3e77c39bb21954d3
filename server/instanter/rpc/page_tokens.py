"""Page tokens: opaque, and refused when they are not of our making (AIP-158).

A token is the last thing of a page, a customer's id for example, and a keyless checksum over it, in
base64. A secret key would add nothing: a forged token could only begin a list elsewhere, which any
caller may do anyway by listing. In return tokens work on every process and after every restart, and
nothing has to be kept. The checksum refuses tokens that were cut, mistyped, or made by another
method or server.
"""

import base64
import binascii
import hashlib
from typing import Final

from instanter.errors import InvalidFieldError
from instanter.limits import PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX

_CUSTOMERS: Final = "ListCustomers"
_DIGEST_SIZE: Final = 8
_TOKEN_SIZE_MAX: Final = 512


def read_page_size(page_size: int) -> int:
    """Return how many things of a list are wanted.

    Raises
    ------
    InvalidFieldError
        It is negative; reason `PAGE_SIZE_INVALID`.
    """
    if page_size < 0:
        raise InvalidFieldError(
            "page_size",
            page_size,
            f"1 to {PAGE_SIZE_MAX}, or 0 for {PAGE_SIZE_DEFAULT}",
            reason="PAGE_SIZE_INVALID",
        )
    return min(page_size or PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX)


def format_page_token(place: str, method: str = _CUSTOMERS) -> str:
    """Return the token of the page that begins behind a place, a customer's id for example."""
    raw = place.encode()
    return base64.urlsafe_b64encode(_digest(raw, method) + raw).decode().rstrip("=")


def parse_page_token(token: str, field: str, method: str = _CUSTOMERS) -> str:
    """Return the place within a token, empty for an empty token.

    Parameters
    ----------
    token, field
        What was given, and where.
    method
        Whose tokens are meant, as in `format_page_token`; at most 16 characters.

    Raises
    ------
    InvalidFieldError
        The token is not of our making; reason `PAGE_TOKEN_INVALID`.
    """
    if not token:
        return ""
    try:
        if len(token) > _TOKEN_SIZE_MAX:
            raise ValueError
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        digest, place = raw[:_DIGEST_SIZE], raw[_DIGEST_SIZE:]
        if not place or digest != _digest(place, method):
            raise ValueError
        return place.decode()
    except (ValueError, binascii.Error) as error:
        raise InvalidFieldError(
            field,
            token,
            "the next_page_token of the page before, unchanged, or nothing for the first page",
            reason="PAGE_TOKEN_INVALID",
        ) from error


def _digest(raw: bytes, method: str) -> bytes:
    return hashlib.blake2b(raw, digest_size=_DIGEST_SIZE, person=method.encode()).digest()
