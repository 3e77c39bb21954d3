"""How well frauds are ranked: both data sets replayed through a server, as they would have come.

Every transaction goes through `AssessTransaction`, every label through
`RecordTransactionOutcomes`, 7 days after its transaction. What is judged is the model's
probability, said before the label was known.
"""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench.fraud.data_sets import find_handbook, find_synccfd, read_synccfd
from bench.fraud.sizes import Sizes
from bench.fraud.worlds import FOLDER, apply_world
from bench.keeper.decisions import serve
from bench.measurement import Figure
from instanter.catalogue.fraud_words import EntityKind
from instanter.cli.progress import show_progress
from instanter.cli.replay.mapping import load_mapping
from instanter.cli.replay.recorded import RecordedTransactions, load_recorded
from instanter.cli.replay.report import ReplayReport, make_report
from instanter.cli.replay.sending import Replay, ReplayedVerdicts
from instanter.client import AsyncClient, Timeouts
from instanter.clock import SystemClock
from instanter.data.ranking_quality import find_card_precision
from instanter.store.databases import FRAUD_STATES
from instanter.store.environment import Environment

_IN_FLIGHT = 128
_PATIENCE_S = 60.0
_DAY_US = 86_400_000_000
_TEST_DAYS = 7
_TEST_BEGIN = "2018-08-08"
_KNOWN_DAYS = 14
"""In the book, cards with a fraud in the week of training or since are left out of the test: labels
are known 8 days before a day, and the week of training begins 14 days before the test."""


@dataclass(frozen=True, slots=True, eq=False)
class Replayed:
    """One data set after its replay."""

    recorded: RecordedTransactions
    verdicts: ReplayedVerdicts
    report: ReplayReport


def measure_handbook(folder: Path, sizes: Sizes) -> dict[str, Figure]:
    """Replay the handbook's transactions, and measure what is kept of each card at the end."""
    bounds = {
        "handbook_auc": ("≥ 0.885", "≥ 0.90"),
        "handbook_ap": ("≥ 0.56", "≥ 0.65"),
        "handbook_cp100": ("≥ 0.28", "≥ 0.30"),
        "card_size_bytes": ("≤ 4096", "≤ 1024"),
    }
    file = find_handbook()
    if file is None:
        return _miss("fraud_handbook", bounds)
    store = folder / "handbook"
    found = _replay("handbook", file, FOLDER / "handbook_mapping.yaml", store, sizes)
    auc, average_precision = _rank(found)
    detail = _describe(found)
    precision = measure_card_precision(
        found.recorded, found.verdicts.probabilities, found.verdicts.refused
    )
    size_bytes, cards = _measure_cards(store)
    return _fill(
        bounds,
        {
            "handbook_auc": (auc, detail),
            "handbook_ap": (average_precision, detail),
            "handbook_cp100": (precision, {"days": _TEST_DAYS}),
            "card_size_bytes": (size_bytes, {"cards": cards}),
        },
    )


def measure_synccfd(folder: Path, sizes: Sizes) -> dict[str, Figure]:
    """Replay run A of synccfd."""
    bounds = {
        "synccfd_auc": ("≥ 0.885", "≥ 0.925"),
        "synccfd_ap": ("≥ 0.60", "≥ 0.74"),
    }
    data = find_synccfd()
    if data is None:
        return _miss("fraud_geo_synccfd_a", bounds)
    file = folder / "synccfd.parquet"
    pq.write_table(read_synccfd().table, file)
    mapping = folder / "synccfd_mapping.yaml"
    mapping.write_text((FOLDER / mapping.name).read_text("utf-8"), "utf-8")
    (folder / "terminals.parquet").symlink_to(data / "terminals.parquet")
    found = _replay("synccfd", file, mapping, folder / "synccfd", sizes)
    auc, average_precision = _rank(found)
    detail = _describe(found)
    return _fill(
        bounds,
        {
            "synccfd_auc": (auc, detail),
            "synccfd_ap": (average_precision, detail),
        },
    )


