"""How large the benchmark of the stock side is."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured.

    Attributes
    ----------
    rounds
        Times that things compared with each other are measured in turn.
    sites, units
        Of the catalogue; each unit of the policy with everything in it has a position everywhere.
    watched_units
        Units whose every movement raises or clears an alert.
    syncs
        Bare writes with a sync in a round.
    subscribers, alerts, alerts_per_s
        Of the alerts whose way is timed: who reads, how many come in a round, and how fast.
    many_subscribers, silent_subscribers, many_rounds, many_alerts, many_alerts_per_s
        The same for many of whom some never read.
    many_connections
        Connections that those of the many who read share.
    clients, batch_movements, batches
        Clients that send batches at the same time, movements of each, batches of each in a round.
    lost_alerts, lost_subscribers, lost_reconnects, lost_keepers
        Alerts told while subscribers are killed so often each, and keepers so often.
    customers, offers, decisions_per_s, decide_seconds
        Of the decisions beside movements and streams.
    movements_per_s, receipt_movements
        Movements a second beside decisions, and movements of each call.
    streams
        Streams open beside decisions.
    weekly_units, plunge_positions, plunge_trials
        Of what is judged from files: series, positions, injected runs; 0 for all.
    """

    rounds: int
    sites: int
    units: int
    watched_units: int
    syncs: int
    subscribers: int
    alerts: int
    alerts_per_s: float
    many_subscribers: int
    silent_subscribers: int
    many_rounds: int
    many_alerts: int
    many_alerts_per_s: float
    many_connections: int
    clients: int
    batch_movements: int
    batches: int
    lost_alerts: int
    lost_subscribers: int
    lost_reconnects: int
    lost_keepers: int
    customers: int
    offers: int
    decisions_per_s: int
    decide_seconds: float
    movements_per_s: int
    receipt_movements: int
    streams: int
    weekly_units: int
    plunge_positions: int
    plunge_trials: int


FULL = Sizes(
    rounds=5,
    sites=50,
    units=200,
    watched_units=20,
    syncs=2_000,
    subscribers=100,
    alerts=400,
    alerts_per_s=100.0,
    many_subscribers=1_000,
    silent_subscribers=50,
    many_rounds=3,
    many_alerts=600,
    many_alerts_per_s=30.0,
    many_connections=20,
    clients=8,
    batch_movements=100,
    batches=60,
    lost_alerts=50_000,
    lost_subscribers=20,
    lost_reconnects=50,
    lost_keepers=10,
    customers=20_000,
    offers=200,
    decisions_per_s=1_000,
    decide_seconds=4.0,
    movements_per_s=5_000,
    receipt_movements=10,
    streams=500,
    weekly_units=0,
    plunge_positions=0,
    plunge_trials=0,
)
SMALL = Sizes(
    rounds=1,
    sites=5,
    units=10,
    watched_units=4,
    syncs=50,
    subscribers=5,
    alerts=20,
    alerts_per_s=50.0,
    many_subscribers=20,
    silent_subscribers=2,
    many_rounds=1,
    many_alerts=20,
    many_alerts_per_s=50.0,
    many_connections=3,
    clients=2,
    batch_movements=20,
    batches=3,
    lost_alerts=600,
    lost_subscribers=3,
    lost_reconnects=3,
    lost_keepers=1,
    customers=500,
    offers=10,
    decisions_per_s=100,
    decide_seconds=0.5,
    movements_per_s=200,
    receipt_movements=10,
    streams=20,
    weekly_units=60,
    plunge_positions=10,
    plunge_trials=10,
)
