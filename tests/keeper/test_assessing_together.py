"""Card transactions of one group, assessed together: the same as one by one, byte for byte."""

import io
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from math import isnan
from pathlib import Path
from typing import Any

import lmdb
import pytest

from instanter.catalogue.fraud_words import Disposition, ListKind, Source, StandInCause
from instanter.errors import ExhaustedError, InstanterError
from instanter.events_log import make_events_log
from instanter.fraud_limits import ASSESS_NS_MIN, TRANSACTION_KEPT_NS
from instanter.keeper.assessing import AssessTransaction
from instanter.keeper.assessing_together import AssessEncoded
from instanter.keeper.fraud_rules import SnoozeFraudRule
from instanter.keeper.labels import FoundKind
from instanter.keeper.records import RecordKind
from instanter.keeper.transaction_outcomes import RecordTransactionOutcomes, TransactionOutcome
from instanter.keeper.verdicts import Approval, Verdict
from instanter.metrics import Metrics
from instanter.rpc.assessing import AssessmentDesk, read_transaction
from instanter.store.databases import FRAUD_STATES
from instanter.store.environment import Environment
from instanter.store.fraud_states import entity_key
from instanter.store.log.log import Log
from instanter.v1 import fraud_service_pb2 as messages
from tests.keeper.askers import Asker, Told
from tests.keeper.test_assessing import damage
from tests.keeper.test_keeper import read_all
from tests.keeper.tills import NOW_NS, S_NS, StoodClock, Till, open_till

WORLD = """\
currency: EUR
channels: {web: []}
attributes:
  - {name: age, kind: number}
fraud:
  velocities:
    count_1h: {per: card, function: count, window: 1h}
    mean_7d: {per: card, function: mean, of: amount, window: 7d}
    merchants_1d: {per: card, function: distinct, of: merchant, window: 1d}
    terminal_sum_1h: {per: terminal, function: sum, of: amount, window: 1h}
    device_count_1d: {per: device, function: count, window: 1d, counts: approved}
    customer_count_1d: {per: customer, function: count, window: 1d}
    terminal_frauds: {per: terminal, function: frauds, window: 35d}
  terminals:
    t0: {latitude: 50.1, longitude: 8.7}
    t1: {latitude: 48.1, longitude: 11.6}
  rules:
    too_many: {when: 'velocity.count_1h >= 7', disposition: decline, reason: VELOCITY}
    large: {when: 'transaction.amount > 1000.0', disposition: refer, reason: LARGE_AMOUNT}
    young: {when: 'profile.age < 18.0', points: 5, reason: YOUNG}
    far: {when: 'travel.impossible', disposition: decline, reason: TRAVEL}
    shadowed: {when: 'transaction.amount > 900.0', points: 50, reason: SHADOW, shadow: true}
  model:
    features: [transaction.amount, velocity.count_1h, baseline.card_amount_deviation]
    points: 90
  thresholds:
    - {merchants: [m0], refer: 30, decline: 80}
    - {refer: 60, decline: 90}
"""


def make_request(name: str, **given: Any) -> messages.AssessTransactionRequest:
    """Return a purchase by web for 10 euros, but for what is given."""
    parts: dict[str, Any] = {
        "transaction_id": name,
        "card_token": "card-1",
        "terminal": "terminals/t1",
        "merchant": "merchants/m1",
        "mcc": 5411,
        "amount_minor": 1_000,
        "currency": "EUR",
        "channel": messages.TRANSACTION_CHANNEL_CARD_NOT_PRESENT,
    }
    time_ns = given.pop("time_ns", NOW_NS)
    place = given.pop("place", None)
    request = messages.AssessTransactionRequest(**{**parts, **given})
    request.transaction_time.FromNanoseconds(time_ns)
    if place is not None:
        request.place.latitude, request.place.longitude = place
    return request


