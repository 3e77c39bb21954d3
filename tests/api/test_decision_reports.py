"""Contact policy, explanations and the uplift report through the wire, on both fronts."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from instanter.errors import LogDamagedError
from instanter.keeper.explaining import DecisionExplainer
from instanter.rpc.names import format_decision_name, parse_decision_name
from instanter.store.arm_figures import add_figures
from instanter.store.databases import PROFILE_HISTORY, PROFILES
from instanter.store.log.frames import LogPosition, LogRecord
from instanter.v1 import decision_service_pb2 as messages
from instanter.v1.attribute_value_pb2 import AttributeValue
from instanter.v1.customer_service_pb2 import (
    Customer,
    DeleteCustomerRequest,
    UpdateCustomerRequest,
)
from instanter.v1.decision_service_pb2 import (
    BatchDecideOffersRequest,
    DecideOffersRequest,
    DecideOffersResponse,
    ExplainDecisionRequest,
    Outcome,
    RecordOutcomesRequest,
    ReportUpliftRequest,
)
from tests.api.refusals import refuse
from tests.api.shop import SHOP, Shop, open_shop

POLICY = """
contact_policy:
  caps:
    - {name: weekly, per: customer, count: 3, window: 7d}
    - {name: tea, per: offer, count: 1, window: 1d, channel: web}
  cool_off: [{after: rejected, per: offer, for: 30d}]
arms: {random_rate: 0.5, salt: any}
"""
DAY_S = 86_400


@pytest.fixture(scope="module")
def capped(front_name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop with a contact policy and a random arm."""
    with open_shop(tmp_path_factory.mktemp("capped") / "store", front_name) as opened:
        opened.apply(SHOP | {"policy.yaml": POLICY})
        yield opened


def ask(customer: str, **fields: Any) -> DecideOffersRequest:
    """Return the question for one customer."""
    given: dict[str, Any] = {"channel": "web", "offer_count": 2, **fields}
    return DecideOffersRequest(customer=f"customers/{customer}", **given)


def decide(shop: Shop, customer: str, **fields: Any) -> DecideOffersResponse:
    """Return a decision."""
    response = shop.decisions.DecideOffers(ask(customer, **fields), timeout=20)
    assert isinstance(response, DecideOffersResponse)
    return response


def record(
    shop: Shop,
    customer: str,
    made: DecideOffersResponse,
    kind: messages.OutcomeKind.ValueType,
    **fields: Any,
) -> int:
    """Record an outcome of a decision's first offer, and return its state."""
    outcome = Outcome(
        decision=made.decision,
        customer=f"customers/{customer}",
        offer=made.offers[0].offer if made.offers else "",
        kind=kind,
        **fields,
    )
    response = shop.decisions.RecordOutcomes(RecordOutcomesRequest(outcomes=[outcome]), timeout=20)
    return int(response.results[0].state)


def explain(shop: Shop, name: str) -> messages.ExplainDecisionResponse:
    """Return an explanation."""
    response = shop.decisions.ExplainDecision(ExplainDecisionRequest(name=name), timeout=20)
    assert isinstance(response, messages.ExplainDecisionResponse)
    return response


def put(shop: Shop, customer: str, age: float) -> None:
    """Write a profile."""
    shop.customers.UpdateCustomer(
        UpdateCustomerRequest(
            customer=Customer(
                name=f"customers/{customer}",
                attributes={"age": AttributeValue(number_value=age)},
            ),
            allow_missing=True,
        ),
        timeout=20,
    )


