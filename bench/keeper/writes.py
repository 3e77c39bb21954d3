"""How many events are recorded a second, and how soon each is acknowledged."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.keeper.disk import count_sqlite_rows_per_s, time_syncs
from bench.keeper.sizes import Sizes
from bench.load import GENERATOR_CORE, pin
from bench.measurement import REPOSITORY, Figure, summarise

_WAIT_S = 180.0


@dataclass(frozen=True, slots=True)
class Sent:
    """What a generator did.

    Attributes
    ----------
    elapsed_s
        From the first request to the last answer.
    times_ns
        int64[N]: from each request to its answer.
    """

    elapsed_s: float
    times_ns: NDArray[np.int64]


class Generator:
    """A generator of requests in a process of its own: made, then let go.

    Parameters
    ----------
    port
        Of the server on this machine.
    module, flags
        What is run, with which flags.
    given
        Its options with values.
    """

    def __init__(
        self,
        port: int,
        *,
        module: str = "bench.keeper.generator",
        flags: Sequence[str] = (),
        **given: float,
    ) -> None:
        command = [sys.executable, "-m", module, f"127.0.0.1:{port}", *flags]
        command += [f"--{name}={value}" for name, value in given.items()]
        self._process = subprocess.Popen(
            pin(command, GENERATOR_CORE),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line.strip() == "ready", f"the generator said {line!r}"

    def go(self) -> None:
        """Let it send."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def finish(self) -> Sent:
        """Wait until it has sent everything."""
        said, _ = self._process.communicate(timeout=_WAIT_S)
        assert self._process.returncode == 0, "the generator failed"
        found: dict[str, Any] = json.loads(said.splitlines()[-1])
        return Sent(found["elapsed_s"], (np.array(found["times_s"]) * 1e9).astype(np.int64))


def measure_writes(port: int, folder: Path, sizes: Sizes) -> dict[str, Figure]:
    """Measure rates beside SQLite and times beside bare syncs, in turn on the same disk."""
    rates, sqlite_rates, ratios = [], [], []
    bare, paced, acknowledged = [], [], []
    for at in range(sizes.rounds):
        sent = _send_batches(port, sizes, seed=100 + at)
        count = sizes.clients * sizes.batches * sizes.batch_events
        rates.append(count / sent.elapsed_s)
        sqlite_rates.append(
            count_sqlite_rows_per_s(folder, sizes.clients * sizes.batches, sizes.batch_events)
        )
        ratios.append(rates[-1] / sqlite_rates[-1])
        bare.append(time_syncs(folder, sizes.syncs))
        paced.append(time_syncs(folder, sizes.syncs, sizes.event_rate_per_s))
        acknowledged.append(send_singles(port, sizes, seed=200 + at).times_ns)
    detail = {
        "rounds": sizes.rounds,
        "events": sizes.rounds * sizes.clients * sizes.batches * sizes.batch_events,
        "rate_low_per_s": min(rates),
        "rate_high_per_s": max(rates),
        "sqlite_rows_per_s": float(np.median(sqlite_rates)),
    }
    return {
        "events_per_s": Figure(float(np.median(rates)), "≥ 15000", "≥ 40000", detail),
        "events_sqlite_ratio": Figure(float(np.median(ratios)), "≥ 1", "≥ 3", detail),
        **_compare(acknowledged, bare, paced),
    }


def send_singles(port: int, sizes: Sizes, *, seed: int) -> Sent:
    """Send single events at a steady rate."""
    generator = make_singles(port, sizes, seed=seed)
    generator.go()
    return generator.finish()


def make_singles(port: int, sizes: Sizes, *, seed: int) -> Generator:
    """Make a generator that sends single events at a steady rate."""
    return Generator(
        port,
        customers=sizes.customers,
        seed=seed,
        rate=sizes.event_rate_per_s,
        seconds=sizes.event_seconds,
    )


def _send_batches(port: int, sizes: Sizes, *, seed: int) -> Sent:
    generator = Generator(
        port,
        customers=sizes.customers,
        seed=seed,
        clients=sizes.clients,
        batches=sizes.batches,
        events=sizes.batch_events,
    )
    generator.go()
    return generator.finish()


def _compare(
    acknowledged: list[NDArray[np.int64]],
    bare: list[NDArray[np.int64]],
    paced: list[NDArray[np.int64]],
) -> dict[str, Figure]:
    """Return the ratios of the rounds' medians and 99th percentiles.

    The ratios are to bare writes one behind the other; those at the rate of the events stand
    beside them, for they say what of a ratio is the disk's own.
    """
    detail = {
        "acknowledged": summarise(np.concatenate(acknowledged)),
        "bare": summarise(np.concatenate(bare)),
        "bare_at_this_rate": summarise(np.concatenate(paced)),
    }

    def ratio(percentile: float) -> float:
        pairs = zip(acknowledged, bare, strict=True)
        each = [np.percentile(a, percentile) / np.percentile(b, percentile) for a, b in pairs]
        return float(np.median(each))

    return {
        "ack_p50_ratio": Figure(ratio(50), "≤ 5", "≤ 3", detail),
        "ack_p99_ratio": Figure(ratio(99), "≤ 8", "≤ 4", detail),
    }
