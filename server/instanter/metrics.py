"""Counters of the server: plain numbers while it decides, Prometheus's form when somebody asks.

Counting is an addition to a list element (0.03 µs); a `prometheus_client` counter takes 20 times
as long and holds a lock. Threads add without a lock: between two of them an addition can be lost
about once in a million; that is good enough for a rate, and each decision is counted by one thread
anyway.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from instanter.errors import UnavailableError

PROFILE_STATES: Final = ("", "known", "unknown", "damaged")
"""Label values by the number of the profile state; the first is never counted."""

NO_OFFER_REASONS: Final = (
    "",
    "holdout",
    "no_current_offer",
    "no_eligible_offer",
    "no_priority",
    "contact_policy",
    "stock",
)
"""Label values by the number of the reason; the first means that there is an offer."""

ROLES: Final = ("", "keeper", "worker")
"""Label values of processes; the first is never counted."""

ARMS: Final = ("", "decided", "random", "holdout")
"""Label values by the number of the arm; the first is never counted."""

SOURCES: Final = ("", "rules", "model", "hotlist", "stand_in")
"""Label values by the number of what a verdict rests on; the first is never counted."""

DISPOSITIONS: Final = ("", "approve", "refer", "decline")
"""Label values by the number of the disposition; the first is never counted."""

HOTLISTS: Final = ("", "cards", "terminals", "merchants", "devices", "bins")
"""Label values by the number of the hotlist; the first is never counted."""

TIME_BUCKETS: Final = 20
"""Bucket b holds times below 2**b µs; the last holds the rest, from 0.26 s on."""


@dataclass(frozen=True, slots=True)
class MetricText:
    """Name and help text of one metric, as Prometheus shows it."""

    name: str
    text: str


DECISIONS: Final = MetricText(
    "instanter_decisions", "Decisions made, by whether a profile was used."
)
NO_OFFER: Final = MetricText("instanter_decisions_without_offer", "Decisions without an offer.")
DECISIONS_BY_ARM: Final = MetricText(
    "instanter_decisions_by_arm", "Decisions made, by the customer's arm."
)
DECISION_TIME: Final = MetricText(
    "instanter_decision_seconds",
    "Time inside the server from decoded request to built response, of decisions that arrived"
    " together their common time.",
)
ERRORS: Final = MetricText("instanter_call_errors", "Calls that failed, by method and code.")
STREAMS_OPEN: Final = MetricText("instanter_streams_open", "Calls that stream responses now.")
STREAM_RESPONSES: Final = MetricText(
    "instanter_stream_responses", "Responses handed to the wire by calls that stream them."
)
RECORDS_DAMAGED: Final = MetricText(
    "instanter_records_damaged", "Reads of damaged profile records; none of them was served."
)
RESTARTS: Final = MetricText(
    "instanter_process_restarts", "Processes that ended and were replaced, by role."
)
TURNS: Final = MetricText(
    "instanter_decision_turns", "Read transactions that decisions were made in."
)
WRITES: Final = MetricText("instanter_writes", "Changes that are on disk.")
WRITE_GROUPS: Final = MetricText(
    "instanter_write_groups", "Write transactions that these changes were committed in."
)
CALLS_FORWARDED: Final = MetricText(
    "instanter_calls_forwarded", "Calls that workers have handed to the keeper."
)
DECISION_RECORDS_DROPPED: Final = MetricText(
    "instanter_decision_records_dropped",
    "Records of decisions that the keeper did not take in time; their outcomes cannot count.",
)
CATALOGUE_REVISION: Final = MetricText(
    "instanter_catalogue_revision", "Revision of the catalogue that decides; 0 for none."
)
MODEL_REVISION: Final = MetricText(
    "instanter_model_revision", "Revision of the propensity models that decide; 0 for none."
)

ASSESSMENTS: Final = MetricText(
    "instanter_assessments",
    "Card transactions assessed, by what was done with them and what that rests on.",
)
FRAUD_RULES_PAUSED: Final = MetricText(
    "instanter_fraud_rule_pauses", "Times that its guard has paused a fraud rule."
)
FRAUD_RULES_PAUSED_NOW: Final = MetricText(
    "instanter_fraud_rules_paused", "Fraud rules that are paused by their guards now."
)
HOTLIST_ENTRIES: Final = MetricText(
    "instanter_hotlist_entries", "Entries of each hotlist; expired ones for about an hour."
)

LOG_AHEAD: Final = MetricText(
    "instanter_log_ahead_seconds",
    "Seconds by which the log's time is ahead of the clock, which was put back; 0 as a rule.",
)

KERNELS_COMPILED_LATE: Final = MetricText(
    "instanter_kernels_compiled_late",
    "Kernels compiled after the port was opened; anything but 0 is a bug.",
)


class Metrics:
    """The counters of one process.

    Attributes
    ----------
    decisions_by_state
        Decisions by the number of their profile state.
    no_offer_by_reason
        Decisions without an offer by the number of the reason; element 0 counts those with one.
    decisions_by_arm
        Decisions by the number of the customer's arm.
    decision_time_buckets, decision_time_sum_us
        Decisions by the bit length of their time in µs, and the sum of these times.
    turns_count
        Times that decisions were made together.
    streams_open_count, stream_responses_count
        Calls that stream now, and responses that such calls have handed to the wire.
    records_damaged_count
        Damaged records met.
    writes_count, write_groups_count
        Changes on disk, and transactions they took.
    calls_forwarded_count, decision_records_dropped_count
        Calls handed to the keeper, and records of decisions that it did not take.
    assessments_by_verdict
        Assessments by source and disposition: element `source * len(DISPOSITIONS) + disposition`.
    fraud_rule_pauses_count, fraud_rules_paused_count
        Times that a guard has paused a rule, and rules that are paused now.
    hotlist_entry_counts
        Entries by the number of their hotlist.
    log_ahead_s
        Seconds by which the latest record is ahead of the clock.
    restarts_by_role
        Processes that ended and were replaced, by the number of their role in `ROLES`.
    catalogue_revision, model_revision
        What decides now.
    kernels_compiled_late_count
        Kernels compiled after the port was opened.
    """

    __slots__ = (
        "_errors",
        "assessments_by_verdict",
        "calls_forwarded_count",
        "catalogue_revision",
        "decision_records_dropped_count",
        "decision_time_buckets",
        "decision_time_sum_us",
        "decisions_by_arm",
        "decisions_by_state",
        "fraud_rule_pauses_count",
        "fraud_rules_paused_count",
        "hotlist_entry_counts",
        "kernels_compiled_late_count",
        "log_ahead_s",
        "model_revision",
        "no_offer_by_reason",
        "records_damaged_count",
        "restarts_by_role",
        "stream_responses_count",
        "streams_open_count",
        "turns_count",
        "write_groups_count",
        "writes_count",
    )

    def __init__(self) -> None:
        self.decisions_by_state = [0] * len(PROFILE_STATES)
        self.decisions_by_arm = [0] * len(ARMS)
        self.no_offer_by_reason = [0] * len(NO_OFFER_REASONS)
        self.decision_time_buckets = [0] * TIME_BUCKETS
        self.decision_time_sum_us = 0
        self.restarts_by_role = [0] * len(ROLES)
        self.assessments_by_verdict = [0] * (len(SOURCES) * len(DISPOSITIONS))
        self.fraud_rule_pauses_count = 0
        self.fraud_rules_paused_count = 0
        self.hotlist_entry_counts = [0] * len(HOTLISTS)
        self.log_ahead_s = 0.0
        self.turns_count = 0
        self.streams_open_count = 0
        self.stream_responses_count = 0
        self.records_damaged_count = 0
        self.writes_count = 0
        self.write_groups_count = 0
        self.calls_forwarded_count = 0
        self.decision_records_dropped_count = 0
        self.catalogue_revision = 0
        self.model_revision = 0
        self.kernels_compiled_late_count = 0
        self._errors: dict[tuple[str, str], int] = {}

    def count_turn(self, decisions_count: int, took_us: int) -> None:
        """Count decisions that were made together in `took_us` microseconds."""
        bucket = took_us.bit_length()
        self.decision_time_buckets[min(bucket, TIME_BUCKETS - 1)] += decisions_count
        self.decision_time_sum_us += took_us * decisions_count
        self.turns_count += 1

    def count_assessment(self, source: int, disposition: int) -> None:
        """Count a verdict on a card transaction."""
        self.assessments_by_verdict[source * len(DISPOSITIONS) + disposition] += 1

    def count_error(self, method: str, code: str, count: int = 1) -> None:
        """Count calls that failed."""
        key = (method, code)
        self._errors[key] = self._errors.get(key, 0) + count

    def list_errors(self) -> dict[tuple[str, str], int]:
        """Return how many calls failed, by method and code."""
        return dict(self._errors)


class MetricsCollector:
    """Shows the counters to Prometheus at the moment it asks.

    Parameters
    ----------
    read
        Returns the counters as they are now; called on the thread that serves the page.
    """

    def __init__(self, read: Callable[[], Metrics]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        """Yield every metric family with its present values."""
        metrics = self._read()
        yield _label(DECISIONS, "profile", PROFILE_STATES, metrics.decisions_by_state)
        yield _label(NO_OFFER, "reason", NO_OFFER_REASONS, metrics.no_offer_by_reason)
        yield _label(DECISIONS_BY_ARM, "arm", ARMS, metrics.decisions_by_arm)
        yield _collect_time(metrics)
        yield _collect_assessments(metrics)
        yield _label(RESTARTS, "role", ROLES, metrics.restarts_by_role)
        errors = CounterMetricFamily(ERRORS.name, ERRORS.text, labels=("method", "code"))
        for (method, code), count in metrics.list_errors().items():
            errors.add_metric((method, code), count)
        yield errors
        for text, count in (
            (STREAM_RESPONSES, metrics.stream_responses_count),
            (RECORDS_DAMAGED, metrics.records_damaged_count),
            (TURNS, metrics.turns_count),
            (WRITES, metrics.writes_count),
            (WRITE_GROUPS, metrics.write_groups_count),
            (CALLS_FORWARDED, metrics.calls_forwarded_count),
            (DECISION_RECORDS_DROPPED, metrics.decision_records_dropped_count),
            (FRAUD_RULES_PAUSED, metrics.fraud_rule_pauses_count),
            (KERNELS_COMPILED_LATE, metrics.kernels_compiled_late_count),
        ):
            yield CounterMetricFamily(text.name, text.text, value=count)
        entries = GaugeMetricFamily(HOTLIST_ENTRIES.name, HOTLIST_ENTRIES.text, labels=("hotlist",))
        for hotlist, count in zip(HOTLISTS[1:], metrics.hotlist_entry_counts[1:], strict=True):
            entries.add_metric((hotlist,), count)
        yield entries
        yield GaugeMetricFamily(
            FRAUD_RULES_PAUSED_NOW.name,
            FRAUD_RULES_PAUSED_NOW.text,
            value=metrics.fraud_rules_paused_count,
        )
        yield GaugeMetricFamily(LOG_AHEAD.name, LOG_AHEAD.text, value=metrics.log_ahead_s)
        yield GaugeMetricFamily(
            STREAMS_OPEN.name, STREAMS_OPEN.text, value=metrics.streams_open_count
        )
        yield GaugeMetricFamily(
            CATALOGUE_REVISION.name, CATALOGUE_REVISION.text, value=metrics.catalogue_revision
        )
        yield GaugeMetricFamily(
            MODEL_REVISION.name, MODEL_REVISION.text, value=metrics.model_revision
        )


def _collect_time(metrics: Metrics) -> Metric:
    """Return the histogram of decision times, in seconds."""
    buckets: list[tuple[str, float]] = []
    total = 0
    for bit, count in enumerate(metrics.decision_time_buckets):
        total += count
        # Times below 2**bit whole microseconds are at most 2**bit − 1.
        last = bit == TIME_BUCKETS - 1
        buckets.append(("+Inf" if last else repr(((1 << bit) - 1) / 1e6), total))
    family = HistogramMetricFamily(DECISION_TIME.name, DECISION_TIME.text)
    family.add_metric((), buckets, metrics.decision_time_sum_us / 1e6)
    return family


def _collect_assessments(metrics: Metrics) -> Metric:
    """Return the verdicts by disposition and source."""
    labels = ("disposition", "source")
    family = CounterMetricFamily(ASSESSMENTS.name, ASSESSMENTS.text, labels=labels)
    counts = metrics.assessments_by_verdict
    for number, source in enumerate(SOURCES[1:], 1):
        for at, disposition in enumerate(DISPOSITIONS[1:], 1):
            count = counts[number * len(DISPOSITIONS) + at]
            family.add_metric((disposition, source), count)
    return family


def _label(text: MetricText, label: str, values: tuple[str, ...], counts: list[int]) -> Metric:
    """Return a counter family with one label, leaving out the label's unused first value."""
    family = CounterMetricFamily(text.name, text.text, labels=(label,))
    for value, count in zip(values[1:], counts[1:], strict=True):
        family.add_metric((value,), count)
    return family


class MetricsDoor:
    """Serves the counters over HTTP at `/metrics`, on a thread and a port of its own.

    Parameters
    ----------
    read
        As in `MetricsCollector`.
    """

    def __init__(self, read: Callable[[], Metrics]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(MetricsCollector(read))
        self._server: Any = None
        self._thread: Any = None

    def start(self, address: str, port: int) -> int:
        """Open the port and return it; 0 takes any free one.

        Raises
        ------
        UnavailableError
            The port cannot be opened.
        """
        try:
            self._server, self._thread = start_http_server(
                port, addr=address, registry=self._registry
            )
        except OSError as error:
            raise UnavailableError(
                f"the metrics port {address}:{port} cannot be opened: {error}",
                reason="PORT_UNAVAILABLE",
            ) from error
        return int(self._server.server_port)

    def stop(self) -> None:
        """Close the port."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
