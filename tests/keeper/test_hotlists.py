"""Hotlists through the keeper: at once, for as long as they say, whole lists in one moment."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from instanter import fraud_limits
from instanter.catalogue.fraud_words import ListKind
from instanter.errors import AlreadyExistsError, NotFoundError, PreconditionError
from instanter.keeper.hotlist_replacement import AddHotlistBlock, BeginHotlist, ReplaceHotlist
from instanter.keeper.hotlist_views import (
    HotlistFigures,
    get_entry,
    get_figures,
    list_entries,
)
from instanter.keeper.hotlists import CreateHotlistEntries, DeleteHotlistEntry
from instanter.store.databases import HOTLIST_EXPIRY, HOTLISTS
from instanter.store.expiry import HOUR_NS
from instanter.store.hotlists import HotlistEntry
from tests.keeper.tills import NOW_NS, StoodClock, Till, open_till

CARDS = ListKind.CARDS


@pytest.fixture
def clock() -> StoodClock:
    return StoodClock()


@pytest.fixture
def till(tmp_path: Path, clock: StoodClock) -> Iterator[Till]:
    with open_till(tmp_path / "store", clock) as opened:
        yield opened


def names_on(till: Till, kind: ListKind = CARDS, limit: int = 1_000) -> list[str]:
    names: list[str] = []
    after = ""
    while True:
        with till.desk.kept.state.read() as transaction:
            page = list_entries(
                transaction, kind, after=after, limit=limit, now_ns=till.clock.time_ns
            )
        names += [entry.entry for entry in page.entries]
        after = page.after
        if not after:
            return names


def figures_of(till: Till, kind: ListKind = CARDS) -> HotlistFigures:
    with till.desk.kept.state.read() as transaction:
        return get_figures(transaction, kind)


def count_stored(till: Till) -> int:
    """Count what is stored of entries: all but the heads' two places and notes of the dead."""
    with till.desk.kept.state.read() as transaction:
        return sum(key[:4] not in (b"\0" * 4, b"\xff" * 4) for key, _ in transaction.scan(HOTLISTS))


def begin(till: Till, names: Sequence[str], kind: ListKind = CARDS, block: int = 100) -> Any:
    """Begin a list and fill it; return what puts it into force."""
    generation = till.do(BeginHotlist(kind))
    blocks = [names[at : at + block] for at in range(0, len(names), block)]
    for index, part in enumerate(blocks):
        till.do(AddHotlistBlock(kind, generation, index, [HotlistEntry(name) for name in part]))
    return ReplaceHotlist(kind, generation, len(blocks))


def replace(till: Till, names: Sequence[str], **given: Any) -> Any:
    command = begin(till, names)
    return till.do(ReplaceHotlist(CARDS, command.generation, command.block_count, **given))


def test_an_entry_is_kept_as_it_was_given(till: Till, clock: StoodClock) -> None:
    done = till.block(CARDS, "anna", reason="stolen", source="bank", expire_time_ns=NOW_NS + 9)
    kept = HotlistEntry("anna", "stolen", "bank", NOW_NS, NOW_NS + 9)
    assert done.entries == (kept,)
    assert done.created_count == 1
    with till.desk.kept.state.read() as transaction:
        assert get_entry(transaction, CARDS, "anna", NOW_NS) == kept
        for kind, name, now_ns in (
            (ListKind.BINS, "anna", NOW_NS),
            (CARDS, "ann", NOW_NS),
            (CARDS, "anna", NOW_NS + 9),
        ):
            with pytest.raises(NotFoundError, match="is not on hotlist"):
                get_entry(transaction, kind, name, now_ns)
    assert figures_of(till) == HotlistFigures(1, NOW_NS)
    assert figures_of(till, ListKind.BINS) == HotlistFigures(0, 0)


def test_a_batch_that_is_sent_again_changes_nothing(till: Till, clock: StoodClock) -> None:
    first = till.block(CARDS, "b", "a", "b", reason="stolen")
    clock.time_ns += HOUR_NS
    again = till.block(CARDS, "b", "a", "b", reason="stolen")
    assert [entry.create_time_ns for entry in again.entries] == [NOW_NS] * 3
    assert again.entries == first.entries
    assert (first.created_count, again.created_count) == (2, 0)
    assert till.block(CARDS, "c", "a", reason="stolen").created_count == 1
    assert names_on(till) == ["a", "b", "c"]
    assert figures_of(till).entry_count == 3