def test_calls_at_the_same_moment_never_get_more_than_the_cap(capped: Shop) -> None:
    put(capped, "busy", 40.0)
    single = [ask("busy") for _ in range(40)]
    batch = BatchDecideOffersRequest(requests=[ask("busy"), ask("other"), ask("busy")] * 10)
    with ThreadPoolExecutor(16) as pool:
        batches = [
            pool.submit(capped.decisions.BatchDecideOffers, batch, timeout=20) for _ in range(4)
        ]
        answers = list(pool.map(lambda q: capped.decisions.DecideOffers(q, timeout=20), single))
        for done in batches:
            answers += [
                response
                for request, response in zip(batch.requests, done.result().responses, strict=True)
                if request.customer == "customers/busy"
            ]
    offers = [offer.offer for answer in answers for offer in answer.offers]
    # Three in all, and of each offer at most one.
    assert sorted(offers) == ["offers/espresso", "offers/tea"]
    last = decide(capped, "busy")
    assert last.no_offer_reason == messages.NO_OFFER_REASON_CONTACT_POLICY
    assert [(each.reason, each.offer_count) for each in last.exclusions][-1] == (
        messages.EXCLUSION_REASON_CAPPED,
        2,
    )


def test_an_outcome_changes_the_very_next_decision(capped: Shop) -> None:
    put(capped, "anna", 40.0)
    first = decide(capped, "anna", offer_count=1)
    assert record(capped, "anna", first, messages.OUTCOME_KIND_PRESENTED) == 1
    assert record(capped, "anna", first, messages.OUTCOME_KIND_REJECTED) == 1
    second = decide(capped, "anna", offer_count=3)
    assert first.offers[0].offer not in [offer.offer for offer in second.offers]
    found = explain(capped, second.decision)
    (stopped,) = [o for o in found.offers if o.offer == first.offers[0].offer]
    assert stopped.exclusion_reason == messages.EXCLUSION_REASON_CAPPED
    assert stopped.exclusion_detail.startswith("cap 'tea' allows 1 in 1d for the offer in channel")
    assert "1 counted" in stopped.exclusion_detail


def test_the_arm_and_the_probability_of_the_choice_are_in_the_response(capped: Shop) -> None:
    arms = set()
    for number in range(24):
        response = decide(capped, f"arm-{number}")
        arms.add(response.arm)
        drawn = response.arm == messages.ARM_RANDOM
        # Without a profile espresso cannot be decided, so there is one offer to choose from.
        assert response.offers[0].choice_propensity == 1.0
        assert (messages.OFFER_REASON_RANDOM_ARM in response.offers[0].reasons) == drawn
        assert response.arm == decide(capped, f"arm-{number}", channel="store").arm
    assert arms == {messages.ARM_DECIDED, messages.ARM_RANDOM}
    counts = capped.metrics.decisions_by_arm
    assert counts[messages.ARM_DECIDED] > 0 < counts[messages.ARM_RANDOM]


def test_a_decision_is_explained_with_the_profile_of_its_moment(shop: Shop) -> None:
    put(shop, "olga", 17.0)
    young = decide(shop, "olga")
    put(shop, "olga", 44.0)
    grown = decide(shop, "olga")
    before, after = explain(shop, young.decision), explain(shop, grown.decision)
    assert (before.profile_revision, after.profile_revision) == (1, 2)
    assert before.name == young.decision
    assert before.customer == "customers/olga"
    (stopped,) = [o for o in before.offers if o.offer == "offers/espresso"]
    assert stopped.exclusion_detail == (
        "eligibility `profile.age >= 18.0` is false: profile.age is 17 years"
    )
    assert [o.offer for o in after.offers if o.rank] == [o.offer for o in grown.offers]
    assert after.models_unchanged
    assert after.runner_up.offer == grown.offers[1].offer
    assert after.runner_up.value_minor_needed > grown.offers[1].value_minor


def test_a_decision_with_a_request_id_is_explained_by_its_last_try(shop: Shop) -> None:
    for _ in range(2):
        response = decide(shop, "olga", request_id="same")
    assert explain(shop, response.decision).name == response.decision


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "DECISION_NAME_INVALID"),
        ("decisions/xyz", "DECISION_NAME_INVALID"),
        ("decisions/" + "A" * 32, "DECISION_NAME_INVALID"),
        ("offers/" + "0" * 32, "DECISION_NAME_INVALID"),
    ],
)
def test_a_name_that_is_no_decisions_is_refused(shop: Shop, name: str, reason: str) -> None:
    refusal = refuse(shop.decisions.ExplainDecision, ExplainDecisionRequest(name=name))
    assert (refusal.code.name, refusal.reason) == ("INVALID_ARGUMENT", reason)


