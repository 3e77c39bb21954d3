"""Whether alerts are lost: many subscribers, killed again and again, and the keeper killed too."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import grpc

from bench.measurement import Figure
from bench.server_process import ServerProcess
from bench.stock.processes import Companion, fill_positions
from bench.stock.sizes import Sizes
from bench.stock.world import RECORD_METHOD, AlertingMovements, make_files
from instanter.client import Client
from instanter.v1 import stock_service_pb2 as messages

_BATCH = 100
_PATIENCE_S = 60.0


def measure_losses(folder: Path, sizes: Sizes) -> Figure:
    """Return how many alerts were lost, out of order, or told again without need."""
    command = [sys.executable, "-m", "instanter.cli", "serve", "--data", str(folder / "losses")]
    command += ["--listen", "127.0.0.1:0", "--workers", "1"]
    with ServerProcess(command, pinned=False) as server:
        with Client(f"127.0.0.1:{server.port}") as client:
            client.apply_catalogue(make_files(sizes))
        fill_positions(server.port, sizes)
        arguments = [f"127.0.0.1:{server.port}", "--followers", sizes.lost_subscribers]
        arguments += ["--kills", sizes.lost_reconnects, "--alerts", sizes.lost_alerts]
        with Companion("bench.stock.followers", arguments) as followers:
            recording = _Recording(server, sizes)
            recording.run()
            said = followers.finish()
    wrong = said["missing"] + said["lost"] + said["disordered"] + said["repeated"]
    detail = {
        "alerts": sizes.lost_alerts,
        "subscribers": sizes.lost_subscribers,
        "keepers_killed": sizes.lost_keepers,
        "calls_sent_again": recording.retried_count,
        **said,
    }
    return Figure(wrong, "0", "", detail)


class _Recording:
    """Records movements that alert, in batches, while the keeper is killed now and then."""

    def __init__(self, server: ServerProcess, sizes: Sizes) -> None:
        self._server = server
        self._sizes = sizes
        self._alerting = AlertingMovements(sizes)
        self.retried_count = 0

    def run(self) -> None:
        """Record everything; each keeper is killed while a batch is under way."""
        batches = -(-self._sizes.lost_alerts // _BATCH)
        every = batches // (self._sizes.lost_keepers + 1)
        kills = {every * (at + 1): at for at in range(self._sizes.lost_keepers)}
        left = self._sizes.lost_alerts
        for at in range(batches):
            count = min(_BATCH, left)
            left -= count
            request = messages.RecordStockMovementsRequest(
                movements=[self._alerting.make() for _ in range(count)]
            )
            if at in kills:
                # Two standbys: one for either place.
                self._server.wait_settled(2 + kills[at])
                caller = threading.Thread(target=self._record, args=(request,))
                caller.start()
                os.kill(self._server.find_pid("keeper"), signal.SIGKILL)
                caller.join()
            else:
                self._record(request)

    def _record(self, request: messages.RecordStockMovementsRequest) -> None:
        """Record a batch; sent again with the same ids until it is answered."""
        end_s = time.perf_counter() + _PATIENCE_S
        body = request.SerializeToString()
        while True:
            options = [("grpc.use_local_subchannel_pool", 1)]
            with grpc.insecure_channel(f"127.0.0.1:{self._server.port}", options) as channel:
                try:
                    channel.unary_unary(RECORD_METHOD)(body, timeout=5.0)
                except grpc.RpcError as error:
                    if time.perf_counter() > end_s:
                        raise RuntimeError(f"a batch was not recorded: {error}") from error
                    self.retried_count += 1
                    time.sleep(0.05)
                else:
                    return