def measure_card_precision(
    recorded: RecordedTransactions, scores: NDArray[np.float64], refused: NDArray[np.bool_]
) -> float | None:
    """Return the card precision@100 of the book's test week; None when it was not replayed.

    Parameters
    ----------
    recorded
        The transactions.
    scores, refused
        float64[N], bool[N]: what they got, and those without an answer; read-only.
    """
    assert recorded.frauds is not None, "the mapping names the labels"
    begin = int(np.datetime64(_TEST_BEGIN, "D").astype(np.int64))
    days = recorded.times_us // _DAY_US
    chosen = np.zeros(len(days), np.bool_)
    for day in range(begin, begin + _TEST_DAYS):
        known = recorded.frauds & (days >= begin - _KNOWN_DAYS) & (days <= day - 8)
        cards = recorded.cards[known]
        chosen |= (days == day) & ~np.isin(recorded.cards, cards) & ~refused
    if len(np.unique(days[chosen])) < _TEST_DAYS:
        return None
    return find_card_precision(
        scores[chosen], recorded.frauds[chosen], recorded.cards[chosen], days[chosen]
    )


def _replay(name: str, file: Path, mapping: Path, store: Path, sizes: Sizes) -> Replayed:
    """Replay a file through a server of its own."""
    clock = SystemClock()
    now = datetime.fromtimestamp(clock.now_ns() / 1e9, UTC)
    recorded = load_recorded(file, load_mapping(mapping), now, sizes.replay_rows or None)
    # Its pace is not measured, so it may use whatever core is free.
    with serve(store, pinned=False) as server:
        apply_world(server.port, name)
        with show_progress("replaying", "transactions", clock) as tell:
            replay = Replay(recorded, in_flight=_IN_FLIGHT, clock=clock, tell=tell)
            verdicts = asyncio.run(_run(replay, server.port))
    return Replayed(recorded, verdicts, make_report(recorded, verdicts))


async def _run(replay: Replay, port: int) -> ReplayedVerdicts:
    # A deadline that is short would be answered by the stand-in table.
    timeouts = Timeouts(*[_PATIENCE_S] * 5)
    async with AsyncClient(f"127.0.0.1:{port}", timeouts=timeouts) as client:
        return await replay.run(client)


def _rank(found: Replayed) -> tuple[float | None, float | None]:
    """Return AUC and average precision of the model's probability; None where none is judged."""
    ranking = found.report.rankings[1]
    return ranking.auc, ranking.average_precision


def _describe(found: Replayed) -> dict[str, float | int | str]:
    report = found.report
    each = {
        f"auc_scenario_{one.scenario}": one.auc_probability
        for one in report.scenarios
        if one.auc_probability is not None
    }
    return {
        "transactions": report.transaction_count,
        "judged": report.scored_count,
        "frauds": report.fraud_count,
        "refused": report.refused_count,
        "labels": report.label_count,
        "per_s": report.rate_per_s,
        **each,
    }


def _measure_cards(store: Path) -> tuple[float, int]:
    """Return the bytes that the store keeps of a card on average, keys included, and the cards."""
    environment = Environment.open(store)
    size_bytes = count = 0
    with environment.read() as transaction:
        for key, value in transaction.scan(FRAUD_STATES):
            if key[0] == EntityKind.CARD:
                size_bytes += len(key) + len(value)
                count += 1
    environment.close()
    return size_bytes / max(count, 1), count


def _miss(data_set: str, bounds: dict[str, tuple[str, str]]) -> dict[str, Figure]:
    reason = f"the data set {data_set} is not there"
    return {key: Figure(None, *bound, reason=reason) for key, bound in bounds.items()}


def _fill(
    bounds: dict[str, tuple[str, str]],
    found: dict[str, tuple[float | None, dict[str, float | int | str]]],
) -> dict[str, Figure]:
    return {
        key: Figure(value, *bounds[key], detail)
        if value is not None and not np.isnan(value)
        else Figure(None, *bounds[key], reason="too little of the data was replayed")
        for key, (value, detail) in found.items()
    }
