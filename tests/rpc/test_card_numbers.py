"""What holds a card number or a verification code is found, however written, and not shown."""

import hashlib
import random
import time
import uuid
from collections.abc import Callable

import pytest

from instanter.card_data import (
    holds_card_number,
    holds_verification_code,
    is_verification_code,
    list_card_lines,
)
from instanter.errors import InvalidFieldError, place_field
from instanter.rpc.card_numbers import (
    CardNumberRefusedError,
    check_message,
    check_value,
    may_hold_card_data,
)
from instanter.rpc.status import make_status
from instanter.v1 import fraud_service_pb2 as fraud_pb
from instanter.v1 import hotlist_service_pb2 as hotlist_pb
from instanter.v1.attribute_value_pb2 import AttributeValue

VISA, AMEX, LONG = "4539578763621486", "378282246310005", "6304000000000000000"

WRITTEN = [
    VISA, AMEX, LONG, "4222222222222",
    "4539 5787 6362 1486", "4539-5787-6362-1486", "4539–5787–6362–1486", "4539.5787.6362.1486",
    "4539 - 5787 - 6362 - 1486", "4539\u200b5787\u00a06362\t1486", "4539\n5787\r\n6362\n1486",
    " ".join(VISA), "3782 822463 10005", "45_39/57 87·6362*1486",
    f"card {VISA}, thanks", f"x{VISA}y", f"PAN{VISA}", f'{{"pan":"{VISA}"}}', f"{VISA}=25121010000",
    f"2026-11-22 {VISA}", f"{VISA} 11/27", f"12 {VISA} 34", f"0000{VISA}", f"{VISA}2712",
    "４５３９５７８７６３６２１４８６", "٤٥٣٩ ٥٧٨٧ ٦٣٦٢ ١٤٨٦",
    "⁴⁵³⁹ ⁵⁷⁸⁷ ⁶³⁶² ¹⁴⁸⁶", "④⑤③⑨⑤⑦⑧⑦⑥③⑥②①④⑧⑥", "₄₅₃₉５７８７6362¹⁴⁸⁶",
    "4539    5787    6362    1486", "4539 -- 5787 -- 6362 -- 1486", "4539....5787....6362....1486",
    "4539\t\t\t\t5787\t\t\t\t6362\t\t\t\t1486", "4539     5787 6362      1486",
    (" " * 40).join(VISA),
    "3782     822463 -- 10005", "6304    0000    0000    0000    000",
    "12.50 EUR     4539     5787 6362     1486     2026-11-22",
    *(unseen.join(("45395", "78763", "621486")) for unseen in
      ("\u00ad", "\u200b" * 5, "\u200c\u200d\u2060\ufeff", "\u3164", "\ufe0f" * 40)),
    ("\u200b" * 4).join(VISA), f"\u200b{VISA}", f"12\u200b{VISA}\ufeff34", f"a\u2060{VISA}",
    "45\u200b39 -- 57\u200b87 -- 63\u200b62 -- 14\u200b86", "4539\u200b - \u200b5787 63621486",
    "00000000-0000-0000-4539-578763621486", f"{'a' * 8}{VISA}{'b' * 8}",
]  # fmt: skip

HARMLESS = [
    "", "c-17", "4539578763621487", "453957876362", "t-000123", "2026-11-22T12:34:56Z",
    "550e8400-e29b-41d4-a716-446655440000", "４５３９    5787    6362    1487",
    "tel. +44 20 7946 0958", "１２３", "\u200b" * 50, "45395\u200b78763\u200b621487", "❤\ufe0f 12",
]  # fmt: skip


def luhn(digits: str) -> bool:
    """The algorithm as its standard tells it."""
    total = 0
    for place, character in enumerate(reversed(digits)):
        doubled = int(character) * (1 + place % 2)
        total += doubled // 10 + doubled % 10
    return total % 10 == 0


@pytest.mark.parametrize("text", WRITTEN)
def test_a_card_number_is_found_however_it_is_written(text: str) -> None:
    assert holds_card_number(text)
    assert may_hold_card_data(["a", text, "b"])


