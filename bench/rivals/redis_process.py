"""Redis on this machine alone, without persistence, and its own benchmark program: rival (d)."""

import csv
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.load import GENERATOR_CORE, SERVER_CORE, LoadFailedError, pin
from bench.measurement import read_cpu_s

MISSING_REASON = "redis-server is not installed; it comes with Debian's package redis-server"

_START_S_MAX = 20.0
_STOP_S_MAX = 20.0


class RedisFailedError(Exception):
    """Redis did not start or did not do what it was asked."""


@dataclass(frozen=True, slots=True)
class FetchResult:
    """What one run of `redis-benchmark` did, its percentiles in microseconds."""

    request_count: int
    p50_us: float
    p99_us: float


@dataclass(frozen=True, slots=True)
class Redis:
    """A running Redis, reached by a Unix socket and, for Feast, by a port on 127.0.0.1.

    Attributes
    ----------
    pid, port, socket
        Its process, and where it listens.
    """

    pid: int
    port: int
    socket: Path

    def read_cpu_s(self) -> float:
        """Return the processor time it has taken so far."""
        return read_cpu_s(self.pid)

    def ask(self, *words: str) -> list[str]:
        """Send one command and return the lines of its answer."""
        done = subprocess.run(
            ["redis-cli", "-s", str(self.socket), *words],
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.splitlines()

    def write_hashes(self, rows: Iterable[tuple[str, list[str], list[str]]]) -> None:
        """Write hashes: (key, fields, values) each."""
        self._pipe(
            ["HSET", key, *(word for pair in zip(fields, values, strict=True) for word in pair)]
            for key, fields, values in rows
        )

    def write_values(self, rows: Iterable[tuple[str, bytes]]) -> None:
        """Write single values: (key, bytes) each."""
        self._pipe(["SET", key, value] for key, value in rows)

    def fetch(
        self, command: list[str], *, request_count: int, connections: int, keys: int
    ) -> FetchResult:
        """Run `redis-benchmark` with a command whose `__rand_int__` is a number below `keys`."""
        words = [
            "redis-benchmark", "-s", str(self.socket), "-c", str(connections),
            "-n", str(request_count), "-r", str(keys), "--csv", *command,
        ]  # fmt: skip
        done = subprocess.run(
            pin(words, GENERATOR_CORE), capture_output=True, text=True, check=False
        )
        rows = list(csv.reader(done.stdout.splitlines()))
        if done.returncode or len(rows) != 2 or "rps" not in rows[0]:
            raise LoadFailedError(f"redis-benchmark: {done.stdout[-300:]}{done.stderr[-300:]}")
        found = dict(zip(rows[0], rows[1], strict=True))
        p50_us, p99_us = (float(found[f"{name}_latency_ms"]) * 1e3 for name in ("p50", "p99"))
        return FetchResult(request_count, p50_us, p99_us)

    def _pipe(self, commands: Iterable[list[str | bytes]]) -> None:
        """Send many commands, and check that none was refused."""
        with subprocess.Popen(
            ["redis-cli", "-s", str(self.socket), "--pipe"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as pipe:
            assert pipe.stdin is not None
            assert pipe.stdout is not None
            for command in commands:
                pipe.stdin.write(_encode_command(command))
            pipe.stdin.close()
            said = pipe.stdout.read().decode("utf-8", "replace")
        if "errors: 0" not in said:
            raise RedisFailedError(f"redis-cli: {said[-300:]}")


def is_available() -> bool:
    """Return whether Redis and its programs can be run."""
    return all(shutil.which(name) for name in ("redis-server", "redis-cli", "redis-benchmark"))


@contextmanager
def run_redis(folder: Path) -> Iterator[Redis]:
    """Start Redis on the server's core, and end it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    path = folder / "redis.sock"
    command = [
        "redis-server", "--bind", "127.0.0.1", "--port", str(port), "--unixsocket", str(path),
        "--save", "", "--appendonly", "no", "--dir", str(folder), "--loglevel", "warning",
    ]  # fmt: skip
    with (folder / "redis.log").open("wb") as log:
        process = subprocess.Popen(pin(command, SERVER_CORE), stdout=log, stderr=log)
    redis = Redis(process.pid, port, path)
    try:
        _wait_until_it_answers(redis, process, folder / "redis.log")
        yield redis
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_it_answers(redis: Redis, process: subprocess.Popen[bytes], log: Path) -> None:
    end_s = time.monotonic() + _START_S_MAX
    while time.monotonic() < end_s and process.poll() is None:
        if redis.socket.exists():
            try:
                if redis.ask("PING") == ["PONG"]:
                    return
            except subprocess.CalledProcessError:
                pass
        time.sleep(0.05)
    raise RedisFailedError(log.read_text("utf-8", "replace")[-500:])


def _encode_command(words: list[str | bytes]) -> bytes:
    """Return a command as Redis reads it: an array of strings."""
    encoded = [word.encode() if isinstance(word, str) else word for word in words]
    parts = [b"$%d\r\n%b\r\n" % (len(word), word) for word in encoded]
    return b"".join((b"*%d\r\n" % len(parts), *parts))
