"""A server in a process of its own, bound to one core, for as long as a benchmark needs it."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from bench.load import SERVER_CORE, pin
from bench.measurement import REPOSITORY, read_cpu_s

_STARTED_EVENT = "front_started"
_STANDBY_EVENT = "process_stands_by"
_SERVES_EVENT = "process_serves"
_SMALL_NAME = "BENCH_SMALL"
_LONE_MODULE = "bench.lone_server"
_START_S_MAX = 180.0
_STOP_S_MAX = 20.0


def use_lone_servers() -> None:
    """Let the servers from now on, those of processes started by this one too, have no standbys.

    The small size measures nothing, and getting standbys warm would take most of its time.
    """
    os.environ[_SMALL_NAME] = "1"


def make_serve_command() -> list[str]:
    """Return the words of `instanter serve` for a server of which no process is killed."""
    module = _LONE_MODULE if os.environ.get(_SMALL_NAME) else "instanter.cli"
    return [sys.executable, "-m", module, "serve"]


class ServerFailedError(Exception):
    """The server ended before it served; its last words are in the message."""


class ServerProcess:
    """Runs a command that logs `front_started` with its port, and stops it at the end.

    Parameters
    ----------
    command
        The command; its standard error is read, one JSON object a line.
    pinned
        Whether it is bound to one core; processes that share the work need more.
    """

    def __init__(self, command: Sequence[str], *, pinned: bool = True) -> None:
        self._words: list[str] = []
        self._is_lone = _LONE_MODULE in command
        self._started = threading.Event()
        self._port = 0
        self.begun_s = time.perf_counter()
        self._process = subprocess.Popen(
            pin(command, SERVER_CORE) if pinned else list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        )
        assert self._process.stderr is not None
        self._reader = threading.Thread(target=self._read, args=(self._process.stderr,))
        self._reader.start()

    @classmethod
    def serve(cls, folder: Path) -> Self:
        """Start `instanter serve` on a store, with the reference front."""
        command = [*make_serve_command(), "--transport", "grpcio"]
        return cls([*command, "--data", str(folder), "--listen", "127.0.0.1:0"])

    @classmethod
    def echo(cls) -> Self:
        """Start the server that answers an empty message with an empty message."""
        return cls([sys.executable, "-m", "bench.echo_server"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """The port; waits until the server serves."""
        if not self._started.wait(_START_S_MAX) or not self._port:
            raise ServerFailedError("".join(self._words[-20:]) or "the server said nothing")
        return self._port

    def wait_settled(self, standby_count: int = 1) -> None:
        """Wait until `instanter serve` has nothing left to start: its standbys share the core.

        Parameters
        ----------
        standby_count
            How many it has: one alone, two where it has workers.
        """
        if self._is_lone:
            standby_count = 0
        end_s = time.perf_counter() + _START_S_MAX
        while sum(_STANDBY_EVENT in line for line in list(self._words)) < standby_count:
            if time.perf_counter() > end_s or self._process.poll() is not None:
                raise ServerFailedError("".join(self._words[-20:]) or "no standby was started")
            time.sleep(0.05)

    def find_pid(self, role: str) -> int:
        """Return the process that took a role last: `keeper` or `worker`."""
        events = [json.loads(line) for line in list(self._words) if _SERVES_EVENT in line]
        found = [event["pid"] for event in events if event.get("role") == role]
        if not found:
            raise ServerFailedError(f"no process has become a {role}")
        return int(found[-1])

    def read_cpu_s(self) -> float:
        """Return the processor time it has taken so far."""
        return read_cpu_s(self._process.pid)

    def count_late_words(self, word: str) -> int:
        """Return how many lines with `word` it has written since it began to serve."""
        words = list(self._words)
        first = next(at for at, line in enumerate(words) if _STARTED_EVENT in line)
        return sum(word in line for line in words[first:])

    def stop(self) -> None:
        """Ask it to stop, and wait until it has."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            self._words.append(line)
            if _STARTED_EVENT in line and not self._port:
                self._port = int(json.loads(line)["port"])
                self._started.set()
        self._started.set()
