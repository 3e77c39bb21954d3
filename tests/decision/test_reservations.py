"""Reservations: nobody overtakes unseen, in whichever process, and everything ends by itself."""

import multiprocessing
import os
import signal
import struct
import threading

import pytest

from instanter.decision.contacts import Contact
from instanter.decision.reservations import BUCKET_SIZE_BYTES, Entry, Reservations
from instanter.limits import OFFER_COUNT_MAX, RESERVATION_NS

NOW_NS = 1_790_000_000_000_000_000


def contact(tag, offer=1):
    return Contact(1_790_000_000, offer, 9, 5, 0, tag)


def reserve(reservations, key, tag, contacts, now_ns=NOW_NS, seen=None):
    offers = b"".join(struct.pack("<II", each.offer, each.group) for each in contacts)
    entry = Entry(now_ns + RESERVATION_NS, 1_790_000_000, 5, tag, offers)
    return reservations.reserve(seen or reservations.view(key), entry, now_ns)


def live(reservations, key, now_ns=NOW_NS, own_tag=None):
    rows = reservations.view(key).pack_live(now_ns, own_tag)
    return [Contact(*row) for row in struct.iter_unpack("<6I", rows)]


@pytest.fixture(params=["memory", "file"])
def reservations(request, tmp_path):
    made = Reservations(tmp_path if request.param == "file" else None)
    yield made
    made.close()


def test_what_is_reserved_is_seen_until_it_ends(reservations):
    assert reserve(reservations, b"a", 1, [contact(1), contact(1, 2)])
    end_ns = NOW_NS + RESERVATION_NS
    assert live(reservations, b"a") == [contact(1), contact(1, 2)]
    assert live(reservations, b"a", end_ns - 1) == [contact(1), contact(1, 2)]
    assert live(reservations, b"a", end_ns) == []
    assert live(reservations, b"b") == []


def test_a_turn_that_began_earlier_sees_what_was_reserved_meanwhile(reservations):
    assert reserve(reservations, b"a", 1, [contact(1)], NOW_NS + 1_000)
    assert live(reservations, b"a", NOW_NS) == [contact(1)]
    assert reserve(reservations, b"a", 2, [contact(2)], NOW_NS)
    assert live(reservations, b"a", NOW_NS) == [contact(1), contact(2)]


def test_an_end_that_cannot_be_is_none(reservations):
    reserve(reservations, b"a", 1, [contact(1)], NOW_NS + 2 * RESERVATION_NS)
    assert live(reservations, b"a", NOW_NS) == []
    assert reserve(reservations, b"a", 2, [contact(2)], NOW_NS)
    assert len(reservations.view(b"a").entries) == 1


def test_a_decision_that_is_made_again_does_not_see_its_own_and_takes_their_place(reservations):
    for offers in ([1, 2], [2], []):
        assert live(reservations, b"a", own_tag=7) == []
        assert reserve(reservations, b"a", 7, [contact(7, offer) for offer in offers])
        assert live(reservations, b"a") == [contact(7, offer) for offer in offers]


def test_a_retry_holds_what_earlier_tries_listed_too_as_long_as_there_is_room(reservations):
    codes = {n: struct.pack("<II", n, 9) for n in range(300)}
    assert reserve(reservations, b"a", 7, [contact(7, 1), contact(7, 2)])
    assert reserve(reservations, b"a", 8, [contact(8, 3)])
    held = reservations.view(b"a")
    assert held.add_earlier(7, codes[2] + codes[4], NOW_NS) == codes[2] + codes[4] + codes[1]
    assert held.add_earlier(9, codes[2], NOW_NS) == codes[2]
    moved = struct.pack("<II", 2, 5)
    assert held.add_earlier(7, moved, NOW_NS) == moved + codes[1], "by offer, not by group"
    assert held.add_earlier(7, b"", NOW_NS + RESERVATION_NS) == b""
    many = b"".join(codes[n] for n in range(10, 260))
    assert held.add_earlier(7, many, NOW_NS) == many, "as many as a bucket takes"
    entry = Entry(NOW_NS + RESERVATION_NS, 1_790_000_000, 5, 7, many)
    assert reservations.reserve(held, entry, NOW_NS)
    assert len(live(reservations, b"a")) == 250


