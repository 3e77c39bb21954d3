"""Figures of the arms: exact sums, by day and offer, never served damaged."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instanter.errors import DamagedError
from instanter.store.arm_figures import ArmDay, add_figures, read_figures
from instanter.store.databases import ARM_FIGURES
from instanter.store.environment import Environment


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    environment = Environment.open(tmp_path_factory.mktemp("figures"))
    yield environment
    environment.close()


@pytest.fixture(autouse=True)
def _empty(store):
    store.write(clear)


def clear(transaction):
    for key in [key for key, _ in transaction.scan(ARM_FIGURES)]:
        transaction.delete(ARM_FIGURES, key)


def read(store, day_from=0, day_to=1 << 32, offer=None):
    with store.read() as transaction:
        return list(read_figures(transaction, day_from, day_to, offer))


def test_figures_add_up_and_can_be_taken_back(store):
    store.write(lambda t: add_figures(t, 20_000, 1, "loan", presented=1, accepted=1))
    store.write(lambda t: add_figures(t, 20_000, 1, "loan", value_minor=500, value_squares=250_000))
    store.write(lambda t: add_figures(t, 20_000, 1, "loan", presented=2, value_minor=-100))
    assert read(store) == [ArmDay(20_000, 1, "loan", 0, 3, 1, 400, 250_000)]


def test_days_are_read_from_the_first_included_to_the_last_excluded(store):
    for day in (9, 10, 11, 12):
        store.write(lambda t, day=day: add_figures(t, day, 2, "", decisions=day))
    assert [row.day for row in read(store, 10, 12)] == [10, 11]


def test_an_offer_comes_with_what_belongs_to_none(store):
    for offer in ("", "card", "loan", "ein-sehr-langer-name-mit-ümlaut"):
        store.write(lambda t, offer=offer: add_figures(t, 5, 1, offer, decisions=1))
    assert [row.offer for row in read(store, offer="loan")] == ["", "loan"]
    assert len(read(store)) == 4


def test_squares_of_the_largest_values_do_not_overflow(store):
    largest = 1 << 53
    for _ in range(3):
        store.write(
            lambda t: add_figures(t, 5, 1, "x", value_minor=largest, value_squares=largest**2)
        )
    (row,) = read(store)
    assert (row.value_minor, row.value_squares) == (3 * largest, 3 * largest**2)


def test_a_damaged_figure_is_never_served(store):
    store.write(lambda t: add_figures(t, 5, 1, "x", decisions=1))

    def flip(transaction):
        ((key, value),) = [(k, bytes(v)) for k, v in transaction.scan(ARM_FIGURES)]
        transaction.put(ARM_FIGURES, key, value[:9] + bytes([value[9] ^ 4]) + value[10:])

    store.write(flip)
    with pytest.raises(DamagedError):
        read(store)
    with pytest.raises(DamagedError):
        store.write(lambda t: add_figures(t, 5, 1, "x", decisions=1))


@given(
    rows=st.lists(
        st.tuples(
            st.integers(0, 3),
            st.integers(1, 3),
            st.sampled_from(["", "a", "b"]),
            st.integers(-9, 9),
        ),
        max_size=12,
    )
)
def test_the_order_of_additions_does_not_matter(store, rows):
    results = []
    for order in (rows, rows[::-1]):
        store.write(clear)
        for day, arm, offer, value in order:
            store.write(
                lambda t, d=day, a=arm, o=offer, v=value: add_figures(
                    t, d, a, o, value_minor=v, value_squares=v * v
                )
            )
        results.append(read(store))
    assert results[0] == results[1]
    assert sum(row.value_minor for row in results[0]) == sum(value for *_, value in rows)
