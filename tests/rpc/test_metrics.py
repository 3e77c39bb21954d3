"""Counters and how Prometheus sees them."""

import socket
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from instanter.catalogue.fraud_words import Disposition, ListKind, Source
from instanter.decision.questions import Arm, NoOfferReason
from instanter.errors import UnavailableError
from instanter.metrics import (
    ARMS,
    DISPOSITIONS,
    HOTLISTS,
    NO_OFFER_REASONS,
    PROFILE_STATES,
    SOURCES,
    Metrics,
    MetricsDoor,
)
from instanter.store.profiles import ProfileState


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def door(metrics: Metrics) -> Iterator[str]:
    opened = MetricsDoor(lambda: metrics)
    port = opened.start("127.0.0.1", 0)
    yield f"http://127.0.0.1:{port}/metrics"
    opened.stop()


def read(address: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """Return every sample by name and label values, in the order of the labels' names."""
    with urllib.request.urlopen(address, timeout=20) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    assert all(family.documentation for family in families)
    return {
        (sample.name, tuple(v for _, v in sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_labels_are_the_numbers_of_the_contract() -> None:
    assert ("", *(state.name.lower() for state in ProfileState)) == PROFILE_STATES
    assert ("", *(arm.name.lower() for arm in Arm)) == ARMS
    assert NO_OFFER_REASONS[1:] == tuple(r.name.lower() for r in NoOfferReason if r)


def test_labels_of_card_payments_are_the_numbers_of_the_contract() -> None:
    for labels, kind in ((SOURCES, Source), (DISPOSITIONS, Disposition), (HOTLISTS, ListKind)):
        assert labels == ("", *(member.name.lower() for member in kind))


def test_card_payments_hotlists_and_paused_rules_are_shown(metrics: Metrics, door: str) -> None:
    for _ in range(3):
        metrics.count_assessment(Source.STAND_IN, Disposition.REFER)
    metrics.hotlist_entry_counts[ListKind.DEVICES] = 5
    metrics.fraud_rules_paused_count, metrics.fraud_rule_pauses_count = 1, 2
    samples = read(door)
    assert samples["instanter_assessments_total", ("refer", "stand_in")] == 3
    assert samples["instanter_assessments_total", ("approve", "rules")] == 0
    assert samples["instanter_hotlist_entries", ("devices",)] == 5
    assert samples["instanter_fraud_rules_paused", ()] == 1
    assert samples["instanter_fraud_rule_pauses_total", ()] == 2


def test_every_counter_is_shown(metrics: Metrics, door: str) -> None:
    metrics.decisions_by_state[ProfileState.DAMAGED] += 2
    metrics.no_offer_by_reason[NoOfferReason.HOLDOUT] += 3
    metrics.decisions_by_arm[Arm.RANDOM] += 9
    metrics.count_error("GetCustomer", "NOT_FOUND")
    metrics.records_damaged_count = 4
    metrics.writes_count, metrics.write_groups_count = 6, 5
    metrics.catalogue_revision, metrics.model_revision = 7, 8
    samples = read(door)
    assert samples["instanter_decisions_total", ("damaged",)] == 2
    assert samples["instanter_decisions_total", ("known",)] == 0
    assert samples["instanter_decisions_without_offer_total", ("holdout",)] == 3
    assert samples["instanter_decisions_by_arm_total", ("random",)] == 9
    assert samples["instanter_call_errors_total", ("NOT_FOUND", "GetCustomer")] == 1
    assert samples["instanter_records_damaged_total", ()] == 4
    assert samples["instanter_writes_total", ()] == 6
    assert samples["instanter_write_groups_total", ()] == 5
    assert samples["instanter_catalogue_revision", ()] == 7
    assert samples["instanter_model_revision", ()] == 8


def test_times_fall_into_their_buckets(metrics: Metrics, door: str) -> None:
    for took_us in (0, 63, 64, 1 << 40):
        metrics.count_turn(2, took_us)
    samples = read(door)
    name = "instanter_decision_seconds_bucket"
    assert samples[name, ("0.0",)] == 2
    assert samples[name, ("6.3e-05",)] == 4
    assert samples[name, ("0.000127",)] == 6
    assert samples[name, ("+Inf",)] == samples["instanter_decision_seconds_count", ()] == 8
    assert samples["instanter_decision_seconds_sum", ()] == pytest.approx(
        2 * (127 + (1 << 40)) / 1e6
    )
    assert samples["instanter_decision_turns_total", ()] == 4


def test_a_metrics_port_that_is_taken_is_refused(metrics: Metrics) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UnavailableError, match=str(port)):
            MetricsDoor(lambda: metrics).start("127.0.0.1", port)
