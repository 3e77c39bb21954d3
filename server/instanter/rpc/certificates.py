"""When the certificates of an encrypted port end, and who is told of it in time.

Callers refuse one that has ended, each by itself and with words of its own; the server would go on
as if nothing were. Nothing in Python's own library reads a certificate's times without a
connection, so the few bytes in question are found here, as RFC 5280 has them.
"""

import asyncio
import re
import ssl
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from instanter import wire_limits
from instanter.clock import Clock
from instanter.events_log import EventsLog

_PEM: Final = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_DAY_NS: Final = 86_400_000_000_000
_VERSION_TAG: Final = 0xA0
_TIME_FORMATS: Final = {0x17: "%y%m%d%H%M%SZ", 0x18: "%Y%m%d%H%M%SZ"}
_LONG_FORM: Final = 0x80


class CertificateWatch:
    """Tells of certificates that have ended or end soon, at the start and once a day.

    Parameters
    ----------
    chain
        Certificates, PEM: the server's own first, then those that it was signed by. What is none
        is left out.
    log, clock
        Who is told, and what the ends are compared with.
    """

    __slots__ = ("_clock", "_log", "_spans")

    def __init__(self, chain: bytes, *, log: EventsLog, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._spans: list[tuple[datetime, datetime]] = []
        for pem in _PEM.findall(chain.decode("ascii", "replace")):
            with suppress(ValueError, LookupError):
                self._spans.append(find_validity(ssl.PEM_cert_to_DER_cert(pem)))

    async def run(self) -> None:
        """Check again and again, until cancelled."""
        while True:
            self.check()
            await asyncio.sleep(_DAY_NS / 1e9)

    def check(self) -> None:
        """Tell of each certificate that callers refuse now, or will before long."""
        now_ns = self._clock.now_ns()
        for place, (begin, end) in enumerate(self._spans, 1):
            left_ns = _to_ns(end) - now_ns
            if left_ns <= 0:
                self._log.error("certificate_expired", place=place, end_time=_show(end))
            elif now_ns < _to_ns(begin):
                self._log.error("certificate_not_valid_yet", place=place, begin_time=_show(begin))
            elif left_ns <= wire_limits.CERTIFICATE_END_TOLD_NS:
                self._log.warning(
                    "certificate_ends_soon",
                    place=place,
                    end_time=_show(end),
                    days_left=left_ns // _DAY_NS,
                )


def find_validity(certificate: bytes) -> tuple[datetime, datetime]:
    """Return from when to when a certificate is valid (RFC 5280, section 4.1).

    Parameters
    ----------
    certificate
        X.509 in DER.

    Raises
    ------
    ValueError, LookupError
        It is none.
    """
    _, at, _ = _enter(certificate, 0)
    _, at, _ = _enter(certificate, at)
    if certificate[at] == _VERSION_TAG:
        _, _, at = _enter(certificate, at)
    for _ in ("serial number", "signature", "issuer"):
        _, _, at = _enter(certificate, at)
    _, at, _ = _enter(certificate, at)
    begin, at = _read_time(certificate, at)
    end, _ = _read_time(certificate, at)
    return begin, end


def _enter(der: bytes, at: int) -> tuple[int, int, int]:
    """Return the tag of the element that begins at a place, and where its content begins and ends.

    Tags have one byte here; a length has one, or as many as the first one says.
    """
    size, content = der[at + 1], at + 2
    if size >= _LONG_FORM:
        count = size - _LONG_FORM
        size, content = int.from_bytes(der[content : content + count], "big"), content + count
    return der[at], content, content + size


def _read_time(der: bytes, at: int) -> tuple[datetime, int]:
    """Return the time that stands at a place, and where it ends."""
    tag, begin, end = _enter(der, at)
    text = der[begin:end].decode("ascii")
    return datetime.strptime(text, _TIME_FORMATS[tag]).replace(tzinfo=UTC), end


def _to_ns(time: datetime) -> int:
    return int(time.timestamp()) * 1_000_000_000


def _show(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")
