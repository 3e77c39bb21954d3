"""`BacktestFraudRules` through the wire: progress, the result, and what is refused."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from instanter.v1 import fraud_service_pb2 as pb
from tests.api.refusals import read_refusal
from tests.api.shop import Shop, open_shop
from tests.api.till import TILL, assess, name, now
from tests.api.waiting import wait_until

STRICT = """\
# Rules of another mind.
currency: USD
fraud:
  terminals:
    berlin: {latitude: 52.52, longitude: 13.405, merchant: m1}
  fields:
    recurring: {kind: flag}
    amount_limit: {kind: number}
    cvv: {kind: category, values: [present, absent]}
  rules:
    medium: {when: 'transaction.amount >= 500.0', disposition: decline, reason: MEDIUM}
"""


@pytest.fixture(scope="module")
def shop(front_name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop with five recorded transactions, two of them frauds."""
    with open_shop(tmp_path_factory.mktemp("till") / "store", front_name) as opened:
        opened.apply(TILL)
        # Approved genuine, approved fraud, referred genuine, declined fraud, declined genuine.
        amounts = (1_000, 60_000, 150_000, 600_000, 700_000)
        kinds = (2, 1, 2, 1, 2)
        outcomes = []
        for amount, kind in zip(amounts, kinds, strict=True):
            transaction = name("t")
            assess(opened, transaction_id=transaction, amount_minor=amount)
            outcomes.append(
                pb.TransactionOutcome(transaction=f"transactions/{transaction}", kind=kind)  # type: ignore[arg-type] # a number
            )
        request = pb.RecordTransactionOutcomesRequest(outcomes=outcomes)
        opened.fraud.RecordTransactionOutcomes(request, timeout=20)
        yield opened


def run(shop: Shop, text: str = STRICT, **given: object) -> list[pb.BacktestFraudRulesResponse]:
    request = pb.BacktestFraudRulesRequest(fraud_yaml=text, **given)  # type: ignore[arg-type] # times
    return list(shop.fraud.BacktestFraudRules(request, timeout=60))


def refuse_run(shop: Shop, text: str) -> object:
    with pytest.raises(grpc.RpcError) as caught:
        run(shop, text)
    return read_refusal(caught.value)


def test_other_rules_are_compared_with_the_live_ones(shop: Shop) -> None:
    *progress, last = run(shop)
    assert all(each.WhichOneof("told") == "progress" for each in progress)
    assert progress[-1].progress == pb.BacktestProgress(transaction_count=5, done_rate=1)
    result = last.result
    assert result.live == pb.BacktestFigures(
        transaction_count=5,
        referred_count=1,
        declined_count=2,
        caught_count=1,
        caught_minor=600_000,
        missed_count=1,
        missed_minor=60_000,
        false_positive_count=2,
        false_positive_minor=850_000,
    )
    assert result.given == pb.BacktestFigures(
        transaction_count=5,
        declined_count=4,
        caught_count=2,
        caught_minor=660_000,
        false_positive_count=2,
        false_positive_minor=850_000,
    )
    assert (result.newly_stopped_count, result.newly_caught_count) == (1, 1)
    assert (result.released_count, result.newly_missed_count) == (0, 0)
    assert list(result.rules) == [
        pb.BacktestRule(rule="medium", fired_count=4, caught_count=2, false_positive_count=2)
    ]
    assert result.start_time.seconds <= result.end_time.seconds
    # Nothing has changed on the server.
    assert assess(shop, amount_minor=60_000).disposition == pb.DISPOSITION_APPROVE


def test_only_transactions_of_the_asked_time_count(shop: Shop) -> None:
    *_, last = run(shop, start_time=now(3600))
    assert last.result.given.transaction_count == 0
    assert not last.result.HasField("start_time")


def test_transactions_that_lack_a_required_field_are_replayed_without(shop: Shop) -> None:
    *_, last = run(shop, STRICT.replace("kind: flag", "kind: flag, required: true"))
    assert last.result.given.declined_count >= 4
    assert last.result.misfit_count == last.result.given.transaction_count >= 5


