"""What generators count."""

from collections import Counter
from dataclasses import dataclass, field

from instanter.cli.bench.histogram import Histogram


@dataclass(slots=True)
class Tally:
    """What one or all generators counted. Not frozen: it counts.

    Attributes
    ----------
    latency
        From when a call was due (in an open loop) or sent (in a closed one) to its decoded answer.
    from_sending
        From sending it.
    server
        What the server says it took; it says whole microseconds.
    errors
        Failed calls by reason.
    without_offer_count
        Decisions that name no offer.
    unsent_count
        Calls of an open loop that were due and still waited for a free slot at the end.
    processor_ns
        Processor time of the generators while they counted.
    counted_ns
        How long they counted.
    """

    latency: Histogram = field(default_factory=Histogram)
    from_sending: Histogram = field(default_factory=Histogram)
    server: Histogram = field(default_factory=Histogram)
    errors: Counter[str] = field(default_factory=Counter)
    without_offer_count: int = 0
    unsent_count: int = 0
    processor_ns: int = 0
    counted_ns: int = 0

    @property
    def decision_count(self) -> int:
        """Decisions that were answered."""
        return self.latency.count

    @property
    def error_count(self) -> int:
        """Calls that failed."""
        return self.errors.total()

    def add(self, other: "Tally") -> None:
        """Count what another generator counted too, at the same time as this one."""
        self.latency.add(other.latency)
        self.from_sending.add(other.from_sending)
        self.server.add(other.server)
        self.errors.update(other.errors)
        self.without_offer_count += other.without_offer_count
        self.unsent_count += other.unsent_count
        self.processor_ns += other.processor_ns
        self.counted_ns = max(self.counted_ns, other.counted_ns)
