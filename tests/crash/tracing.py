"""System calls of a running process: seen, delayed or made to fail by strace."""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")

_ATTACH_S_MAX = 20.0
_LINE = re.compile(r"(?P<thread>\d+) +(?P<time>\d+\.\d+) (?P<rest>.*)")
_WHOLE = re.compile(r"(?P<call>\w+)\((?P<arguments>.*)\) += (?P<result>-?\d+)(?P<note>.*)")
_RESUMED = re.compile(r"<\.\.\. (?P<call>\w+) resumed>(?P<arguments>.*)")


@dataclass(frozen=True)
class SystemCall:
    """One system call: when it began and ended, seconds since 1970, and what came of it."""

    name: str
    arguments: str
    begun_at: float
    ended_at: float
    result: int


@contextmanager
def traced(pid: int, trace: Path, calls: str, injections: Sequence[str] = ()) -> Iterator[None]:
    """Trace a process and its threads for the length of a `with` block; skip if not allowed."""
    told = trace.with_suffix(".told")
    command = [
        *("strace", "-f", "-ttt", "-y", "-s", "100000", "-o", str(trace), "-p", str(pid)),
        *("-e", f"trace={calls}", "-e", "signal=none"),
        *(word for each in injections for word in ("-e", f"inject={each}")),
    ]
    with told.open("w") as file, subprocess.Popen(command, stderr=file) as process:
        end = time.monotonic() + _ATTACH_S_MAX
        while "attached" not in told.read_text():
            if process.poll() is not None or time.monotonic() > end:
                process.kill()
                pytest.skip(f"tracing a process is not allowed here: {told.read_text()[:200]}")
            time.sleep(0.01)
        try:
            yield
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            process.wait(20)


def read_calls(trace: Path) -> list[SystemCall]:
    """Return the system calls of a trace that have ended, in the order of their ends."""
    calls = []
    begun: dict[str, tuple[float, str]] = {}
    for line in trace.read_text(errors="replace").splitlines():
        found = _LINE.match(line)
        if found is None:
            continue
        thread, at, rest = found["thread"], float(found["time"]), found["rest"]
        if rest.endswith("<unfinished ...>"):
            begun[thread] = (at, rest.removesuffix("<unfinished ...>"))
            continue
        begun_at = at
        resumed = _RESUMED.match(rest)
        if resumed is not None and thread in begun:
            begun_at, before = begun.pop(thread)
            rest = before + resumed["arguments"]
        whole = _WHOLE.match(rest)
        if whole is not None:
            calls.append(
                SystemCall(whole["call"], whole["arguments"], begun_at, at, int(whole["result"]))
            )
    return calls


def count_injected(trace: Path, call: str) -> int:
    """Return how many calls of a trace were made to fail or to wait, of those with this name."""
    if not trace.exists():
        return 0
    lines = trace.read_text(errors="replace").splitlines()
    named = re.compile(rf"\d+ +\d*\.?\d* *(<\.\.\. )?{call}\b")
    hurt = [line for line in lines if "INJECTED" in line or "DELAYED" in line]
    return sum(named.match(line) is not None for line in hurt)


def read_syncs(trace: Path) -> list[SystemCall]:
    """Return the syncs of a trace, also those that the operating system was asked for.

    Of these, the arguments are those of the asking, and the result is that of the sync itself.
    """
    syncs = []
    asked: dict[str, SystemCall] = {}
    for call in read_calls(trace):
        if call.name == "fdatasync":
            syncs.append(call)
        elif call.name == "io_submit" and "IOCB_CMD_FDSYNC" in call.arguments:
            asked[re.findall(r"aio_data=(0x\w+)", call.arguments)[0]] = call
        elif call.name == "io_getevents":
            for data, result in re.findall(r"{data=(0x\w+), .*?res=(-?\d+)", call.arguments):
                begun = asked.pop(data)
                syncs.append(
                    SystemCall(
                        "fdatasync", begun.arguments, begun.begun_at, call.ended_at, int(result)
                    )
                )
    return syncs


def kill_traced(process: subprocess.Popen[str]) -> None:
    """Kill the command that strace runs; what it has started ends with it, and strace then."""
    for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        os.kill(int(pid), signal.SIGKILL)
    process.wait(30)
