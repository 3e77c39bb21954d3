"""How large the benchmark of the keeper is."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured.

    Attributes
    ----------
    customers
        Profiles of the store that is written to.
    offers
        Offers of the catalogue.
    rounds
        Times that things compared with each other are measured in turn.
    batch_events
        Events of one request, and rows of one SQLite transaction.
    clients
        Clients that send batches at the same time.
    batches
        Batches of each client in a round.
    event_rate_per_s
        Single events a second for the times of acknowledgements and beside decisions.
    event_seconds
        How long each of these runs takes.
    syncs
        Bare writes with a sync in a round.
    decisions_per_s
        Decisions a second whose times are taken.
    learning_outcomes
        Outcomes whose way into the next decision is timed.
    recovery_customers, recovery_events
        Profiles in the base and events in the log's tail of the server that is started.
    replay_rows
        Rows of each file that is replayed, at most; 0 for all.
    """

    customers: int
    offers: int
    rounds: int
    batch_events: int
    clients: int
    batches: int
    event_rate_per_s: int
    event_seconds: float
    syncs: int
    decisions_per_s: int
    learning_outcomes: int
    recovery_customers: int
    recovery_events: int
    replay_rows: int


FULL = Sizes(
    customers=20_000,
    offers=200,
    rounds=5,
    batch_events=100,
    clients=8,
    batches=60,
    event_rate_per_s=2_000,
    event_seconds=4.0,
    syncs=2_000,
    decisions_per_s=1_000,
    learning_outcomes=200,
    recovery_customers=1_000_000,
    recovery_events=100_000,
    replay_rows=0,
)
SMALL = Sizes(
    customers=500,
    offers=10,
    rounds=1,
    batch_events=20,
    clients=2,
    batches=5,
    event_rate_per_s=200,
    event_seconds=0.5,
    syncs=50,
    decisions_per_s=100,
    learning_outcomes=5,
    recovery_customers=500,
    recovery_events=500,
    replay_rows=2_000,
)
