"""Load over gRPC from h2load, a C generator that knows nothing of gRPC or of us.

A Python client costs about 250 µs a call, more than the server; so no figure about the server over
the wire comes from one. h2load sends one fixed body; many short runs with other bodies, several at
the same time, make the customers vary.
"""

import os
import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MISSING_REASON = "h2load is not installed; it comes with Debian's package nghttp2-client"

SERVER_CORE = 0
GENERATOR_CORE = 1


class LoadFailedError(Exception):
    """The generator did not do what was asked: requests failed, or it did not run."""


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What one or several runs of the generator did.

    Attributes
    ----------
    request_count
        Requests answered with HTTP status 200. The gRPC status stands in trailers that h2load does
        not read: check one answer with a client before.
    received_size_bytes
        Bytes of answers' data, by which answers that are errors would show.
    latency_ns
        int64[N]: from sending a request to the end of its answer; empty unless asked for.
    """

    request_count: int
    received_size_bytes: int
    latency_ns: NDArray[np.int64]


def is_available() -> bool:
    """Return whether h2load can be run."""
    return shutil.which("h2load") is not None


def pin(command: Sequence[str], core: int) -> list[str]:
    """Return the command bound to one processor core, when there are cores to choose from."""
    if shutil.which("taskset") is None or core >= len(_cores()):
        return list(command)
    return ["taskset", "--cpu-list", str(_cores()[core]), *command]


def frame_message(message: bytes) -> bytes:
    """Return a gRPC message on the wire: uncompressed, length, bytes."""
    return struct.pack(">BI", 0, len(message)) + message


def run_load(
    port: int,
    method: str,
    messages: Sequence[bytes],
    *,
    request_count: int,
    connections: int = 1,
    streams: int = 4,
    rate_per_s: float = 0.0,
    keep_latency: bool = False,
    tls: bool = False,
) -> LoadResult:
    """Run one h2load a message, all at the same time, and add up what they did.

    Parameters
    ----------
    port
        Of the server on this machine.
    method
        For example `instanter.v1.DecisionService/DecideOffers`.
    messages
        Encoded requests, one a process.
    request_count
        Requests of each process.
    connections, streams
        Of each process, and calls in flight on each connection.
    rate_per_s
        Requests a second of each process; 0 for as many as are answered.
    keep_latency
        Whether to keep the time of each call.
    tls
        Whether the port is encrypted; the server's certificate is not checked.

    Raises
    ------
    LoadFailedError
        A request failed, or h2load did.
    """
    headers = ("content-type: application/grpc", "te: trailers")
    command = ["h2load", "--clients", str(connections), "--max-concurrent-streams", str(streams)]
    if rate_per_s:
        command += ["--rps", f"{rate_per_s / connections:.3f}"]
    bodies = [frame_message(message) for message in messages]
    url = f"{'https' if tls else 'http'}://127.0.0.1:{port}/{method}"
    return _run(command, headers, url, bodies, request_count, keep_latency=keep_latency)


def run_http_load(
    port: int,
    path: str,
    bodies: Sequence[bytes],
    *,
    request_count: int,
    connections: int = 4,
    keep_latency: bool = False,
) -> LoadResult:
    """Post JSON over HTTP/1.1 from one h2load a body, all at the same time.

    Parameters
    ----------
    port, path
        Of the server on this machine; the path begins with `/`.
    bodies
        JSON, one a process.
    request_count
        Requests of each process.
    connections
        Of each process, with one request in flight on each.
    keep_latency
        Whether to keep the time of each request.

    Raises
    ------
    LoadFailedError
        A request failed, or h2load did.
    """
    headers = ("content-type: application/json",)
    command = ["h2load", "--h1", "--clients", str(connections), "--max-concurrent-streams", "1"]
    url = f"http://127.0.0.1:{port}{path}"
    return _run(command, headers, url, bodies, request_count, keep_latency=keep_latency)


def _run(
    command: Sequence[str],
    headers: Sequence[str],
    url: str,
    bodies: Sequence[bytes],
    request_count: int,
    *,
    keep_latency: bool,
) -> LoadResult:
    """Run the command once a body, all at the same time, and add up what they did."""
    with tempfile.TemporaryDirectory(prefix="instanter-load-") as name:
        folder = Path(name)
        running = []
        for at, content in enumerate(bodies):
            body = folder / f"{at}.body"
            body.write_bytes(content)
            own = [*command, "--requests", str(request_count), "--data", str(body)]
            own += [f"--header={header}" for header in headers]
            if keep_latency:
                own += ["--log-file", str(folder / f"{at}.log")]
            running.append(
                subprocess.Popen(
                    pin([*own, url], GENERATOR_CORE),
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                )
            )
        texts = [process.communicate()[0].decode("utf-8", "replace") for process in running]
        counts = [
            _read_counts(text, process.returncode)
            for text, process in zip(texts, running, strict=True)
        ]
        logs = [_read_log(path) for path in sorted(folder.glob("*.log"))]
    latency = np.concatenate(logs) if logs else np.zeros(0, np.int64)
    return LoadResult(sum(c[0] for c in counts), sum(c[1] for c in counts), latency)


def _read_counts(text: str, returncode: int) -> tuple[int, int]:
    """Return the requests that succeeded and the bytes of their data, from h2load's words."""
    requests = re.search(
        r"requests: (\d+) total, \d+ started, \d+ done, (\d+) succeeded, (\d+) failed", text
    )
    data = re.search(r"traffic: .*?\((\d+)\) data", text)
    if returncode or not requests or not data:
        raise LoadFailedError(f"h2load ended with {returncode}: {text[-500:]}")
    if requests[1] != requests[2]:
        raise LoadFailedError(f"{requests[3]} of {requests[1]} requests failed: {text[-500:]}")
    return int(requests[2]), int(data[1])


def _read_log(path: Path) -> NDArray[np.int64]:
    """Return the times of a log of h2load, int64[N] in nanoseconds."""
    columns = np.loadtxt(path, dtype=np.int64, delimiter="\t", usecols=(1, 2), ndmin=2)
    if not (columns[:, 0] == 200).all():
        raise LoadFailedError("a request was not answered with HTTP status 200")
    return np.asarray(columns[:, 1] * 1000, np.int64)


def _cores() -> list[int]:
    return sorted(os.sched_getaffinity(0))
