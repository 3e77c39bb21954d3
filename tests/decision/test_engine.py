"""The decision engine on a real store: what customers get, and what they never get."""

import pytest

from instanter.decision.engine import DecisionEngine
from instanter.decision.questions import NoOfferReason, OfferReason, Question
from instanter.decision.tables import make_tables
from instanter.errors import InvalidFieldError, PreconditionError
from instanter.limits import BATCH_TURN_MAX
from instanter.store.databases import PROFILES
from instanter.store.environment import Environment
from instanter.store.profiles import ProfileState, put_profile
from instanter.store.records import key_of
from tests.decision.worlds import FILES, draw_slots, make_catalogue, make_score_table

NO_HOLDOUT = FILES | {"shop.yaml": FILES["shop.yaml"].replace("rate: 0.1", "rate: 0")}
NOW_NS = 1_790_000_000_000_000_000


class StoppedClock:
    """A clock that tests set by hand."""

    def __init__(self, now_ns=NOW_NS):
        self.time_ns = now_ns

    def now_ns(self):
        return self.time_ns

    def monotonic_ns(self):
        return self.time_ns


@pytest.fixture
def store(tmp_path):
    environment = Environment.open(tmp_path / "store")
    yield environment
    environment.close()


def make_engine(store, files=NO_HOLDOUT, damaged=None, clock=None):
    engine = DecisionEngine(
        store,
        clock or StoppedClock(),
        decision_id_prefix="0123456789abcdef",
        on_damaged=(damaged if damaged is not None else []).append,
    )
    if files:
        catalogue = make_catalogue(files)
        engine.install(make_tables(catalogue, make_score_table(catalogue, 1)))
    return engine


def ask(customer, channel="web", placement="home", count=6, context=None, request_id=""):
    return Question(customer, channel, placement, count, context or {}, request_id)


def put(store, customer, slots):
    store.write(
        lambda transaction: put_profile(
            transaction, key_of(customer), slots, schema_revision=1, now_ms=1, slot_mask=None
        )
    )


def damage(store, customer):
    def flip(transaction):
        record = bytearray(transaction.get(PROFILES, key_of(customer)))
        record[60] ^= 1
        transaction.put(PROFILES, key_of(customer), bytes(record))

    store.write(flip)


def test_without_a_catalogue_the_answer_says_what_to_do(store):
    (answer,) = make_engine(store, files=None).decide([ask("a")])
    assert isinstance(answer, PreconditionError)
    assert "instanter apply" in answer.message


def test_an_unknown_customer_gets_offers_from_context_and_priors_and_is_marked(store):
    (answer,) = make_engine(store).decide([ask("nobody", context={"device": "phone"})])
    assert answer.profile_state == ProfileState.UNKNOWN
    # Everything that asks for the profile is left out; what does not is decided.
    assert [offer.offer for offer in answer.offers] == ["any"]
    assert {reason for offer in answer.offers for reason in offer.reasons} <= {
        OfferReason.PRIOR,
        OfferReason.MODEL_WITHOUT_PROFILE,
        OfferReason.CONTEXT_WEIGHT,
        OfferReason.RULES_HOLD,
    }


def test_a_damaged_profile_is_not_used_and_is_reported(store):
    damaged = []
    engine = make_engine(store, damaged=damaged)
    put(store, "c", draw_slots(make_catalogue(), 1, 3)[0])
    (whole,) = engine.decide([ask("c")])
    damage(store, "c")
    (broken,) = engine.decide([ask("c")])
    (unknown,) = engine.decide([ask("nobody")])
    assert whole.profile_state == ProfileState.KNOWN
    assert broken.profile_state == ProfileState.DAMAGED
    assert damaged == ["c"]
    assert broken.offers == unknown.offers


def test_ranking_is_by_priority_and_the_factors_multiply(store):
    put(store, "c", draw_slots(make_catalogue(), 1, 5)[0])
    (answer,) = make_engine(store).decide([ask("c", context={"basket": 80.0})])
    priorities = [offer.priority for offer in answer.offers]
    assert priorities == sorted(priorities, reverse=True)
    for offer in answer.offers:
        product = offer.propensity * offer.context_weight * offer.value_minor / 100 * offer.lever
        assert offer.priority == pytest.approx(product)


def test_a_customer_in_the_holdout_gets_nothing_and_stays_in_it(store):
    engine = make_engine(store, files=FILES)
    names = [f"c{n}" for n in range(200)]
    first = [answer.in_holdout for answer in engine.decide([ask(name) for name in names])]
    again = [
        answer.in_holdout for answer in make_engine(store, FILES).decide([ask(n) for n in names])
    ]
    assert first == again
    assert 5 <= sum(first) <= 40
    held = engine.decide([ask(names[first.index(True)])])[0]
    assert held.offers == []
    assert held.no_offer_reason == NoOfferReason.HOLDOUT


