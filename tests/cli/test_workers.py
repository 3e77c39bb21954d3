"""`instanter serve --workers`: whatever process answers, it is one server."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from instanter.client import Client, ClientError, RetryPolicy, Timeouts
from tests.cli.outcomes import Command
from tests.cli.served import LONE, Served, serving
from tests.cli.test_serve import SHOP

PATIENT = Timeouts(decision_s=10.0, read_s=10.0, write_s=10.0)


@pytest.fixture(scope="module", params=["fast", "grpcio"])
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("workers")
    arguments = ("--workers", "2", "--metrics", "127.0.0.1:0", "--transport", request.param)
    with serving(folder / "store", *arguments, module=LONE) as running:
        with connect(running) as client:
            client.apply_catalogue({"shop.yaml": SHOP})
        wait_for_catalogue(running)
        yield running
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(30) == 0


def wait_for_catalogue(served: Served) -> None:
    """Wait until every worker has it: the one that was asked has, the other within a second."""
    end = time.monotonic() + 30.0
    in_a_row = 0
    while in_a_row < 20:
        assert time.monotonic() < end
        with connect(served) as client:
            try:
                client.decide_offers("c", "web")
            except ClientError:
                in_a_row = 0
            else:
                in_a_row += 1


def connect(served: Served) -> Client:
    """A client on a connection of its own: the next may be another worker's."""
    alone = (("grpc.use_local_subchannel_pool", 1),)
    once = RetryPolicy(attempts_max=1)
    return Client(served.address, timeouts=PATIENT, retries=once, options=alone)


def read_metric(served: Served, name: str) -> float:
    url = f"http://127.0.0.1:{served.ready['metrics_port']}/metrics"
    with urlopen(url, timeout=10) as page:
        lines = page.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def test_it_says_what_it_consists_of(served: Served) -> None:
    assert served.ready["workers"] == 2
    pids = served.ready["pids"]
    assert isinstance(pids, dict)
    everybody = {served.process.pid, pids["keeper"], *pids["workers"]}
    assert len(everybody) == 4


def test_what_one_worker_acknowledged_every_worker_knows(served: Served) -> None:
    for number in range(20):
        with connect(served) as one, connect(served) as other:
            name = f"c-{number}"
            one.update_customer(name, {"age": number, "plan": "gold"})
            assert other.get_customer(name).attributes == {"age": float(number), "plan": "gold"}
            assert other.update_customer(name, {"plan": None}).attributes == {"age": number}
            decided = one.decide_offers(name, "web")
            assert bool(decided) == (number >= 18)
            other.delete_customer(name)
            assert one.get_customers([name]) == (None,)


def test_refusals_of_the_keeper_come_through_whole(served: Served) -> None:
    with connect(served) as client:
        with pytest.raises(ClientError, match=r'attributes\["agee"\].*did you mean') as raised:
            client.update_customer("c", {"agee": 1})
        assert raised.value.reason == "ATTRIBUTE_UNKNOWN"
        with pytest.raises(ClientError, match="mistake"):
            client.apply_catalogue({"shop.yaml": "offers: [{name: x}]"})


def test_the_page_adds_up_what_all_processes_count(served: Served) -> None:
    before = read_metric(served, "instanter_decisions_total")
    for _ in range(30):
        with connect(served) as client:
            client.decide_offers("c", "web")
    assert read_metric(served, "instanter_decisions_total") == before + 30
    forwarded = read_metric(served, "instanter_calls_forwarded_total")
    with connect(served) as client:
        client.update_customer("m", {"age": 1})
    assert read_metric(served, "instanter_calls_forwarded_total") == forwarded + 1
    assert read_metric(served, "instanter_writes_total") > 0
    assert read_metric(served, "instanter_catalogue_revision") >= 1


def test_whoever_publishes_is_decided_for_by_that(served: Served) -> None:
    with connect(served) as client:
        for value in (700, 800):
            shop = SHOP.replace("value_minor: 400", f"value_minor: {value}")
            client.apply_catalogue({"shop.yaml": shop})
            client.update_customer("p", {"age": 30})
            assert client.decide_offers("p", "web").offers[0].value_minor == value


