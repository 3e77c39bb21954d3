"""Whatever stands in the files, a catalogue compiles or is refused with places; nothing else."""

import hypothesis
import pytest
from hypothesis import strategies as st

from tests.catalogue.event_worlds import EVENT_FILES
from tests.catalogue.fraud_worlds import FRAUD
from tests.catalogue.stock_worlds import AROUND, STOCK
from tests.catalogue.worlds import FILES, OFFER, problems_of

RULED = OFFER + (
    "    valid_from: 2026-01-01\n"
    "    eligibility: profile.age > 3 && profile.segment in ['gold'] || !has(profile.member)\n"
    "    suitability: >\n      now - profile.last_visit > duration('720h')\n"
    "    context_weights: [{when: context.basket_value > 10, weight: 2}]\n"
)
ALL = "".join([FILES["shop.yaml"], "holdout: {rate: 0.1}\n", FILES["attributes.yaml"], RULED])
EVENTFUL = "".join(EVENT_FILES.values())
FRAUDULENT = (
    f"{FRAUD}  model: {{features: [transaction.amount, travel.impossible], points: 50,"
    " pairs: [[transaction.amount, travel.impossible]]}\n"
    "  hotlists: {terminals: refer, expected: [cards], stale_after: 2d}\n"
    "  stand_in: {clock_jumped: refer, deadline_short: {approve_up_to_minor: 2000, else: refer}}\n"
    "  clock: {ahead_max: 10m, behind_max: 1d}\n"
    "  travel: {distance_km_min: 50, speed_kmh_max: 900}\n"
    "  compromised_terminal: {window: 35d, labels_min: 5, suggest_rate: 0.2}\n"
    "  baselines: {half_life: 30d}\n"
    "  guard: {share: 0.05, period: 1h, declines_min: 20, times_history: 5}\n"
)
STOCKED = f"{STOCK}currency: EUR\nchannels: {{web: }}\n{AROUND}"
TEXTS = [ALL, EVENTFUL, FRAUDULENT, STOCKED]
SCRAPS = st.one_of(
    st.text("'\"[]{}:-|>#&*!~?%()=\\,aé \n\t\x00\ud800", max_size=4),
    st.sampled_from(["no", "null", ".nan", "1e999", "-1", ": ", "- ", "  "]),
    st.text(max_size=4),
)


@hypothesis.settings(max_examples=900)
@hypothesis.given(
    st.sampled_from(TEXTS),
    st.lists(
        st.tuples(st.integers(0, max(map(len, TEXTS))), st.integers(0, 12), SCRAPS),
        min_size=1,
        max_size=4,
    ),
)
def test_a_scratched_catalogue_is_refused_with_places(text, scratches):
    for start, size, scrap in scratches:
        text = text[:start] + scrap + text[start + size :]
    for problem in problems_of({"all.yaml": text}):
        assert problem.file == "all.yaml"
        assert 0 <= problem.line <= len(text.splitlines()) + 2  # YAML ends lines with CR too
        assert problem.message
        assert str(problem)


@hypothesis.settings(max_examples=200)
@hypothesis.given(st.text(max_size=60))
def test_any_text_is_a_rule_or_is_refused(text):
    quoted = "".join(f"\\U{ord(c):08x}" for c in text if not "\ud800" <= c <= "\udfff")
    for problem in problems_of({**FILES, "offers.yaml": f'{OFFER}    eligibility: "{quoted}"\n'}):
        assert problem.field == "offers/espresso.eligibility"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\x85", "\u2028"])
def test_lines_are_those_of_yaml(end):
    text = "fraud:\n  rules:\n    a: {when: velocity.x > 1, disposition: refer, reason: A}\n"
    (problem,) = problems_of({"all.yaml": text.replace("\n", end)})
    assert (problem.line, problem.text) == (3, "velocity.x")
