"""Syncs that the operating system carries out beside a thread."""

import os
import select
from pathlib import Path

import pytest

from instanter.store.log.sync_queue import SyncQueue

WAIT_S = 20.0


@pytest.fixture
def queue() -> SyncQueue:
    found = SyncQueue.open()
    if found is None:
        pytest.skip("this operating system carries out no syncs beside a thread")
    return found


def test_a_sync_is_done_beside_the_thread_and_told_by_the_descriptor(
    queue: SyncQueue, tmp_path: Path
) -> None:
    ended: list[int] = []
    descriptor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    try:
        for count in range(1, 4):
            os.pwrite(descriptor, b"bytes", 0)
            assert queue.begin(descriptor, ended.append)
            assert queue.is_under_way
            assert len(ended) == count - 1, "nobody is told before it looks"
            while len(ended) < count:
                assert select.select([queue.descriptor], [], [], WAIT_S)[0]
                queue.look()
            assert not queue.is_under_way
        assert ended == [0, 0, 0]
        queue.look()
        assert ended == [0, 0, 0]
    finally:
        os.close(descriptor)


def test_a_sync_can_be_waited_for_with_those_that_its_end_begins(
    queue: SyncQueue, tmp_path: Path
) -> None:
    ended: list[int] = []
    descriptor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)

    def again(error_number: int) -> None:
        ended.append(error_number)
        if len(ended) < 3:
            assert queue.begin(descriptor, again)

    try:
        assert queue.begin(descriptor, again)
        queue.wait()
        assert ended == [0, 0, 0]
        queue.look()
        queue.wait()
        assert ended == [0, 0, 0]
    finally:
        os.close(descriptor)


def test_what_cannot_be_synced_is_not_begun(queue: SyncQueue) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        assert not queue.begin(writing, lambda _: None)
        assert not queue.is_under_way
    finally:
        os.close(writing)
    assert not queue.begin(writing, lambda _: None), "it is closed"


def test_an_error_of_the_disk_is_told_by_its_number(queue: SyncQueue) -> None:
    ended: list[int] = []
    # What the operating system gives back is what this takes: a number without its sign.
    queue._done = ended.append
    queue._note((1 << 64) - 5)
    queue._call()
    assert ended == [5]
