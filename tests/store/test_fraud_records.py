"""What the check at the till keeps: read back as written, and never believed when it is damaged."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from instanter.errors import DamagedError
from instanter.store.cases import find_case, put_case, scan_cases
from instanter.store.databases import (
    CASES,
    FRAUD_MODELS,
    FRAUD_RULES,
    FRAUD_STATES,
    TRANSACTION_EXPIRY,
    TRANSACTIONS,
    Database,
)
from instanter.store.expiry import HOUR_NS, drop_expired
from instanter.store.fraud_models import ModelStates, put_model_state
from instanter.store.fraud_rules import (
    NO_FIGURES,
    Period,
    RuleFigures,
    Totals,
    find_paused,
    load_figures,
    load_totals,
    pack_totals,
    put_figures,
    put_paused,
    put_totals,
    read_paused,
    view_totals,
)
from instanter.store.fraud_states import entity_key, find_sections, put_sections
from instanter.store.records import RESIDUE
from instanter.store.state import State
from instanter.store.transaction import Transaction
from instanter.store.transactions import (
    NO_CASE,
    TRANSACTION_QUEUE,
    TransactionRow,
    expire_transaction,
    find_transaction,
    put_transaction,
    transaction_key,
)

SECTIONS = (b"v" * 64, b"", b"p" * 8, b"s" * 16)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with State.open(tmp_path, writable=True) as opened:
        yield opened


def damage(state: State, database: Database) -> None:
    """Flip a bit in every value of a database."""

    def change(transaction: Transaction) -> None:
        for key, value in [(key, bytes(value)) for key, value in transaction.scan(database)]:
            transaction.put(database, key, value[:9] + bytes((value[9] ^ 4,)) + value[10:])

    state.write(change)


# --- States -------------------------------------------------------------------------------------


def test_sections_are_read_as_they_were_written(state: State) -> None:
    card, customer = entity_key(1, "anna"), entity_key(2, "anna")
    assert card != customer
    for sections in (SECTIONS, SECTIONS[::-1], (b"x" * 8, b"", b"", b"")):
        state.write(lambda t, s=sections: put_sections(t, {card: s}))  # type: ignore[misc]
        with state.read() as transaction:
            assert find_sections(transaction, card) == sections
            assert find_sections(transaction, customer) is None
    state.write(lambda t: put_sections(t, {card: (b"", b"", b"", b"")}))
    with state.read() as transaction:
        assert find_sections(transaction, card) is None
        assert transaction.count(FRAUD_STATES) == 0


@pytest.mark.parametrize("name", ["a", "seven77", "eight888", "n" * 256, "Zürich, Bahnhof 1"])
def test_every_name_has_a_key_of_its_own(name: str) -> None:
    key = entity_key(3, name)
    assert len(key) % 8 == 0
    assert len(key) <= 511
    assert len({entity_key(kind, each) for kind in (3, 4) for each in (name, name + "x")}) == 4


def test_no_flipped_bit_of_a_state_goes_unseen(state: State) -> None:
    key = entity_key(1, "anna")
    state.write(lambda t: put_sections(t, {key: SECTIONS}))
    with state.read() as transaction:
        whole = bytes(transaction.get(FRAUD_STATES, key) or b"")
    for bit in range(0, 8 * len(whole), 5):
        broken = bytearray(whole)
        broken[bit // 8] ^= 1 << bit % 8
        state.write(lambda t, b=bytes(broken): t.put(FRAUD_STATES, key, b))  # type: ignore[misc]
        with state.read() as transaction, pytest.raises(DamagedError):
            find_sections(transaction, key)


@pytest.mark.parametrize("size", [8, 24, 30, 90])
def test_a_state_that_was_cut_or_moved_is_damaged(state: State, size: int) -> None:
    key, other = entity_key(1, "anna"), entity_key(1, "bert")

    def change(transaction: Transaction) -> None:
        put_sections(transaction, {key: SECTIONS})
        whole = bytes(transaction.get(FRAUD_STATES, key) or b"")
        transaction.put(FRAUD_STATES, key, whole[:size])
        transaction.put(FRAUD_STATES, other, whole)

    state.write(change)
    for each in (key, other):
        with state.read() as transaction, pytest.raises(DamagedError):
            find_sections(transaction, each)


def test_a_state_is_sealed_as_everything_else_is(state: State) -> None:
    import google_crc32c

    state.write(lambda t: put_sections(t, {entity_key(1, "anna"): SECTIONS}))
    with state.read() as transaction:
        ((key, value),) = transaction.scan(FRAUD_STATES)
        assert google_crc32c.value(key + bytes(value)) == RESIDUE
    assert state.verify().is_sound


# --- Model --------------------------------------------------------------------------------------


def test_a_models_state_is_the_same_object_while_it_is_unchanged(state: State) -> None:
    states = ModelStates()

    def find(model_id: int) -> bytes:
        with state.read() as transaction:
            return states.find(transaction, model_id)

    assert find(1) == b""
    state.write(lambda t: put_model_state(t, 1, b"one"))
    assert find(1) == b"one"
    assert find(1) is find(1)
    assert find(2) == b""
    state.write(lambda t: put_model_state(t, 2, b"one"))
    assert (find(1), find(2)) == (b"", b"one")
    state.write(lambda t: put_model_state(t, 2, b"two"))
    assert find(2) == b"two"


def test_a_damaged_model_is_not_used(state: State) -> None:
    state.write(lambda t: put_model_state(t, 1, b"state"))
    damage(state, FRAUD_MODELS)
    with state.read() as transaction, pytest.raises(DamagedError):
        ModelStates().find(transaction, 1)


# --- Rules --------------------------------------------------------------------------------------


def test_what_the_guard_counts_is_read_as_it_was_written(state: State) -> None:
    figures = RuleFigures(1, 2, 3, 4, 5, 6, 7, 8, b"cards" * 8)
    totals = Totals(99, (Period(3, 4, 5), Period(6, 7, 8)))

    def change(transaction: Transaction) -> None:
        put_figures(transaction, "large", figures)
        put_totals(transaction, pack_totals(totals))
        put_paused(transaction, frozenset(("large", "far")))

    state.write(change)
    with state.read() as transaction:
        assert load_figures(transaction, "large") == figures
        assert load_figures(transaction, "far") == NO_FIGURES
        assert load_totals(transaction) == totals
        assert bytes(view_totals(transaction)) == pack_totals(totals)
        assert read_paused(find_paused(transaction)) == {"large", "far"}
    state.write(lambda t: put_paused(t, frozenset()))
    with state.read() as transaction:
        assert read_paused(find_paused(transaction)) == frozenset()


def test_of_damaged_figures_the_guard_begins_anew(state: State) -> None:
    def change(transaction: Transaction) -> None:
        put_figures(transaction, "large", RuleFigures(1, 2, 3))
        put_totals(transaction, pack_totals(Totals(99)))
        put_paused(transaction, frozenset(("large",)))

    state.write(change)
    damage(state, FRAUD_RULES)
    with state.read() as transaction:
        assert load_figures(transaction, "large") == NO_FIGURES
        assert load_totals(transaction) == Totals()
        assert read_paused(find_paused(transaction)) == frozenset()


# --- Transactions and cases ---------------------------------------------------------------------


def row(sequence: int, case: int = NO_CASE) -> TransactionRow:
    return TransactionRow(b"d" * 16, sequence, case, 6, 1, 1, b"verdict", b"counted of it")


def test_a_transaction_is_read_as_it_was_written(state: State) -> None:
    key = transaction_key("a")
    state.write(lambda t: put_transaction(t, key, row(2**40, 2**40)))
    with state.read() as transaction:
        assert find_transaction(transaction, key) == row(2**40, 2**40)
        assert find_transaction(transaction, transaction_key("b")) is None
    damage(state, TRANSACTIONS)
    with state.read() as transaction, pytest.raises(DamagedError):
        find_transaction(transaction, key)


def keep(count: int, until_ns: int, first: int = 1) -> Callable[[Transaction], list[bool]]:
    """Return the change that writes transactions, every fifth with a case."""

    def change(transaction: Transaction) -> list[bool]:
        begun = []
        for sequence in range(first, first + count):
            case = NO_CASE if sequence % 5 else sequence
            key = transaction_key(f"t{sequence}")
            put_transaction(transaction, key, row(sequence, case))
            if case:
                put_case(transaction, case, b"case")
            begun.append(
                expire_transaction(
                    transaction, key, sequence=sequence, case=case, until_ns=until_ns
                )
            )
        return begun

    return change


def count(state: State) -> tuple[int, int, int]:
    with state.read() as transaction:
        return tuple(  # type: ignore[return-value]
            transaction.count(each) for each in (TRANSACTIONS, CASES, TRANSACTION_EXPIRY)
        )


def test_transactions_in_a_row_share_an_entry_of_expiry_and_go_together(state: State) -> None:
    begun = state.write(keep(200, 10 * HOUR_NS))
    assert [n for n, first in enumerate(begun, 1) if first] == [1, 64, 128, 192]
    state.write(keep(10, 12 * HOUR_NS, first=201))
    assert count(state) == (210, 42, 5)

    def drop(now_ns: int, limit: int = 1_000) -> int:
        return state.write(lambda t: drop_expired(t, TRANSACTION_QUEUE, now_ns, limit))

    assert drop(10 * HOUR_NS - 1) == 0
    assert drop(10 * HOUR_NS, 60) == 63 + 12
    assert drop(10 * HOUR_NS) == 137 + 28
    assert count(state) == (10, 2, 1)
    assert drop(12 * HOUR_NS) == 12
    assert count(state) == (0, 0, 0)


def test_what_a_damaged_entry_of_expiry_names_stays_known(state: State) -> None:
    state.write(keep(3, 10 * HOUR_NS))
    damage(state, TRANSACTION_EXPIRY)
    assert state.write(keep(1, 10 * HOUR_NS, first=4)) == [True]
    state.write(lambda t: drop_expired(t, TRANSACTION_QUEUE, 11 * HOUR_NS, 100))
    assert count(state) == (3, 0, 0)


def test_cases_are_scanned_the_newest_first_and_damaged_ones_told(state: State) -> None:
    for number in (3, 300, 70_000):
        state.write(lambda t, n=number: put_case(t, n, b"%d" % n))  # type: ignore[misc]
    with state.read() as transaction:
        assert list(scan_cases(transaction, 0)) == [
            (70_000, b"70000"),
            (300, b"300"),
            (3, b"3"),
        ]
        assert [number for number, _ in scan_cases(transaction, 300)] == [3]
        assert find_case(transaction, 300) == b"300"
        assert find_case(transaction, 301) is None
    damage(state, CASES)
    with state.read() as transaction:
        assert list(scan_cases(transaction, 301)) == [(300, None), (3, None)]
        with pytest.raises(DamagedError):
            find_case(transaction, 3)
