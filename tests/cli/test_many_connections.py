"""Whoever opens many connections takes no file descriptors that writes need."""

import resource
import signal
import socket
from contextlib import ExitStack
from pathlib import Path

from instanter import wire_limits
from instanter.client import Client, Event
from tests.cli.outcomes import Command
from tests.cli.served import LONE, serving

SHOP = """\
currency: EUR
channels: {web: [home_hero]}
events:
  - {name: purchase, fields: [{name: amount, kind: number}]}
attributes:
  - {name: spend, kind: number, source: derived,
     derive: {event: purchase, function: sum, field: amount, window: 30d}}
"""

BATCHES = 60
"""As many batches of a thousand events as take the log beyond what was reserved at its begin."""


def test_connections_leave_writes_the_descriptors_that_they_need(
    tmp_path: Path, command: Command
) -> None:
    Path("shop.yaml").write_text(SHOP)
    with serving(tmp_path / "store", module=LONE) as running, ExitStack() as undo:
        assert command("apply", "-f", "shop.yaml", "--server", running.address).code == 0
        client = undo.enter_context(Client(running.address))
        client.get_catalogue()
        pids = running.ready["pids"]
        assert isinstance(pids, dict)
        resource.prlimit(pids["keeper"], resource.RLIMIT_NOFILE, (128, 128))
        port = running.ready["port"]
        for _ in range(300):
            undo.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
        for batch in range(BATCHES):
            events = [
                Event(f"c-{number}", "purchase", {"amount": 1.5}, event_id=f"e-{batch}-{number}")
                for number in range(1_000)
            ]
            assert client.record_events(events).recorded_count == 1_000
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(30) == 0
    assert '"too_many_connections"' in Path(f"{tmp_path}/store.log").read_text()


def test_it_takes_as_many_descriptors_as_it_may_have(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1_024, hard), hard))
    try:
        with serving(tmp_path / "store", module=LONE) as running:
            pids = running.ready["pids"]
            assert isinstance(pids, dict)
            found, _ = resource.prlimit(pids["keeper"], resource.RLIMIT_NOFILE)
            assert found >= min(wire_limits.CONNECTIONS_MAX, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
