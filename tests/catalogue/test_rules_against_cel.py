"""Random rules over random customers mean what CEL's own evaluator says.

A missing value is an absent key there, whose error is our unknown. Instants are text in the
evaluator's data, because its Python binding takes no nested timestamps, and are converted in the
rule that it is given.
"""

from datetime import UTC, datetime

import hypothesis
import numpy as np
from cel_expr_python import cel
from hypothesis import strategies as st

from tests.catalogue.worlds import compile_rules, evaluate_rules

NUMBERS = ("profile.age", "profile.income", "context.basket_value")
CATEGORIES = {
    "profile.segment": ("bronze", "silver", "gold", "platinum"),
    "context.device": ("phone", "desktop"),
}
NAMES = (*NUMBERS, *CATEGORIES, "profile.member", "profile.last_visit")
NOW = 1_700_000_000
# What a slot holds: against other decimals, a rule means what is stored of them.
EDGES = (0.0, 1.0, 18.0, 30.5, 65.0, float(np.float32(0.1)))
TRUTHS = {False: 0, True: 2}

pairs_of = st.tuples
same = st.builds(lambda text: (text, text), st.sampled_from([*NUMBERS, *map(str, EDGES)]))


def _join(pattern, *parts):
    return tuple(pattern.format(*side) for side in zip(*parts, strict=True))


def _instant(seconds):
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _both(text):
    return text, text


numbers = st.recursive(
    same,
    lambda inner: st.one_of(
        st.builds(_join, st.sampled_from(["({} + {})", "({} - {})", "({} * {})"]), inner, inner),
        st.builds(lambda a: _join("(-{})", a), inner),
        st.builds(lambda a: _join("({} / 4.0)", a), inner),
    ),
    max_leaves=4,
)
durations = st.builds(
    lambda hours: _both(f"duration('{hours}h')"), st.sampled_from([-24, 0, 1, 24, 720])
)
instants = st.recursive(
    st.sampled_from(
        [
            ("now", "now"),
            ("profile.last_visit", "timestamp(profile.last_visit)"),
            _both(f"timestamp('{_instant(NOW - 86_400)}')"),
        ]
    ),
    lambda inner: st.builds(_join, st.sampled_from(["({} + {})", "({} - {})"]), inner, durations),
    max_leaves=2,
)
orders = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])


def _compare(sides):
    return st.builds(lambda a, sign, b: _join(f"{{}} {sign} {{}}", a, b), sides, orders, sides)


@st.composite
def _category_tests(draw):
    name = draw(st.sampled_from(sorted(CATEGORIES)))
    values = draw(st.lists(st.sampled_from(CATEGORIES[name]), max_size=3))
    if draw(st.booleans()) or not values:
        return _both(f"{name} in {values!r}")
    return _both(f"'{values[0]}' {draw(st.sampled_from(['==', '!=']))} {name}")


leaves = st.one_of(
    _compare(numbers),
    _compare(instants),
    _compare(st.builds(lambda a, b: _join("({} - {})", a, b), instants, instants)),
    st.builds(
        lambda a, b: _join("({} - {}) > {}", a, b, _both("duration('24h')")), *[instants] * 2
    ),
    _category_tests(),
    st.builds(lambda a, ks: _join(f"{{}} in {ks!r}", a), numbers, st.lists(st.sampled_from(EDGES))),
    st.sampled_from(["true", "false", "profile.member", "!profile.member"]).map(_both),
    st.sampled_from(NAMES).map(lambda name: _both(f"has({name})")),
)
rules = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(_join, st.sampled_from(["({} && {})", "({} || {})"]), inner, inner),
        st.builds(_join, st.sampled_from(["({}) == ({})", "(({}) != ({}))"]), inner, inner),
        st.builds(lambda a: _join("!({})", a), inner),
        st.builds(lambda *abc: _join("({} ? {} : {})", *abc), inner, inner, inner),
    ),
    max_leaves=10,
)
float32s = st.one_of(st.sampled_from(EDGES), st.floats(0, 120, width=32)).map(np.float32).map(float)
profiles = st.fixed_dictionaries(
    {},
    optional={
        "age": float32s,
        "income": float32s,
        "basket_value": float32s,
        "segment": st.sampled_from(CATEGORIES["profile.segment"]),
        "device": st.sampled_from(CATEGORIES["context.device"]),
        "member": st.booleans(),
        "last_visit": st.sampled_from([NOW - 90_000, NOW - 86_400, NOW, NOW + 1]),
    },
)
ENVIRONMENT = cel.NewEnv(
    variables={
        "profile": cel.Type.DYN,
        "context": cel.Type.DYN,
        "now": cel.Type.TIMESTAMP,
    }
)


def _evaluate_with_cel(rule, values):
    data = {"profile": {}, "context": {}, "now": datetime.fromtimestamp(NOW, UTC)}
    for name, value in values.items():
        room = "context" if name in ("basket_value", "device") else "profile"
        data[room][name] = _instant(value) if name == "last_visit" else value
    result = ENVIRONMENT.compile(rule, disable_check=True).eval(data=data)
    if result.type() == cel.Type.BOOL:
        return TRUTHS[result.value()]
    assert "Key not found" in str(result.value())
    return 1


@hypothesis.settings(max_examples=150)
@hypothesis.given(st.lists(rules, min_size=5, max_size=8), st.lists(profiles, min_size=4))
def test_rules_mean_what_cel_says(pairs, customers):
    catalogue = compile_rules([ours for ours, _ in pairs])
    for values in customers:
        found = evaluate_rules(catalogue, values, now_s=float(NOW))
        wanted = [_evaluate_with_cel(theirs, values) for _, theirs in pairs]
        assert dict(zip(pairs, found, strict=True)) == dict(zip(pairs, wanted, strict=True)), values
