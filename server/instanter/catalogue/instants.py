"""Instants as people write them: a date, or RFC 3339 with its offset; durations as in CEL."""

import re
from datetime import UTC, datetime

_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_INSTANT = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)
_DURATION = re.compile(r"[+-]?(?:\d+(?:\.\d*)?(?:h|m|s|ms|us|ns))+|[+-]?0", re.ASCII)
_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?)(h|ms|us|ns|m|s)", re.ASCII)
_UNIT_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}

INSTANT_EXPECTED = "a date such as 2026-11-30 (midnight UTC) or an instant 2026-11-30T18:00:00Z"
"""What is right where an instant is wanted, for error messages."""


def find_instant_s(text: str, *, date_allowed: bool = True) -> float | None:
    """Return seconds since 1970 of an RFC 3339 instant or a date; None when it is neither."""
    if date_allowed and _DATE.fullmatch(text):
        text = f"{text}T00:00:00Z"
    if not _INSTANT.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text.upper()).timestamp()
    except (ValueError, OverflowError):
        return None


def find_duration_s(text: str) -> float | None:
    """Return the seconds of a CEL duration such as `720h` or `1h30m`; None when it is none."""
    if not _DURATION.fullmatch(text):
        return None
    total = sum(float(n) * _UNIT_S[unit] for n, unit in _DURATION_PART.findall(text))
    return -total if text.startswith("-") else total


def format_instant(seconds: float) -> str:
    """Return RFC 3339 in UTC for seconds since 1970."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="auto").replace("+00:00", "Z")