def test_tools_write_into_the_served_store(served: Served, command: Command) -> None:
    Path("customers.csv").write_text("id,age,plan\nt1,30,gold\nt2,12,tin\n")
    loaded = command(
        *("load", "customers", "customers.csv", "--key", "id"),
        *("--data", str(served.ready["data_folder"])),
    )
    assert loaded.code == 0, loaded.err
    with connect(served) as client:
        assert client.get_customer("t1").attributes == {"age": 30.0, "plan": "gold"}


def test_a_second_server_is_refused_on_folder_and_port(served: Served, command: Command) -> None:
    folder = str(served.ready["data_folder"])
    outcome = command("serve", "--data", folder, "--listen", "127.0.0.1:0", "--workers", "1")
    assert outcome.code == 1
    assert f"another server, process {served.process.pid}, uses the store" in outcome.err
    taken = f"127.0.0.1:{served.ready['port']}"
    for workers in ("0", "1"):
        outcome = command("serve", "--data", "other", "--listen", taken, "--workers", workers)
        assert outcome.code == 1
        assert f"error: the port {taken} cannot be opened; is another server" in outcome.err


@pytest.mark.parametrize("workers", ["-1", "33", "many"])
def test_a_number_of_workers_that_is_none_is_refused(command: Command, workers: str) -> None:
    outcome = command("serve", "--workers", workers)
    assert outcome.code == 2
    assert "workers" in outcome.err


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_keeper_that_cannot_start_ends_it_with_its_own_words(
    tmp_path: Path, command: Command, workers: str
) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    (folder / "data.mdb").write_bytes(b"no store" * 1_000)
    outcome = command(
        "serve", "--data", str(folder), "--listen", "127.0.0.1:0", "--workers", workers
    )
    assert outcome.code == 1
    last = outcome.err.splitlines()[-1]
    assert last.startswith(f"error: {folder / 'data.mdb'} is not a store, or is damaged"), last


def test_a_folder_of_something_else_is_left_as_it_was(tmp_path: Path, command: Command) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "foreign").write_text("mine")
    outcome = command("serve", "--data", str(folder), "--listen", "127.0.0.1:0")
    assert outcome.code == 1
    assert "is not a store, it holds 'foreign'" in outcome.err
    assert [path.name for path in folder.iterdir()] == ["foreign"]


def test_the_settings_count_for_workers_too(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("instanter.toml").write_text("workers = 3\n")
    shown = json.loads(command("config", "show", "--json").out)
    assert shown["workers"] == 3
    monkeypatch.setenv("INSTANTER_WORKERS", "5")
    shown = json.loads(command("config", "show", "--json").out)
    assert shown["workers"] == 5


def test_who_follows_a_keeper_begins_no_new_store_where_the_folder_was_moved(
    tmp_path: Path,
) -> None:
    folder, elsewhere = tmp_path / "store", tmp_path / "elsewhere"
    log = Path(f"{folder}.log")
    with serving(folder, "--workers", "1", module=LONE) as running, connect(running) as client:
        client.apply_catalogue({"shop.yaml": SHOP})
        client.update_customer("c-1", {"age": 40})
        folder.rename(elsewhere)
        pids = running.ready["pids"]
        assert isinstance(pids, dict)
        os.kill(pids["keeper"], signal.SIGKILL)
        end = time.monotonic() + 60.0
        while '"STORE_FOLDER_MOVED"' not in log.read_text():
            assert time.monotonic() < end, log.read_text()
            assert not folder.exists()
            time.sleep(0.05)
        assert client.decide_offers("c-1", "web").catalogue_revision == 1, "workers go on"
        assert not folder.exists()
        elsewhere.rename(folder)
        # Nobody stands by: the next keeper is started after a pause, and has to import everything.
        end = time.monotonic() + 60.0
        while True:
            try:
                updated = client.update_customer("c-1", {"plan": "gold"})
                break
            except ClientError:
                assert time.monotonic() < end, log.read_text()
        assert updated.attributes["age"] == 40
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(30) == 0
