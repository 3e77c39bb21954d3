"""The control channel, a process's end of it, and processes that do not do what they should."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from typing import Any

import pytest

from instanter.clock import SystemClock
from instanter.limits import SILENCE_STARTING_NS_MAX, WARM_UP_NS_MAX
from instanter.supervisor.channel import Channel
from instanter.supervisor.process import ChildProcess, Stage
from instanter.supervisor.spawning import spawn

SPEAK = """\
import os, socket, sys, time
import msgpack
control = socket.socket(fileno=int(sys.argv[1]))
for what in {what!r}:
    control.sendall(msgpack.packb(what))
{then}
"""


def play(*what: dict[str, Any], then: str = "control.recv(1)") -> ChildProcess:
    """Start a process that says some words on its control channel."""
    program = SPEAK.format(what=what, then=then)
    return ChildProcess(spawn((sys.executable, "-c", program)), SystemClock(), asyncio.Event())


async def until_stage(child: ChildProcess, stage: Stage) -> None:
    for _ in range(3_000):
        if child.stage is stage:
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"it stayed {child.stage}")


async def test_messages_arrive_whole_and_the_end_is_told() -> None:
    mine, theirs = socket.socketpair()
    for end in (mine, theirs):
        end.setblocking(False)
    received: list[Any] = []
    ended = asyncio.Event()
    one = await Channel.open(mine, received.append, lambda: None)
    other = await Channel.open(theirs, lambda _: None, ended.set)
    for number in range(100):
        other.send({"is": "alive", "number": number, "blob": b"x" * 10_000})
    while len(received) < 100:
        await asyncio.sleep(0.001)
    assert [each["number"] for each in received] == list(range(100))
    one.close()
    await asyncio.wait_for(ended.wait(), 5)
    other.send({"is": "alive"})
    other.close()


async def test_a_process_goes_through_its_stages_and_its_last_words_count() -> None:
    failed = {"is": "failed", "kind": "E", "message": "m", "reason": "R", "metadata": {}}
    child = play({"is": "warm"}, failed, then="sys.exit(3)")
    await child.attach()
    await until_stage(child, Stage.GONE)
    assert child.exit_code == 3
    assert child.failure is not None
    assert child.failure["message"] == "m"
    child.discard()


async def test_silence_is_measured_by_stage() -> None:
    child = play({"is": "warm"})
    await child.attach()
    assert not child.note_silence(WARM_UP_NS_MAX // 2)
    await until_stage(child, Stage.WARM)
    assert not child.note_silence(SILENCE_STARTING_NS_MAX), "a message was heard since"
    assert child.note_silence(1)
    child.kill()
    await until_stage(child, Stage.GONE)
    assert child.exit_code == -signal.SIGKILL


async def test_counters_that_do_not_come_in_time_are_the_last_ones() -> None:
    child = play({"is": "warm"}, {"is": "alive", "counters": {"turns_count": 3}})
    await child.attach()
    while not child.counters:
        await asyncio.sleep(0.005)
    child.stage = Stage.SERVING
    assert await child.count(0.05) == {"turns_count": 3}
    child.kill()
    await until_stage(child, Stage.GONE)


async def test_one_without_a_role_is_killed_when_it_should_stop() -> None:
    child = play({"is": "warm"})
    await child.attach()
    child.stop()
    await until_stage(child, Stage.GONE)


def test_a_process_that_is_not_listened_to_leaves_nothing() -> None:
    child = play({"is": "warm"})
    child.discard()
    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)


def test_a_process_whose_parent_died_before_it_asked_ends() -> None:
    program = "from instanter.orphans import end_with_parent as end; end({}); print('lives')"
    for parent, lives in ((os.getpid(), True), (1 << 22, False)):
        done = subprocess.run(
            [sys.executable, "-c", program.format(parent)], capture_output=True, check=False
        )
        assert (done.stdout == b"lives\n") is lives, done.stderr