@pytest.mark.parametrize(("late_looks", "is_there"), [(3, True), (10_000, False)])
def test_a_record_that_is_about_to_be_written_has_a_moment(
    shop: Shop, late_looks: int, is_there: bool
) -> None:
    decision_id = parse_decision_name(decide(shop, "paula").decision, "name")
    explain(shop, format_decision_name(decision_id.hex()))
    looks, waits = iter(range(late_looks)), []

    def read_at(position: LogPosition) -> LogRecord:
        if next(looks, None) is not None:
            raise LogDamagedError("no right record stands there")
        return shop.kept.log.reader.read_at(position)

    explainer = DecisionExplainer(
        shop.state, read_at, current_tables=lambda: shop.engine.tables, wait=waits.append
    )
    if is_there:
        assert explainer.explain(decision_id).decision.decision_id == decision_id
        assert len(waits) == late_looks
    else:
        with pytest.raises(LogDamagedError):
            explainer.explain(decision_id)
        assert sum(waits) < 1


def test_a_decision_that_was_never_made_is_not_found(shop: Shop) -> None:
    request = ExplainDecisionRequest(name="decisions/" + "0" * 32)
    refusal = refuse(shop.decisions.ExplainDecision, request)
    assert (refusal.code.name, refusal.reason) == ("NOT_FOUND", "DECISION_NOT_FOUND")


def test_inputs_that_are_gone_are_told(shop: Shop) -> None:
    put(shop, "gone", 20.0)
    made = decide(shop, "gone")
    explain(shop, made.decision)

    def drop(transaction: Any) -> None:
        for database in (PROFILES, PROFILE_HISTORY):
            for key, _ in list(transaction.scan(database, b"gone")):
                if key.startswith(b"gone"):
                    transaction.delete(database, key)

    shop.state.write(drop)
    request = ExplainDecisionRequest(name=made.decision)
    refusal = refuse(shop.decisions.ExplainDecision, request)
    assert (refusal.code.name, refusal.reason) == ("FAILED_PRECONDITION", "DECISION_INPUTS_GONE")


def test_a_customer_who_came_back_is_not_taken_for_the_one_who_was_decided_for(shop: Shop) -> None:
    put(shop, "lazarus", 30.0)
    made = decide(shop, "lazarus")
    shop.customers.DeleteCustomer(DeleteCustomerRequest(name="customers/lazarus"), timeout=20)
    put(shop, "lazarus", 5.0)
    request = ExplainDecisionRequest(name=made.decision)
    refusal = refuse(shop.decisions.ExplainDecision, request)
    assert (refusal.code.name, refusal.reason) == ("FAILED_PRECONDITION", "DECISION_INPUTS_GONE")
    put(shop, "lazarus", 6.0)
    assert refuse(shop.decisions.ExplainDecision, request).reason == "DECISION_INPUTS_GONE"
    assert explain(shop, decide(shop, "lazarus").decision).profile_revision == 2


