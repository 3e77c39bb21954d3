"""Reads what people write about card transactions: places and times."""

import math
from datetime import datetime

from instanter.cli.context_values import KINDS
from instanter.cli.failures import EXIT_USAGE, CommandError
from instanter.errors import show


def read_place(text: str) -> tuple[float | None, float | None]:
    """Return latitude and longitude of `LAT,LON`, None for an empty text.

    Raises
    ------
    CommandError
        It is none.
    """
    if not text:
        return None, None
    parts = text.split(",")
    try:
        latitude, longitude = map(float, parts)
    except ValueError:
        latitude = longitude = math.nan
    if not (math.isfinite(latitude) and math.isfinite(longitude)):
        raise CommandError(
            f"--place {show(text)}: expected latitude and longitude in degrees, 52.52,13.4 for"
            " example",
            exit_code=EXIT_USAGE,
        )
    return latitude, longitude


def read_time(text: str | None, option: str) -> datetime | None:
    """Return an instant, None for none.

    Raises
    ------
    CommandError
        It is none.
    """
    if text is None:
        return None
    found = KINDS["instant"](text)
    if not isinstance(found, datetime):
        raise CommandError(
            f"{option} {show(text)}: expected an RFC 3339 instant, 2026-03-01T12:00:00Z for"
            " example",
            exit_code=EXIT_USAGE,
        )
    return found
