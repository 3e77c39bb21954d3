"""The rows that decisions read of stock."""

import numpy as np
import pytest

from instanter.errors import DamagedError
from instanter.store.databases import STOCK_SHELVES
from instanter.store.environment import Environment
from instanter.store.stock_shelves import (
    SHELF_EMPTY,
    Shelf,
    change_shelf,
    find_shelf,
    pack_shelf,
    put_shelf,
    scan_shelves,
    shelf_key,
    unpack_shelf,
    update_shelf,
)


@pytest.fixture
def store(tmp_path):
    environment = Environment.open(tmp_path / "store")
    yield environment
    environment.close()


def make_shelf(*units):
    codes, available, cover = zip(*units, strict=True) if units else ((), (), ())
    return Shelf(
        np.array(codes, np.uint32), np.array(available, np.int64), np.array(cover, np.float32)
    )


def read_units(shelf):
    return list(
        zip(
            shelf.codes.tolist(),
            shelf.available.tolist(),
            shelf.cover_days.tolist(),
            strict=True,
        )
    )


def load(store, site):
    with store.read() as transaction:
        body = find_shelf(transaction, site)
    return None if body is None else read_units(unpack_shelf(body))


def test_units_are_packed_in_the_order_of_their_codes():
    shelf = make_shelf((9, 5, 1.5), (2, -4, np.inf))
    assert read_units(unpack_shelf(pack_shelf(shelf))) == [(2, -4, np.inf), (9, 5, 1.5)]
    assert read_units(unpack_shelf(pack_shelf(SHELF_EMPTY))) == []


def test_more_than_an_int32_is_cut_to_it():
    shelf = make_shelf((1, 2**40, 1.0), (2, -(2**40), 0.0))
    found = unpack_shelf(pack_shelf(shelf)).available.tolist()
    assert found == [2**31 - 1, -(2**31)]


@pytest.mark.parametrize("body", [b"\0", b"\0" * 11, b"\0" * 24])
def test_what_is_no_row_is_found_out(body):
    with pytest.raises(DamagedError):
        unpack_shelf(body)


def test_a_change_keeps_the_other_units():
    shelf = unpack_shelf(pack_shelf(make_shelf((2, 4, 1.0), (9, 5, 2.0))))
    found = change_shelf(shelf, make_shelf((9, 1, 0.5), (3, 7, np.inf)))
    assert read_units(found) == [(2, 4, 1.0), (3, 7, np.inf), (9, 1, 0.5)]


def test_a_row_is_written_only_when_it_changes(store):
    def update(shelf):
        return store.write(lambda transaction: update_shelf(transaction, "berlin", shelf))

    assert update(make_shelf((1, 5, 2.0)))
    assert not update(make_shelf((1, 5, 2.0)))
    assert update(make_shelf((1, 4, 2.0)))
    assert load(store, "berlin") == [(1, 4, 2.0)]
    assert load(store, "bonn") is None


def test_a_damaged_row_begins_anew(store):
    store.write(lambda t: update_shelf(t, "berlin", make_shelf((1, 5, 2.0), (2, 6, 2.0))))
    store.write(lambda t: t.put(STOCK_SHELVES, shelf_key("berlin"), b"\1" * 40))
    with store.read() as transaction, pytest.raises(DamagedError):
        find_shelf(transaction, "berlin")
    assert store.write(lambda t: update_shelf(t, "berlin", make_shelf((2, 3, 1.0))))
    assert load(store, "berlin") == [(2, 3, 1.0)]


def test_sites_with_rows_are_listed_and_an_empty_row_goes(store):
    for site in ("a-very-long-name-of-a-site", "berlin", "b"):
        store.write(lambda t, site=site: put_shelf(t, site, pack_shelf(make_shelf((1, 1, 1.0)))))
    with store.read() as transaction:
        assert list(scan_shelves(transaction)) == ["a-very-long-name-of-a-site", "b", "berlin"]
    store.write(lambda t: put_shelf(t, "b", b""))
    assert load(store, "b") is None
