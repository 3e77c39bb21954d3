"""How soon an alert is where it is wanted: from a movement's acknowledgement to each subscriber.

The clock begins when the till has read the answer, and ends when the subscriber has read the
message. The writer and the subscribers are two processes on one core, the server has the other.
What it is divided by is a bare write with a sync plus an empty call of the same writer at the same
pace, in the same rounds.
"""

import sys
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.keeper.decisions import serve
from bench.keeper.disk import time_syncs
from bench.measurement import Figure, summarise
from bench.server_process import ServerProcess
from bench.stock.processes import (
    fill_positions,
    make_subscribers,
    make_writer,
    read_anonymous_size_bytes,
    read_told,
)
from bench.stock.sizes import Sizes
from bench.stock.world import make_files
from instanter.client import Client

_MEMORY_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Crowd:
    """Who subscribes, and to how much.

    Attributes
    ----------
    readers, silent
        Subscribers that read, and that never do.
    per_connection
        Readers that share a connection.
    alerts, alerts_per_s
        Alerts of a round, and their pace.
    rounds
        How often.
    """

    readers: int
    silent: int
    per_connection: int
    alerts: int
    alerts_per_s: float
    rounds: int


@dataclass(slots=True)
class Timed:
    """What the rounds found, times in ns by round.

    Attributes
    ----------
    delays
        From acknowledgement to each reader, int64[alerts × readers].
    last_delays
        From acknowledgement to the last reader, int64[alerts].
    acknowledged
        From the call to its answer, int64[alerts].
    written, echoed
        Bare syncs and empty calls.
    memory_size_bytes
        What the server's process grew by at most.
    """

    delays: list[NDArray[np.int64]]
    last_delays: list[NDArray[np.int64]]
    acknowledged: list[NDArray[np.int64]]
    written: list[NDArray[np.int64]]
    echoed: list[NDArray[np.int64]]
    memory_size_bytes: list[int]

    def find_ratio(self, percentile: float) -> float:
        """Return the median over the rounds of delay ÷ (bare write + empty call)."""
        ratios = [
            np.percentile(delay, percentile)
            / (np.percentile(write, percentile) + np.percentile(echo, percentile))
            for delay, write, echo in zip(self.delays, self.written, self.echoed, strict=True)
        ]
        return float(np.median(ratios))

    def describe(self) -> dict[str, Any]:
        """Return what the ratios were computed from."""
        delays = np.concatenate(self.delays)
        return {
            "delay": summarise(delays),
            "delay_of_the_last": summarise(np.concatenate(self.last_delays)),
            "acknowledged": summarise(np.concatenate(self.acknowledged)),
            "bare_write": summarise(np.concatenate(self.written)),
            "bare_echo": summarise(np.concatenate(self.echoed)),
            "before_the_answer_rate": float(np.mean(delays < 0)),
            "rounds": len(self.delays),
        }