def test_an_entry_with_another_reason_is_refused_with_its_whole_batch(till: Till) -> None:
    till.block(CARDS, "a", reason="stolen")
    entries = [HotlistEntry("b"), HotlistEntry("a", "lost")]
    for batch in (entries, [HotlistEntry("c"), HotlistEntry("c", "lost")]):
        with pytest.raises(AlreadyExistsError, match=r"entries\[1\]: '[ac]' is on") as caught:
            till.do(CreateHotlistEntries(CARDS, batch))
        assert caught.value.reason == "HOTLIST_ENTRY_EXISTS"
    assert names_on(till) == ["a"]


def test_a_deleted_entry_is_gone_and_may_come_back(till: Till) -> None:
    till.block(CARDS, "a", reason="stolen")
    till.do(DeleteHotlistEntry(CARDS, "a"))
    assert names_on(till) == []
    with pytest.raises(NotFoundError):
        till.do(DeleteHotlistEntry(CARDS, "a"))
    till.do(DeleteHotlistEntry(CARDS, "a", allow_missing=True))
    till.block(CARDS, "a", reason="lost")
    assert figures_of(till).entry_count == 1


def test_pages_hold_every_entry_once(till: Till) -> None:
    names = sorted(f"card-{n:03d}" for n in range(57))
    till.block(CARDS, *reversed(names))
    till.block(ListKind.TERMINALS, "t1")
    assert names_on(till, limit=10) == names_on(till) == names


def test_expired_entries_are_swept_out_and_counted_off(till: Till, clock: StoodClock) -> None:
    for n in range(300):
        till.block(CARDS, f"short-{n}", expire_time_ns=NOW_NS + 1)
    till.block(CARDS, "long", expire_time_ns=NOW_NS + 3 * HOUR_NS)
    till.block(CARDS, "ever")
    # An entry whose end has changed does not go with its first end.
    till.do(DeleteHotlistEntry(CARDS, "short-7"))
    till.block(CARDS, "short-7")
    clock.time_ns += 2 * HOUR_NS
    assert names_on(till) == ["ever", "long", "short-7"]
    for n in range(10):
        till.block(ListKind.DEVICES, f"d{n}")
    assert count_stored(till) == 3 + 10
    assert figures_of(till).entry_count == 3
    with till.desk.kept.state.read() as transaction:
        assert transaction.count(HOTLIST_EXPIRY) == 1


def test_an_expired_entry_may_come_back_before_it_is_swept_out(
    till: Till, clock: StoodClock
) -> None:
    till.block(CARDS, "a", expire_time_ns=NOW_NS + 1)
    clock.time_ns += 1
    assert names_on(till) == []
    till.block(CARDS, "a", reason="again")
    with till.desk.kept.state.read() as transaction:
        assert transaction.count(HOTLIST_EXPIRY) == 0
    clock.time_ns += 5 * HOUR_NS
    for n in range(10):
        till.block(ListKind.DEVICES, f"d{n}")
    assert names_on(till) == ["a"]
    assert figures_of(till).entry_count == 1


def test_a_list_is_replaced_in_one_moment(till: Till, clock: StoodClock) -> None:
    till.block(CARDS, *(f"old-{n}" for n in range(250)), "both")
    clock.time_ns += 5
    names = sorted([*(f"new-{n}" for n in range(240)), "both"])
    command = begin(till, names)
    assert len(names_on(till)) == 251
    done = till.do(command)
    assert (done.entry_count, done.replaced_count) == (241, 251)
    assert names_on(till) == names
    assert figures_of(till) == HotlistFigures(241, NOW_NS + 5)
    assert till.do(command).entry_count == 241
    clock.time_ns += 5
    till.block(CARDS, "one-more")
    assert figures_of(till) == HotlistFigures(242, NOW_NS + 5), "one entry makes no list fresh"


def test_what_is_replaced_or_given_up_goes_by_and_by(till: Till) -> None:
    till.block(CARDS, *(f"old-{n}" for n in range(500)))
    begin(till, [f"given-up-{n}" for n in range(300)])
    replace(till, [f"new-{n}" for n in range(450)])
    assert count_stored(till) > 450
    for n in range(20):
        till.block(ListKind.DEVICES, f"d{n}")
    assert count_stored(till) == 450 + 20
    assert len(names_on(till)) == 450


