"""How large the benchmark of the check at the till is."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured.

    Attributes
    ----------
    rounds
        Times that things compared with each other are measured in turn.
    cards
        Different cards of the transactions sent.
    assess_rate_per_s, assess_seconds
        Transactions a second whose times are taken, and for how long in each round.
    syncs
        Bare writes with a sync in a round.
    clients, client_calls
        Clients with one call under way each, and calls of each in a round.
    rules, velocities, in_process_calls
        Of the assessments without a wire.
    violation_rounds, attempts
        Rounds with a killed process, and parallel attempts in each.
    replay_rows
        Rows of each data set that is replayed, at most; 0 for all.
    backtest_rows
        Of the handbook, through the back-test.
    travel_rows, travel_pairs
        Genuine transactions with places, 0 for all, and injected impossible pairs.
    """

    rounds: int
    cards: int
    assess_rate_per_s: int
    assess_seconds: float
    syncs: int
    clients: int
    client_calls: int
    rules: int
    velocities: int
    in_process_calls: int
    violation_rounds: int
    attempts: int
    replay_rows: int
    backtest_rows: int
    travel_rows: int
    travel_pairs: int


FULL = Sizes(
    rounds=5,
    cards=20_000,
    assess_rate_per_s=1_000,
    assess_seconds=4.0,
    syncs=2_000,
    clients=16,
    client_calls=1_500,
    rules=1_000,
    velocities=40,
    in_process_calls=5_000,
    violation_rounds=50,
    attempts=200,
    replay_rows=0,
    backtest_rows=60_000,
    travel_rows=0,
    travel_pairs=10_000,
)
SMALL = Sizes(
    rounds=1,
    cards=200,
    assess_rate_per_s=100,
    assess_seconds=0.5,
    syncs=50,
    clients=4,
    client_calls=20,
    rules=50,
    velocities=10,
    in_process_calls=50,
    violation_rounds=1,
    attempts=30,
    replay_rows=1_000,
    backtest_rows=2_000,
    travel_rows=3_000,
    travel_pairs=200,
)
