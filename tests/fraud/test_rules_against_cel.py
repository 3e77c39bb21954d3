"""Random rules on random histories fire exactly where CEL's own evaluator says that they hold.

What rules see is told by the engine itself; a figure that is missing is an absent key for CEL,
whose error is our unknown, and an unknown rule does not fire.
"""

from datetime import UTC, datetime

import hypothesis
import numpy as np
from cel_expr_python import cel
from hypothesis import strategies as st

from tests.fraud.worlds import NOW_NS, SECOND_NS, Desk

ROOMS = ("transaction", "velocity", "baseline", "travel", "terminal")
NUMBERS = (
    "transaction.amount", "transaction.mcc", "transaction.hour", "transaction.basket_size",
    "velocity.n", "velocity.spent", "velocity.last", "baseline.card_count",
    "baseline.customer_amount_deviation", "travel.distance_km", "terminal.fraud_rate",
    "1.0", "10.0", "0.5", "300.0",
)  # fmt: skip
numbers = st.recursive(
    st.sampled_from(NUMBERS),
    lambda inner: st.builds("({} {} {})".format, inner, st.sampled_from(["+", "*", "-"]), inner),
    max_leaves=3,
)
signs = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
leaves = st.one_of(
    st.builds("{} {} {}".format, numbers, signs, numbers),
    st.sampled_from(
        [
            "travel.impossible", "transaction.has_place", "transaction.device_known",
            "transaction.gift", "has(travel.speed_kmh)", "has(transaction.gift)",
            "transaction.channel == 'card_present'", "transaction.currency in ['EUR', 'JPY']",
            "transaction.currency != 'USD'", "now >= timestamp('2023-11-14T22:15:00Z')",
        ]
    ),
)  # fmt: skip
rules = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(["&&", "||"]), inner),
        st.builds("!({})".format, inner),
    ),
    max_leaves=6,
)
fields = st.fixed_dictionaries(
    {}, optional={"gift": st.booleans(), "basket_size": st.floats(0, 20, width=32)}
)
transactions = st.tuples(
    st.integers(0, 300),
    st.sampled_from(("c1", "c2")),
    st.sampled_from(("", "k1")),
    st.sampled_from((1, 50, 1_000, 30_000)),
    st.sampled_from(("EUR", "USD", "JPY")),
    st.booleans(),
    st.sampled_from((None, 50.0, -20.0)),
    fields,
)
ENVIRONMENT = cel.NewEnv(
    variables={**dict.fromkeys(ROOMS, cel.Type.DYN), "now": cel.Type.TIMESTAMP}
)


def _holds(rule, seen, time_ns):
    data = {room: {} for room in ROOMS}
    for name, value in seen.items():
        room, _, figure = name.partition(".")
        # A figure is told as the shortest decimal of its float32, and compared as the float32.
        data[room][figure] = float(np.float32(value)) if isinstance(value, float) else value
    data["now"] = datetime.fromtimestamp(time_ns / 1e9, UTC)
    result = ENVIRONMENT.compile(rule, disable_check=True).eval(data=data)
    if result.type() == cel.Type.BOOL:
        return result.value()
    assert "Key not found" in str(result.value())
    return False


@hypothesis.settings(max_examples=120, deadline=None)
@hypothesis.given(
    st.lists(rules, min_size=3, max_size=8), st.lists(transactions, min_size=2, max_size=6)
)
def test_a_rule_fires_where_cel_says_that_it_holds(conditions, steps):
    lines = "".join(
        f'    r{n}: {{when: "{rule}", points: 0, reason: R}}\n' for n, rule in enumerate(conditions)
    )
    desk = Desk(
        "  fields: {gift: {kind: flag}, basket_size: {kind: number}}\n"
        "  velocities:\n    n: {per: card, function: count, window: 1h}\n"
        "    spent: {per: customer, function: sum, of: amount, window: 1h}\n"
        "    last: {per: terminal, function: time_since_last, window: 1m}\n"
        f"  thresholds: [{{refer: 60}}]\n  rules:\n{lines}"
    )
    time_ns = NOW_NS
    for number, step in enumerate(steps):
        gap_s, card, customer, amount, currency, present, latitude, given = step
        time_ns += gap_s * SECOND_NS
        found = desk.take(
            number, card=card, customer=customer, amount_minor=amount, currency=currency,
            present=present, latitude=latitude, longitude=None if latitude is None else 8.0,
            time_ns=time_ns, fields=given,
        )  # fmt: skip
        if number % 2:
            desk.engine.label(found.counted, desk.book, fraud=number % 3 == 0)
        seen = desk.see(found)
        for n, rule in enumerate(conditions):
            assert (f"r{n}" in found.fired) == _holds(rule, seen, time_ns), (rule, seen)
    assert not desk.failed