SHOP = "currency: EUR\nchannels: {web: []}\n"
SECTION = """\
fraud:
  rules:
    small: {when: 'transaction.amount >= 1.0', disposition: refer, reason: SMALL}
"""
SPREAD = {
    "a file of its own": {"shop.yaml": SHOP, "fraud.yaml": SECTION},
    "a comment above it": {"shop.yaml": SHOP, "fraud.yaml": f"# The check.\n{SECTION}"},
    "two files": {"shop.yaml": SHOP, "fraud.yaml": SECTION, "more.yaml": "fraud: {terminals: {}}"},
    "a section behind it": {"shop.yaml": f"{SECTION}{SHOP}"},
}


@pytest.mark.parametrize("way", SPREAD)
def test_the_live_rules_may_stand_in_any_file(front_name: str, tmp_path: Path, way: str) -> None:
    with open_shop(tmp_path / "store", front_name) as opened:
        opened.apply(SPREAD[way])
        *_, last = run(opened)
    assert last.WhichOneof("told") == "result"


NEEDING = {
    "one line": {
        "shop.yaml": "{currency: EUR, fraud: {rules: {small: {when: 'transaction.amount >= 1.0',"
        " disposition: refer, reason: SMALL}}}, attributes: [{name: age, kind: number}]}"
    },
    "a file of the same name": {
        "fraud_yaml.yaml": f"{SECTION}{SHOP}attributes: [{{name: age, kind: number}}]\n"
    },
}


@pytest.mark.parametrize("way", NEEDING)
def test_what_stands_beside_the_live_rules_stays(front_name: str, tmp_path: Path, way: str) -> None:
    with open_shop(tmp_path / "store", front_name) as opened:
        opened.apply(NEEDING[way])
        assess(opened, transaction_id=name("t"), amount_minor=1_000)
        when = "profile.age < 18.0 || transaction.amount >= 1.0"
        rule = f"{{when: {when}, disposition: decline, reason: YOUNG}}"
        *_, last = run(opened, f"fraud: {{rules: {{young: {rule}}}}}\n")
    assert [rule.rule for rule in last.result.rules] == ["young"], "and nothing of the live ones"


def test_given_rules_may_stand_in_one_line(shop: Shop) -> None:
    *_, last = run(shop, "{currency: USD, fraud: {rules: {}}, channels: {web: [a, b]}}")
    assert last.result.given.declined_count == 0
    assert last.result.live.declined_count == 2


WRONG = {
    "no yaml": "fraud: [",
    "no section": "currency: EUR\n",
    "no mapping": "- fraud\n",
    "so deep that a reader of YAML ends its process": "fraud: " + "[" * 100_000,
    "nothing": "",
}


@pytest.mark.parametrize("mistake", WRONG)
def test_what_is_no_section_is_refused(shop: Shop, mistake: str) -> None:
    refusal = refuse_run(shop, WRONG[mistake])
    assert refusal.fields == ["fraud_yaml"]  # type: ignore[attr-defined] # a refusal


def test_a_mistake_in_the_rules_is_told_with_its_line(shop: Shop) -> None:
    refusal = refuse_run(shop, STRICT.replace("transaction.amount", "transaction.amuont"))
    assert refusal.reason == "CATALOGUE_INVALID"  # type: ignore[attr-defined] # a refusal
    assert "fraud_yaml.yaml:11" in refusal.message  # type: ignore[attr-defined] # a refusal


def test_a_card_number_in_the_rules_is_refused(shop: Shop) -> None:
    refusal = refuse_run(shop, STRICT + "    # 4539578763621486\n")
    assert refusal.reason == "CATALOGUE_INVALID"  # type: ignore[attr-defined] # a refusal
    assert "fraud_yaml.yaml:12" in refusal.message  # type: ignore[attr-defined] # a refusal
    assert "4539578763621486" not in str(refusal)


def test_a_caller_that_goes_away_ends_it_and_the_next_one_is_served(shop: Shop) -> None:
    call = shop.fraud.BacktestFraudRules(pb.BacktestFraudRulesRequest(fraud_yaml=STRICT))
    call.cancel()
    told: list[pb.BacktestFraudRulesResponse] = []

    def is_served() -> bool:
        try:
            told.extend(run(shop))
        except grpc.RpcError as error:
            return read_refusal(error).reason != "BACKTEST_RUNNING"
        return True

    wait_until(is_served, "another back-test begins")
    assert told[-1].WhichOneof("told") == "result"
