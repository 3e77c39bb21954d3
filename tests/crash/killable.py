"""A served folder whose processes are killed, with writers and a probe that never stop."""

import itertools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from instanter.client import Client, ClientError, RetryPolicy, Timeouts
from tests.cli.served import LONE
from tests.conftest import REPOSITORY

START_S_MAX = 120
SHOP = """\
currency: EUR
channels: {web: []}
attributes:
  - {name: age, kind: number, range: [0, 1000000000]}
offers:
  - name: espresso
    value_minor: 100
    prior_propensity: 0.1
    eligibility: profile.age >= 18.0
    treatments: [{channel: web}]
"""
ONCE = RetryPolicy(attempts_max=1)


def connect(address: str, timeouts: Timeouts) -> Client:
    """Return a client that connects anew: others of its address share how long they back off."""
    alone = (("grpc.use_local_subchannel_pool", 1),)
    return Client(address, timeouts=timeouts, retries=ONCE, options=alone)


def find_port() -> int:
    """Return a port that is free now and may be taken again and again."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Server:
    """A server on a folder and a fixed port. Started again after it was killed.

    Parameters
    ----------
    folder
        The data folder.
    workers
        How many worker processes it has.
    log
        Where its standard error goes; beside the folder by default.
    before
        Words before the command, of a program that runs it.
    module
        The command; with `LONE` nothing stands by, for tests that kill no single process.
    """

    def __init__(
        self,
        folder: Path,
        workers: int,
        log: Path | None = None,
        before: Sequence[str] = (),
        module: str = "instanter.cli",
    ) -> None:
        self.folder = folder
        self.port = find_port()
        self.workers = workers
        self.log = log or Path(f"{folder}.log")
        self.before = before
        self.module = module
        self.process: subprocess.Popen[str] | None = None
        self.ready: dict[str, Any] = {}

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Start it without waiting for anything."""
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [
                    *self.before,
                    *(sys.executable, "-m", self.module, "serve", "--json"),
                    *("--data", str(self.folder), "--listen", self.address),
                    *("--workers", str(self.workers), "--metrics", "127.0.0.1:0"),
                ],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                # From anywhere else, `bench` is not found.
                cwd=REPOSITORY if self.module == LONE else None,
            )

    def wait_ready(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        told, _, _ = select.select([self.process.stdout], [], [], START_S_MAX)
        line = self.process.stdout.readline() if told else ""
        assert line, self.log.read_text()[-3000:]
        self.ready = json.loads(line)

    def stop(self) -> int:
        """End it as an operator does, and return its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        self._close()
        return code

    def kill(self) -> None:
        """Kill the supervisor."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self._close()

    def _close(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        self.process.stdout.close()

    def find_pids(self, role: str) -> list[int]:
        """Return the living processes that have a role, or `standby` for none."""
        told = self.read_told()
        return [pid for pid in self.list_children() if told.get(pid) == role]

    def read_told(self) -> dict[int, str]:
        """Return what every process was last, from what the supervisor logged."""
        told = {}
        for line in self.log.read_text().splitlines():
            if '"process_serves"' in line or '"process_stands_by"' in line:
                event = json.loads(line)
                told[event["pid"]] = event.get("role", "standby")
        return told

    def list_children(self) -> list[int]:
        """Return all processes that the supervisor has started and not buried yet."""
        assert self.process is not None
        pid = self.process.pid
        try:
            text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        except OSError:
            return []
        return [int(word) for word in text.split()]

    def wait_warm(self, time_s: float = 90.0) -> None:
        """Wait until every place and a standby are there, as long as they take at most."""
        end = time.monotonic() + time_s
        wanted = 1 + self.workers + min(1 + self.workers, 2)
        while time.monotonic() < end:
            told = self.read_told()
            living = [told.get(pid) for pid in self.list_children()]
            if (
                len(living) == wanted
                and living.count("keeper") == 1
                and living.count("worker") == self.workers
                and None not in living
            ):
                return
            time.sleep(0.05)
        raise AssertionError(f"the server did not get warm again: {self.read_told()}")


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        # It may be buried between the two.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


@dataclass
class Writers:
    """Threads that write customers, each another one, and remember what was acknowledged."""

    address: str
    count: int
    acknowledged: set[str] = field(default_factory=set)
    refused_count: int = 0

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(number,)) for number in range(self.count)
        ]

    def __enter__(self) -> "Writers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, writer: int) -> None:
        timeouts = Timeouts(write_s=3.0)
        client = connect(self.address, timeouts)
        for number in itertools.count():
            if self._stop.is_set():
                break
            name = f"w{writer}-{number}"
            try:
                client.update_customer(name, {"age": number})
            except ClientError:
                self.refused_count += 1
                client.close()
                time.sleep(0.02)
                client = connect(self.address, timeouts)
            else:
                self.acknowledged.add(name)
        client.close()

    def find_lost(self) -> list[str]:
        """Return what was acknowledged and is not there, or is not what was written."""
        lost = []
        names = sorted(self.acknowledged)
        with Client(self.address, timeouts=Timeouts(batch_s=30.0)) as client:
            for start in range(0, len(names), 500):
                asked = names[start : start + 500]
                for name, found in zip(asked, client.get_customers(asked), strict=True):
                    age = float(name.partition("-")[2])
                    if found is None or found.attributes != {"age": age}:
                        lost.append(name)
        return lost


def probe(address: str, timeout_s: float = 0.5) -> bool:
    """Whether a new caller is answered now: a decision and a write."""
    timeouts = Timeouts(decision_s=timeout_s, write_s=timeout_s)
    with connect(address, timeouts) as client:
        try:
            client.decide_offers("probe", "web")
            client.update_customer("probe", {"age": 1})
        except ClientError:
            return False
    return True


def measure_outage_s(address: str, begun: float, *, time_s: float = 20.0) -> float:
    """Return the seconds from `begun` to the end of the last probe that failed; 0 for none."""
    last_failure = begun
    in_a_row = 0
    while in_a_row < 5:
        if probe(address):
            in_a_row += 1
        else:
            in_a_row = 0
            last_failure = time.monotonic()
        assert time.monotonic() - begun < time_s, "the service did not come back"
    return last_failure - begun
