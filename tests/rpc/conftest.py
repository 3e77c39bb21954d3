"""What tests of the stream of alerts share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from instanter.rpc import alert_hub
from tests.rpc.alert_world import AlertWorld


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AlertWorld]:
    """A process with a hub, whose time passes quickly."""
    monkeypatch.setattr(alert_hub, "_TICK_S", 0.002)
    made = AlertWorld(tmp_path / "store")
    yield made
    made.close()
    assert made.bugs == []
