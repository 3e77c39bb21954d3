"""How fast other rules are tried on what the log holds: the engine over dictionaries."""

import time
from datetime import UTC, datetime
from itertools import islice

from bench.fraud.data_sets import find_handbook
from bench.fraud.in_process import compile_world
from bench.fraud.sizes import Sizes
from bench.fraud.worlds import FOLDER, read_world
from bench.measurement import Figure
from instanter.catalogue.fraud_words import Disposition
from instanter.cli.replay.mapping import load_mapping
from instanter.cli.replay.recorded import RecordedTransactions, load_recorded
from instanter.fraud.questions import Transaction
from instanter.fraud.simulation import Simulation

_LABEL_DELAY_US = 86_400_000_000
"""A day, so that most of the few days that are replayed have labels."""


def measure_backtest(sizes: Sizes) -> Figure:
    """Measure transactions a second, their labels included, without reading the log."""
    file = find_handbook()
    if file is None:
        return Figure(None, "", "≥ 20000", reason="the data set fraud_handbook is not there")
    mapping = load_mapping(FOLDER / "handbook_mapping.yaml")
    recorded = load_recorded(file, mapping, datetime.now(UTC), sizes.backtest_rows)
    transactions = [_make(recorded, row) for row in range(len(recorded))]
    frauds = recorded.frauds
    assert frauds is not None, "the mapping names the labels"
    times_us = recorded.times_us.tolist()
    simulation = Simulation(compile_world(read_world("handbook")))
    labelled = 0
    begun = time.perf_counter()
    for row, transaction in enumerate(transactions):
        if transaction.amount_minor:
            simulation.assess(
                row, transaction, now_ns=transaction.time_ns, live=Disposition.APPROVE
            )
        while times_us[labelled] < times_us[row] - _LABEL_DELAY_US:
            simulation.label(labelled, fraud=bool(frauds[labelled]))
            labelled += 1
    result = simulation.finish()
    elapsed_s = time.perf_counter() - begun
    detail = {
        "transactions": result.given.transaction_count,
        "labels": labelled,
        "rules": ", ".join(record.rule for record in islice(result.rules, 3)),
    }
    return Figure(len(transactions) / elapsed_s, "", "≥ 20000", detail)


def _make(recorded: RecordedTransactions, row: int) -> Transaction:
    given = recorded.make(row)
    return Transaction(
        transaction_id=recorded.make_id(row),
        card=given.card_token,
        customer="",
        terminal=given.terminal,
        merchant=given.merchant,
        mcc=given.mcc,
        amount_minor=given.amount_minor,
        currency=given.currency,
        time_ns=int(recorded.times_us[row]) * 1_000,
        present=False,
        latitude=None,
        longitude=None,
        device="",
        bin="",
        fields={},
    )
