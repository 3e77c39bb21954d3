"""The client's fraud calls against a real server, and a terminal's stand-in for a silent one."""

import asyncio
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from instanter.client import (
    AssessmentSource,
    AsyncClient,
    CardTransaction,
    CaseChange,
    CaseFilter,
    CaseLabel,
    CaseState,
    CatalogueInvalidError,
    Client,
    ConflictError,
    DeadlineExceededError,
    Disposition,
    FraudRuleState,
    HotlistEntry,
    InvalidRequestError,
    NotFoundError,
    PreconditionError,
    StandInCause,
    TerminalStandIn,
    TransactionOutcome,
    TransactionOutcomeKind,
    TransactionOutcomeState,
    UnavailableError,
)
from instanter.client.stand_in import is_silence
from tests.api.shop import Shop, open_shop
from tests.api.till import TILL, name

LARGE = 150_000
VISA = "4539578763621486"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with open_shop(tmp_path_factory.mktemp("till") / "store", "fast") as opened:
        opened.apply(TILL)
        yield opened


@pytest.fixture
def client(shop: Shop) -> Iterator[Client]:
    with Client(shop.server.target) as opened:
        yield opened


def buy(**given: object) -> CardTransaction:
    made = CardTransaction(name("card"), "berlin", "m1", 5812, 1_999, "EUR")
    return replace(made, **given)  # type: ignore[arg-type] # any field


