"""Ids that callers give their requests and what these bring, so that a retry is known as one."""

import hashlib
from typing import Any

from instanter.errors import InvalidFieldError
from instanter.keeper.requests import DIGEST_SIZE_BYTES, RequestMark
from instanter.limits import REQUEST_ID_SIZE_MAX
from instanter.store.event_ids import ID_KEY_SIZE_BYTES


def check_request_id(request_id: str) -> None:
    """Raise unless the request id, if there is one, has 1 to 64 printable ASCII characters.

    Raises
    ------
    InvalidFieldError
        It has not.
    """
    if request_id:
        check_id(request_id, "request_id", REQUEST_ID_SIZE_MAX, reason="REQUEST_ID_INVALID")


def check_id(text: str, field: str, size_max: int, *, reason: str) -> None:
    """Raise unless an id has 1 to `size_max` printable ASCII characters.

    Raises
    ------
    InvalidFieldError
        It has not; names the field, with this reason.
    """
    if not (0 < len(text) <= size_max and text.isascii() and text.isprintable()):
        raise InvalidFieldError(
            field,
            text,
            f"1 to {size_max} printable ASCII characters, a UUID for example",
            reason=reason,
        )


def read_request_mark(request: Any, scope: str) -> RequestMark | None:
    """Return what tells a request from others, or None when it carries no id.

    Parameters
    ----------
    request
        A message with the field `request_id`.
    scope
        What the id is unique in, a method and a customer for example.

    Raises
    ------
    InvalidFieldError
        The id is wrong.
    """
    request_id = request.request_id
    if not request_id:
        return None
    check_request_id(request_id)
    key = hashlib.blake2b(
        f"{scope}\0{request_id}".encode(), digest_size=ID_KEY_SIZE_BYTES, person=b"request"
    )
    content = request.SerializeToString(deterministic=True)
    return RequestMark(
        key.digest(), hashlib.blake2b(content, digest_size=DIGEST_SIZE_BYTES).digest()
    )
