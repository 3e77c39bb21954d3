"""Resume tokens: up to where a subscriber has been told, signed by the store.

A token is a version, 1 byte, a sequence, uint64, and the first 16 bytes of HMAC-SHA256 over both
with the store's secret, in base64. So it is the same for all subscribers and on every process,
holds after a restart, and cannot be made by anybody else: one with a wrong sequence would let a
subscriber believe that nothing is missing where something is.
"""

import base64
import binascii
import hmac
import struct
from typing import Final

from instanter.errors import InvalidFieldError

_VERSION: Final = 1
_PLACE: Final = struct.Struct(">BQ")
_SIGNATURE_SIZE_BYTES: Final = 16
_TOKEN_SIZE: Final = (_PLACE.size + _SIGNATURE_SIZE_BYTES) * 8 // 6 + 1


class ResumeTokens:
    """Makes and checks the tokens of one store.

    Parameters
    ----------
    secret
        The store's, see `store/secret`.
    """

    __slots__ = ("_keyed",)

    def __init__(self, secret: bytes) -> None:
        self._keyed = hmac.new(secret, digestmod="sha256")

    def format(self, sequence: int) -> str:
        """Return the token that resumes behind a transition. Costs 2 µs."""
        place = _PLACE.pack(_VERSION, sequence)
        keyed = self._keyed.copy()
        keyed.update(place)
        signature = keyed.digest()[:_SIGNATURE_SIZE_BYTES]
        return base64.urlsafe_b64encode(place + signature).decode().rstrip("=")

    def parse(self, token: str, field: str) -> int:
        """Return the sequence within a token.

        Raises
        ------
        InvalidFieldError
            It was not made by this store, or was changed; reason `RESUME_TOKEN_INVALID`.
        """
        try:
            if len(token) != _TOKEN_SIZE:
                raise ValueError
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
            _, sequence = _PLACE.unpack_from(raw)
            # Whole, because the last character has bits that say nothing.
            if not hmac.compare_digest(token, self.format(sequence)):
                raise ValueError
        except (ValueError, binascii.Error) as error:
            raise InvalidFieldError(
                field,
                token,
                "the resume_token of a message of this server, unchanged, or nothing to begin now",
                reason="RESUME_TOKEN_INVALID",
            ) from error
        return int(sequence)
