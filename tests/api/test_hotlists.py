"""`HotlistService` through the wire: entries, batches, pages, whole lists, and what is refused."""

from collections.abc import Iterator, Sequence
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from instanter.v1 import fraud_service_pb2 as fraud_pb
from instanter.v1 import hotlist_service_pb2 as pb
from tests.api.refusals import refuse
from tests.api.shop import Shop, open_shop
from tests.api.till import TILL, add_entry, assess, name, now, remove_entry

CARD_NUMBER = "4539578763621486"


@pytest.fixture(scope="module")
def shop(front_name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop with a check at the till."""
    with open_shop(tmp_path_factory.mktemp("till") / "store", front_name) as opened:
        opened.apply(TILL)
        yield opened


def get_entry(shop: Shop, hotlist: str, entry: str) -> pb.HotlistEntry:
    request = pb.GetHotlistEntryRequest(name=f"hotlists/{hotlist}/entries/{entry}")
    return shop.hotlists.GetHotlistEntry(request, timeout=20)


def list_ids(shop: Shop, hotlist: str, page_size: int = 1000) -> list[str]:
    found: list[str] = []
    request = pb.ListHotlistEntriesRequest(parent=f"hotlists/{hotlist}", page_size=page_size)
    while True:
        page = shop.hotlists.ListHotlistEntries(request, timeout=20)
        found += [entry.name.rpartition("/")[2] for entry in page.hotlist_entries]
        request.page_token = page.next_page_token
        if not request.page_token:
            return found


def step(shop: Shop, hotlist: str, **given: Any) -> pb.ReplaceHotlistEntriesResponse:
    request = pb.ReplaceHotlistEntriesRequest(parent=f"hotlists/{hotlist}", **given)
    return shop.hotlists.ReplaceHotlistEntries(request, timeout=20)


def make_block(hotlist: str, ids: Sequence[str]) -> list[pb.HotlistEntry]:
    return [pb.HotlistEntry(name=f"hotlists/{hotlist}/entries/{each}") for each in ids]


def replace(
    shop: Shop, hotlist: str, ids: Sequence[str], **given: Any
) -> pb.ReplaceHotlistEntriesResponse:
    replacement = step(shop, hotlist).replacement
    count = 0
    for start in range(0, len(ids), 3):
        block = make_block(hotlist, ids[start : start + 3])
        step(shop, hotlist, replacement=replacement, hotlist_entries=block, block_index=count)
        count += 1
    return step(shop, hotlist, replacement=replacement, commit=True, block_count=count, **given)


def test_an_entry_is_created_read_and_deleted(shop: Shop) -> None:
    end = now(3600)
    made = add_entry(shop, "cards", "stolen-1", reason="stolen", source="bank", expire_time=end)
    assert made.name == "hotlists/cards/entries/stolen-1"
    assert (made.reason, made.source, made.expire_time) == ("stolen", "bank", end)
    assert made.HasField("create_time")
    assert get_entry(shop, "cards", "stolen-1") == made
    assert add_entry(
        shop, "cards", "stolen-1", reason="stolen", source="bank", expire_time=end
    ) == (made)
    remove_entry(shop, "cards", "stolen-1")
    gone = pb.GetHotlistEntryRequest(name=made.name)
    assert refuse(shop.hotlists.GetHotlistEntry, gone).code is grpc.StatusCode.NOT_FOUND
    again = pb.DeleteHotlistEntryRequest(name=made.name)
    assert refuse(shop.hotlists.DeleteHotlistEntry, again).code is grpc.StatusCode.NOT_FOUND
    again.allow_missing = True
    shop.hotlists.DeleteHotlistEntry(again, timeout=20)


def test_an_entry_with_another_content_is_refused(shop: Shop) -> None:
    card = name("card")
    add_entry(shop, "cards", card, reason="lost")
    request = pb.CreateHotlistEntryRequest(
        parent="hotlists/cards",
        hotlist_entry_id=card,
        hotlist_entry=pb.HotlistEntry(reason="stolen"),
    )
    refusal = refuse(shop.hotlists.CreateHotlistEntry, request)
    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.ALREADY_EXISTS,
        "HOTLIST_ENTRY_EXISTS",
    )


def test_an_expired_entry_holds_no_longer(shop: Shop) -> None:
    card = name("card")
    add_entry(shop, "cards", card, expire_time=now(-1))
    found = assess(shop, card_token=card)
    assert found.disposition == fraud_pb.DISPOSITION_APPROVE
    request = pb.GetHotlistEntryRequest(name=f"hotlists/cards/entries/{card}")
    assert refuse(shop.hotlists.GetHotlistEntry, request).code is grpc.StatusCode.NOT_FOUND


def test_a_batch_is_created_whole_and_listed_in_pages(shop: Shop) -> None:
    ids = [f"device-{n:03}" for n in range(7)]
    request = pb.BatchCreateHotlistEntriesRequest(
        parent="hotlists/devices",
        requests=[pb.CreateHotlistEntryRequest(hotlist_entry_id=each) for each in ids],
    )
    made = shop.hotlists.BatchCreateHotlistEntries(request, timeout=20)
    assert (made.created_count, made.existing_count) == (7, 0)
    made = shop.hotlists.BatchCreateHotlistEntries(request, timeout=20)
    assert (made.created_count, made.existing_count) == (0, 7)
    assert list_ids(shop, "devices", page_size=3) == ids
    page = pb.ListHotlistEntriesRequest(parent="hotlists/devices")
    assert shop.hotlists.ListHotlistEntries(page, timeout=20).entry_count == 7


def test_one_mistake_refuses_the_whole_batch_and_is_named(shop: Shop) -> None:
    good = name("m")
    request = pb.BatchCreateHotlistEntriesRequest(
        parent="hotlists/merchants",
        requests=[
            pb.CreateHotlistEntryRequest(hotlist_entry_id=good),
            pb.CreateHotlistEntryRequest(hotlist_entry_id="a/b"),
        ],
    )
    refusal = refuse(shop.hotlists.BatchCreateHotlistEntries, request)
    assert refusal.fields == ["requests[1].hotlist_entry_id"]
    assert good not in list_ids(shop, "merchants")


def test_a_million_entries_at_once_are_refused(shop: Shop) -> None:
    request = pb.BatchCreateHotlistEntriesRequest(
        parent="hotlists/cards", requests=[pb.CreateHotlistEntryRequest()] * 1_000_000
    )
    refusal = refuse(shop.hotlists.BatchCreateHotlistEntries, request)
    assert (refusal.code, refusal.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["requests"])


def test_a_list_takes_the_place_of_another_at_once(shop: Shop) -> None:
    old = [name("terminal") for _ in range(10)]
    assert replace(shop, "terminals", old, allow_shrink=True).committed
    replacement = step(shop, "terminals").replacement
    new = [name("terminal") for _ in range(9)]
    for index, each in enumerate(new):
        told = step(
            shop,
            "terminals",
            replacement=replacement,
            hotlist_entries=make_block("terminals", [each]),
            block_index=index,
        )
        assert told.entry_count == index + 1
    assert sorted(list_ids(shop, "terminals")) == sorted(old)
    held = assess(shop, terminal=f"terminals/{old[0]}")
    assert held.source == fraud_pb.ASSESSMENT_SOURCE_HOTLIST
    done = step(shop, "terminals", replacement=replacement, commit=True, block_count=9)
    assert (done.committed, done.entry_count, done.replaced_count) == (True, 9, 10)
    assert sorted(list_ids(shop, "terminals")) == sorted(new)
    released = assess(shop, terminal=f"terminals/{old[0]}")
    assert released.source != fraud_pb.ASSESSMENT_SOURCE_HOTLIST


def test_a_list_that_shrinks_or_was_cut_changes_nothing(shop: Shop) -> None:
    old = [f"{n:06}" for n in range(100_000, 100_010)]
    replace(shop, "bins", old, allow_shrink=True)
    replacement = step(shop, "bins").replacement
    block = make_block("bins", old[:7])
    step(shop, "bins", replacement=replacement, hotlist_entries=block)
    commit = pb.ReplaceHotlistEntriesRequest(
        parent="hotlists/bins", replacement=replacement, commit=True, block_count=2
    )
    refusal = refuse(shop.hotlists.ReplaceHotlistEntries, commit)
    assert refusal.reason == "HOTLIST_INCOMPLETE"
    commit.block_count = 1
    refusal = refuse(shop.hotlists.ReplaceHotlistEntries, commit)
    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "HOTLIST_SHRINKS",
    )
    assert list_ids(shop, "bins") == old
    commit.allow_shrink = True
    assert shop.hotlists.ReplaceHotlistEntries(commit, timeout=20).entry_count == 7
    assert list_ids(shop, "bins") == old[:7]


def test_a_replacement_that_another_one_ended_is_told(shop: Shop) -> None:
    first = step(shop, "devices").replacement
    step(shop, "devices")
    commit = pb.ReplaceHotlistEntriesRequest(
        parent="hotlists/devices", replacement=first, commit=True
    )
    refusal = refuse(shop.hotlists.ReplaceHotlistEntries, commit)
    assert refusal.reason == "HOTLIST_NOT_BEGUN"


def make_create(**given: Any) -> pb.CreateHotlistEntryRequest:
    given.setdefault("parent", "hotlists/cards")
    given.setdefault("hotlist_entry_id", "x")
    return pb.CreateHotlistEntryRequest(**given)


WRONG: dict[str, tuple[str, Any, str]] = {
    "other list": ("CreateHotlistEntry", make_create(parent="hotlists/people"), "parent"),
    "no list": ("CreateHotlistEntry", make_create(parent="cards"), "parent"),
    "no id": ("CreateHotlistEntry", make_create(hotlist_entry_id=""), "hotlist_entry_id"),
    "long id": ("CreateHotlistEntry", make_create(hotlist_entry_id="x" * 129), "hotlist_entry_id"),
    "letters as bin": (
        "CreateHotlistEntry",
        make_create(parent="hotlists/bins", hotlist_entry_id="12345a"),
        "hotlist_entry_id",
    ),
    "long reason": (
        "CreateHotlistEntry",
        make_create(hotlist_entry=pb.HotlistEntry(reason="x" * 201)),
        "hotlist_entry.reason",
    ),
    "odd source": (
        "CreateHotlistEntry",
        make_create(hotlist_entry=pb.HotlistEntry(source="a\0b")),
        "hotlist_entry.source",
    ),
    "never": (
        "CreateHotlistEntry",
        make_create(hotlist_entry=pb.HotlistEntry(expire_time=Timestamp(seconds=2**40))),
        "hotlist_entry.expire_time",
    ),
    "entry as list": (
        "GetHotlistEntry",
        pb.GetHotlistEntryRequest(name="hotlists/cards"),
        "name",
    ),
    "entries at the beginning": (
        "ReplaceHotlistEntries",
        pb.ReplaceHotlistEntriesRequest(
            parent="hotlists/cards", hotlist_entries=make_block("cards", ["a"])
        ),
        "hotlist_entries",
    ),
    "empty block": (
        "ReplaceHotlistEntries",
        pb.ReplaceHotlistEntriesRequest(parent="hotlists/cards", replacement="1"),
        "hotlist_entries",
    ),
    "end without a beginning": (
        "ReplaceHotlistEntries",
        pb.ReplaceHotlistEntriesRequest(parent="hotlists/cards", commit=True),
        "replacement",
    ),
    "odd replacement": (
        "ReplaceHotlistEntries",
        pb.ReplaceHotlistEntriesRequest(parent="hotlists/cards", replacement="x", commit=True),
        "replacement",
    ),
    "entry of another list": (
        "ReplaceHotlistEntries",
        pb.ReplaceHotlistEntriesRequest(
            parent="hotlists/cards",
            replacement="1",
            hotlist_entries=make_block("terminals", ["a"]),
        ),
        "hotlist_entries[0].name",
    ),
    "many": (
        "ReplaceHotlistEntries",
        pb.ReplaceHotlistEntriesRequest(
            parent="hotlists/cards",
            replacement="1",
            hotlist_entries=make_block("cards", ["a"] * 1001),
        ),
        "hotlist_entries",
    ),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_wrong_request_is_named(shop: Shop, mistake: str) -> None:
    method, request, field = WRONG[mistake]
    refusal = refuse(getattr(shop.hotlists, method), request)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.fields == [field]


HOSTILE: dict[str, tuple[str, Any]] = {
    "id": ("CreateHotlistEntry", make_create(hotlist_entry_id=CARD_NUMBER)),
    "reason": (
        "CreateHotlistEntry",
        make_create(hotlist_entry=pb.HotlistEntry(reason="4539 5787 6362 1486")),
    ),
    "batch": (
        "BatchCreateHotlistEntries",
        pb.BatchCreateHotlistEntriesRequest(
            parent="hotlists/cards",
            requests=[make_create(), make_create(hotlist_entry_id=CARD_NUMBER)],
        ),
    ),
    "block": (
        "ReplaceHotlistEntries",
        pb.ReplaceHotlistEntriesRequest(
            parent="hotlists/cards",
            replacement="1",
            hotlist_entries=make_block("cards", [CARD_NUMBER]),
        ),
    ),
    "name": (
        "DeleteHotlistEntry",
        pb.DeleteHotlistEntryRequest(name=f"hotlists/cards/entries/{CARD_NUMBER}"),
    ),
}


@pytest.mark.parametrize("way", HOSTILE)
def test_card_numbers_are_refused_and_not_repeated(shop: Shop, way: str) -> None:
    method, request = HOSTILE[way]
    refusal = refuse(getattr(shop.hotlists, method), request)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.reason == "CARD_NUMBER_REFUSED"
    said = f"{refusal}{shop.log.getvalue()}{shop.server.log.getvalue()}"
    assert CARD_NUMBER not in said
    assert "4539 5787" not in said
