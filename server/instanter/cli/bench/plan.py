"""What is measured: which server, which question, how hard, how long."""

from collections.abc import Mapping
from dataclasses import dataclass

from instanter.client import Tls
from instanter.client.values import AttributeValue


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked for every customer; the fields are arguments of `Client.decide_offers`."""

    channel: str
    placement: str
    offer_count: int
    context: Mapping[str, AttributeValue | None]


@dataclass(frozen=True, slots=True)
class Load:
    """How hard the server is asked.

    Attributes
    ----------
    process_count, connection_count, in_flight
        Generators; connections of all of them together; calls at a time on each connection.
    rate_per_s
        Calls a second of all generators together, begun on schedule whether answers come or not;
        0 sends each call when the one before has been answered.
    warm_up_s, duration_s
        Time before counting, and of counting.
    seed
        Draws the customers.
    """

    process_count: int
    connection_count: int
    in_flight: int
    rate_per_s: float
    warm_up_s: float
    duration_s: float
    seed: int

    @property
    def is_open(self) -> bool:
        """Whether calls begin on schedule, and not when an answer has come."""
        return self.rate_per_s > 0

    def connections_of(self, process_index: int) -> int:
        """Return how many connections one generator has."""
        each, rest = divmod(self.connection_count, self.process_count)
        return each + (process_index < rest)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured.

    Attributes
    ----------
    address, tls
        The server.
    question, load
        What is asked, and how hard.
    customers
        Ids to draw from, evenly.
    timeout_s
        Of one call.
    """

    address: str
    tls: Tls | None
    question: Question
    load: Load
    customers: tuple[str, ...]
    timeout_s: float
