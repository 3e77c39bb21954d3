"""Sends card transactions to a server and prints, as JSON, how long each answer took.

A process of its own, so that its work is not the server's. Requests are encoded beforehand, each
with an id of its own: a repeated one would be answered from memory. `--echo` sends empty messages
to a server that answers them with empty messages, on the same connections in the same way.
"""

import argparse
import json
import sys
import time

import numpy as np

from bench.echo_server import METHOD as ECHO_METHOD
from bench.http2 import send_closed, send_paced
from instanter.v1 import fraud_service_pb2 as messages

METHOD = "/instanter.v1.FraudService/AssessTransaction"
_TERMINALS = 500
_LETTERS = str.maketrans("0123456789", "ghijklmnop")
"""One in some thousand random ids of hexadecimal digits holds what may be a card number."""


def make_request(draw: np.random.Generator, cards: int) -> bytes:
    """Return an encoded transaction of a card drawn at random, at this moment."""
    request = messages.AssessTransactionRequest(
        transaction_id=draw.bytes(16).hex().translate(_LETTERS),
        card_token=f"card-{draw.integers(cards):06d}",
        terminal=f"terminals/t{draw.integers(_TERMINALS)}",
        merchant=f"merchants/m{draw.integers(_TERMINALS // 10)}",
        mcc=5411,
        amount_minor=int(draw.integers(100, 20_000)),
        currency="EUR",
        channel=messages.TRANSACTION_CHANNEL_CARD_NOT_PRESENT,
    )
    request.transaction_time.FromNanoseconds(time.time_ns())
    return request.SerializeToString()


def main() -> int:
    """Send what the arguments say; print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("--echo", action="store_true")
    parser.add_argument("--cards", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--clients", type=int, default=0)
    parser.add_argument("--calls", type=int, default=0)
    parser.add_argument("--rate", type=float, default=0.0)
    given = parser.parse_args()
    draw = np.random.default_rng(given.seed)

    def make(count: int) -> list[bytes]:
        return [b"" if given.echo else make_request(draw, given.cards) for _ in range(count)]

    method = f"/{ECHO_METHOD}" if given.echo else METHOD
    own = [make(given.calls) for _ in range(given.clients)]
    paced = [] if own else make(given.calls)
    print("ready", flush=True)
    sys.stdin.readline()
    begun = time.perf_counter()
    if own:
        times = send_closed(given.target, own, method)
    else:
        times = send_paced(given.target, paced, given.rate, method)
    elapsed_s = time.perf_counter() - begun
    print(json.dumps({"elapsed_s": elapsed_s, "times_s": times}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
