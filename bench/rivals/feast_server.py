"""Rival (c): Feast's online feature server on Redis; it fetches 1000 attributes, no more.

`python -m bench.rivals.feast_server FOLDER REDIS_PORT COUNT` declares the attributes, writes
the first COUNT customers of `customers.npz` into Redis, and runs `feast serve` on a free port that
it logs, until SIGTERM.
"""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from feast import (
    Entity,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    ValueType,
)
from feast.types import Float32, Int32

PATH = "/get-online-features"
VIEW = "profile"
ENTITY = "customer"

_START_S_MAX = 60.0
_CONFIGURATION = """\
project: rival
registry: {{path: registry.db, cache_ttl_seconds: 0}}
provider: local
online_store: {{type: redis, connection_string: "127.0.0.1:{port},db=1"}}
offline_store: {{type: dask}}
entity_key_serialization_version: 3
"""


def fill(folder: Path, repository: Path, redis_port: int, count: int) -> None:
    """Declare every attribute as a feature, and write the first `count` customers into Redis."""
    repository.mkdir()
    (repository / "feature_store.yaml").write_text(_CONFIGURATION.format(port=redis_port))
    with np.load(folder / "customers.npz") as customers:
        attributes = [str(name) for name in customers["attributes"]]
        names, numbers, codes = (customers[key][:count] for key in ("names", "numbers", "codes"))
    moment = pd.Timestamp.now("UTC")
    columns = [*numbers.T, *codes.astype(np.int32).T]
    frame = pd.DataFrame(
        {ENTITY: names.astype(object), "event_timestamp": moment}
        | dict(zip(attributes, columns, strict=True))
    )
    entity = Entity(name=ENTITY, join_keys=[ENTITY], value_type=ValueType.STRING)
    view = FeatureView(
        name=VIEW,
        entities=[entity],
        ttl=timedelta(0),
        schema=[
            Field(name=name, dtype=Float32 if at < numbers.shape[1] else Int32)
            for at, name in enumerate(attributes)
        ],
        source=FileSource(path="none.parquet", timestamp_field="event_timestamp"),
    )
    store = FeatureStore(repo_path=str(repository))
    store.apply([entity, view])
    store.write_to_online_store(VIEW, frame)


def serve(repository: Path) -> None:
    """Run `feast serve` until SIGTERM, and say on standard error when it answers."""
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    port = _find_port()
    command = [
        str(Path(sys.executable).parent / "feast"), "serve", "--host", "127.0.0.1",
        "--port", str(port), "--no-access-log", "--workers", "1", "--registry_ttl_sec", "3600",
        "--max-requests", "0",
    ]  # fmt: skip
    with subprocess.Popen(command, cwd=repository) as server:
        try:
            _wait_until_healthy(server, port)
            sys.stderr.write(json.dumps({"event": "front_started", "port": port}) + "\n")
            sys.stderr.flush()
            stopping.wait()
        finally:
            server.terminate()


def _find_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_healthy(server: subprocess.Popen[bytes], port: int) -> None:
    end_s = time.monotonic() + _START_S_MAX
    while time.monotonic() < end_s and server.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    raise SystemExit("feast serve did not begin to answer")


if __name__ == "__main__":
    given = Path(sys.argv[1])
    fill(given, given / "feast", int(sys.argv[2]), int(sys.argv[3]))
    serve(given / "feast")