def test_the_report_counts_what_was_recorded(
    front_name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with open_shop(tmp_path_factory.mktemp("uplift") / "store", front_name) as shop:
        shop.apply(SHOP | {"policy.yaml": "arms: {random_rate: 0.5, salt: any}\n"})
        made = {f"c-{n}": decide(shop, f"c-{n}", offer_count=1) for n in range(30)}
        for number, (customer, decision) in enumerate(made.items()):
            record(shop, customer, decision, messages.OUTCOME_KIND_PRESENTED)
            if number % 3 == 0:
                record(shop, customer, decision, messages.OUTCOME_KIND_CONVERTED, value_minor=400)
        report = shop.decisions.ReportUplift(ReportUpliftRequest(), timeout=20)
        assert report.currency == "EUR"
        assert sum(arm.decision_count for arm in report.arms) == 30
        assert sum(arm.accepted_count for arm in report.arms) == 10
        assert sum(arm.value_minor for arm in report.arms) == 4_000
        for arm in report.arms:
            own = [c for c, decision in made.items() if decision.arm == arm.arm]
            assert arm.decision_count == arm.presented_count == len(own)
            assert arm.acceptance.value == arm.accepted_count / len(own)
            assert arm.acceptance.low < arm.acceptance.value < arm.acceptance.high
        assert report.acceptance_uplift.defined
        assert not report.value_uplift_over_holdout.defined
        of_tea = shop.decisions.ReportUplift(ReportUpliftRequest(offer="offers/tea"), timeout=20)
        assert sum(arm.value_minor for arm in of_tea.arms) == 4_000
        of_other = ReportUpliftRequest(offer="offers/espresso")
        nothing = shop.decisions.ReportUplift(of_other, timeout=20)
        assert sum(arm.presented_count for arm in nothing.arms) == 0
        assert sum(arm.decision_count for arm in nothing.arms) == 30
        _check_days(shop)


def test_a_sum_of_values_beyond_its_field_is_the_most_that_fits(
    front_name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with open_shop(tmp_path_factory.mktemp("rich") / "store", front_name) as shop:
        shop.apply(SHOP)
        value_minor, count = 10**15, 9_300
        shop.state.write(
            lambda transaction: add_figures(
                transaction,
                20_000,
                int(messages.ARM_DECIDED),
                "tea",
                decisions=count,
                presented=count,
                accepted=count,
                value_minor=count * value_minor,
                value_squares=count * value_minor**2,
            )
        )
        (arm,) = shop.decisions.ReportUplift(ReportUpliftRequest(), timeout=20).arms
        assert arm.value_minor == 2**63 - 1 < count * value_minor
        assert arm.value_per_decision.value == value_minor


def _check_days(shop: Shop) -> None:
    now_s = shop.clock.now_ns() // 10**9
    for start, end, count in (
        (now_s - DAY_S, now_s, 30),
        (now_s, None, 30),
        (None, now_s - now_s % DAY_S, 0),
        (now_s + DAY_S, None, 0),
    ):
        request = ReportUpliftRequest(
            start_time=None if start is None else Timestamp(seconds=start),
            end_time=None if end is None else Timestamp(seconds=end),
        )
        report = shop.decisions.ReportUplift(request, timeout=20)
        assert sum(arm.decision_count for arm in report.arms) == count


@pytest.mark.parametrize(
    ("fields", "code", "reason", "words"),
    [
        ({"offer": "tea"}, "INVALID_ARGUMENT", "OFFER_NAME_INVALID", "offers/{offer}"),
        ({"offer": "offers/teaa"}, "NOT_FOUND", "OFFER_NOT_FOUND", "did you mean 'tea'?"),
        (
            {"start_time": Timestamp(seconds=2_000), "end_time": Timestamp(seconds=1_000)},
            "INVALID_ARGUMENT",
            "TIME_RANGE_INVALID",
            "after start_time",
        ),
        (
            {"start_time": Timestamp(seconds=-5)},
            "INVALID_ARGUMENT",
            "TIME_OUT_OF_RANGE",
            "1970 to 9999",
        ),
        (
            {"end_time": Timestamp(seconds=1, nanos=-1)},
            "INVALID_ARGUMENT",
            "TIME_OUT_OF_RANGE",
            "1970 to 9999",
        ),
    ],
)
def test_a_report_that_cannot_be_made_is_refused_with_what_would_be_right(
    shop: Shop, fields: dict[str, Any], code: str, reason: str, words: str
) -> None:
    refusal = refuse(shop.decisions.ReportUplift, ReportUpliftRequest(**fields))
    assert (refusal.code.name, refusal.reason) == (code, reason)
    assert words in refusal.message
