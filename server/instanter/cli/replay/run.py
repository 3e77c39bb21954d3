"""Runs a replay: file, mapping, server, report."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from instanter.cli.configuration import Configuration
from instanter.cli.progress import show_progress
from instanter.cli.replay.mapping import load_mapping
from instanter.cli.replay.recorded import load_recorded
from instanter.cli.replay.report import ReplayReport, make_report
from instanter.cli.replay.sending import Replay, ReplayedVerdicts
from instanter.cli.server_connection import make_tls, translate_failures
from instanter.client import AsyncClient, Timeouts
from instanter.clock import Clock


def replay_file(
    file: Path,
    mapping: Path,
    configuration: Configuration,
    clock: Clock,
    *,
    in_flight: int,
    limit: int | None,
) -> ReplayReport:
    """Replay a file through the configured server, and return what was found.

    Raises
    ------
    CommandError
        File or mapping is wrong, or the server refuses or is not there.
    """
    now = datetime.fromtimestamp(clock.now_ns() / 1e9, UTC)
    recorded = load_recorded(file, load_mapping(mapping), now, limit)
    # A mistake in it is told before the replay, not after.
    recorded.find_scored()
    with show_progress(f"replaying {file.name}", "transactions", clock) as tell:
        replay = Replay(recorded, in_flight=in_flight, clock=clock, tell=tell)
        with translate_failures(configuration):
            verdicts = asyncio.run(_run(replay, configuration))
    return make_report(recorded, verdicts)


async def _run(replay: Replay, configuration: Configuration) -> ReplayedVerdicts:
    timeout_s = configuration.timeout_s
    timeouts = Timeouts(timeout_s, timeout_s, timeout_s, timeout_s, max(timeout_s, 60.0))
    tls = make_tls(configuration)
    async with AsyncClient(configuration.server, tls=tls, timeouts=timeouts) as client:
        return await replay.run(client)
