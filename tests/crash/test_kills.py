"""Killed, frozen and stopped processes of a server, while others write to it and ask it.

`INSTANTER_KILLS=100` is the long version, which measures; the suite's kills once of each kind.
"""

import json
import os
import random
import signal
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from instanter.client import Client, ClientError, Timeouts, UnavailableError
from instanter.limits import KEEPER_WAIT_NS_MAX
from instanter.store.environment import Environment
from tests.crash.killable import (
    SHOP,
    Server,
    Writers,
    connect,
    is_alive,
    measure_outage_s,
    probe,
)

KILLS = int(os.environ.get("INSTANTER_KILLS", "4"))
OUTAGE_S_MAX = 2.0
LOADED_OUTAGE_S_MAX = 2.0 if KILLS > 50 else 8.0
"""Other tests run beside these in the suite, and want the same two cores."""

STRANGERS = 40
"""Slots of the reader table that processes which live may need."""


@pytest.fixture
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """A server of its own; with a worker unless the test says otherwise."""
    yield from serve(tmp_path, getattr(request, "param", 1))


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from serve(tmp_path_factory.mktemp("lasting"), 1)


@pytest.fixture
def healed(lasting: Server) -> Server:
    """A server with a worker that has got over what an earlier test did to it, its end too."""
    assert lasting.process is not None
    if lasting.process.poll() is not None:
        lasting.kill()
        lasting.start()
    lasting.wait_warm()
    return lasting


def serve(tmp_path: Path, workers: int) -> Iterator[Server]:
    server = Server(tmp_path / "store", workers)
    server.start()
    try:
        with connect(server.address, Timeouts()) as client:
            client.apply_catalogue({"shop.yaml": SHOP})
        server.wait_warm()
        yield server
    finally:
        server.kill()


def count_readers(server: Server) -> int:
    with Environment.open(server.folder, writable=False) as environment:
        return environment.figures().reader_count


