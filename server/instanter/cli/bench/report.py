"""Figures of a run, in the words in which they are shown."""

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass

from instanter.cli.bench.histogram import Bar, Histogram
from instanter.cli.bench.plan import Plan
from instanter.cli.bench.tally import Tally
from instanter.cli.output import count_of

_BARS_SHOWN = 24
_REACHED_SHARE = 0.98


@dataclass(frozen=True, slots=True)
class Percentiles:
    """How times are distributed, in microseconds."""

    p50_us: float
    p90_us: float
    p99_us: float
    p99_9_us: float
    longest_us: float
    mean_us: float

    @classmethod
    def of(cls, histogram: Histogram) -> "Percentiles":
        """Return those of a histogram; all 0 for an empty one."""
        p50, p90, p99, p99_9 = (
            histogram.percentile_ns(percent) / 1e3 for percent in (50, 90, 99, 99.9)
        )
        mean = histogram.sum_ns / max(histogram.count, 1)
        return cls(p50, p90, p99, p99_9, histogram.time_ns_max / 1e3, round(mean) / 1e3)


@dataclass(frozen=True, slots=True)
class Report:
    """What was measured, and how.

    Attributes
    ----------
    server
        Its address.
    loop
        `closed` or `open`.
    rate_per_s_asked
        Of an open loop; None of a closed one.
    processes, connections, in_flight
        Generators; connections of all together; calls at a time on each.
    warm_up_s, duration_s
        Time before counting, and of counting, as it came to be.
    is_cut_short
        Whether Ctrl-C ended it.
    customers, channel, placement, offers
        Number of different customers asked for, and the rest of the question.
    catalogue_revision, model_revision
        With which the server decided when it began.
    decisions, decisions_per_s, without_offer
        Decisions answered, and those among them without an offer.
    errors
        Failed calls by reason.
    unsent
        Calls of an open loop that were due and never begun.
    latency
        From when a call was due (open loop) or sent (closed loop) to its decoded answer.
    from_sending
        From sending it.
    server_took
        What the server itself says; whole microseconds.
    generator_processor_us
        Processor time of the generators for each call.
    latency_histogram, server_histogram
        Bars of equal ratio.
    remarks
        How to read the figures.
    """

    server: str
    loop: str
    rate_per_s_asked: float | None
    processes: int
    connections: int
    in_flight: int
    warm_up_s: float
    duration_s: float
    is_cut_short: bool
    customers: int
    channel: str
    placement: str
    offers: int
    catalogue_revision: int
    model_revision: int
    decisions: int
    decisions_per_s: float
    without_offer: int
    errors: Mapping[str, int]
    unsent: int
    latency: Percentiles
    from_sending: Percentiles
    server_took: Percentiles
    generator_processor_us: float
    latency_histogram: tuple[Bar, ...]
    server_histogram: tuple[Bar, ...]
    remarks: tuple[str, ...]


def make_report(
    plan: Plan,
    tally: Tally,
    *,
    catalogue_revision: int,
    model_revision: int,
    is_cut_short: bool,
) -> Report:
    """Return the report of a run."""
    counted_s = tally.counted_ns / 1e9
    call_count = tally.decision_count + tally.error_count
    rate = tally.decision_count / counted_s if counted_s else 0.0
    cost_us = tally.processor_ns / 1e3 / call_count if call_count else 0.0
    question, load = plan.question, plan.load
    return Report(
        server=plan.address,
        loop="open" if load.is_open else "closed",
        rate_per_s_asked=load.rate_per_s if load.is_open else None,
        processes=load.process_count,
        connections=load.connection_count,
        in_flight=load.in_flight,
        warm_up_s=load.warm_up_s,
        duration_s=round(counted_s, 3),
        is_cut_short=is_cut_short,
        customers=len(set(plan.customers)),
        channel=question.channel,
        placement=question.placement,
        offers=question.offer_count,
        catalogue_revision=catalogue_revision,
        model_revision=model_revision,
        decisions=tally.decision_count,
        decisions_per_s=round(rate, 1),
        without_offer=tally.without_offer_count,
        errors=dict(tally.errors.most_common()),
        unsent=tally.unsent_count,
        latency=Percentiles.of(tally.latency),
        from_sending=Percentiles.of(tally.from_sending),
        server_took=Percentiles.of(tally.server),
        generator_processor_us=round(cost_us, 1),
        latency_histogram=tally.latency.draw_bars(_BARS_SHOWN),
        server_histogram=tally.server.draw_bars(_BARS_SHOWN),
        remarks=tuple(_find_remarks(plan, tally, cost_us, call_count / max(counted_s, 1e-9))),
    )


def _find_remarks(plan: Plan, tally: Tally, cost_us: float, call_rate: float) -> list[str]:
    """Say what the figures do not: what they contain, and what spoils them."""
    contained = (
        "Latency is what a Python client sees: the generator's own work is in it, here "
        f"{cost_us:,.0f} µs of processor time a call. What the server itself says it took stands "
        "beside it."
    )
    remarks = [contained]
    if _is_this_machine(plan.address):
        remarks.append(
            "Server and generators share this machine's "
            f"{count_of(os.cpu_count() or 1, 'core')} and slow each other down."
        )
    asked = plan.load.rate_per_s
    if plan.load.is_open and (tally.unsent_count or call_rate < _REACHED_SHARE * asked):
        remarks.append(
            f"The rate was not reached: {asked:,.0f} calls a second were due, {call_rate:,.0f} "
            f"were made, {count_of(tally.unsent_count, 'call')} never begun. These are figures of "
            "an overload, of the server or of the generators; whether more of --processes changes "
            "them tells of which."
        )
    return remarks


def _is_this_machine(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in ("localhost", "") or address.startswith("unix:")