def test_a_list_that_was_cut_changes_nothing(till: Till) -> None:
    till.block(CARDS, "a")
    command = begin(till, [f"n{n}" for n in range(250)])
    for blocks in (2, 4):
        with pytest.raises(PreconditionError, match="3 blocks have come") as caught:
            till.do(ReplaceHotlist(CARDS, command.generation, blocks))
        assert caught.value.reason == "HOTLIST_INCOMPLETE"
    with pytest.raises(PreconditionError, match="3 blocks have come"):
        till.do(AddHotlistBlock(CARDS, command.generation, 4, [HotlistEntry("x")]))
    assert names_on(till) == ["a"]
    # The last block may be sent again, any other not.
    assert till.do(AddHotlistBlock(CARDS, command.generation, 2, [HotlistEntry("x")])) == 250
    assert till.do(command).entry_count == 250


@pytest.mark.parametrize(("count", "is_refused"), [(79, True), (80, False), (0, True)])
def test_a_list_that_shrinks_too_much_needs_a_word(
    till: Till, count: int, is_refused: bool
) -> None:
    till.block(CARDS, *(f"c{n}" for n in range(100)))
    names = [f"c{n}" for n in range(count)]
    if not is_refused:
        assert replace(till, names).entry_count == count
        return
    command = begin(till, names)
    with pytest.raises(PreconditionError, match=f"from 100 to {count} entries, by more than 20%"):
        till.do(command)
    assert len(names_on(till)) == 100
    word = ReplaceHotlist(CARDS, command.generation, command.block_count, allow_shrinking=True)
    assert till.do(word).entry_count == count
    assert len(names_on(till)) == count


def test_a_replacement_that_another_one_has_given_up_is_refused(till: Till) -> None:
    first = begin(till, ["a"])
    second = begin(till, ["b"])
    for command in (first, AddHotlistBlock(CARDS, first.generation, 1, [HotlistEntry("x")])):
        with pytest.raises(PreconditionError, match="was not begun, or another one was begun"):
            till.do(command)
    with pytest.raises(PreconditionError, match="was not begun"):
        till.do(ReplaceHotlist(ListKind.BINS, 0, 0))
    till.do(second)
    assert names_on(till) == ["b"]


def test_what_changes_during_a_replacement_holds_afterwards(till: Till) -> None:
    till.block(CARDS, *(f"c{n}" for n in range(10)))
    command = begin(till, [f"c{n}" for n in range(10)])
    till.block(CARDS, "fresh")
    till.do(DeleteHotlistEntry(CARDS, "c3"))
    till.do(command)
    assert names_on(till) == [*(f"c{n}" for n in range(10) if n != 3), "fresh"]
    assert figures_of(till).entry_count == 10


def test_a_damaged_entry_is_listed_and_can_be_deleted(till: Till) -> None:
    till.block(CARDS, "a", "b", reason="stolen")

    def damage(transaction: Any) -> None:
        for key, value in list(transaction.scan(HOTLISTS)):
            if key.rstrip(b"\0").endswith(b"b") and key[3] == CARDS:
                broken = bytearray(value)
                broken[9] ^= 1
                transaction.put(HOTLISTS, key, bytes(broken))

    till.desk.kept.state.write(damage)
    with till.desk.kept.state.read() as transaction:
        assert get_entry(transaction, CARDS, "b", NOW_NS) == HotlistEntry("b", is_damaged=True)
    assert names_on(till) == ["a", "b"]
    till.do(DeleteHotlistEntry(CARDS, "b"))
    assert names_on(till) == ["a"]
    assert figures_of(till).entry_count == 1


def test_the_heads_survive_damage_in_one_of_their_places(till: Till) -> None:
    till.block(CARDS, "a")

    def damage(transaction: Any) -> None:
        key, value = next(iter(transaction.scan(HOTLISTS)))
        broken = bytearray(value)
        broken[9] ^= 1
        transaction.put(HOTLISTS, key, bytes(broken))

    till.desk.kept.state.write(damage)
    assert names_on(till) == ["a"]
    till.block(CARDS, "b")
    assert names_on(till) == ["a", "b"]


def test_a_list_has_no_more_entries_than_are_allowed(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("instanter.keeper.hotlists.HOTLIST_ENTRIES_MAX", 5)
    till.block(CARDS, *"abcd")
    with pytest.raises(Exception, match="would have 6 entries, at most 5"):
        till.block(CARDS, *"ef")
    assert fraud_limits.HOTLIST_BATCH_MAX <= fraud_limits.HOTLIST_ENTRIES_MAX
    assert names_on(till) == [*"abcd"]