@pytest.mark.parametrize("text", HARMLESS)
def test_other_texts_are_let_through(text: str) -> None:
    assert not holds_card_number(text)


def test_exactly_the_numbers_with_a_right_check_digit_are_found() -> None:
    drawn = random.Random(7)
    for _ in range(5_000):
        digits = "".join(drawn.choices("0123456789", k=drawn.randint(10, 19)))
        assert holds_card_number(digits) == (luhn(digits) and len(digits) >= 13)


def test_texts_that_stand_side_by_side_make_no_card_number() -> None:
    assert not may_hold_card_data(["45395787", "63621486"])
    assert not may_hold_card_data(["4539578763", "621486", ""])


def draw_digits(drawn: random.Random, count: int) -> str:
    return "".join(drawn.choices("0123456789", k=count))


def draw_amount(drawn: random.Random) -> str:
    return f"{drawn.randint(1, 9_999)}.{drawn.randint(0, 99):02}"


def draw_date(drawn: random.Random) -> str:
    return f"20{drawn.randint(20, 29)}-{drawn.randint(1, 12):02}-{drawn.randint(1, 28):02}"


ORDINARY: dict[str, Callable[[random.Random], str]] = {
    "a moment": lambda drawn: (
        f"{draw_date(drawn)}T12:{draw_digits(drawn, 2)}:56.{draw_digits(drawn, 3)}Z"
    ),
    "two telephones": lambda drawn: " / ".join(
        f"+49 {draw_digits(drawn, 3)} {draw_digits(drawn, 7)}" for _ in range(2)
    ),
    "prose": lambda drawn: (
        f"{draw_amount(drawn)} EUR of {draw_amount(drawn)} on {draw_date(drawn)}"
    ),
    "a row": lambda drawn: (
        f"{draw_date(drawn)}      {draw_amount(drawn)}      {draw_amount(drawn)}"
    ),
    "a column": lambda drawn: "\n".join(f"{draw_amount(drawn):>12}" for _ in range(5)),
    "numbers": lambda drawn: "".join(f"{drawn.randint(1, 99_999):>10}" for _ in range(6)),
}


@pytest.mark.parametrize("kind", ORDINARY)
def test_ordinary_texts_are_hardly_ever_refused(kind: str) -> None:
    drawn = random.Random(kind)
    refused = sum(holds_card_number(ORDINARY[kind](drawn)) for _ in range(2_000))
    assert refused <= 40


@pytest.mark.parametrize("size", [16, 20, 32])
def test_ids_made_at_random_are_hardly_ever_refused(size: int) -> None:
    drawn = random.Random(size)
    count = 20_000
    refused = sum(holds_card_number(drawn.randbytes(size).hex()) for _ in range(count))
    assert refused <= 10
    refused = sum(
        holds_card_number(str(uuid.UUID(int=drawn.getrandbits(128), version=4)))
        for _ in range(count)
    )
    assert refused <= 10


@pytest.mark.parametrize(
    ("name", "value"),
    [("c\u200bvv", "123"), ("\ufeffcvv", 123), ("my\u200bcvv", "1\u00ad23"),
     ("cvv", "123"), ("CVV2", "1234"), ("card_cvc", 123.0), ("cid", "0123"), ("cvn", 7),
     ("security_code", "999"), ("card.verification-value", "123"), ("cvv_code", " 123 ")],
)  # fmt: skip
def test_a_field_of_that_name_with_such_a_value_is_a_verification_code(
    name: str, value: str | float
) -> None:
    assert is_verification_code(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("cvv", "M"), ("cvv_result", "12"), ("recurring", "123"), ("acid", "123"), ("lucid", 123),
     ("cvv", 12_345), ("cvv", float("nan")), ("cvv", 1.5), ("zip_code", "1234")],
)  # fmt: skip
def test_other_fields_are_none(name: str, value: str | float) -> None:
    assert not is_verification_code(name, value)


