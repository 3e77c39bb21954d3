"""Subscribers that are killed again and again, and come back with what they had written down.

A process of its own: `python -m bench.stock.followers HOST:PORT --alerts 50000 --followers 20
--kills 50` follows until everybody has so many transitions, and prints, as JSON, what was lost, out
of order, or told twice where it must not be. A follower writes its token down every few messages;
when it is killed, its connection is reset, and what it had not written down is forgotten: only that
may come again.
"""

import argparse
import json
import select
import socket
import struct
import sys
import time
from dataclasses import dataclass, field

import numpy as np

from bench.stock.wire import Streams, open_streams
from bench.stock.world import DISTRIBUTOR, WATCH_METHOD
from instanter.v1 import stock_service_pb2 as messages

_WRITTEN_EVERY = 16
_PAUSE_S = 0.05
_SILENCE_S_MAX = 90.0
_RESET = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class Follower:
    """One subscriber.

    Attributes
    ----------
    kills
        Transitions after which it is killed, falling: the next is the last.
    token, written
        What it has written down: where to go on, and the last transition it has dealt with.
    last, seen
        The last transition it was told since it was killed, or had written down before; and the
        last that it was ever told.
    lost_count, disordered_count, repeated_count
        Transitions that were passed over, that came too early or late, and that came again though
        they were written down.
    allowed_count
        Transitions that came again because they were not written down.
    """

    kills: list[int]
    token: str = ""
    written: int = 0
    last: int = 0
    seen: int = 0
    lost_count: int = 0
    disordered_count: int = 0
    repeated_count: int = 0
    allowed_count: int = 0
    kill_count: int = 0
    reconnect_count: int = 0
    connection: socket.socket | None = None
    streams: Streams = field(default_factory=Streams)
    ready_s: float = 0.0

    def connect(self, target: str) -> bool:
        """Connect, and go on from what is written down; False when nobody is there."""
        request = messages.WatchStockAlertsRequest(
            distributor=f"distributors/{DISTRIBUTOR}", resume_token=self.token
        )
        try:
            self.connection = open_streams(target, WATCH_METHOD, request.SerializeToString(), 1)
        except OSError:
            self.ready_s = time.perf_counter() + _PAUSE_S
            return False
        self.connection.setblocking(False)
        self.streams = Streams()
        self.last = self.written
        self.reconnect_count += 1
        return True

    def disconnect(self, *, reset: bool) -> None:
        """Lose the connection; whatever is not written down is forgotten."""
        assert self.connection is not None
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.connection.close()
        self.connection = None
        self.ready_s = time.perf_counter() + (0.0 if reset else _PAUSE_S)

    def take(self, told: messages.WatchStockAlertsResponse) -> None:
        """Take a message: count what is wrong with it, and now and then write it down."""
        if not told.HasField("transition"):
            # Before the first transition the token of progress is all there is.
            if not self.written:
                self.token = told.resume_token
            return
        sequence = told.transition.sequence
        if sequence <= self.written:
            self.repeated_count += 1
            return
        if sequence <= self.last:
            self.disordered_count += 1
            return
        self.lost_count += sequence - self.last - 1
        self.allowed_count += sequence <= self.seen
        self.last = sequence
        self.seen = max(self.seen, sequence)
        if sequence % _WRITTEN_EVERY == 0:
            self.token, self.written = told.resume_token, sequence


class Following:
    """Followers of one server, until each has been told everything.

    Parameters
    ----------
    target
        `host:port`.
    followers, kills
        How many, and how often each is killed.
    alerts
        Transitions that there will be, from 1.
    """

    def __init__(self, target: str, followers: int, kills: int, alerts: int) -> None:
        draw = np.random.default_rng(1)
        self._target = target
        self._alerts = alerts
        self._known: dict[bytes, messages.WatchStockAlertsResponse] = {}
        self.followers = [
            Follower(sorted(draw.choice(alerts - 1, kills, replace=False).tolist(), reverse=True))
            for _ in range(followers)
        ]

    def begin(self) -> None:
        """Connect everybody, and wait until each was told something."""
        end_s = time.perf_counter() + _SILENCE_S_MAX
        while not all(follower.token for follower in self.followers):
            assert time.perf_counter() < end_s, "not every follower was told something"
            self._turn()

    def run(self) -> bool:
        """Follow until all is told; False when nothing comes any more."""
        silent_s = time.perf_counter() + _SILENCE_S_MAX
        while any(each.last < self._alerts or each.kills for each in self.followers):
            if self._turn():
                silent_s = time.perf_counter() + _SILENCE_S_MAX
            if time.perf_counter() > silent_s:
                return False
        return True

    def _turn(self) -> bool:
        """Take what has arrived, from everybody; return whether something had."""
        now_s = time.perf_counter()
        for follower in self.followers:
            if follower.connection is None and now_s >= follower.ready_s:
                follower.connect(self._target)
        connected = {
            follower.connection: follower
            for follower in self.followers
            if follower.connection is not None
        }
        readable, _, _ = select.select(list(connected), [], [], 0.05)
        for connection in readable:
            self._read(connected[connection], connection)
        return bool(readable)

    def _read(self, follower: Follower, connection: socket.socket) -> None:
        try:
            data = connection.recv(1 << 16)
        except OSError:
            data = b""
        streams = follower.streams
        for _, payload in streams.feed(data):
            told = self._known.get(payload)
            if told is None:
                told = messages.WatchStockAlertsResponse.FromString(payload)
                self._known[payload] = told
            follower.take(told)
            if follower.kills and follower.seen >= follower.kills[-1]:
                follower.kills.pop()
                follower.kill_count += 1
                follower.disconnect(reset=True)
                return
        if not data or streams.ended or streams.is_going:
            follower.disconnect(reset=False)
        elif streams.replies:
            connection.sendall(streams.replies)
            streams.replies.clear()


def main() -> int:
    """Do what the arguments say; print `ready`, then one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("--followers", type=int, required=True)
    parser.add_argument("--kills", type=int, required=True)
    parser.add_argument("--alerts", type=int, required=True)
    given = parser.parse_args()
    following = Following(given.target, given.followers, given.kills, given.alerts)
    following.begin()
    print("ready", flush=True)
    following.run()
    followers = following.followers
    said = {
        "missing": sum(given.alerts - each.last for each in followers),
        "lost": sum(each.lost_count for each in followers),
        "disordered": sum(each.disordered_count for each in followers),
        "repeated": sum(each.repeated_count for each in followers),
        "told_again_as_allowed": sum(each.allowed_count for each in followers),
        "kills": sum(each.kill_count for each in followers),
        "connections": sum(each.reconnect_count for each in followers),
    }
    print(json.dumps(said), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