def read_encoded(encoded: bytes) -> Any:
    return read_transaction(messages.AssessTransactionRequest.FromString(encoded))


def make_verdict(approval: Approval) -> Verdict:
    """Return the verdict that an approval stands for."""
    reasons = ("MODEL",) if approval.names_model else ()
    causes = (StandInCause.PLACE_MISSING,) if approval.lacks_place else ()
    risk, probability, _, _, revision = approval
    return Verdict(
        Disposition.APPROVE, Source.RULES, risk, probability, reasons, (), (), causes, (), revision
    )


def find_outcome(future: Any) -> Any:
    """Return what became of a command, in a form that can be compared."""
    try:
        result = future.result(20)
    except InstanterError as error:
        return type(error), error.reason, error.message
    if isinstance(result, Approval):
        result = make_verdict(result)
    return result._replace(probability=-1.0) if isnan(result.probability) else result


@contextmanager
def open_both(folder: Path, clock: StoodClock) -> Iterator[tuple[Till, Till]]:
    """Open a till that is asked one by one, and one that is asked together."""
    with (
        open_till(folder / "each", clock) as each,
        open_till(folder / "together", clock) as together,
    ):
        for till in (each, together):
            # It writes records of its own when it is time, which differs.
            till.desk.kept.ticker.stop()
            till.publish(WORLD)
        yield each, together


def ask_together(till: Till, requests: Sequence[Any], deadline_ns: int | None = None) -> list[Any]:
    """Ask all in one group; return what each was answered, as it is."""
    release = till.desk.hold()
    asked = [
        till.submit(AssessEncoded(each.SerializeToString(), read_encoded, deadline_ns))
        for each in requests
    ]
    release()
    return asked


def ask_each(till: Till, requests: Sequence[Any], deadline_ns: int | None = None) -> list[Any]:
    """Ask the same of a till one by one, after a record like that which holds a group up."""
    till.desk.hold()()
    asked = []
    for each in requests:
        try:
            transaction = read_transaction(each)
        except InstanterError as error:
            asked.append(_Refused(error))
            continue
        asked.append(till.submit(AssessTransaction(transaction, deadline_ns)))
        find_outcome(asked[-1])
    return asked


class _Refused:
    def __init__(self, error: InstanterError) -> None:
        self._error = error

    def result(self, timeout: float) -> Any:
        raise self._error


def read_bodies(till: Till) -> list[tuple[int, bytes]]:
    """Return the sequences and bodies of all records of assessments."""
    records = till.desk.kept.log.reader.read(till.desk.kept.log.first_sequence)
    return [(each.sequence, each.body) for each in records if each.kind == RecordKind.ASSESSMENTS]


def count_approvals(asked: Sequence[Any]) -> int:
    """Return how many were answered by the way that many take together."""
    found = 0
    for future in asked:
        try:
            found += isinstance(future.result(20), Approval)
        except InstanterError:
            continue
    return found


def draw_request(draw: random.Random, number: int, clock: StoodClock) -> Any:
    """Return a request: mostly usual, now and then one of all that is not."""
    given: dict[str, Any] = {
        "card_token": f"card-{draw.randrange(5)}",
        "terminal": f"terminals/t{draw.randrange(3)}",
        "merchant": f"merchants/m{draw.randrange(2)}",
        "amount_minor": draw.randrange(1, 80_000),
        "mcc": draw.choice([5411, 5812, 1]),
        "time_ns": clock.time_ns - draw.randrange(3 * 3_600) * S_NS,
    }
    if draw.random() < 0.5:
        given["device"] = f"d{draw.randrange(3)}"
    if draw.random() < 0.4:
        given["customer"] = f"customers/c{draw.randrange(3)}"
    if draw.random() < 0.3:
        given["channel"] = messages.TRANSACTION_CHANNEL_CARD_PRESENT
    if draw.random() < 0.2:
        given["place"] = (50.0 + draw.random(), 8.0)
    odd = draw.random()
    if odd < 0.03:
        given["amount_minor"] = draw.choice([0, -1, 95_000, 200_000])
    elif odd < 0.05:
        given["currency"] = draw.choice(["eur", "XXX", "JPY", ""])
    elif odd < 0.07:
        given["time_ns"] = clock.time_ns + draw.choice([-500 * 86_400, 200, 90_000]) * S_NS
    elif odd < 0.09:
        given["card_token"] = draw.choice(["listed", "4111111111111111", "", "snoozed", "a/b"])
    elif odd < 0.10:
        given["merchant"] = draw.choice(["m1", "merchants/", "merchants/ü"])
    name = f"t{number - draw.randrange(1, 9)}" if odd > 0.97 else f"t{number}"
    return make_request(name, **given)


