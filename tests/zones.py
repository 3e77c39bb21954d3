"""Where it is noon now: for what servers say of a day that has gone far enough to go by."""

from datetime import UTC, datetime


def find_noon_zone() -> str:
    """Return a time zone in which it is between 11:30 and 12:30, or an hour from that."""
    ahead = 12 - datetime.now(UTC).hour
    # (These names count the hours west of Greenwich.)
    return f"Etc/GMT{-ahead:+d}" if ahead else "Etc/GMT"
