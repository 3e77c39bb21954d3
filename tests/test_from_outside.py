"""A hostile world around a really served node: publications, damage, full disks and signals."""

import asyncio
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from instanter.client import (
    AsyncClient,
    Client,
    ClientError,
    ExhaustedError,
    ProfileState,
    RetryPolicy,
    Timeouts,
)
from instanter.client.requests import decide_offers
from instanter.client.values import DecisionRequest
from instanter.store.databases import META, META_KEY_FORMAT, STORE_FORMAT
from instanter.store.environment import Environment
from instanter.store.publications import MODELS, publish
from tests.cli.served import LONE, Served, serving

PATIENT = Timeouts(decision_s=10.0)
SHOP = """\
currency: EUR
channels: {web: []}
attributes:
  - {name: age, kind: number, range: [0, 120]}
offers:
  - name: espresso
    value_minor: VALUE
    prior_propensity: 0.1
    eligibility: profile.age >= 18.0
    treatments: [{channel: web}]
"""


def shop(revision: int) -> dict[str, str]:
    """A catalogue whose only offer is worth what its revision is, so that a reply tells both."""
    return {"shop.yaml": SHOP.replace("VALUE", str(100 * revision))}


@pytest.fixture(params=["grpcio", "fast"])
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Served]:
    arguments = ("--transport", request.param, "--metrics", "127.0.0.1:0")
    with serving(tmp_path / "store", *arguments, module=LONE) as running:
        with connect(running) as client:
            client.apply_catalogue(shop(1))
            client.update_customer("c", {"age": 30})
        yield running


on_either_front = pytest.mark.parametrize("served", ["auto"], indirect=True)
"""For what no front has a part in: once is enough."""


def connect(served: Served) -> Client:
    return Client(served.address, timeouts=PATIENT, retries=RetryPolicy(attempts_max=1))


