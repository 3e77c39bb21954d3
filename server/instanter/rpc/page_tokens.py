"""Page tokens: opaque, and refused when they are not of our making (AIP-158).

A token is the id of the last customer of a page and a keyless checksum over it, in base64. A
secret key would add nothing: a forged token could only begin a list elsewhere, which any caller
may do anyway by listing. In return tokens work on every process and after every restart, and
nothing has to be kept. The checksum refuses tokens that were cut, mistyped, or made by another
method or server.
"""

import base64
import binascii
import hashlib
from typing import Final

from instanter.errors import InvalidFieldError

_DIGEST_SIZE: Final = 8
_TOKEN_SIZE_MAX: Final = 512


def format_page_token(customer_id: str) -> str:
    """Return the token of the page that begins behind a customer."""
    raw = customer_id.encode()
    return base64.urlsafe_b64encode(_digest(raw) + raw).decode().rstrip("=")


def parse_page_token(token: str, field: str) -> str:
    """Return the customer id within a token, empty for an empty token.

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
        digest, customer = raw[:_DIGEST_SIZE], raw[_DIGEST_SIZE:]
        if not customer or digest != _digest(customer):
            raise ValueError
        return customer.decode()
    except (ValueError, binascii.Error) as error:
        raise InvalidFieldError(
            field,
            token,
            "the next_page_token of the page before, unchanged, or nothing for the first page",
            reason="PAGE_TOKEN_INVALID",
        ) from error


def _digest(raw: bytes) -> bytes:
    return hashlib.blake2b(raw, digest_size=_DIGEST_SIZE, person=b"ListCustomers").digest()