def list_processes_of(parents: set[int]) -> list[int]:
    """All processes of servers with these supervisors, whoever is their parent by now."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"instanter.supervisor.child" in words and int(words[-2]) in parents:
                found.append(int(folder.name))
    return found


def kill(server: Server, victims: str) -> None:
    """Kill processes by what they are; a killed supervisor is followed by a new one at once."""
    if victims == "supervisor":
        server.kill()
        server.start()
        return
    roles = ["keeper", "worker"] if victims == "all" else [victims]
    for pid in [pid for role in roles for pid in server.find_pids(role)[:1]]:
        os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.timeout(180 + 20 * KILLS)
def test_random_kills_lose_nothing_and_leave_nothing(server: Server) -> None:
    choose = random.Random(4)
    readers = count_readers(server)
    outages: dict[str, list[float]] = {}
    supervisors = set()
    with Writers(server.address, 3) as writers:
        for number in range(KILLS):
            assert server.process is not None
            supervisors.add(server.process.pid)
            time.sleep(choose.uniform(0.0, 0.4))
            roles = ["keeper", "worker", "all", "supervisor"]
            victims = roles[number] if number < 4 else choose.choice(roles[:3] * 3 + roles[3:])
            begun = time.monotonic()
            kill(server, victims)
            started_s = time.monotonic() - begun if victims == "supervisor" else 0.0
            outage_s = max(measure_outage_s(server.address, begun), started_s)
            outages.setdefault(victims, []).append(outage_s)
            server.wait_warm()
    lost = writers.find_lost()
    print(json.dumps({"acknowledged": len(writers.acknowledged), "lost": len(lost)}))
    for victims, seconds in sorted(outages.items()):
        shown = [round(each, 2) for each in sorted(seconds)]
        print(victims, "median", round(statistics.median(seconds), 2), "s of", shown)
    assert len(writers.acknowledged) > 20 * KILLS, "there was a load"
    assert not lost
    time.sleep(1.5)  # the keeper frees slots of dead readers once a second
    assert count_readers(server) <= readers + STRANGERS
    assert server.process is not None
    supervisors.add(server.process.pid)
    assert server.stop() == 0
    assert list_processes_of(supervisors) == []
    for victims in ("keeper", "worker", "all"):
        assert max(outages[victims]) <= LOADED_OUTAGE_S_MAX, victims


@pytest.mark.slow
@pytest.mark.parametrize("role", ["keeper", "worker"])
def test_a_frozen_process_is_replaced(healed: Server, role: str) -> None:
    (frozen,) = healed.find_pids(role)
    begun = time.monotonic()
    os.kill(frozen, signal.SIGSTOP)
    longest_s = 0.0
    while is_alive(frozen):
        asked = time.monotonic()
        probe(healed.address, timeout_s=10.0)
        longest_s = max(longest_s, time.monotonic() - asked)
        assert time.monotonic() - begun < 20.0
    replaced_s = time.monotonic() - begun
    outage_s = measure_outage_s(healed.address, begun)
    print(f"{role}: killed after {replaced_s:.2f} s, back after {outage_s:.2f} s")
    print(f"the longest call took {longest_s:.2f} s")
    assert max(replaced_s, outage_s, longest_s) <= LOADED_OUTAGE_S_MAX


@pytest.mark.slow
def test_decisions_go_on_while_the_keeper_is_replaced(healed: Server) -> None:
    (keeper,) = healed.find_pids("keeper")
    os.kill(keeper, signal.SIGSTOP)
    with connect(healed.address, Timeouts(decision_s=1.0)) as client:
        for _ in range(10):
            assert client.decide_offers("c", "web").catalogue_revision == 1
    assert is_alive(keeper), "all of that happened while it was frozen"
    while is_alive(keeper):
        time.sleep(0.01)


def write_settled(client: Client, customer_id: str, age: int) -> None:
    """Write, again where the worker has not noticed yet what an earlier test did to the keeper."""
    for _ in range(50):
        try:
            client.update_customer(customer_id, {"age": age})
        except UnavailableError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("no write got through")


@pytest.mark.slow
def test_a_write_waits_for_a_new_keeper(healed: Server) -> None:
    with connect(healed.address, Timeouts(write_s=10.0)) as client:
        write_settled(client, "before", 1)
        (keeper,) = healed.find_pids("keeper")
        noticed_count = healed.log.read_text().count('"keeper_lost"')
        os.kill(keeper, signal.SIGKILL)
        while healed.log.read_text().count('"keeper_lost"') == noticed_count:
            time.sleep(0.001)
        begun = time.monotonic()
        try:
            client.update_customer("after", {"age": 2})
        except UnavailableError:
            # A machine that is busy with other tests may need longer than a write waits.
            assert time.monotonic() - begun > 0.9 * KEEPER_WAIT_NS_MAX / 1e9, "it has waited"
            healed.wait_warm()
            client.update_customer("after", {"age": 2})
        assert client.get_customer("after").attributes == {"age": 2.0}
        assert client.get_customer("before").attributes == {"age": 1.0}


def read_counters(server: Server, name: str) -> dict[str, float]:
    url = f"http://127.0.0.1:{server.ready['metrics_port']}/metrics"
    with urlopen(url, timeout=10) as page:
        lines = page.read().decode().splitlines()
    rows = (line.rpartition(" ") for line in lines if line.startswith(name))
    return {row: float(value) for row, _, value in rows}


@pytest.mark.slow
def test_what_a_killed_process_counted_stays_counted(healed: Server) -> None:
    with connect(healed.address, Timeouts(decision_s=10.0)) as client:
        for _ in range(50):
            client.decide_offers("c", "web")
    decisions = sum(read_counters(healed, "instanter_decisions_total").values())
    restarts = read_counters(healed, "instanter_process_restarts_total")
    assert decisions >= 50
    for role in ("worker", "keeper"):
        os.kill(healed.find_pids(role)[0], signal.SIGKILL)
    healed.wait_warm()
    assert sum(read_counters(healed, "instanter_decisions_total").values()) >= decisions
    after = read_counters(healed, "instanter_process_restarts_total")
    assert all(after[row] > count for row, count in restarts.items())


@pytest.mark.slow
def test_an_outcome_that_is_not_known_is_said_to_be(healed: Server) -> None:
    """Writers that are under way when the keeper dies are told what to do."""
    told: list[str] = []

    def write() -> None:
        with connect(healed.address, Timeouts(write_s=10.0)) as client:
            for number in range(100_000):
                try:
                    client.update_customer(f"u-{number}", {"age": number})
                except ClientError as error:
                    told.append(f"{error.reason} {error}")
                    return

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    while any(thread.is_alive() for thread in threads):
        for keeper in healed.find_pids("keeper"):
            os.kill(keeper, signal.SIGKILL)
        for thread in threads:
            thread.join(0.5)
    assert len(told) == len(threads)
    assert all("retry with the same id" in each for each in told), told


@pytest.mark.slow
@pytest.mark.parametrize("server", [0], indirect=True, ids=["alone"])
def test_sigterm_under_load_finishes_what_was_begun(server: Server) -> None:
    check_sigterm_under_load(server)


@pytest.mark.slow
def test_sigterm_under_load_finishes_what_workers_have_begun(healed: Server) -> None:
    check_sigterm_under_load(healed)


def check_sigterm_under_load(server: Server) -> None:
    with Writers(server.address, 4) as writers:
        while len(writers.acknowledged) < 200:
            time.sleep(0.01)
        begun = time.monotonic()
        code = server.stop()
        took_s = time.monotonic() - begun
    assert code == 0
    # What is in flight gets 5 s; a busy machine needs some for the processes' own ends.
    assert took_s <= (5.0 if KILLS > 50 else 20.0)
    server.start()
    assert writers.find_lost() == []


@pytest.mark.slow
def test_a_second_signal_ends_it_at_once(healed: Server) -> None:
    process = healed.process
    assert process is not None
    (keeper,) = healed.find_pids("keeper")
    os.kill(keeper, signal.SIGSTOP)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    begun = time.monotonic()
    assert process.wait(20) == 130
    assert time.monotonic() - begun < (3.0 if KILLS > 50 else 15.0)
    assert list_processes_of({process.pid}) == []
