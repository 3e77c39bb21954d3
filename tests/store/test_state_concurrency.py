"""Readers beside a writer and a thread that folds, in this process and in another."""

import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from instanter.store.databases import PROFILES
from instanter.store.environment import Environment
from instanter.store.state import State
from instanter.store.transaction import Transaction
from tests.store.state_workload import MAP_SIZE_BYTES, Keeping, Oracle, check_reads, read, workload

SECONDS_MIN, SECONDS_MAX = 3.0, 60.0


@pytest.fixture
def eager_threads() -> Iterator[None]:
    """Change threads a hundred times as often as usual."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-5)
    yield
    sys.setswitchinterval(before)


def test_a_fold_between_the_two_snapshots_of_a_reader_is_not_seen_in_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put(transaction: Transaction, keys: list[bytes], value: bytes) -> None:
        for key in keys:
            transaction.put(PROFILES, key, value)

    def go_on_and_fold() -> None:
        state.write(lambda transaction: put(transaction, [b"a", b"b"], b"2"))
        fold = state.fold()
        state.write(lambda transaction: put(transaction, [b"c"], b"3"))
        # Both ways in which the reader could come to a mixture: one key is purged, one is not.
        assert not state.purge(fold, 1)

    begin_read = Environment.begin_read
    main_thread = threading.get_ident()
    begun: list[Environment] = []

    def begin(environment: Environment, thread: int) -> Any:
        if thread == main_thread and environment is state.base and len(begun) == 1:
            other = threading.Thread(target=go_on_and_fold)
            other.start()
            other.join()
        if thread == main_thread:
            begun.append(environment)
        return begin_read(environment, thread)

    with State.open(tmp_path, writable=True) as state:
        state.write(lambda transaction: put(transaction, [b"a", b"b"], b"0"))
        state.fold()
        state.write(lambda transaction: put(transaction, [b"a"], b"1"))
        with state.read():
            pass
        monkeypatch.setattr(Environment, "begin_read", begin)
        with state.read() as transaction:
            found = [bytes(transaction.get(PROFILES, key) or b"") for key in (b"a", b"b")]
        assert found == [b"2", b"2"]
        assert len(begun) == 4, "the overlay, the base, and both once more"


@pytest.mark.usefixtures("eager_threads")
def test_no_reader_ever_sees_a_fold_half_done(tmp_path: Path) -> None:
    with State.open(
        tmp_path,
        writable=True,
        map_size_bytes=MAP_SIZE_BYTES,
        overlay_map_size_bytes=MAP_SIZE_BYTES,
    ) as state:
        ended = threading.Event()
        failures: list[BaseException] = []
        counts = [0, 0]

        def read_much(which: int) -> None:
            oracle = Oracle()
            try:
                while not ended.is_set():
                    check_reads(state, oracle)
                    counts[which] += 1
            except BaseException as error:
                failures.append(error)
                ended.set()
                raise

        threads = [threading.Thread(target=read_much, args=(which,)) for which in range(2)]
        keeping = Keeping(state, 0)
        with workload("read", tmp_path) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == "open\n"
            for thread in threads:
                thread.start()
            steps = keeping.steps()
            begin = time.monotonic()
            while (seconds := time.monotonic() - begin) < SECONDS_MAX:
                next(steps)
                # Too little would prove nothing.
                enough = min(*counts, keeping.fold_count) > 50 and keeping.sequence > 500
                if (enough and seconds > SECONDS_MIN) or ended.is_set() or other.poll() is not None:
                    break
            ended.set()
            for thread in threads:
                thread.join()
            output, errors = other.communicate("")
        keeping.stop()
        assert not failures, failures
        assert other.returncode == 0, errors
        other_count, other_sequence = map(int, output.split())
        assert enough
        assert other_count > 50
        assert 0 < other_sequence <= keeping.sequence
        assert read(state) == (keeping.sequence, Oracle().go_to(keeping.sequence))
        figures = state.figures()
    assert figures.overlay is not None
    assert figures.overlay.map_size_bytes > MAP_SIZE_BYTES