def test_who_was_overtaken_must_decide_again(reservations):
    seen = reservations.view(b"a")
    assert reserve(reservations, b"a", 1, [contact(1)], seen=seen)
    assert not reserve(reservations, b"a", 2, [contact(2)], seen=seen)
    assert live(reservations, b"a") == [contact(1)]


def test_all_processes_of_a_folder_see_the_same(tmp_path):
    first, second = Reservations(tmp_path), Reservations(tmp_path)
    seen = second.view(b"a")
    assert reserve(first, b"a", 1, [contact(1)])
    assert live(second, b"a") == [contact(1)]
    assert not reserve(second, b"a", 2, [contact(2)], seen=seen)
    assert reserve(second, b"a", 2, [contact(2)])
    assert live(first, b"a") == [contact(1), contact(2)]
    assert live(Reservations(tmp_path), b"a") == [contact(1), contact(2)]


def test_the_file_takes_no_more_room_than_is_used(tmp_path):
    made = Reservations(tmp_path)
    for number in range(10):
        reserve(made, f"customer-{number}".encode(), number, [contact(number)])
    (file,) = list(tmp_path.iterdir())
    # One block more may say where the others are.
    assert file.stat().st_blocks * 512 <= 11 * 4096
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_full_bucket_loses_what_ends_first(reservations):
    longest = [contact(1, offer) for offer in range(OFFER_COUNT_MAX)]
    assert reserve(reservations, b"a", 1, longest, NOW_NS)
    assert live(reservations, b"a") == longest
    for tag in range(2, 60):
        assert reserve(reservations, b"a", tag, [contact(tag, n) for n in range(3)], NOW_NS + tag)
    tags = {found.tag for found in live(reservations, b"a", NOW_NS + 60)}
    assert tags == set(range(60 - len(tags), 60))
    assert len(tags) == (BUCKET_SIZE_BYTES - 16) // (32 + 3 * 8)


def test_what_has_ended_makes_room(reservations):
    for tag in range(30):
        assert reserve(reservations, b"a", tag, [contact(tag)])
    later_ns = NOW_NS + RESERVATION_NS
    assert reserve(reservations, b"a", 99, [contact(99)], later_ns)
    assert len(reservations.view(b"a").entries) == 1


def test_a_half_written_bucket_is_harmless(tmp_path):
    made = Reservations(tmp_path)
    reserve(made, b"a", 1, [contact(1)])
    (file,) = list(tmp_path.iterdir())
    place = made.view(b"a").place
    with file.open("r+b") as opened:
        for at, spoilt_bytes in ((8, (1 << 40).to_bytes(8, "little")), (44, b"\xff" * 4)):
            opened.seek(place + at)
            opened.write(spoilt_bytes)
    spoilt = Reservations(tmp_path)
    spoilt.view(b"a")
    assert reserve(spoilt, b"a", 2, [contact(2)])
    assert contact(2) in live(spoilt, b"a")


def _hold_alone(folder, tag, count):
    _hold(Reservations(folder), tag, count)


def _hold(made, tag, count):
    for number in range(count):
        while not reserve(made, b"a", tag * 1000 + number, [contact(tag * 1000 + number)]):
            pass


def test_processes_and_threads_that_reserve_for_one_customer_lose_nothing(tmp_path):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_hold_alone, args=(tmp_path, tag, 10)) for tag in (1, 2)]
    # A process has one object for all of its threads: its locks on the file do not tell them apart.
    made = Reservations(tmp_path)
    threads = [threading.Thread(target=_hold, args=(made, tag, 10)) for tag in (3, 4)]
    for one in (*processes, *threads):
        one.start()
    for one in (*processes, *threads):
        one.join(60)
    found = {c.tag for c in live(Reservations(tmp_path), b"a")}
    assert found == {tag * 1000 + number for tag in (1, 2, 3, 4) for number in range(10)}


def _stop_with_the_lock(folder, ready):
    made = Reservations(folder)
    made._lock_bucket(0)
    ready.set()
    os.kill(os.getpid(), signal.SIGSTOP)


def test_a_process_that_was_stopped_with_a_lock_stops_nobody_else(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_stop_with_the_lock, args=(tmp_path, ready))
    process.start()
    try:
        assert ready.wait(60)
        made = Reservations(tmp_path)
        made._lock_bucket(0)
        made._unlock_bucket(0)
    finally:
        process.kill()
        process.join()
