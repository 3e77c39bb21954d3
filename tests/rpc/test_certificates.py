"""Who runs a server is told in time that its certificate ends."""

import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trustme
from cryptography import x509

from instanter.events_log import make_events_log
from instanter.rpc.certificates import CertificateWatch

BEGIN = datetime(2030, 1, 1, tzinfo=UTC)


class Calendar:
    """A clock that a test turns."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def now_ns(self) -> int:
        return int(self.now.timestamp()) * 1_000_000_000

    def monotonic_ns(self) -> int:
        return 0


def issue(end: datetime, **options: Any) -> bytes:
    issued = trustme.CA(**options).issue_cert("localhost", not_before=BEGIN, not_after=end)
    return issued.cert_chain_pems[0].bytes()


def tell(chain: bytes, now: datetime) -> list[dict[str, Any]]:
    """Return what is told, without its time."""
    stream = io.StringIO()
    log = make_events_log(stream, as_json=True)
    CertificateWatch(chain, log=log, clock=Calendar(now)).check()
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    for event in events:
        del event["timestamp"]
    return events


@pytest.mark.parametrize(
    "end", [datetime(2049, 12, 31, tzinfo=UTC), datetime(2051, 2, 3, tzinfo=UTC)]
)
@pytest.mark.parametrize("key_type", list(trustme.KeyType))
def test_an_end_is_told_from_14_days_before(end: datetime, key_type: trustme.KeyType) -> None:
    """(From 2050 on, times in certificates are written in another way.)"""
    chain = issue(end, key_type=key_type)
    assert x509.load_pem_x509_certificate(chain).not_valid_after_utc == end
    shown = end.isoformat().replace("+00:00", "Z")
    assert tell(chain, end - timedelta(days=14, seconds=1)) == []
    assert tell(chain, end - timedelta(days=13, seconds=-1)) == [
        {
            "event": "certificate_ends_soon",
            "level": "warning",
            "place": 1,
            "end_time": shown,
            "days_left": 12,
        }
    ]
    expired = {"event": "certificate_expired", "level": "error", "place": 1, "end_time": shown}
    assert tell(chain, end) == [expired]


def test_one_that_is_not_valid_yet_is_told() -> None:
    (event,) = tell(issue(BEGIN + timedelta(days=90)), BEGIN - timedelta(seconds=1))
    assert (event["event"], event["begin_time"]) == (
        "certificate_not_valid_yet",
        "2030-01-01T00:00:00Z",
    )


def test_each_of_a_chain_is_looked_at_and_what_is_none_is_left_out() -> None:
    long, short = issue(BEGIN + timedelta(days=90)), issue(BEGIN + timedelta(days=3))
    broken = b"-----BEGIN CERTIFICATE-----\nMAAwAA==\n-----END CERTIFICATE-----\n"
    events = tell(broken + b"a remark\n" + long + short, BEGIN + timedelta(days=1))
    assert [(event["event"], event["place"]) for event in events] == [("certificate_ends_soon", 2)]
    assert tell(b"", BEGIN) == []
