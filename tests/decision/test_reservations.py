"""Reservations: nobody overtakes unseen, everything ends, memory is bounded."""

import threading

from instanter.decision import reservations as module
from instanter.decision.contacts import Contact
from instanter.decision.reservations import Reservations, list_live
from instanter.limits import RESERVATION_NS

NOW_NS = 1_790_000_000_000_000_000


def contact(tag, offer=1):
    return Contact(1_790_000_000, offer, 1, 1, 0, tag)


def test_what_is_reserved_is_seen_until_it_ends():
    reservations = Reservations()
    assert reservations.reserve(b"a", reservations.view(b"a"), 1, [contact(1)], NOW_NS)
    held = reservations.view(b"a")
    assert list_live(held, NOW_NS, own_tag=2) == [contact(1)]
    assert list_live(held, NOW_NS + RESERVATION_NS - 1, own_tag=2) == [contact(1)]
    assert list_live(held, NOW_NS + RESERVATION_NS, own_tag=2) == []
    assert reservations.view(b"b") == ()


def test_a_decision_does_not_see_its_own_and_a_retry_takes_their_place():
    reservations = Reservations()
    for offers in ([1, 2], [2]):
        seen = reservations.view(b"a")
        assert list_live(seen, NOW_NS, own_tag=7) == []
        contacts = [contact(7, offer) for offer in offers]
        assert reservations.reserve(b"a", seen, 7, contacts, NOW_NS)
    assert list_live(reservations.view(b"a"), NOW_NS, own_tag=8) == [contact(7, 2)]


def test_who_was_overtaken_must_decide_again():
    reservations = Reservations()
    seen = reservations.view(b"a")
    assert reservations.reserve(b"a", seen, 1, [contact(1)], NOW_NS)
    assert not reservations.reserve(b"a", seen, 2, [contact(2)], NOW_NS)
    assert reservations.reserve(b"b", reservations.view(b"b"), 2, [contact(2)], NOW_NS)
    assert list_live(reservations.view(b"a"), NOW_NS, own_tag=9) == [contact(1)]


def test_customers_whose_reservations_have_ended_are_forgotten():
    reservations = Reservations()
    for number in range(100):
        reservations.reserve(bytes([number]), (), number, [contact(number)], NOW_NS)
    assert len(reservations) == 100
    for number in range(60):
        key = b"later" + bytes([number])
        reservations.reserve(key, (), number, [contact(number)], NOW_NS + RESERVATION_NS)
    assert len(reservations) == 60


def test_memory_is_bounded_and_the_oldest_end_early(monkeypatch):
    monkeypatch.setattr(module, "RESERVATIONS_MAX", 10)
    reservations = Reservations()
    for number in range(50):
        reservations.reserve(bytes([number]), (), number, [contact(number)], NOW_NS)
    assert len(reservations) == 10
    assert reservations.view(bytes([49]))
    assert not reservations.view(bytes([39]))


def test_threads_that_reserve_for_one_customer_lose_nothing():
    reservations = Reservations()

    def reserve(first):
        for tag in range(first, first + 200):
            while not reservations.reserve(
                b"a", reservations.view(b"a"), tag, [contact(tag)], NOW_NS
            ):
                pass

    threads = [threading.Thread(target=reserve, args=(n * 1000,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list_live(reservations.view(b"a"), NOW_NS, own_tag=-1)) == 800
