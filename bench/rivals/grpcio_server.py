"""Rival (a): the stock grpcio server with its thread pool, LMDB and NumPy, same contract.

`python -m bench.rivals.grpcio_server FOLDER` serves what `hand_over` wrote, on a free port that
it logs, until SIGTERM.
"""

import itertools
import json
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import lmdb
import numpy as np

from bench.rivals.hand_over import DECISION_FILE, LMDB_FOLDER
from bench.rivals.numpy_decision import NumpyDecision
from instanter.v1 import decision_service_pb2 as messages
from instanter.v1 import decision_service_pb2_grpc as contract

THREADS = 4


class DecisionServicer(contract.DecisionServiceServicer):  # type: ignore[misc] # grpc has no types
    """Answers `DecideOffers`.

    Parameters
    ----------
    environment
        LMDB with one record a customer: its slots.
    decision
        Rules and models.
    """

    def __init__(self, environment: lmdb.Environment, decision: NumpyDecision) -> None:
        self._environment = environment
        self._decision = decision
        self._names = [f"offers/{name}" for name in decision.offers]
        self._counter = itertools.count(1)

    def DecideOffers(  # noqa: N802 - the contract's name
        self, request: messages.DecideOffersRequest, context: grpc.ServicerContext
    ) -> messages.DecideOffersResponse:
        """Read the profile, decide, translate."""
        begun = time.perf_counter()
        key = request.customer.removeprefix("customers/").encode()
        with self._environment.begin(buffers=True) as transaction:
            record = transaction.get(key)
            if record is None:
                context.abort(grpc.StatusCode.NOT_FOUND, f"no profile of {request.customer}")
            assert record is not None, "abort raises"
            slots = np.frombuffer(record, np.uint32)
            best, priority, propensity = self._decision.decide(slots, request.offer_count)
            # Views of the record must not outlive the transaction.
            del slots, record
        worth = self._decision.scores.worth
        offers = [
            messages.RankedOffer(
                offer=self._names[o],
                treatment=request.channel,
                priority=priority[o],
                propensity=propensity[o],
                value_minor=round(worth[o] * 100),
                context_weight=1.0,
                lever=1.0,
                reasons=_REASONS,
            )
            for o in best.tolist()
        ]
        return messages.DecideOffersResponse(
            decision=f"decisions/{next(self._counter):032x}",
            offers=offers,
            no_offer_reason=_NO_REASON if offers else _NOTHING_ELIGIBLE,
            profile_state=messages.PROFILE_STATE_KNOWN,
            catalogue_revision=1,
            model_revision=1,
            took_us=round((time.perf_counter() - begun) * 1e6),
        )


_REASONS = (messages.OFFER_REASON_MODEL, messages.OFFER_REASON_RULES_HOLD)
_NO_REASON = messages.NO_OFFER_REASON_UNSPECIFIED
_NOTHING_ELIGIBLE = messages.NO_OFFER_REASON_NO_ELIGIBLE_OFFER


def serve(folder: Path) -> None:
    """Serve until SIGTERM."""
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    environment = lmdb.open(
        str(folder / LMDB_FOLDER),
        readonly=True,
        lock=False,
        readahead=False,
        max_spare_txns=THREADS,
    )
    server = grpc.server(ThreadPoolExecutor(max_workers=THREADS))
    servicer = DecisionServicer(environment, NumpyDecision.load(folder / DECISION_FILE))
    contract.add_DecisionServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stderr.write(json.dumps({"event": "front_started", "port": port}) + "\n")
    sys.stderr.flush()
    stopping.wait()
    server.stop(1.0).wait()
    environment.close()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
