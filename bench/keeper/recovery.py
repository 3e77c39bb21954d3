"""How long a server takes to be back after a power cut."""

import subprocess
import sys
import time
from pathlib import Path

from bench.decide.wire import check_answer
from bench.keeper.sizes import Sizes
from bench.measurement import REPOSITORY, Figure
from bench.server_process import ServerProcess, make_serve_command

_FILL = """
import os, sys, threading
from pathlib import Path
import numpy as np
from bench.keeper.generator import make_request
from instanter.clock import SystemClock
from instanter.events_log import make_events_log
from instanter.keeper import folding
from instanter.keeper.opening import KeptStore
from instanter.metrics import Metrics
from instanter.rpc.events import EventService
from instanter.rpc.front import CallContext
from instanter.v1.event_service_pb2 import RecordEventsRequest

folding.Folder.start = lambda self: None
folder, customers, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
kept = KeptStore.open(
    folder, clock=SystemClock(), metrics=Metrics(), events_log=make_events_log(sys.stderr)
)
service = EventService(submit=kept.keeper.submit, gather=kept.keeper.gather)
draw = np.random.default_rng(11)
for first in range(0, count, 100):
    request = RecordEventsRequest.FromString(make_request(draw, customers, 100))
    service.record_events(request, CallContext(None, "bench")).result(60)
print(kept.log.synced_sequence, flush=True)
os._exit(0)
"""


def measure_recovery(folder: Path, sizes: Sizes) -> Figure:
    """Time from starting `instanter serve` to its first decision, with a tail to replay.

    The tail is written by a keeper that never folds and ends without closing anything; what a
    power cut takes beside that, the overlay, is deleted.
    """
    done = subprocess.run(
        [sys.executable, "-c", _FILL, str(folder), str(sizes.recovery_customers),
         str(sizes.recovery_events)],
        capture_output=True, text=True, check=False, cwd=REPOSITORY,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for path in (folder / "overlay").glob("*"):
        path.unlink()
    command = [*make_serve_command(), "--transport", "fast"]
    command += ["--data", str(folder), "--listen", "127.0.0.1:0"]
    with ServerProcess(command) as server:
        check_answer(server.port)
        elapsed_s = time.perf_counter() - server.begun_s
    detail = {"profiles": sizes.recovery_customers, "events": sizes.recovery_events}
    return Figure(elapsed_s, "≤ 15", "≤ 5", detail)