@pytest.mark.parametrize(
    "text",
    [
        "cvv 123", "his CVV is 1234.", "cvc2: 123", '{"cvv": "123"}', "cvv ①②③",
        "cvv:     123", "CVV" + " " * 500 + "1234", '"cvc" :\t\t\t\t\n    "0123"',
        "cvv is      123",
        "security        code =         999", "cvv no" + ". " * 50 + "123",
        "cvv: \u00a0\u2003 \u3000\u2007  123",
        "cvv\u200b123", "cvv: \u200b123", "cvv \u2060\ufeff123", "c\u00advv 123", "\u200bcvv 123",
        "cvv 1\u200d23", "x\u200bcvv 123", "security\u200b code 123", "cvv" + "\u200c" * 40 + "123",
    ],
)  # fmt: skip
def test_a_verification_code_in_a_text_is_found(text: str) -> None:
    assert holds_verification_code(text)
    assert may_hold_card_data([text])


@pytest.mark.parametrize(
    "text",
    [
        "customers/cid-1234", "cvc-123", "cvv 12345", "cvv 2 years", "cvv         12345",
        "cvv      2 years", "cvv          present, 123 EUR", "cvv:      ***", "cvv is        12",
        "cvvx      123", "security      code", "mcvv      123",
    ],
)  # fmt: skip
def test_ids_with_such_letters_are_let_through(text: str) -> None:
    assert not holds_verification_code(text)


def test_numbers_are_looked_at_too() -> None:
    for value in (int(VISA), float(VISA), -int(VISA)):
        assert may_hold_card_data([], [value])
        with pytest.raises(CardNumberRefusedError):
            check_value("amount_minor", value)
    for value in (1.0, 4539578763621487, float("nan"), float("inf"), 10**30, 0.5):
        check_value("amount_minor", value)


IN_CATALOGUES = [
    f"fraud: {{}}  # card {VISA}", f"'{VISA}': {{latitude: 1, longitude: 2}}", f"title: x{VISA}y",
    "# 4539 5787 6362 1486", "title: 4539-5787-6362-1486",
    "[5411, 4539    5787    6362    1486, 7]", "④⑤③⑨ 5787 6362 1486",
    "title: 45395\u200b78763\u200b621486", f"title: \u2060{VISA}\u00ad", "# cvv \u200b123",
    "note: 3782 822463 10005", f"when: transaction.amount > {VISA}.0", "# cvv: 123",
]  # fmt: skip
NOT_IN_CATALOGUES = [
    "values: [5411, 5812, 5999, 6012]", "when: transaction.mcc in [4539, 5787, 6362, 1486]",
    "{valid_from: 2026-01-01, valid_until: 2026-12-31}",
    "# 2026-01-01 12:34:56 - 2026-12-31 12:34:56",
    "\u200b", "title: caf\u00ad\u00e9 \u200d 12\ufe0f34",
    "salt: 550e8400-e29b-41d4-a716-446655440000", "0.4539578763621486",
    "range: [0.0, 999999999999999.9]",
    f"00{VISA}: coffee", "cvv: {kind: category, values: [present, absent]}",
]  # fmt: skip


@pytest.mark.parametrize("line", IN_CATALOGUES)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_card_data_in_a_catalogue_is_found_with_its_line(line: str, end: str) -> None:
    ((number, what),) = list_card_lines(end.join(("currency: EUR", line, "channels: {}")))
    assert number == 2
    assert what in ("a card number", "a verification code")


@pytest.mark.parametrize("line", NOT_IN_CATALOGUES)
def test_the_numbers_of_a_catalogue_are_none(line: str) -> None:
    assert not list(list_card_lines(line))


def test_numbers_as_catalogues_have_them_are_let_through() -> None:
    drawn = random.Random(11)
    lines = []
    for _ in range(2_000):
        codes = [drawn.randint(1_000, 9_999) for _ in range(6)]
        article = draw_digits(drawn, 12)
        odd, even = sum(map(int, article[::2])), sum(map(int, article[1::2]))
        lines += [
            f"mccs: {codes}", f"share: {drawn.random()}", f"from: {draw_date(drawn)}",
            f"'{article}{-(odd + 3 * even) % 10}': {{category: coffee}}",
            f"digest: {drawn.randbytes(32).hex()}",
            f"id: {uuid.UUID(int=drawn.getrandbits(128), version=4)}",
        ]  # fmt: skip
    assert len(list(list_card_lines("\n".join(lines)))) <= 3