@pytest.mark.parametrize("seed", range(3))
def test_a_group_is_answered_and_kept_as_one_by_one(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    clock = StoodClock()
    usual_count = 0
    with open_both(tmp_path, clock) as (each, together):
        for till in (each, together):
            till.desk.put("c0", 17).result(20)
            till.desk.put("c1", 40).result(20)
            till.block(ListKind.CARDS, "listed")
            till.do(SnoozeFraudRule("large", "snoozed", clock.time_ns + 10**6 * S_NS))
        number = 0
        for _ in range(40):
            clock.time_ns += draw.randrange(2_000) * S_NS
            requests = []
            for _ in range(draw.choice([1, 2, 5, 16])):
                number += 1
                requests.append(draw_request(draw, number, clock))
            one, other = ask_each(each, requests), ask_together(together, requests)
            assert [find_outcome(f) for f in other] == [find_outcome(f) for f in one]
            usual_count += count_approvals(other)
            if draw.random() < 0.2:
                found = draw.choice([FoundKind.FRAUD, FoundKind.GENUINE])
                outcome = TransactionOutcome(f"t{draw.randrange(1, number + 1)}", found)
                for till in (each, together):
                    label(till, outcome)
        assert usual_count > number / 4, "the way of many is taken"
        assert read_all(together.desk.kept.state) == read_all(each.desk.kept.state)
        assert read_bodies(together) == read_bodies(each)
        assert len(read_bodies(each)) > number / 2


def test_a_group_forgets_as_much_as_one_by_one(tmp_path: Path) -> None:
    clock = StoodClock()
    with open_both(tmp_path, clock) as (each, together):
        for till in (each, together):
            for first in range(0, 900, 50):
                numbers = range(first, first + 50)
                old = [make_request(f"old{n}", card_token=f"card-{n}") for n in numbers]
                assert count_approvals(ask_together(till, old)) == 50
        # More of them are over than go with one entry, and the group begins two at the least.
        clock.time_ns += TRANSACTION_KEPT_NS + 2 * 3_600 * S_NS
        new = [
            make_request(f"new{n}", card_token=f"card-{n}", time_ns=clock.time_ns)
            for n in range(130)
        ]
        assert count_approvals(ask_together(together, new)) == 130
        ask_each(each, new)
        assert read_all(together.desk.kept.state) == read_all(each.desk.kept.state)


def label(till: Till, outcome: TransactionOutcome) -> None:
    """Tell what became of a transaction, if there is one."""
    with suppress(InstanterError):
        till.do(RecordTransactionOutcomes((outcome,)))


def test_what_is_unusual_stops_no_other(tmp_path: Path) -> None:
    clock = StoodClock()
    with open_till(tmp_path / "store", clock) as till:
        till.publish(WORLD)
        till.block(ListKind.CARDS, "listed")
        asked = ask_together(
            till,
            [
                make_request("a"),
                make_request("b", card_token="listed"),
                make_request("c", mcc=0),
                make_request("a"),
                make_request("d", card_token="other"),
                make_request("d", card_token="third"),
                make_request("e", amount_minor=150_000),
                make_request("f", time_ns=NOW_NS - 2_000 * 86_400 * S_NS),
            ],
        )
        found = [find_outcome(each) for each in asked]
        assert [
            each.disposition if isinstance(each, Verdict) else each[0].__name__ for each in found
        ] == [
            Disposition.APPROVE,
            Disposition.DECLINE,
            "InvalidFieldError",
            Disposition.APPROVE,
            Disposition.APPROVE,
            "AlreadyExistsError",
            Disposition.REFER,
            Disposition.REFER,
        ]
        assert found[3].was_known
        assert found[7].stand_in_causes == (StandInCause.CLOCK_JUMPED,)
        assert [isinstance(each.result(20), Approval) for each in (asked[0], asked[4])] == [
            True,
            True,
        ]


def test_a_limit_holds_within_a_group(tmp_path: Path) -> None:
    with open_till(tmp_path / "store") as till:
        till.publish(WORLD)
        answers = [
            find_outcome(each).disposition
            for each in ask_together(till, [make_request(f"t{n}") for n in range(200)])
        ]
        assert answers == [Disposition.APPROVE] * 7 + [Disposition.DECLINE] * 193


def test_a_damaged_state_is_left_to_the_stand_in(tmp_path: Path) -> None:
    with open_till(tmp_path / "store") as till:
        till.publish(WORLD)
        find_outcome(ask_together(till, [make_request("a")])[0])
        damage(till, FRAUD_STATES, entity_key(1, "card-1"))
        asked = ask_together(till, [make_request("b", card_token="x"), make_request("c")])
        first, second = map(find_outcome, asked)
        assert first.disposition == Disposition.APPROVE
        assert second.source == Source.STAND_IN
        assert second.stand_in_causes == (StandInCause.STATE_DAMAGED,)


def test_a_short_deadline_is_seen_together_too(tmp_path: Path) -> None:
    with open_till(tmp_path / "store") as till:
        till.publish(WORLD)
        asked = ask_together(till, [make_request("a")], NOW_NS + ASSESS_NS_MIN - 1)
        assert find_outcome(asked[0]).stand_in_causes == (StandInCause.DEADLINE_SHORT,)
        asked = ask_together(till, [make_request("b")], NOW_NS + ASSESS_NS_MIN)
        assert isinstance(asked[0].result(20), Approval)


class SetBackClock(StoodClock):
    """A clock whose time of day may be set back while seconds pass as ever."""

    def monotonic_ns(self) -> int:
        return S_NS


def test_a_clock_that_was_set_back_takes_nobodys_time_away(tmp_path: Path) -> None:
    clock = SetBackClock()
    with open_till(tmp_path / "store", clock) as till:
        till.publish(WORLD)
        for name, back_ns in (("a", 0), ("b", 60 * S_NS), ("c", 80_000 * S_NS)):
            clock.time_ns = NOW_NS - back_ns
            for ask in (ask_together, ask_each):
                requests = [make_request(f"{name}-{ask.__name__}")]
                (enough,) = map(find_outcome, ask(till, requests, S_NS + ASSESS_NS_MIN))
                assert (enough.disposition, enough.source) == (Disposition.APPROVE, Source.RULES)
        (short,) = map(find_outcome, ask_together(till, [make_request("d")], S_NS + 1))
        assert short.stand_in_causes == (StandInCause.DEADLINE_SHORT,)


def test_a_mistake_of_ours_leaves_all_to_the_other_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_till(tmp_path / "store") as till:
        till.publish(WORLD)
        find_outcome(ask_together(till, [make_request("a")])[0])

        def fail(*_: Any) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr("instanter.fraud.turns.TurnAssessor.assess", fail)
        asked = ask_together(till, [make_request("b"), make_request("c")])
        assert [type(each.result(20)) for each in asked] == [Verdict, Verdict]


@pytest.mark.parametrize(
    "approval",
    [
        Approval(12.5, 0.125, True, False, 7),
        Approval(0.0, float("nan"), False, False, 1),
        Approval(0.25, 0.002, False, True, 300),
    ],
)
def test_the_response_is_the_one_that_a_message_gives(approval: Approval) -> None:
    metrics = Metrics()
    desk = AssessmentDesk(
        submit=lambda *_, **__: None,  # type: ignore[arg-type, return-value]
        gather=lambda *_, **__: None,  # type: ignore[arg-type, return-value]
        metrics=metrics,
        log=make_events_log(io.StringIO()),
    )
    verdict = make_verdict(approval)
    assert desk.encode(approval) == desk.translate(verdict).SerializeToString()
    assert desk.encode(verdict) == desk.encode(approval)
    assert sum(metrics.assessments_by_verdict) == 4


def test_bytes_that_are_no_request_are_refused(tmp_path: Path) -> None:
    with open_till(tmp_path / "store") as till:
        till.publish(WORLD)
        desk = AssessmentDesk(
            submit=till.desk.keeper.submit,
            gather=till.desk.keeper.gather,
            metrics=Metrics(),
            log=make_events_log(io.StringIO()),
        )
        work = desk.describe().gathered
        assert work is not None
        told = Told()
        work.gather(work.make(b"\xff\xff", None), Asker("here"), told.take)
        (error,) = told.wait(1).values()
        assert isinstance(error, InstanterError)
        assert error.reason == "REQUEST_UNDECODABLE"


def ask_in_turn(till: Till, names: Sequence[str]) -> list[Disposition]:
    """Ask one after another; return the answers."""
    asked = [AssessEncoded(make_request(name).SerializeToString(), read_encoded) for name in names]
    return [find_outcome(till.submit(command)).disposition for command in asked]


NAMES = [f"later-{at}" for at in range(10)]


def test_what_was_undone_is_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_group, refused = Log.write_group, []

    def refuse_several(log: Log) -> Any:
        if log.next_sequence - log.written_sequence > 2 and not refused:
            refused.append(log.next_sequence)
            log._group.forget()
            raise ExhaustedError("the disk is full", reason="LOG_DISK_FULL")
        return write_group(log)

    with open_till(tmp_path / "undone") as till, open_till(tmp_path / "plain") as plain:
        for each in (till, plain):
            each.publish(WORLD)
            assert ask_in_turn(each, ["first"]) == [Disposition.APPROVE]
        monkeypatch.setattr(Log, "write_group", refuse_several)
        lost = ask_together(till, [make_request(f"lost-{at}") for at in range(4)])
        assert {find_outcome(each)[1] for each in lost} == {"LOG_DISK_FULL"}
        assert refused
        assert ask_in_turn(till, NAMES) == ask_in_turn(plain, NAMES)


def test_what_is_carried_out_again_is_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is where the store's map has to grow: all of a transaction runs a second time."""
    write_once, grown = Environment._write_once, []

    def grow_first(environment: Environment, change: Any) -> Any:
        def change_in_vain(raw: Any, handles: Any) -> Any:
            change(raw, handles)
            raise lmdb.MapFullError

        if not environment._durable and not grown:
            grown.append(environment)
            return write_once(environment, change_in_vain)
        return write_once(environment, change)

    with open_till(tmp_path / "grown") as till, open_till(tmp_path / "plain") as plain:
        for each in (till, plain):
            each.publish(WORLD)
            assert ask_in_turn(each, ["first"]) == [Disposition.APPROVE]
        with monkeypatch.context() as patch:
            patch.setattr(Environment, "_write_once", grow_first)
            assert ask_in_turn(till, ["second"]) == [Disposition.APPROVE]
        assert grown
        assert ask_in_turn(plain, ["second"]) == [Disposition.APPROVE]
        assert ask_in_turn(till, NAMES) == ask_in_turn(plain, NAMES)