def command(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "instanter.cli", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def read_log(served: Served) -> list[dict[str, Any]]:
    text = Path(f"{served.ready['data_folder']}.log").read_text()
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def read_metrics(served: Served) -> dict[str, float]:
    url = f"http://127.0.0.1:{served.ready['metrics_port']}/metrics"
    with urllib.request.urlopen(url, timeout=10) as page:
        lines = [line for line in page.read().decode().splitlines() if line[:1] != "#"]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def total(metrics: dict[str, float], name: str) -> float:
    return sum(value for key, value in metrics.items() if key.startswith(name))


def stop(served: Served) -> None:
    """End the server as an operator does; whatever happened to it, that must work."""
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(30) == 0


# --- Publications -------------------------------------------------------------------------------


@contextmanager
def loaded_by_h2load(served: Served, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Let a C generator ask for decisions as fast as they are answered, until the block ends."""
    body = decide_offers(DecisionRequest("c", "web")).SerializeToString()
    (folder / "body").write_bytes(struct.pack(">BI", 0, len(body)) + body)
    url = f"http://127.0.0.1:{served.ready['port']}/instanter.v1.DecisionService/DecideOffers"
    with subprocess.Popen(
        [
            *("h2load", "--duration", "3", "--clients", "4", "--max-concurrent-streams", "8"),
            *("--data", str(folder / "body"), "--header", "content-type: application/grpc"),
            *("--header", "te: trailers", url),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.skipif(shutil.which("h2load") is None, reason="h2load is not installed")
def test_publications_while_decisions_run_flat_out_disturb_none_of_them(
    served: Served, tmp_path: Path
) -> None:
    """Each reply names the revision that it was decided with, and there is no error."""
    seen: list[tuple[int, int]] = []
    over = threading.Event()
    failures: list[Exception] = []

    def watch() -> None:
        try:
            with connect(served) as client:
                while not over.is_set():
                    decision = client.decide_offers("c", "web")
                    seen.append((decision.catalogue_revision, decision.offers[0].value_minor))
        except Exception as error:  # noqa: BLE001 - told by the test's own thread
            failures.append(error)

    watcher = threading.Thread(target=watch)
    with loaded_by_h2load(served, tmp_path) as generator, connect(served) as client:
        watcher.start()
        for revision in range(2, 6):
            assert client.apply_catalogue(shop(revision)).catalogue.revision == revision
            end = time.monotonic() + 5
            while (not seen or seen[-1][0] < revision) and not failures:
                assert time.monotonic() < end
                over.wait(0.01)
        told, _ = generator.communicate(timeout=30)
    over.set()
    watcher.join()
    assert failures == []
    assert all(value == 100 * revision for revision, value in seen)
    assert [revision for revision, _ in seen] == sorted(revision for revision, _ in seen)
    assert {revision for revision, _ in seen} == {1, 2, 3, 4, 5}
    answered = re.search(r"(\d+) succeeded, 0 failed, 0 errored, 0 timeout", told)
    assert answered, told
    metrics = read_metrics(served)
    assert total(metrics, "instanter_decisions_total") >= int(answered[1]) + len(seen) > 500
    assert total(metrics, "instanter_call_errors_total") == 0
    assert metrics["instanter_kernels_compiled_late_total"] == 0
    stop(served)


@on_either_front
def test_what_another_process_publishes_is_used_within_a_second(
    served: Served, tmp_path: Path
) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/shop.yaml").write_text(shop(2)["shop.yaml"])
    done = command("apply", "-f", tmp_path / "shop", "--data", served.ready["data_folder"])
    begin = time.monotonic()
    assert done.returncode == 0, done.stderr
    with connect(served) as client:
        while client.decide_offers("c", "web").catalogue_revision != 2:
            assert time.monotonic() - begin < 1.0


@on_either_front
def test_damaged_models_are_not_used_and_hold_up_nothing_else(
    served: Served, tmp_path: Path
) -> None:
    """Neither a later catalogue nor a start: models that cannot be read are no outage."""
    folder = Path(str(served.ready["data_folder"]))
    with Environment.open(folder) as environment:
        environment.write(lambda txn: publish(txn, MODELS, b"\x93 no models at all", 1))
    with connect(served) as client:
        client.apply_catalogue(shop(2))
        begin = time.monotonic()
        while (decision := client.decide_offers("c", "web")).catalogue_revision != 2:
            assert time.monotonic() - begin < 1.0
        assert decision.model_revision == 0
        assert decision.offers
    stop(served)
    refused = [line for line in read_log(served) if line["event"] == "publication_refused"]
    assert {line["reason"] for line in refused} == {"RECORD_DAMAGED"}
    assert len(refused) <= 2, "once a revision"
    with serving(folder, module=LONE) as again, connect(again) as client:
        assert client.decide_offers("c", "web").catalogue_revision == 2


# --- The store ----------------------------------------------------------------------------------


def test_a_store_of_a_newer_format_is_not_served(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with Environment.open(folder) as environment:
        newer = (STORE_FORMAT + 1).to_bytes(8, "little")
        environment.write(lambda txn: txn.put(META, META_KEY_FORMAT, newer))
    before = {path.name: path.read_bytes() for path in folder.glob("data*")}
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/shop.yaml").write_text(shop(1)["shop.yaml"])
    for words in (
        ("serve", "--listen", "127.0.0.1:0", "--data", folder),
        ("apply", "-f", tmp_path / "shop", "--data", folder),
    ):
        done = command(*words)
        assert (done.returncode, done.stdout) == (1, "")
        told = f"has format {STORE_FORMAT + 1}, .* understands up to {STORE_FORMAT}"
        assert re.fullmatch(f"error: .* {told}; .*\\n", done.stderr)
    assert {path.name: path.read_bytes() for path in folder.glob("data*")} == before


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a tmpfs needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.root
def test_a_full_disk_refuses_writes_and_decisions_go_on(tmp_path: Path) -> None:
    customers = tmp_path / "customers.csv"
    customers.write_text("id,age\n" + "".join(f"load-{n:06},30\n" for n in range(60_000)))
    with (
        small_disk(tmp_path / "disk") as disk,
        serving(disk / "store", module=LONE) as served,
    ):
        with connect(served) as client:
            client.apply_catalogue(shop(1))
            client.update_customer("kept", {"age": 30})
            filler = disk / "filler"
            with filler.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(disk).free - 65_536)
            written, error = 0, None
            while error is None:
                try:
                    client.update_customer(f"{written:0>250}", {"age": 30})
                    written += 1
                except ExhaustedError as caught:
                    error = caught
            assert error.reason == "STORE_DISK_FULL"
            assert written < 2_000
            load = command(
                *("load", "customers", customers, "--key", "id", "--data", disk / "store")
            )
            assert load.returncode == 1
            assert re.search(r"^error: .*bytes free", load.stderr, re.MULTILINE), load.stderr
            decision = client.decide_offers("kept", "web")
            assert decision.profile_state is ProfileState.KNOWN
            assert (decision.catalogue_revision, len(decision.offers)) == (1, 1)
            filler.unlink()
            assert client.update_customer("kept", {"age": 31}).attributes == {"age": 31.0}
            assert client.apply_catalogue(shop(2)).catalogue.revision == 2
        stop(served)


# --- The end ------------------------------------------------------------------------------------


async def ask_until_it_ends(served: Served, asking: asyncio.Event) -> tuple[int, list[ClientError]]:
    """Ask without a pause, 64 at a time, until each call is refused; return what happened."""
    counts: list[int] = []
    refusals: list[ClientError] = []

    async def ask(client: AsyncClient) -> None:
        while True:
            try:
                decision = await client.decide_offers("c", "web")
            except ClientError as error:
                refusals.append(error)
                return
            assert decision.offers
            counts.append(1)
            if len(counts) == 400:
                asking.set()

    once = RetryPolicy(attempts_max=1)
    async with AsyncClient(served.address, timeouts=PATIENT, retries=once) as client:
        await asyncio.gather(*(ask(client) for _ in range(64)))
    return len(counts), refusals


async def test_sigterm_under_load_fails_no_call_that_was_begun(
    served: Served, request: pytest.FixtureRequest
) -> None:
    """Calls are answered, or never begun.

    The fast front leaves those as UNAVAILABLE, which clients send again. The core of grpcio
    cancels what arrives between its two GOAWAYs, and nothing above it can tell it not to.
    """
    asking = asyncio.Event()
    load = asyncio.create_task(ask_until_it_ends(served, asking))
    await asyncio.wait_for(asking.wait(), 30)
    begin = time.monotonic()
    served.process.send_signal(signal.SIGTERM)
    answered, refusals = await asyncio.wait_for(load, 30)
    code = await asyncio.to_thread(served.process.wait, 30)
    assert code == 0
    assert time.monotonic() - begin < 6
    assert answered >= 400
    fast = "[fast]" in request.node.name
    for error in refusals:
        # A connection that breaks under a call is UNAVAILABLE as well: the words tell them apart.
        never_sent = error.code == "UNAVAILABLE" and "Connection refused" in error.message
        assert never_sent or (error.code == "CANCELLED" and not fast), str(error)
    text = Path(f"{served.ready['data_folder']}.log").read_text()
    assert "Traceback" not in text
    assert [line for line in read_log(served) if line.get("level") in ("error", "critical")] == []
