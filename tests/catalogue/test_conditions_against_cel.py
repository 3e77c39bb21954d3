"""Random conditions over random events mean what CEL's own evaluator says.

There a field that the event does not have is an absent key, whose error is our unknown: so the
evaluator is given `event.amount` where ours may also be given `amount`.
"""

from datetime import UTC, datetime

import hypothesis
import numpy as np
from cel_expr_python import cel
from hypothesis import strategies as st

from tests.catalogue.event_worlds import EVENT_FILES, evaluate_condition
from tests.catalogue.worlds import compile_files

NOW = 1_700_000_000
FIELDS = ("amount", "department", "online")
TRUTHS = {False: 0, True: 2}


def _join(pattern, *parts):
    return tuple(pattern.format(*side) for side in zip(*parts, strict=True))


def _name(field):
    return st.sampled_from([(field, f"event.{field}"), (f"event.{field}",) * 2])


amounts = st.one_of(
    _name("amount"), st.sampled_from([("0.5", "0.5"), ("10.0", "10.0"), ("99.0", "99.0")])
)
numbers = st.recursive(
    amounts,
    lambda inner: st.builds(_join, st.sampled_from(["({} + {})", "({} * {})"]), inner, inner),
    max_leaves=3,
)
signs = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
leaves = st.one_of(
    st.builds(lambda a, sign, b: _join(f"{{}} {sign} {{}}", a, b), numbers, signs, numbers),
    st.builds(
        lambda a, values: _join(f"{{}} in {values!r}", a),
        _name("department"),
        st.lists(st.sampled_from(["food", "toys"]), max_size=2),
    ),
    st.builds(lambda a: _join("{} != 'food'", a), _name("department")),
    _name("online"),
    st.sampled_from(FIELDS).map(lambda field: (f"has(event.{field})",) * 2),
    st.just(("now >= timestamp('2023-11-14T22:13:20Z')",) * 2),
)
conditions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(_join, st.sampled_from(["({} && {})", "({} || {})"]), inner, inner),
        st.builds(lambda a: _join("!({})", a), inner),
    ),
    max_leaves=6,
)
events = st.fixed_dictionaries(
    {},
    optional={
        "amount": st.one_of(st.sampled_from([0.5, 10.0]), st.floats(0, 100, width=32)),
        "department": st.sampled_from(["food", "toys"]),
        "online": st.booleans(),
    },
)
ENVIRONMENT = cel.NewEnv(variables={"event": cel.Type.DYN, "now": cel.Type.TIMESTAMP})


def _evaluate_with_cel(condition, event):
    data = {"event": event, "now": datetime.fromtimestamp(NOW, UTC)}
    result = ENVIRONMENT.compile(condition, disable_check=True).eval(data=data)
    if result.type() == cel.Type.BOOL:
        return TRUTHS[result.value()]
    assert "Key not found" in str(result.value())
    return 1


def _attributes(pairs):
    for index, (ours, _) in enumerate(pairs):
        derive = f'{{event: purchase, function: count, window: 1d, where: "{ours}"}}'
        yield f"  - {{name: x{index}, kind: number, source: derived, derive: {derive}}}\n"


@hypothesis.settings(max_examples=100)
@hypothesis.given(
    st.lists(conditions, min_size=4, max_size=6), st.lists(events, min_size=3, max_size=6)
)
def test_conditions_mean_what_cel_says(pairs, happened):
    more = "attributes:\n" + "".join(_attributes(pairs))
    catalogue = compile_files({**EVENT_FILES, "more.yaml": more}).catalogue
    for event in happened:
        values = {k: float(np.float32(v)) if k == "amount" else v for k, v in event.items()}
        found = [
            evaluate_condition(catalogue, f"x{index}", values, float(NOW))
            for index in range(len(pairs))
        ]
        wanted = [_evaluate_with_cel(theirs, values) for _, theirs in pairs]
        assert dict(zip(pairs, found, strict=True)) == dict(zip(pairs, wanted, strict=True)), values
