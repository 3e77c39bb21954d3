"""The demo's live view in the terminal."""

import numpy as np
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from instanter.cli.demo.drive import Arm, Score

_BAR_SIZE = 30


def summarise(score: Score) -> str:
    """Return the score as one plain line."""
    rate = score.decision_count / max(score.elapsed_s, 1e-9)
    p50, _, p99 = _percentiles_ms(list(score.latency_ns))
    return (
        f"{score.decision_count:,} decisions, {rate:,.0f} a second, p50 {p50:.2f} ms, "
        f"p99 {p99:.2f} ms, accepted: decided {score.best.acceptance_rate:.1%}, "
        f"random {score.random.acceptance_rate:.1%}, errors {score.error_count}"
    )


def draw_view(score: Score, target: str) -> RenderableType:
    """Return the whole view."""
    return Group(
        Panel(Group(_rates(score, target), Text(), _arms(score)), title="Instanter, live"),
        _last(score),
        Text("Ctrl-C ends the demo.", style="dim"),
    )


def _rates(score: Score, target: str) -> Table:
    """Return decisions a second and latencies."""
    p50, p95, p99 = _percentiles_ms(list(score.latency_ns))
    inside = _percentiles_us(list(score.took_us))
    table = Table.grid(padding=(0, 2))
    rate = score.decision_count / max(score.elapsed_s, 1e-9)
    table.add_row(
        "decisions",
        Text.assemble((f"{score.decision_count:,}", "bold"), f"  ({rate:,.0f} a second, {target})"),
    )
    table.add_row(
        "latency", f"p50 {p50:.2f} ms   p95 {p95:.2f} ms   p99 {p99:.2f} ms   (client, Python)"
    )
    table.add_row("inside the server", f"p50 {inside[0]:.0f} µs   p99 {inside[1]:.0f} µs")
    table.add_row(
        "without an offer",
        f"{score.none_count:,}, of them {score.holdout_count:,} kept out on purpose (holdout)",
    )
    if score.error_count:
        table.add_row("errors", Text(f"{score.error_count:,}", style="red"))
    return table


def _arms(score: Score) -> Table:
    """Return how often each arm's offers were accepted."""
    table = Table(box=None, padding=(0, 2))
    for heading in ("choice", "presented", "accepted", "", "value a thousand presented"):
        table.add_column(heading, justify="left" if heading in ("choice", "") else "right")
    top = max(score.best.acceptance_rate, score.random.acceptance_rate, 1e-9)
    for name, arm, style in (
        ("decided", score.best, "green"),
        ("random eligible", score.random, "yellow"),
    ):
        table.add_row(*_arm_row(name, arm, style, top))
    return table


def _arm_row(name: str, arm: Arm, style: str, top: float) -> tuple[RenderableType, ...]:
    """Return one arm's row; the longest bar is the better arm."""
    size = round(_BAR_SIZE * arm.acceptance_rate / top)
    value = 1000 * arm.value_minor / 100 / max(arm.presented_count, 1)
    return (
        name,
        f"{arm.presented_count:,}",
        f"{arm.acceptance_rate:.1%}",
        Text("█" * size, style=style),
        f"{value:,.2f} EUR",
    )


def _last(score: Score) -> RenderableType:
    """Return the decision made last."""
    if score.last is None:
        return Text()
    customer, surface, decision = score.last
    if not decision.offers:
        return Panel(f"{customer} at {surface}: no offer ({decision.no_offer_reason.name})")
    offer = decision.offers[0]
    words = (
        f"  propensity {offer.propensity:.3f} × weight {offer.context_weight:.2f} × "
        f"value {offer.value_minor / 100:.2f} × lever {offer.lever:.2f} "
        f"= priority {offer.priority:.3f}"
    )
    return Panel(
        Text.assemble(f"{customer} at {surface}: ", (offer.offer, "bold"), words),
        title="last decision",
    )


def _percentiles_ms(values: list[int]) -> tuple[float, float, float]:
    """Return p50, p95 and p99 of nanoseconds, in milliseconds."""
    if not values:
        return (0.0, 0.0, 0.0)
    p50, p95, p99 = np.percentile(np.asarray(values), [50, 95, 99]) / 1e6
    return (float(p50), float(p95), float(p99))


def _percentiles_us(values: list[int]) -> tuple[float, float]:
    """Return p50 and p99 of microseconds."""
    if not values:
        return (0.0, 0.0)
    p50, p99 = np.percentile(np.asarray(values), [50, 99])
    return (float(p50), float(p99))
