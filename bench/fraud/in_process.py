"""What one assessment costs without a wire and a log: many rules, many velocities."""

import time

import numpy as np

from bench.fraud.sizes import Sizes
from bench.measurement import Figure, summarise
from instanter.catalogue.compilation import compile_catalogue
from instanter.catalogue.compiled import CompiledCatalogue
from instanter.fraud.engine import FraudEngine
from instanter.fraud.questions import Transaction
from instanter.fraud.simulation import DictionaryBook

_MERCHANTS = 100
_HISTORY = 10
"""Transactions of each card before its times are taken."""

_CARDS = 50
_PERS = ("card", "customer", "terminal", "merchant", "device")
_FUNCTIONS = (
    "function: count",
    "function: sum, of: amount",
    "function: mean, of: amount",
    "function: distinct, of: terminal",
)
_WINDOWS = ("10m", "1h", "1d", "7d")


def make_rules_yaml(velocities: int, rules: int) -> str:
    """Return a catalogue with velocities of all entities and functions, and rules over them."""
    lines = ["currency: EUR", "fraud:", "  velocities:"]
    for at in range(velocities):
        per = _PERS[at % len(_PERS)]
        function = _FUNCTIONS[at // len(_PERS) % len(_FUNCTIONS)]
        window = _WINDOWS[at // 3 % len(_WINDOWS)]
        lines.append(f"    v{at}: {{per: {per}, {function}, window: {window}}}")
    lines.append("  rules:")
    for at in range(rules):
        one, other = at % velocities, (at * 7 + 3) % velocities
        when = (
            f"velocity.v{one} > {1000.0 + at} && velocity.v{other} > {at % 50}.0"
            f" || transaction.mcc == {1000 + at} && transaction.amount > {at % 90 + 10}.0"
        )
        lines.append(f"    r{at}: {{when: '{when}', points: {at % 40 + 1}, reason: R{at}}}")
    lines.append("  thresholds: [{refer: 60, decline: 90}]")
    lines.append("  stand_in: {place_missing: continue}")
    return "\n".join(lines) + "\n"


def compile_world(text: str) -> CompiledCatalogue:
    """Return the compiled catalogue of one file."""
    return compile_catalogue({"world.yaml": text}, None, revision=1, publish_time_ns=0).catalogue


def measure_in_process(sizes: Sizes) -> Figure:
    """Measure assessing alone; counting is a figure beside it."""
    engine, book = FraudEngine(), DictionaryBook()
    engine.install(compile_world(make_rules_yaml(sizes.velocities, sizes.rules)))
    draw = np.random.default_rng(1)
    start_ns = 1_750_000_000_000_000_000
    assessed, counted = [], []
    history = min(_HISTORY * _CARDS, 10 * sizes.in_process_calls)
    for at in range(history + sizes.in_process_calls):
        transaction = _make_transaction(draw, at, start_ns + at * 20_000_000_000)
        begun = time.perf_counter_ns()
        found = engine.assess(transaction, book, now_ns=transaction.time_ns)
        between = time.perf_counter_ns()
        engine.count(found.counted, book)
        if at >= history:
            assessed.append(between - begun)
            counted.append(time.perf_counter_ns() - between)
    times = summarise(assessed)
    detail = {
        "assess": times,
        "count": summarise(counted),
        "rules": sizes.rules,
        "velocities": sizes.velocities,
    }
    return Figure(times.p50_us, "≤ 150", "≤ 60", detail)


def _make_transaction(draw: np.random.Generator, number: int, time_ns: int) -> Transaction:
    card, place = int(draw.integers(_CARDS)), int(draw.integers(_MERCHANTS))
    return Transaction(
        transaction_id=f"t{number}",
        card=f"card-{card}",
        customer=f"customer-{card}",
        terminal=f"t{place}",
        merchant=f"m{place % 10}",
        mcc=int(draw.integers(1000, 9000)),
        amount_minor=int(draw.integers(100, 20_000)),
        currency="EUR",
        time_ns=time_ns,
        present=True,
        latitude=50.0 + place / 100,
        longitude=8.0,
        device=f"d{card}",
        bin="400000",
        fields={},
    )
