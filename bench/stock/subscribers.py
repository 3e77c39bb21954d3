"""Subscribes to stock alerts and notes when each message arrived; a process of its own.

`python -m bench.stock.subscribers HOST:PORT --readers 100 --silent 0 --expected 400 --out FILE.npz`
says `ready` when all are subscribed. It ends when every reader has so many transitions, or when it
is told to by a line; then it writes, for each message: its sequence, its reader, the time in ns.
"""

import argparse
import gc
import itertools
import json
import select
import socket
import sys
import time
from dataclasses import dataclass, field

import numpy as np

from bench.stock.wire import Streams, open_streams
from bench.stock.world import DISTRIBUTOR, WATCH_METHOD
from instanter.v1 import stock_service_pb2 as messages

_IDLE_S = 0.002
_CHUNKS_WAITING_MAX = 20_000
_SILENT_BUFFER_SIZE_BYTES = 4096
_START_S_MAX = 60.0
_SILENCE_S_MAX = 60.0


@dataclass(slots=True)
class _Reader:
    """One connection: the subscribers on it and what has come."""

    connection: socket.socket
    first: int
    streams: Streams = field(default_factory=Streams)


class Subscribers:
    """Subscribers that read, several on a connection if wanted, and others that never do.

    Parameters
    ----------
    target
        `host:port`.
    readers, silent
        How many of each.
    per_connection
        Readers that share a connection.
    """

    def __init__(self, target: str, readers: int, silent: int, per_connection: int = 1) -> None:
        request = messages.WatchStockAlertsRequest(distributor=f"distributors/{DISTRIBUTOR}")
        body = request.SerializeToString()
        self._silent = [
            open_streams(
                target, WATCH_METHOD, body, 1, receive_size_bytes=_SILENT_BUFFER_SIZE_BYTES
            )
            for _ in range(silent)
        ]
        self._readers: dict[int, _Reader] = {}
        self._epoll = select.epoll()
        self._chunks: list[tuple[int, int, bytes]] = []
        self._known: dict[bytes, int] = {}
        self._told: list[tuple[int, int, int]] = []
        self._counts = [0] * readers
        self._greeted = [False] * readers
        self._is_told = False
        for first in range(0, readers, per_connection):
            here = min(per_connection, readers - first)
            connection = open_streams(target, WATCH_METHOD, body, here)
            connection.setblocking(False)
            self._readers[connection.fileno()] = _Reader(connection, first)
            self._epoll.register(connection.fileno(), select.EPOLLIN)

    def wait_subscribed(self) -> None:
        """Wait until each reader was told something: then its subscription stands."""
        end_s = time.perf_counter() + _START_S_MAX
        while not all(self._greeted):
            assert time.perf_counter() < end_s, "not every subscriber was told something"
            self._receive(0.05)
            self._look()
        self._told.clear()

    def run(self, expected: int) -> bool:
        """Read until every reader has so many transitions; False when told to end before.

        Also when nothing has come for too long.
        """
        self._epoll.register(sys.stdin.fileno(), select.EPOLLIN)
        is_transition: list[bool] = []
        silent_s = time.perf_counter() + _SILENCE_S_MAX
        while True:
            if self._receive(_IDLE_S):
                silent_s = time.perf_counter() + _SILENCE_S_MAX
                if len(self._chunks) < _CHUNKS_WAITING_MAX:
                    continue
            if self._is_told or time.perf_counter() > silent_s:
                return False
            before = len(self._told)
            self._look()
            is_transition.extend(
                messages.WatchStockAlertsResponse.FromString(payload).HasField("transition")
                for payload in itertools.islice(self._known, len(is_transition), None)
            )
            for reader, _, at in self._told[before:]:
                self._counts[reader] += is_transition[at]
            if expected and min(self._counts) >= expected:
                return True

    def save(self, path: str) -> None:
        """Write what was told: sequence, reader and time of each transition, int64 each."""
        sequences = np.array(
            [
                messages.WatchStockAlertsResponse.FromString(payload).transition.sequence
                for payload in self._known
            ],
            np.int64,
        )
        told = np.array(self._told, np.int64).reshape(-1, 3)
        found = sequences[told[:, 2]] if len(told) else np.zeros(0, np.int64)
        kept = found > 0
        np.savez(path, sequence=found[kept], reader=told[kept, 0], time_ns=told[kept, 1])

    @property
    def ended_count(self) -> int:
        """How many streams of readers the server has ended."""
        return sum(len(reader.streams.ended) for reader in self._readers.values())

    def _receive(self, wait_s: float) -> bool:
        """Take what has arrived, with the time; return whether something had."""
        ready = self._epoll.poll(wait_s)
        readers, chunks, clock = self._readers, self._chunks, time.perf_counter_ns
        for descriptor, _ in ready:
            reader = readers.get(descriptor)
            if reader is None:
                self._listen()
                continue
            data = reader.connection.recv(1 << 18)
            chunks.append((descriptor, clock(), data))
            if not data:
                self._epoll.unregister(descriptor)
        return bool(ready)

    def _listen(self) -> None:
        """Take a line, or the end of the input: then nobody will say a word any more."""
        if sys.stdin.readline():
            self._is_told = True
        else:
            self._epoll.unregister(sys.stdin.fileno())

    def _look(self) -> None:
        """Take apart what has arrived."""
        for descriptor, time_ns, data in self._chunks:
            reader = self._readers[descriptor]
            for stream, payload in reader.streams.feed(data):
                subscriber = reader.first + stream // 2
                at = self._known.setdefault(payload, len(self._known))
                self._told.append((subscriber, time_ns, at))
                self._greeted[subscriber] = True
            if reader.streams.replies:
                reader.connection.sendall(reader.streams.replies)
                reader.streams.replies.clear()
        self._chunks.clear()


def main() -> int:
    """Do what the arguments say; print `ready`, then one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("--readers", type=int, required=True)
    parser.add_argument("--silent", type=int, default=0)
    parser.add_argument("--per-connection", type=int, default=1)
    parser.add_argument("--expected", type=int, default=0)
    parser.add_argument("--out", default="")
    given = parser.parse_args()
    subscribers = Subscribers(given.target, given.readers, given.silent, given.per_connection)
    subscribers.wait_subscribed()
    # A collection of garbage in the middle would be told as the server's time.
    gc.collect()
    gc.disable()
    print("ready", flush=True)
    is_complete = subscribers.run(given.expected)
    if given.out:
        subscribers.save(given.out)
    said = {"is_complete": is_complete, "ended_count": subscribers.ended_count}
    print(json.dumps(said), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
