"""The log: what is appended is what is read, across groups, segments, and starts."""

import os
import shutil
import stat
import subprocess
import sys
import threading
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from instanter import limits
from instanter.errors import (
    ExhaustedError,
    LogDamagedError,
    NotFoundError,
    PreconditionError,
    UnavailableError,
)
from instanter.store.log import reading, segments
from instanter.store.log.frames import LogPosition
from instanter.store.log.log import Log
from instanter.store.log.reading import LogReader
from instanter.store.log.retention import Retention
from instanter.store.log.segments import list_segments, segment_path
from tests.api.waiting import wait_until
from tests.store.log.logs import Opener, abandon, body_of, write, write_groups

NOTHING_MORE = Retention(size_bytes_max=0)


@pytest.fixture
def opener(tmp_path: Path) -> Opener:
    return Opener(tmp_path / "log")


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 300)),
        st.tuples(st.just("append"), st.integers(0, 9000)),
        st.tuples(st.just("append and take back"), st.integers(0, 5000)),
        st.tuples(st.just("write"), st.booleans()),
        st.tuples(st.just("close and open"), st.just(0)),
        st.tuples(st.just("kill and open"), st.just(0)),
    ),
    max_size=40,
)


@given(steps=STEPS)
def test_a_log_reads_like_the_list_of_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    opener = Opener(tmp_path_factory.mktemp("store") / "log")
    log = opener()
    written, pending = [], []
    for number, (step, value) in enumerate(steps):
        if step == "append":
            pending.append(log.append(number, -number, os.urandom(value)))
        elif step == "append and take back":
            mark = log.mark()
            log.append(1, 2, bytes(value))
            log.append(1, 2, bytes(10))
            log.rollback(mark)
        elif step == "write" and pending:
            group = log.write_group()
            assert group[:2] == (pending[0].sequence, pending[-1].sequence)
            written += pending
            pending = []
            if value:
                assert log.sync() == log.synced_sequence == written[-1].sequence
        elif step.endswith("open"):
            log.close() if step.startswith("close") else abandon(log)
            log, pending = opener(), []
        assert log.next_sequence == len(written) + len(pending) + 1
        assert log.written_sequence == len(written)
    assert list(log.read(1)) == written
    assert [log.read_at(record.position) for record in written] == written
    middle = len(written) // 2
    assert list(log.read(middle + 1)) == written[middle:]
    assert list(log.read(1, middle)) == written[:middle]
    log.close()
    survey = LogReader.open(opener.folder).survey()
    assert (survey.holes, survey.torn, survey.record_count) == ((), None, len(written))
    assert opener.torn == []


def test_a_record_larger_than_a_segment_gets_a_segment_of_its_own(opener: Opener) -> None:
    with opener() as log:
        records = write(log, [b"small", body_of(2, 100_000), b"behind"])
        assert [record.position.segment for record in records] == [1, 2, 3]
        assert list(log.read(1)) == records
    sizes = [segment_path(opener.folder, first).stat().st_size for first in (1, 2, 3)]
    assert sizes == [4096, 64 + 32 + 100_000, 4096]


