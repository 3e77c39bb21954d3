"""Bytes that are not what was written: cut or refused, but never a wrong record."""

import contextlib
import os
import random
import shutil
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from instanter.errors import DamagedError, LogDamagedError
from instanter.store.log.frames import LogPosition, LogRecord
from instanter.store.log.reading import LogReader
from instanter.store.log.segments import list_segments, segment_path
from tests.store.log.logs import Opener, abandon, body_of, write, write_groups


@pytest.fixture
def opener(tmp_path: Path) -> Opener:
    return Opener(tmp_path / "log")


def read_whole(folder: Path) -> list[LogRecord]:
    """Return what can be read of a log up to where it is damaged."""
    found: list[LogRecord] = []
    with contextlib.suppress(DamagedError):
        found.extend(LogReader(folder).read(LogReader(folder).first_sequence()))
    return found


def flip(file: Path, bit: int) -> None:
    with file.open("r+b") as stream:
        stream.seek(bit // 8)
        byte = stream.read(1)[0]
        stream.seek(bit // 8)
        stream.write(bytes([byte ^ (1 << bit % 8)]))


def padding_of(size: int) -> range:
    """Return the bytes of a frame that are its padding, given its body's size."""
    return range(32 + size, (32 + size + 7) & -8)


@pytest.mark.parametrize("closed", [False, True])
def test_every_flipped_bit_is_torn_at_the_tail_or_refused_but_never_a_wrong_record(
    opener: Opener, closed: bool
) -> None:
    """In the last segment are groups of 2, 1 and 2 records, each group synced."""
    log = opener()
    records = write_groups(log, 2, 1, size=1299) + write_groups(log, 2, 1, 2, size=51)
    log.close() if closed else abandon(log)
    first, last = list_segments(opener.folder)
    harmless = {
        (record.position.segment, record.position.offset + at)
        for record in records
        for at in padding_of(len(record.body))
    }
    counts = {"torn": 0, "refused": 0, "harmless": 0}
    # All bits of the last segment's frames when it was not closed, a part of the others.
    for name, end, stride in (
        (first, records[2].position.offset + 1336, 29),
        (last, records[-1].position.offset + 88 + 40, 9 if closed else 1),
    ):
        file = segment_path(opener.folder, name)
        for bit in range(0, 8 * end, stride):
            flip(file, bit)
            survey = LogReader(opener.folder).survey()
            found = read_whole(opener.folder)
            assert found == records[: len(found)]
            if survey.holes:
                counts["refused"] += 1
                # Nothing tells whether the last record was on disk, unless the log was closed.
                assert closed or survey.holes[0].first_sequence < len(records)
                assert bit % 601 or _is_refused(opener)
            elif survey.torn is not None:
                counts["torn"] += 1
                assert name == last
                assert survey.torn.sequence == len(found) + 1
                assert len(found) == len(records) if closed else len(found) >= len(records) - 1
            else:
                counts["harmless"] += 1
                assert (name, bit // 8) in harmless
                assert found == records
            flip(file, bit)
    assert min(counts.values()) > 20, counts


def _is_refused(opener: Opener) -> bool:
    with pytest.raises(LogDamagedError, match=r"is damaged; lost records: .*from a backup"):
        opener()
    return True


def test_every_truncation_is_refused(opener: Opener) -> None:
    log = opener()
    records = write_groups(log, 3, 2)
    abandon(log)
    file = opener.last_file()
    whole = file.read_bytes()
    for size in [*range(0, 600, 3), *range(600, 4096, 197), 4095]:
        file.write_bytes(whole[:size])
        found = read_whole(opener.folder)
        assert found == records[: len(found)]
        with pytest.raises(LogDamagedError, match=r"and all later; .*(cut off|header)"):
            opener()
    file.write_bytes(whole)
    opener().close()


def test_a_write_that_ends_anywhere_is_cut_and_told(opener: Opener) -> None:
    log = opener()
    records = write_groups(log, 3)
    unsynced = write(log, [body_of(number, 60) for number in (4, 5, 6)], synced=False)
    abandon(log)
    file = opener.last_file()
    whole = file.read_bytes()
    start, end = unsynced[0].position.offset, unsynced[-1].position.offset + 96
    # A killed process and a page that is half there both end a write early.
    for size in range(start + 1, end, 3):
        file.write_bytes(whole[:size] + bytes(len(whole) - size))
        # Bodies of 60 bytes end 4 bytes before their frames.
        complete = sum(each.position.offset + 92 <= size for each in unsynced)
        kept = records + unsynced[:complete]
        with opener() as log:
            assert list(log.read(1)) == kept
            torn = opener.torn.pop() if opener.torn else None
            if size > start + 96 * complete:
                assert torn is not None
                assert (torn.sequence, torn.record_count) == (len(kept) + 1, 0)
                assert torn.position == LogPosition(1, start + 96 * complete)
                assert size <= start + 96 * complete + torn.size_bytes < size + 8
            else:
                assert torn is None
            again = write_groups(log, 1)
        with opener() as log:
            assert list(log.read(1)) == kept + again
            assert not opener.torn


@settings(max_examples=60)
@given(data=st.data())
def test_pages_that_reach_the_disk_in_any_order_never_stop_the_start(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """After a power cut any sectors are on disk of what was not synced, the others as before."""
    opener = Opener(tmp_path_factory.mktemp("store") / "log")
    size = data.draw(st.sampled_from([20, 200, 1500]), "body size")
    log = opener(1 << 16)
    synced = write_groups(log, *data.draw(st.lists(st.integers(1, 9), max_size=3)), size=size)
    if data.draw(st.booleans(), "closed and opened between"):
        log.close()
        log = opener(1 << 16)
    before = opener.last_file().read_bytes()
    unsynced: list[LogRecord] = []
    for count in data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=4), "groups"):
        first = log.next_sequence
        bodies = [body_of(number, size) for number in range(first, first + count)]
        unsynced += write(log, bodies, synced=False)
    abandon(log)
    after = opener.last_file().read_bytes()
    sector = data.draw(st.sampled_from([512, 4096]), "unit of writing")
    places = range(0, len(after), sector)
    changed = [at for at in places if before[at : at + sector] != after[at : at + sector]]
    kept = set(data.draw(st.lists(st.sampled_from(changed), unique=True), "sectors written"))
    mixed = [(after if at in kept else before)[at : at + sector] for at in places]
    opener.last_file().write_bytes(b"".join(mixed))
    with opener(1 << 16, read_from=len(synced) + 1) as log:
        found = list(log.read(1))
        assert found[: len(synced)] == synced
        assert found == (synced + unsynced)[: len(found)]
        again = write_groups(log, 2)
    with opener(1 << 16) as log:
        assert list(log.read(1)) == found + again
    assert len(opener.torn) <= (kept not in (set(), set(changed)))


def test_a_lost_page_in_the_middle_is_refused_with_the_lost_sequences(opener: Opener) -> None:
    log = opener(1 << 16)
    records = write_groups(log, *[10] * 20, size=200)
    abandon(log)
    whole = bytearray(opener.last_file().read_bytes())
    lost = [r.sequence for r in records if 8192 - 232 < r.position.offset < 12288]
    whole[8192:12288] = bytes(4096)
    also = records[150]
    whole[also.position.offset + 100] ^= 1
    opener.last_file().write_bytes(whole)
    expected = rf"lost records: {lost[0]}-{lost[-1]}, 151; the damage begins in 0+1\.log at byte"
    with pytest.raises(LogDamagedError, match=expected) as caught:
        opener(1 << 16)
    assert caught.value.reason == "LOG_DAMAGED"
    assert caught.value.metadata["lost_sequences"] == f"{lost[0]}-{lost[-1]}, 151"
    assert opener.last_file().read_bytes() == whole
    with pytest.raises(LogDamagedError, match=f"lost records: {lost[0]}-{lost[-1]};"):
        list(LogReader(opener.folder).read(1))


def test_damage_below_what_the_state_knows_is_refused_even_at_the_tail(opener: Opener) -> None:
    log = opener()
    records = write_groups(log, 3)
    abandon(log)
    whole = opener.last_file().read_bytes()
    opener.last_file().write_bytes(whole[: records[-1].position.offset].ljust(4096, b"\0"))
    with pytest.raises(LogDamagedError, match="lost records: 3;"):
        opener(read_from=4)
    opener(read_from=3).close()


@pytest.fixture
def segments(opener: Opener) -> list[Path]:
    """The files of a log of five segments."""
    with opener() as log:
        while len(list_segments(opener.folder)) < 5:
            write_groups(log, 10)
    return [segment_path(opener.folder, first) for first in list_segments(opener.folder)]


def test_a_missing_segment_is_refused(opener: Opener, segments: list[Path]) -> None:
    first, next_first = (int(path.stem) for path in segments[2:4])
    segments[2].unlink()
    expected = f"lost records: {first}-{next_first - 1}; .*{segments[2].name}"
    with pytest.raises(LogDamagedError, match=expected):
        opener()
    # A state that needs none of it is refused too: the log was to hold it for others.
    with pytest.raises(LogDamagedError, match=expected):
        opener(read_from=int(segments[4].stem))
    with pytest.raises(LogDamagedError, match="lost records"):
        list(LogReader(opener.folder).read(1))


def test_a_missing_first_segment_is_taken_for_dropped(opener: Opener, segments: list[Path]) -> None:
    segments[0].unlink()
    with opener() as log:
        assert log.first_sequence == int(segments[1].stem)


def test_a_segment_of_another_log_is_refused(
    opener: Opener, segments: list[Path], tmp_path: Path
) -> None:
    other = Opener(tmp_path / "other")
    with other() as log:
        while len(list_segments(other.folder)) < 5:
            write_groups(log, 10)
    stranger = segment_path(other.folder, int(segments[2].stem))
    segments[2].write_bytes(stranger.read_bytes())
    for read_from in (0, int(segments[4].stem)):
        with pytest.raises(LogDamagedError, match="does not follow the file before"):
            opener(read_from=read_from)


def test_a_segment_of_a_copy_that_went_its_own_way_is_refused(
    opener: Opener, tmp_path: Path
) -> None:
    with opener() as log:
        write_groups(log, 10)
    copy = Opener(tmp_path / "copy")
    shutil.copytree(opener.folder, copy.folder)
    for each, size in ((opener, 50), (copy, 49)):
        with each() as log:
            while len(list_segments(each.folder)) < 4:
                write_groups(log, 5, size=size)
    names = list_segments(opener.folder)
    assert names == list_segments(copy.folder)
    stranger = segment_path(copy.folder, names[1])
    segment_path(opener.folder, names[1]).write_bytes(stranger.read_bytes())
    with pytest.raises(LogDamagedError, match="does not follow the file before"):
        opener()


def test_an_older_state_of_a_segment_is_refused(opener: Opener) -> None:
    log = opener()
    write_groups(log, 10)
    old = opener.last_file().read_bytes()
    file = opener.last_file()
    while len(list_segments(opener.folder)) < 2:
        write_groups(log, 10)
    log.close()
    file.write_bytes(old)
    with pytest.raises(LogDamagedError, match=r"lost records: 11-\d+;"):
        opener()


def test_old_segments_are_not_read_at_each_start_but_by_verify(
    opener: Opener, segments: list[Path]
) -> None:
    flip(segments[1], 8 * 200)
    opener(read_from=int(segments[3].stem)).close()
    holes = LogReader(opener.folder).survey().holes
    assert [(hole.path, hole.what) for hole in holes] == [(segments[1], "damaged frame")]
    with pytest.raises(LogDamagedError):
        opener()


def test_garbage_behind_the_end_is_cut(opener: Opener) -> None:
    with opener() as log:
        records = write_groups(log, 3)
    randomness = random.Random(4)
    for at in (600, 2000, 4088):
        with opener.last_file().open("r+b") as stream:
            stream.seek(at)
            stream.write(randomness.randbytes(8))
        with opener() as log:
            assert [torn.sequence for torn in opener.torn] == [len(records) + 1]
            assert list(log.read(1)) == records
            records += write_groups(log, 1)
        opener.torn.clear()


def test_a_payload_cannot_pass_for_a_record(opener: Opener) -> None:
    """A frame inside of a body, of another log or made by somebody, is not taken for one."""
    with opener(1 << 16) as log:
        write_groups(log, 3)
        frame = opener.last_file().read_bytes()[64:152]
    other = Opener(opener.folder.parent / "other")
    log = other(1 << 16)
    write(log, [frame * 20])
    abandon(log)
    whole = bytearray(other.last_file().read_bytes())
    whole[64:72] = os.urandom(8)
    other.last_file().write_bytes(whole)
    with other(1 << 16) as log:
        assert list(log.read(1)) == []
    assert [torn.record_count for torn in other.torn] == [0]