def make_assessment(**given: object) -> fraud_pb.AssessTransactionRequest:
    return fraud_pb.AssessTransactionRequest(**given)  # type: ignore[arg-type] # any field


FIELDS = fraud_pb.AssessTransactionRequest.DESCRIPTOR.fields
TEXT = [field.name for field in FIELDS if field.type == field.TYPE_STRING]


@pytest.mark.parametrize("name", TEXT)
def test_every_text_of_an_assessment_is_looked_at(name: str) -> None:
    with pytest.raises(CardNumberRefusedError) as caught:
        check_message(make_assessment(**{name: f"x {VISA}"}))
    assert caught.value.field == name


REQUESTS = {
    "fields[0] (its name)": make_assessment(fields={VISA: AttributeValue(flag_value=True)}),
    "fields[0].category_value": make_assessment(fields={"x": AttributeValue(category_value=VISA)}),
    "fields[0].number_value": make_assessment(
        fields={"x": AttributeValue(number_value=float(VISA))}
    ),
    "amount_minor": make_assessment(amount_minor=int(VISA)),
    "outcomes[1].transaction": fraud_pb.RecordTransactionOutcomesRequest(
        outcomes=[
            fraud_pb.TransactionOutcome(transaction="transactions/a"),
            fraud_pb.TransactionOutcome(transaction=f"transactions/{VISA}"),
        ]
    ),
    "note": fraud_pb.UpdateCaseRequest(note=f"he said {VISA}"),
    "update_mask.paths[0]": fraud_pb.UpdateCaseRequest(update_mask={"paths": [VISA]}),
    "requests[0].hotlist_entry.reason": hotlist_pb.BatchCreateHotlistEntriesRequest(
        requests=[{"hotlist_entry": {"reason": VISA}}]
    ),
    "hotlist_entries[0].name": hotlist_pb.ReplaceHotlistEntriesRequest(
        hotlist_entries=[{"name": f"hotlists/cards/entries/{VISA}"}]
    ),
}


@pytest.mark.parametrize("field", REQUESTS)
def test_the_refusal_names_the_field_and_not_the_number(field: str) -> None:
    with pytest.raises(CardNumberRefusedError) as caught:
        check_message(REQUESTS[field])
    assert caught.value.field == field
    status = make_status(caught.value)
    assert VISA.encode() not in status.SerializeToString()
    assert status.code == 3
    assert b"CARD_NUMBER_REFUSED" in status.SerializeToString()
    placed = place_field(caught.value, "requests[3]")
    assert isinstance(placed, InvalidFieldError)
    assert VISA not in str(placed)


def test_a_field_named_like_a_verification_code_is_refused() -> None:
    for value in (AttributeValue(category_value="123"), AttributeValue(number_value=123)):
        with pytest.raises(CardNumberRefusedError) as caught:
            check_message(make_assessment(fields={"cvv": value}))
        assert "123" not in str(caught.value)
    check_message(make_assessment(fields={"cvv": AttributeValue(flag_value=True)}))


def test_a_hostile_text_takes_no_longer_than_its_length() -> None:
    digest = hashlib.sha256(b"x").hexdigest()
    for text in (
        "7" * 20_000,
        "0 8 " * 5_000,
        ("1" * 12 + "    ") * 2_000,
        ("0" * 9 + "    ") * 2_000,
        ("1" * 12 + " " * 400 + "x") * 50,
        ("1" + " " * 2_000) * 10,
        "①" * 20_000,
        "cvv" * 7_000,
        "cvv" + " " * 20_000,
        "cvv :" * 4_000,
        "cvv " + "no " * 7_000,
        ("cvv" + " " * 200 + "is" + " " * 200) * 50,
        "security" + " " * 20_000,
        "security " * 2_000,
        "cvv is" + "." * 20_000,
        "cvv=no" * 3_000,
        digest,
    ):
        began = time.process_time()
        holds_card_number(text)
        holds_verification_code(text)
        assert time.process_time() - began < 2
