"""How much is measured: the size for the numbers, and the small one that runs in the tests."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of the workload and counts of samples.

    Attributes
    ----------
    customers, offers
        Of the standard workload.
    rounds
        Times that both sides of a ratio are measured in turn.
    processes
        Generator processes at the same time, each with a customer of its own, one connection and
        four calls in flight.
    echoes, decisions, stock_echoes
        Requests of each process in a round.
    single_calls
        Calls one after the other on one connection, for latency.
    paced_s
        Seconds of each round at half of the peak rate.
    idle_streams
        Streams that are open beside the calls.
    attack_s
        Seconds of each attack.
    """

    customers: int
    offers: int
    rounds: int
    processes: int
    echoes: int
    decisions: int
    stock_echoes: int
    single_calls: int
    paced_s: float
    idle_streams: int
    attack_s: float


FULL = Sizes(
    customers=100_000,
    offers=200,
    rounds=8,
    processes=8,
    echoes=6_000,
    decisions=2_000,
    stock_echoes=1_000,
    single_calls=4_000,
    paced_s=2.0,
    idle_streams=500,
    attack_s=4.0,
)

SMALL = Sizes(
    customers=400,
    offers=40,
    rounds=1,
    processes=2,
    echoes=500,
    decisions=200,
    stock_echoes=200,
    single_calls=200,
    paced_s=0.3,
    idle_streams=50,
    attack_s=0.5,
)
