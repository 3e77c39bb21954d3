"""How much is measured: the size for the numbers, and the small one that runs in the tests."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of the workload and counts of samples.

    Attributes
    ----------
    customers, customers_redis, customers_feast
        Of Instanter and rival (a), of the rivals on Redis hashes, of Feast. Fewer for those that
        take long to fill; it is in their favour.
    offers
        Of the catalogue.
    rounds
        Each measures all contestants in turn.
    run_s
        How long each run should take; the number of requests follows from a first short one.
    generators
        Processes of the generator at the same time, each with a customer of its own.
    requests_first
        Requests of the first short run.
    requests_latency
        Requests one at a time, for percentiles, at most; no longer than two runs.
    customers_checked
        How many customers' answers are compared.
    """

    customers: int
    customers_redis: int
    customers_feast: int
    offers: int
    rounds: int
    run_s: float
    generators: int
    requests_first: int
    requests_latency: int
    customers_checked: int


FULL = Sizes(
    customers=100_000,
    customers_redis=10_000,
    customers_feast=1_000,
    offers=200,
    rounds=8,
    run_s=2.0,
    generators=8,
    requests_first=160,
    requests_latency=10_000,
    customers_checked=1_000,
)

SMALL = Sizes(
    customers=400,
    customers_redis=100,
    customers_feast=20,
    offers=40,
    rounds=2,
    run_s=0.3,
    generators=4,
    requests_first=80,
    requests_latency=200,
    customers_checked=200,
)
