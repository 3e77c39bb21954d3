"""Which customers are asked for: those of a file, or a sample of the server's own."""

import random
from pathlib import Path
from typing import Final

from instanter.cli.failures import CommandError
from instanter.client import Client
from instanter.clock import Clock

SAMPLE_COUNT: Final = 10_000
"""Customers in a sample: enough for 40 MB of profiles, more than a processor's cache holds."""

_LISTING_NS_MAX = 5_000_000_000
_PAGE_SIZE = 1000


def read_customers(file: Path) -> tuple[str, ...]:
    """Return the ids in a file, one a line; an id that stands there twice is asked for as often.

    Raises
    ------
    CommandError
        The file is not UTF-8, or has no id.
    OSError
        The file cannot be read.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise CommandError(
            f"{file}: byte {error.start:,} is not UTF-8; expected one customer's id a line"
        ) from error
    ids = tuple(line.strip() for line in text.split("\n") if line.strip())
    if not ids:
        raise CommandError(f"{file}: has no line with an id; expected one customer's id a line")
    return ids


def sample_customers(client: Client, seed: int, clock: Clock) -> tuple[str, ...]:
    """Return an even sample of the server's customers, as far as five seconds of listing reach.

    Method: reservoir sampling, algorithm R of J. S. Vitter, "Random Sampling with a Reservoir",
    1985.

    Raises
    ------
    CommandError
        The server has no customers.
    ClientError
        The server refuses to list them.
    """
    draw = random.Random(seed)  # noqa: S311 - a workload, no secret
    first = client.list_customer_page(1).customers
    # Whole profiles need not travel; the contract knows no mask of nothing, so one attribute does.
    mask = tuple(first[0].attributes)[:1] if first else ()
    sample: list[str] = []
    seen_count = 0
    token = ""
    end_ns = clock.monotonic_ns() + _LISTING_NS_MAX
    while True:
        page = client.list_customer_page(_PAGE_SIZE, token, mask or None)
        for customer in page.customers:
            seen_count += 1
            if len(sample) < SAMPLE_COUNT:
                sample.append(customer.id)
            elif (place := draw.randrange(seen_count)) < SAMPLE_COUNT:
                sample[place] = customer.id
        token = page.next_page_token
        if not token or clock.monotonic_ns() > end_ns:
            break
    if not sample:
        raise CommandError(
            "the server has no customers",
            hint="load some with `instanter load customers`, or name ids with --customers FILE",
        )
    return tuple(sample)