def test_no_offer_is_a_regular_answer_with_a_reason(store):
    engine = make_engine(store)
    (none_eligible,) = engine.decide([ask("c", "store", "")])
    assert [offer.offer for offer in none_eligible.offers] == ["any"]
    only_late = {k: v for k, v in NO_HOLDOUT.items() if k == "shop.yaml"} | {
        "offers.yaml": """
offers:
  - {name: late, value_minor: 1, treatments: [{channel: web}], valid_from: 2030-01-01}
"""
    }
    (late,) = make_engine(store, only_late).decide([ask("c")])
    assert (late.offers, late.no_offer_reason) == ([], NoOfferReason.NO_CURRENT_OFFER)
    assert late.exclusions == [(1, 1)]
    stopped = only_late | {
        "offers.yaml": """
offers:
  - {name: kids, value_minor: 1, treatments: [{channel: web}], eligibility: profile.age < 9}
"""
    }
    (kids,) = make_engine(store, stopped).decide([ask("c")])
    assert (kids.offers, kids.no_offer_reason) == ([], NoOfferReason.NO_ELIGIBLE_OFFER)
    worthless = only_late | {
        "offers.yaml": "offers: [{name: zero, value_minor: 0, treatments: [{channel: web}]}]"
    }
    (zero,) = make_engine(store, worthless).decide([ask("c")])
    assert (zero.offers, zero.no_offer_reason) == ([], NoOfferReason.NO_PRIORITY)


def test_what_is_made_for_one_placement_is_shown_there_only(store):
    put(store, "c", draw_slots(make_catalogue(), 1, 5)[0])
    engine = make_engine(store)
    shown = {
        placement: {o.offer for o in engine.decide([ask("c", placement=placement)])[0].offers}
        for placement in ("", "home", "basket")
    }
    assert shown["home"] - shown["basket"] == {"adult"}
    assert shown[""] == shown["basket"]


def test_an_offer_becomes_valid_when_its_time_comes(store):
    clock = StoppedClock(1_893_455_999_000_000_000)
    engine = make_engine(store, clock=clock)
    before = {offer.offer for offer in engine.decide([ask("c")])[0].offers}
    clock.time_ns += 1_000_000_000
    after = {offer.offer for offer in engine.decide([ask("c")])[0].offers}
    assert after - before == {"late"}


def test_a_retry_gets_the_decision_id_of_the_first_try(store):
    engine = make_engine(store)
    ids = [engine.decide([ask("c", request_id=r)])[0].decision_id for r in ("r", "r", "s", "", "")]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 4
    other = engine.decide([ask("d", request_id="r")])[0].decision_id
    assert other != ids[0]


def test_many_questions_get_the_answers_that_each_would_get_alone(store):
    catalogue = make_catalogue()
    count = 2 * BATCH_TURN_MAX + 3
    for at, slots in enumerate(draw_slots(catalogue, 40, 9)):
        put(store, f"c{at}", slots)
    questions = [ask(f"c{n % 50}", context={"basket": float(n)}) for n in range(count)]
    engine = make_engine(store)
    together = engine.decide(questions)
    alone = [engine.decide([question])[0] for question in questions]
    for one, other in zip(together, alone, strict=True):
        assert one.offers == other.offers
        assert one.profile_state == other.profile_state


def test_a_mistake_in_one_question_is_the_answer_to_that_one_alone(store):
    answers = make_engine(store).decide(
        [ask("a"), ask("b", channel="wep"), ask("c", context={"baskett": 1.0}), ask("d")]
    )
    assert isinstance(answers[1], InvalidFieldError)
    assert isinstance(answers[2], InvalidFieldError)
    assert answers[0].decision_id != answers[3].decision_id


@pytest.mark.parametrize(
    ("question", "field", "words"),
    [
        (ask("c", channel="wep"), "channel", "did you mean 'web'?"),
        (ask("c", placement="hom"), "placement", "did you mean 'home'?"),
        (ask("c", channel="store", placement="till"), "placement", "none is declared"),
        (ask("c", context={"baskett": 1.0}), 'context["baskett"]', "did you mean 'basket'?"),
        (ask("c", context={"age": 1.0}), 'context["age"]', "cannot be given in a request"),
        (ask("c", context={"basket": -1.0}), 'context["basket"]', "10000"),
        (ask("c", context={"basket": float("nan")}), 'context["basket"]', "nan"),
        (ask("c", context={"device": "phon"}), 'context["device"]', "phone"),
        (ask("c", context={"device": 3.0}), 'context["device"]', "category"),
    ],
)
def test_a_mistake_names_the_field_and_what_would_be_right(store, question, field, words):
    (error,) = make_engine(store).decide([question])
    assert isinstance(error, InvalidFieldError)
    assert error.field == field
    assert words in error.message


def test_a_context_value_does_not_leak_into_the_next_decision(store):
    engine = make_engine(store)
    engine.decide([ask("c", context={"device": "phone", "basket": 99.0})])
    (plain,) = engine.decide([ask("c")])
    (fresh,) = make_engine(store).decide([ask("c")])
    assert plain.offers == fresh.offers


def test_a_record_of_an_older_schema_reads_as_missing_at_its_end(store):
    slots = draw_slots(make_catalogue(), 1, 11)[0]
    put(store, "old", slots[:2])
    full = slots.copy()
    full[2:] = 0xFFFF_FFFF
    put(store, "new", full)
    engine = make_engine(store)
    old, new = engine.decide([ask("old"), ask("new")])
    assert old.offers == new.offers


def test_new_tables_are_used_from_the_next_decision_on(store):
    engine = make_engine(store)
    catalogue = make_catalogue(NO_HOLDOUT, revision=7)
    engine.install(make_tables(catalogue, make_score_table(catalogue, 2, revision=5)))
    (answer,) = engine.decide([ask("c")])
    assert (answer.catalogue_revision, answer.model_revision) == (7, 5)
