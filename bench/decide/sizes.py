"""How much is measured: the size for the numbers, and the small one that runs in the tests."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of the workload and counts of samples.

    Attributes
    ----------
    customers, customers_few, customers_many
        Of the standard workload, and of the two stores that growth is measured between.
    offers, rules
        Of the standard workload, and of the catalogue that rules are timed on.
    rounds, calls
        Of measurements in turn, and of single calls in each round.
    wire_rounds, wire_processes, wire_requests
        Rounds over gRPC, generator processes at the same time (each with a customer of its own),
        and requests of each.
    batch_size
        Customers of one batch call.
    starts
        How often a start is timed.
    fresh_rows
        Rows of the real data that learning is measured on; 0 for all.
    """

    customers: int
    customers_few: int
    customers_many: int
    offers: int
    rules: int
    rounds: int
    calls: int
    wire_rounds: int
    wire_processes: int
    wire_requests: int
    batch_size: int
    starts: int
    fresh_rows: int


FULL = Sizes(
    customers=100_000,
    customers_few=10_000,
    customers_many=1_000_000,
    offers=200,
    rules=1_000,
    rounds=40,
    calls=500,
    wire_rounds=12,
    wire_processes=8,
    wire_requests=1_000,
    batch_size=100,
    starts=5,
    fresh_rows=0,
)

SMALL = Sizes(
    customers=400,
    customers_few=100,
    customers_many=800,
    offers=40,
    rules=100,
    rounds=4,
    calls=50,
    wire_rounds=2,
    wire_processes=2,
    wire_requests=100,
    batch_size=20,
    starts=1,
    fresh_rows=2_000,
)