def test_an_id_that_the_client_makes_is_never_taken_for_a_card(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlucky = UUID(hex=f"{VISA}{VISA}")
    monkeypatch.setattr("instanter.client.fraud_requests.uuid4", lambda: unlucky)
    assert client.fraud.assess(buy()).disposition == Disposition.APPROVE


def test_a_transaction_is_assessed_and_a_retry_is_one(client: Client) -> None:
    first = client.fraud.assess(buy())
    assert (first.disposition, first.source) == (Disposition.APPROVE, AssessmentSource.RULES)
    assert first.is_durable
    assert first.transaction_id
    moment = datetime.now(UTC)
    given = buy(transaction_id=name("t"), transaction_time=moment, amount_minor=LARGE,
                customer="anna", device="d1", bin="453957", latitude=52.5, longitude=13.4,
                fields={"recurring": True, "amount_limit": 3.5, "cvv": None})  # fmt: skip
    second = client.fraud.assess(given)
    assert (second.disposition, second.risk) == (Disposition.REFER, 50)
    assert (second.reasons, second.fraud_rules) == (("LARGE",), ("large",))
    assert client.fraud.assess(given) == replace(second, is_duplicate=True)
    with pytest.raises(ConflictError):
        client.fraud.assess(replace(given, amount_minor=1))
    with pytest.raises(InvalidRequestError, match="CARD_NUMBER_REFUSED"):
        client.fraud.assess(buy(card_token="4539578763621486"))
    with pytest.raises(ValueError, match="both or neither"):
        client.fraud.assess(buy(latitude=1.0))


def test_outcomes_cases_and_rules(client: Client) -> None:
    given = buy(transaction_id=name("t"), amount_minor=LARGE)
    case_id = client.fraud.assess(given).case_id
    (case,) = client.fraud.list_cases(CaseFilter(card_token=given.card_token))
    assert (case.id, case.state, case.amount_minor) == (case_id, CaseState.OPEN, LARGE)
    assert case.figures["transaction.amount"] == 1_500
    assert case.figures["transaction.currency"] == "EUR"
    change = CaseChange(assignee="Ada", note="called", note_author="Ada")
    changed = client.fraud.update_case(case_id, change)
    assert (changed.assignee, changed.notes[0].text) == ("Ada", "called")
    labelled = client.fraud.update_case(case_id, CaseChange(label=CaseLabel.FRAUD))
    assert (labelled.label, labelled.state) == (CaseLabel.FRAUD, CaseState.CLOSED)
    assert given.transaction_id is not None
    outcome = TransactionOutcome(given.transaction_id, TransactionOutcomeKind.CHARGEBACK)
    recorded = client.fraud.record_outcomes([outcome, outcome])
    assert recorded.states == (
        TransactionOutcomeState.RECORDED,
        TransactionOutcomeState.DUPLICATE,
    )
    rules = {rule.name: rule for rule in client.fraud.list_rules()}
    assert list(rules) == ["many", "large", "huge", "silent"]
    assert rules["silent"].state is FraudRuleState.SHADOW
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    assert client.fraud.snooze_rule("large", given.card_token, end) == end
    assert client.fraud.resume_rule("large").state is FraudRuleState.LIVE
    with pytest.raises(NotFoundError):
        client.fraud.update_case("99999", CaseChange(assignee="Ada"))


def test_hotlists_are_kept(client: Client) -> None:
    card = name("card")
    end = datetime(2030, 1, 1, tzinfo=UTC)
    made = client.fraud.add_to_hotlist("cards", HotlistEntry(card, "stolen", "bank", end))
    assert client.fraud.get_hotlist_entry("cards", card) == made
    assert client.fraud.assess(buy(card_token=card)).source is AssessmentSource.HOTLIST
    client.fraud.remove_from_hotlist("cards", card)
    client.fraud.remove_from_hotlist("cards", card, allow_missing=True)
    ids = [f"device-{n:04}" for n in range(2_500)]
    told: list[int] = []
    done = client.fraud.replace_hotlist("devices", map(HotlistEntry, ids), on_block=told.append)
    assert (done.entry_count, done.replaced_count) == (2_500, 0)
    assert told[:3] == [1_000, 2_000, 2_500]
    assert [entry.id for entry in client.fraud.list_hotlist("devices")] == ids
    with pytest.raises(PreconditionError, match="HOTLIST_SHRINKS"):
        client.fraud.replace_hotlist("devices", [HotlistEntry("one")])

    def fail_midway() -> Iterator[HotlistEntry]:
        yield from map(HotlistEntry, ids[:1_500])
        raise EOFError("the file was cut")

    with pytest.raises(EOFError):
        client.fraud.replace_hotlist("devices", fail_midway())
    assert client.fraud.list_hotlist_page("devices").entry_count == 2_500
    counts = client.fraud.add_all_to_hotlist("devices", [HotlistEntry("one"), HotlistEntry("two")])
    assert (counts.created_count, counts.existing_count) == (2, 0)


def test_a_back_test_tells_progress_and_its_result(client: Client) -> None:
    client.fraud.assess(buy())
    told = []
    report = client.fraud.backtest(TILL["till.yaml"], on_progress=told.append)
    assert told[-1].done_rate == 1
    assert report.given == report.live
    assert report.given.transaction_count >= 1
    with pytest.raises(CatalogueInvalidError):
        client.fraud.backtest("fraud: {rules: {a: {when: 1}}}")


def test_the_asynchronous_client_does_the_same(shop: Shop) -> None:
    async def run() -> None:
        async with AsyncClient(shop.server.target) as client:
            given = buy(amount_minor=LARGE)
            found = await client.fraud.assess(given)
            assert found.disposition is Disposition.REFER
            cases = client.fraud.list_cases(CaseFilter(card_token=given.card_token))
            assert [case.id async for case in cases] == [found.case_id]
            ids = [name("m") for _ in range(3)]
            await client.fraud.replace_hotlist("merchants", map(HotlistEntry, ids))
            listed = [entry.id async for entry in client.fraud.list_hotlist("merchants")]
            assert sorted(listed) == sorted(ids)
            report = await client.fraud.backtest(TILL["till.yaml"])
            assert report.given.transaction_count >= 1
            stand_in = TerminalStandIn({"EUR": 5_000})
            async with AsyncClient("127.0.0.1:1") as lost:
                answer = await lost.fraud.assess(buy(), stand_in=stand_in, timeout_s=0.3)
            assert answer.disposition is Disposition.APPROVE
            (told,) = await client.fraud.send_waiting(stand_in, timeout_s=20)
            assert told.transaction_id == answer.transaction_id

    asyncio.run(run())


@contextmanager
def silent_server() -> Iterator[str]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def test_a_silent_server_is_answered_for_in_time_below_the_floor_limit() -> None:
    stand_in = TerminalStandIn({"EUR": 5_000}, hotlisted_cards={"stolen"})
    with silent_server() as address, Client(address) as client:
        for given, disposition, reason in (
            (buy(amount_minor=5_000), Disposition.APPROVE, "BELOW_FLOOR_LIMIT"),
            (buy(amount_minor=5_001), Disposition.DECLINE, "ABOVE_FLOOR_LIMIT"),
            (buy(currency="USD", amount_minor=1), Disposition.DECLINE, "ABOVE_FLOOR_LIMIT"),
            (buy(amount_minor=0), Disposition.DECLINE, "ABOVE_FLOOR_LIMIT"),
            (buy(amount_minor=-5), Disposition.DECLINE, "ABOVE_FLOOR_LIMIT"),
            (buy(card_token="stolen", amount_minor=1), Disposition.DECLINE, "HOTLIST_CARDS"),
        ):
            began = time.monotonic()
            found = client.fraud.assess(given, stand_in=stand_in, timeout_s=0.2)
            assert time.monotonic() - began < 5
            assert (found.disposition, found.reasons) == (disposition, (reason,))
            assert found.source is AssessmentSource.STAND_IN
            assert found.stand_in_causes == (StandInCause.SERVER_SILENT,)
            assert not found.is_durable
        with pytest.raises(DeadlineExceededError):
            client.fraud.assess(buy(), timeout_s=0.2)
    assert stand_in.waiting_count == 6


def test_what_was_answered_is_sent_later_and_counts_once(client: Client) -> None:
    stand_in = TerminalStandIn({"EUR": 5_000}, otherwise=Disposition.REFER)
    card = name("card")
    with Client("127.0.0.1:1") as lost:
        for amount in (100, 200, 900_000):
            given = buy(card_token=card, amount_minor=amount)
            lost.fraud.assess(given, stand_in=stand_in, timeout_s=0.3)
        assert lost.fraud.send_waiting(stand_in, timeout_s=0.3) == ()
    assert stand_in.waiting_count == 3
    told = client.fraud.send_waiting(stand_in, timeout_s=20)
    assert [each.disposition for each in told] == [
        Disposition.APPROVE,
        Disposition.APPROVE,
        Disposition.DECLINE,
    ]
    assert stand_in.waiting_count == 0
    # The three have counted: the next attempts of the card are too many.
    assert client.fraud.assess(buy(card_token=card), timeout_s=20).reasons == ("VELOCITY",)


def test_a_refusal_is_an_answer_and_no_silence(client: Client) -> None:
    stand_in = TerminalStandIn({"EUR": 5_000})
    with pytest.raises(InvalidRequestError):
        client.fraud.assess(buy(currency="eur"), stand_in=stand_in)
    assert stand_in.waiting_count == 0
    with Client("127.0.0.1:1") as lost:
        lost.fraud.assess(buy(currency="eur"), stand_in=stand_in, timeout_s=0.3)
    assert client.fraud.send_waiting(stand_in, timeout_s=20) == ()
    assert stand_in.waiting_count == 0
    assert is_silence(UnavailableError("x", code="UNAVAILABLE"))
    assert not is_silence(NotFoundError("x", code="NOT_FOUND"))


def answer(stand_in: TerminalStandIn, **given: object) -> Disposition:
    given.setdefault("transaction_id", name("t"))
    given.setdefault("transaction_time", datetime.now(UTC))
    return stand_in.answer(buy(**given)).disposition


def test_a_file_remembers_across_a_restart_of_the_terminal(tmp_path: Path) -> None:
    file = tmp_path / "waiting.jsonl"
    stand_in = TerminalStandIn({"EUR": 5_000}, file=file)
    moment = datetime.now(UTC)
    fields = {"recurring": True, "opened": moment}
    for _ in range(3):
        assert answer(stand_in, fields=fields) is Disposition.APPROVE
    assert file.stat().st_mode & 0o777 == 0o600
    remembered = stand_in.list_waiting()
    del stand_in
    again = TerminalStandIn({"EUR": 5_000}, file=file)
    assert again.list_waiting() == remembered
    for transaction in again.list_waiting():
        assert transaction.transaction_id is not None
        again.forget(transaction.transaction_id)
    del again
    assert TerminalStandIn(file=file).waiting_count == 0


def test_stand_ins_of_one_file_do_not_drop_what_the_others_remember(tmp_path: Path) -> None:
    file = tmp_path / "waiting.jsonl"
    first = TerminalStandIn({"EUR": 5_000}, file=file)
    second = TerminalStandIn({"EUR": 5_000}, file=file)
    for _ in range(3):
        answer(first)
    answer(second)
    assert first.list_waiting() == second.list_waiting()
    sent = second.list_waiting()[-1].transaction_id
    assert sent is not None
    second.forget(sent)
    left = first.list_waiting()
    assert len(left) == 3
    del first, second
    remembered = TerminalStandIn(file=file).list_waiting()
    assert [each for each in remembered if each.transaction_id != sent] == list(left)


def test_a_file_that_was_cut_in_a_line_loses_that_line_only(tmp_path: Path) -> None:
    file = tmp_path / "waiting.jsonl"
    stand_in = TerminalStandIn({"EUR": 5_000}, file=file)
    answer(stand_in)
    answer(stand_in)
    remembered = stand_in.list_waiting()
    del stand_in
    file.write_bytes(file.read_bytes()[:-20])
    again = TerminalStandIn({"EUR": 5_000}, file=file)
    assert again.list_waiting() == remembered[:1]
    answer(again)
    del again
    assert TerminalStandIn(file=file).waiting_count == 2
    file.write_text("{}\n")
    with pytest.raises(ValueError, match="no transaction of a stand-in"):
        TerminalStandIn(file=file)


def test_another_process_does_not_get_a_file_whose_lines_it_would_drop(tmp_path: Path) -> None:
    file = tmp_path / "waiting.jsonl"
    stand_in = TerminalStandIn({"EUR": 5_000}, file=file)
    assert answer(stand_in) is Disposition.APPROVE
    program = "import sys; from instanter.client import TerminalStandIn as S; S(file=sys.argv[1])"
    command = [sys.executable, "-c", program, str(file)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "another process has it, and each needs one of its own" in ended.stderr
    again = TerminalStandIn({"EUR": 5_000}, file=file)
    assert again.waiting_count == 1
    del stand_in, again
    subprocess.run(command, check=True)


def test_nothing_is_approved_that_cannot_be_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "gone"
    with pytest.raises(FileNotFoundError):
        TerminalStandIn({"EUR": 5_000}, file=folder / "waiting.jsonl")
    folder.mkdir()
    stand_in = TerminalStandIn({"EUR": 5_000}, file=folder / "waiting.jsonl")
    shutil.rmtree(folder)
    assert answer(stand_in) is Disposition.DECLINE
    monkeypatch.setattr("instanter.client.stand_in.REMEMBERED_MAX", 1)
    full = TerminalStandIn({"EUR": 5_000})
    assert [answer(full), answer(full)] == [Disposition.APPROVE, Disposition.DECLINE]


def test_what_was_sent_is_forgotten_although_the_disk_takes_nothing(
    tmp_path: Path, client: Client
) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    stand_in = TerminalStandIn({"EUR": 5_000}, file=folder / "waiting.jsonl")
    for _ in range(3):
        assert answer(stand_in) is Disposition.APPROVE
    shutil.rmtree(folder)
    assert len(client.fraud.send_waiting(stand_in, timeout_s=20)) == 3
    assert stand_in.waiting_count == 0


CARD_DATA: dict[str, dict[str, object]] = {
    "card_token": {"card_token": VISA},
    "card_token, spaced": {"card_token": "4539 5787 6362 1486"},
    "transaction_id": {"transaction_id": f"t-{VISA}"},
    "terminal": {"terminal": VISA},
    "customer": {"customer": VISA},
    "device": {"device": f"x{VISA}y"},
    "amount_minor": {"amount_minor": int(VISA)},
    "fields[1] (its name)": {"fields": {"opened": True, VISA: True}},
    "fields[0]": {"fields": {"note": f"his card is {VISA}"}},
    "fields[0], a number": {"fields": {"note": float(VISA)}},
    "fields[0], a code": {"fields": {"cvv": 123.0}},
    "fields[0], a code as text": {"fields": {"cvv": "123"}},
    "fields[0], a code in a text": {"fields": {"note": "cvv: 123"}},
}


@pytest.mark.parametrize("case", CARD_DATA)
def test_a_stand_in_neither_remembers_nor_approves_card_data(tmp_path: Path, case: str) -> None:
    file = tmp_path / "waiting.jsonl"
    stand_in = TerminalStandIn({"EUR": 2 * int(VISA)}, file=file)
    with pytest.raises(InvalidRequestError) as caught:
        answer(stand_in, **CARD_DATA[case])
    assert (caught.value.code, caught.value.reason) == ("INVALID_ARGUMENT", "CARD_NUMBER_REFUSED")
    assert [each.field for each in caught.value.violations] == [case.split(",")[0]]
    assert VISA not in str(caught.value) + repr(caught.value.violations)
    assert stand_in.waiting_count == 0
    assert not file.exists() or not file.read_bytes()


def test_card_data_is_refused_alike_by_the_server_and_while_it_is_silent(client: Client) -> None:
    stand_in = TerminalStandIn({"EUR": 5_000})
    told = []
    with Client("127.0.0.1:1") as lost:
        for each in (client, lost):
            with pytest.raises(InvalidRequestError) as caught:
                each.fraud.assess(buy(card_token=VISA), stand_in=stand_in, timeout_s=0.3)
            told.append((str(caught.value), caught.value.violations))
    assert told[0] == told[1]


def test_a_field_for_a_code_may_say_that_there_was_one() -> None:
    stand_in = TerminalStandIn({"EUR": 5_000})
    for value in (True, "present", None, datetime.now(UTC)):
        assert answer(stand_in, fields={"cvv": value}) is Disposition.APPROVE


def test_a_stand_in_approves_only_what_was_declared() -> None:
    assert answer(TerminalStandIn(), amount_minor=1) is Disposition.DECLINE
    with pytest.raises(ValueError, match="expected REFER or DECLINE"):
        TerminalStandIn(otherwise=Disposition.APPROVE)
    with pytest.raises(ValueError, match="at least 0"):
        TerminalStandIn({"EUR": -1})