def measure_alerts(folder: Path, sizes: Sizes) -> dict[str, Figure]:
    """Measure delays with some subscribers, with many, and the memory of many."""
    some = Crowd(sizes.subscribers, 0, 1, sizes.alerts, sizes.alerts_per_s, sizes.rounds)
    readers = sizes.many_subscribers - sizes.silent_subscribers
    shared = Crowd(
        readers, sizes.silent_subscribers, max(readers // sizes.many_connections, 1),
        sizes.many_alerts, sizes.many_alerts_per_s, sizes.many_rounds,
    )  # fmt: skip
    # A write to each of a thousand sockets takes the server's whole core at a third of the pace.
    alone = replace(
        shared, per_connection=1, alerts=max(shared.alerts // 3, 1), rounds=1,
        alerts_per_s=shared.alerts_per_s / 3,
    )  # fmt: skip
    with (
        serve(folder / "alerts") as server,
        ServerProcess([sys.executable, "-m", "bench.front.echo", "fast"]) as echo,
    ):
        with Client(f"127.0.0.1:{server.port}") as client:
            client.apply_catalogue(make_files(sizes))
        fill_positions(server.port, sizes)
        rounds = _Rounds(server, echo, folder, sizes)
        rounds.warm_up()
        timed = rounds.measure(some)
        timed_many = rounds.measure(shared)
        timed_alone = rounds.measure(alone)
    detail = timed.describe() | {"subscribers": sizes.subscribers}
    detail_many = timed_many.describe() | {
        "subscribers": sizes.many_subscribers,
        "of_whom_silent": sizes.silent_subscribers,
        "connections_of_readers": sizes.many_connections,
        "p50_ratio_with_a_connection_each": timed_alone.find_ratio(50),
        "p99_ratio_with_a_connection_each": timed_alone.find_ratio(99),
        "delay_with_a_connection_each": summarise(np.concatenate(timed_alone.delays)),
    }
    grown_bytes = [max(each.memory_size_bytes) for each in (timed_many, timed_alone)]
    memory_detail = {
        "sharing_connections_mib": grown_bytes[0] / (1 << 20),
        "with_a_connection_each_mib": grown_bytes[1] / (1 << 20),
    }
    grown_mib = max(grown_bytes) / (1 << 20)
    return {
        "alert_p50_ratio": Figure(timed.find_ratio(50), "≤ 3", "≤ 1.5", detail),
        "alert_p99_ratio": Figure(timed.find_ratio(99), "≤ 4", "≤ 2", detail),
        "alert_1000_p50_ratio": Figure(timed_many.find_ratio(50), "≤ 5", "", detail_many),
        "alert_1000_p99_ratio": Figure(timed_many.find_ratio(99), "≤ 8", "", detail_many),
        "alert_1000_memory_mib": Figure(grown_mib, "≤ 64", "", memory_detail),
    }


class _Rounds:
    """Rounds against one server; its positions go on from round to round."""

    def __init__(
        self, server: ServerProcess, echo: ServerProcess, folder: Path, sizes: Sizes
    ) -> None:
        self._server = server
        self._echo = echo
        self._folder = folder
        self._sizes = sizes
        self._sent_count = 0

    def warm_up(self) -> None:
        """Send a few movements with somebody watching; nothing of it is kept."""
        self.measure(Crowd(2, 0, 1, self._sizes.watched_units, 100.0, 1))

    def measure(self, crowd: Crowd) -> Timed:
        """Measure the rounds of one crowd."""
        timed = Timed([], [], [], [], [], [])
        for _ in range(crowd.rounds):
            timed.written.append(time_syncs(self._folder, self._sizes.syncs))
            timed.echoed.append(self._time_echoes(crowd))
            self._time_alerts(crowd, timed)
        return timed

    def _time_echoes(self, crowd: Crowd) -> NDArray[np.int64]:
        with make_writer(
            self._echo.port, "echo", self._sizes, count=crowd.alerts, rate=crowd.alerts_per_s
        ) as writer:
            writer.tell()
            said = writer.finish()
        return np.array(said["answered_ns"], np.int64) - np.array(said["sent_ns"], np.int64)

    def _time_alerts(self, crowd: Crowd, timed: Timed) -> None:
        out = self._folder / "told.npz"
        port = self._server.port
        pid = self._server.find_pid("keeper")
        before = read_anonymous_size_bytes(pid)
        with (
            make_subscribers(
                port, crowd.readers, silent=crowd.silent, per_connection=crowd.per_connection,
                expected=crowd.alerts, out=out,
            ) as subscribers,
            make_writer(
                port, "alerting", self._sizes, count=crowd.alerts, rate=crowd.alerts_per_s,
                first=self._sent_count,
            ) as writer,
        ):  # fmt: skip
            writer.tell()
            peak = _Peak(pid)
            said = writer.finish()
            self._sent_count += crowd.alerts
            told = subscribers.finish()
            timed.memory_size_bytes.append(peak.finish() - before)
        assert told["is_complete"], "not every subscriber got every alert"
        sequences, _, times = read_told(out)
        first = int(sequences.min())
        # One writer, one call under way: movement i raised or cleared transition first + i.
        assert int(sequences.max()) == first + crowd.alerts - 1, "a movement without its alert"
        answered = np.array(said["answered_ns"], np.int64)
        delays = times - answered[sequences - first]
        last = np.full(crowd.alerts, np.iinfo(np.int64).min)
        np.maximum.at(last, sequences - first, times)
        timed.delays.append(delays)
        timed.last_delays.append(last - answered)
        timed.acknowledged.append(answered - np.array(said["sent_ns"], np.int64))


class _Peak:
    """Looks at a process's memory every tenth of a second, on a thread of its own."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._highest = read_anonymous_size_bytes(pid)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def finish(self) -> int:
        """Return the most that it was, in bytes."""
        self._ending.set()
        self._thread.join()
        return max(self._highest, read_anonymous_size_bytes(self._pid))

    def _look(self) -> None:
        while not self._ending.wait(_MEMORY_POLL_S):
            self._highest = max(self._highest, read_anonymous_size_bytes(self._pid))