def test_reading_begins_at_any_record_and_not_at_the_beginning(
    opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_LANDMARK_DISTANCE_BYTES", 200)
    log = opener()
    records = write_groups(log, *[9] * 20)
    for opened_again in (False, True):
        if opened_again:
            abandon(log)
            log = opener()
        for sequence in range(1, len(records) + 1):
            assert list(log.read(sequence)) == records[sequence - 1 :]
        assert list(log.read(len(records) + 1)) == []
    first = log.drop_old(keep_from_sequence=100, now_ns=0, retention=NOTHING_MORE)
    assert 1 < first <= 100
    assert list(log.read(first)) == records[first - 1 :]
    log.close()


def test_what_was_taken_back_is_no_link_of_the_chain(opener: Opener) -> None:
    with opener() as log:
        records = write_groups(log, 1)
        mark = log.mark()
        log.append(1, 1, bytes(9000))
        log.append(1, 1, b"taken back")
        log.rollback(mark)
        records += write(log, [bytes(5000)])
    with opener() as log:
        assert list(log.read(1)) == records


def test_segments_grow_from_a_small_first_one(opener: Opener) -> None:
    body = os.urandom(1 << 20)
    with opener(limits.LOG_SEGMENT_SIZE_BYTES_MAX) as log:
        records = [write(log, [body])[0] for _ in range(12)]
        assert list(log.read(1)) == records
    sizes = [segment_path(opener.folder, n).stat().st_size for n in list_segments(opener.folder)]
    assert sizes[:2] == [
        limits.LOG_SEGMENT_SIZE_BYTES_FIRST,
        2 * limits.LOG_SEGMENT_SIZE_BYTES_FIRST,
    ]
    assert sizes == sorted(sizes)


@pytest.mark.skipif(shutil.which("filefrag") is None, reason="needs filefrag of e2fsprogs")
def test_a_segment_is_full_of_zeros_before_it_is_used(opener: Opener) -> None:
    with opener(limits.LOG_SEGMENT_SIZE_BYTES_MAX):
        file = opener.last_file()
        assert not any(file.read_bytes()[4096:])
        shown = subprocess.run(["filefrag", "-v", str(file)], capture_output=True, text=True)
    if "ef53" not in shown.stdout:
        pytest.skip("filefrag shows only on ext4 whether blocks were written")
    # Blocks that are only reserved would have to be converted by the sync of a record.
    assert "unwritten" not in shown.stdout
    assert file.stat().st_blocks * 512 >= limits.LOG_SEGMENT_SIZE_BYTES_FIRST


def test_nobody_else_may_read_the_files(opener: Opener) -> None:
    with opener() as log:
        write_groups(log, 60)
    assert stat.S_IMODE(opener.folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in opener.folder.iterdir()} == {0o600}


def test_nothing_but_segments_stays_behind(opener: Opener) -> None:
    with opener() as log:
        while not log._preparation.next_size_bytes():
            write_groups(log, 1)
        log._preparation._finish()
        assert list(opener.folder.glob("*.unnamed"))
    assert len(list(opener.folder.iterdir())) == len(list_segments(opener.folder))
    log = opener()
    write_groups(log, 20)
    (opener.folder / "7.unnamed").write_bytes(b"from a process that died")
    abandon(log)
    opener().close()
    assert len(list(opener.folder.iterdir())) == len(list_segments(opener.folder))


def test_a_second_writer_is_refused(opener: Opener) -> None:
    with opener():
        with pytest.raises(UnavailableError, match="another process writes the log") as caught:
            opener()
        assert caught.value.reason == "LOG_IN_USE"
    opener().close()


def test_a_record_that_is_too_long_is_refused(
    opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LOG_RECORD_SIZE_BYTES_MAX", 1000)
    with opener() as log:
        with pytest.raises(ExhaustedError, match="too long for the log; at most 976 bytes"):
            log.append(1, 1, bytes(977))
        assert log.append(1, 1, bytes(976)).sequence == 1


def test_a_log_of_a_newer_version_is_refused(
    opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as newer:
        newer.setattr(segments, "FORMAT", 2)
        with opener() as log:
            write_groups(log, 1)
    before = opener.last_file().read_bytes()
    for use in (opener, LogReader.open(opener.folder).survey):
        with pytest.raises(PreconditionError, match="its format is 2, and this version") as caught:
            use()
        assert caught.value.reason == "LOG_FORMAT_NEWER"
    assert opener.last_file().read_bytes() == before


def test_a_renamed_file_is_told(opener: Opener) -> None:
    with opener() as log:
        write_groups(log, 1)
    opener.last_file().rename(segment_path(opener.folder, 9))
    with pytest.raises(PreconditionError, match=r"give it back its name 0{19}1\.log"):
        opener()


def test_a_state_that_is_ahead_of_the_log_is_refused(opener: Opener) -> None:
    with opener() as log:
        write_groups(log, 5)
    opener(read_from=6).close()
    with pytest.raises(LogDamagedError, match=r"lost records: 6-7; .*the log ends here"):
        opener(read_from=8)
    opener.last_file().unlink()
    with pytest.raises(LogDamagedError, match="lost records: 1-5"):
        opener(read_from=6)
    assert list(opener.folder.iterdir()) == []


def test_what_goes_is_what_the_log_was_opened_to_keep(opener: Opener) -> None:
    with opener() as log:
        write_groups(log, *[30] * 4)
        assert log.drop_old(keep_from_sequence=60, now_ns=0) == 1
    log = Log.open(
        opener.folder, clock=opener.clock, on_torn=opener.torn.append, retention=NOTHING_MORE
    )
    with log:
        assert 1 < log.drop_old(keep_from_sequence=60, now_ns=0) <= 60


def test_a_log_that_never_fills_a_segment_lets_old_records_go_in_time(opener: Opener) -> None:
    day_ns = 86_400_000_000_000
    retention = Retention(age_ns_max=30 * day_ns)
    log = Log.open(
        opener.folder, clock=opener.clock, on_torn=opener.torn.append, retention=retention
    )
    with log:
        for day in range(100):
            opener.clock.at_ns = 1_000 + day * day_ns
            write_groups(log, 2)
            if log._preparation.next_size_bytes():
                wait_until(lambda: log._preparation.is_made, "the next segment is made")
            log.drop_old(keep_from_sequence=log.next_sequence, now_ns=opener.clock.at_ns)
            # A tenth later than their time, and what it takes to make and to begin a segment.
            assert log.first_sequence >= 2 * (day - 37)
        records = list(log.read(log.first_sequence))
        assert [record.sequence for record in records] == [*range(log.first_sequence, 201)]
        assert len(records) >= 60, "what is younger is kept"
        assert log.size_bytes <= 12 * (4 << 20), "and no segment is larger than it has to be"
        first = log.first_sequence
    with opener(read_from=first) as log:
        write_groups(log, 1)
        assert [r.sequence for r in log.read(first)] == [*range(first, 202)]
    assert opener.torn == []


def test_a_state_that_lacks_what_was_dropped_is_refused(opener: Opener) -> None:
    with opener() as log:
        write_groups(log, *[30] * 4)
        first = log.drop_old(keep_from_sequence=60, now_ns=0, retention=NOTHING_MORE)
    opener(read_from=first).close()
    with pytest.raises(LogDamagedError, match=f"lost records: {first - 1};"):
        opener(read_from=first - 1)


def test_a_read_beside_the_writer_sees_what_is_written_and_never_more(opener: Opener) -> None:
    log = opener()
    stopped = threading.Event()
    seen = []

    def follow() -> None:
        reader = LogReader.open(opener.folder)
        while not stopped.is_set() or not seen or seen[-1].sequence < log.written_sequence:
            seen.extend(reader.read(seen[-1].sequence + 1 if seen else 1))

    thread = threading.Thread(target=follow)
    thread.start()
    written = write_groups(log, *[7] * 200)
    stopped.set()
    thread.join()
    assert seen == written
    log.close()


READ_AND_VERIFY = """
import sys
from pathlib import Path
from instanter.store.log.reading import LogReader
reader = LogReader.open(Path(sys.argv[1]))
ends = []
while len(ends) < 12 or len(set(ends)) < 6:
    survey = reader.survey()
    assert not survey.holes, survey.holes
    for record in reader.read(1):
        assert record.body[:7] == b"%07d" % record.sequence
    assert record.sequence >= survey.next_sequence - 1
    ends.append(record.sequence)
"""


def test_another_process_reads_and_verifies_beside_the_writer(opener: Opener) -> None:
    log = opener(1 << 16)
    write_groups(log, 1)
    arguments = [sys.executable, "-c", READ_AND_VERIFY, str(opener.folder)]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE) as process:
        while process.poll() is None:
            write_groups(log, 3)
            log.drop_old(keep_from_sequence=1, now_ns=0)
        _, complaint = process.communicate(timeout=60)
    assert process.returncode == 0, complaint.decode()
    log.close()


def test_a_sync_covers_what_was_written_when_it_began(opener: Opener) -> None:
    with opener() as log:
        write(log, [b"a"], synced=False)
        assert (log.written_sequence, log.synced_sequence) == (1, 0)
        log.append(1, 1, b"not written")
        assert log.sync() == 1
        assert log.synced_sequence == 1


def test_what_is_not_kept_any_more_is_not_found(opener: Opener) -> None:
    with opener() as log:
        records = write_groups(log, *[30] * 4)
        first = log.drop_old(keep_from_sequence=60, now_ns=0, retention=NOTHING_MORE)
        assert first == log.first_sequence == LogReader.open(opener.folder).first_sequence()
        assert list(log.read(first)) == records[first - 1 :]
        with pytest.raises(
            NotFoundError, match=f"record 1 is not kept any more; the oldest is {first}"
        ):
            list(log.read(1))
        with pytest.raises(NotFoundError, match="not kept any more"):
            log.read_at(records[0].position)


def test_a_wrong_position_is_never_a_record(opener: Opener) -> None:
    with opener() as log:
        record = write_groups(log, 3)[1]
        for offset in range(record.position.offset + 1, record.position.offset + 80):
            if offset != record.position.offset + 88:
                with pytest.raises(LogDamagedError, match="no right record stands at byte"):
                    log.read_at(LogPosition(1, offset))


def test_a_folder_without_a_log_is_not_found(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(NotFoundError, match="there is no log in this folder"):
            LogReader.open(folder)


def make_aged(opener: Opener) -> None:
    """Make segments of about 30 records, begun at 1000, 2000, 3000, 4000 ns."""
    with opener() as log:
        for at_ns in (1000, 2000, 3000, 4000):
            opener.clock.at_ns = at_ns
            while len(list_segments(opener.folder)) < at_ns // 1000:
                write_groups(log, 1)


@pytest.mark.parametrize(
    ("keep_from_index", "age_ns_max", "size_bytes_max", "kept"),
    [
        (3, 10_000, 1 << 30, 4),
        (3, 1_500, 1 << 30, 3),
        (3, 500, 1 << 30, 2),
        (3, 0, 1 << 30, 1),
        (3, 10_000, 3 * 4096, 3),
        (3, 10_000, 0, 1),
        (1, 0, 0, 3),
        (0, 0, 0, 4),
    ],
)
def test_old_segments_go_by_age_and_size_but_never_what_is_not_folded(
    opener: Opener, keep_from_index: int, age_ns_max: int, size_bytes_max: int, kept: int
) -> None:
    make_aged(opener)
    names = list_segments(opener.folder)
    assert len(names) == 4
    with opener() as log:
        first = log.drop_old(
            keep_from_sequence=names[keep_from_index],
            now_ns=4_001,
            retention=Retention(age_ns_max, size_bytes_max),
        )
        assert first == names[-kept]
        assert list_segments(opener.folder) == names[-kept:]
    opener(read_from=first).close()
