"""Sends card transactions to a server and prints, as JSON, how long each answer took.

A process of its own, so that its work is not the server's. Requests are encoded beforehand, each
with an id of its own: a repeated one would be answered from memory. `--echo` sends empty messages
to a server that answers them with empty messages, on the same connections in the same way.
"""

import argparse
import json
import selectors
import socket
import sys
import time
from dataclasses import dataclass, field

import numpy as np

from bench.echo_server import METHOD as ECHO_METHOD
from bench.keeper.generator import PREFACE, Answers, encode_call, encode_headers, send_paced
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


@dataclass(slots=True)
class _Client:
    """One connection with one call under way."""

    connection: socket.socket
    frames: list[bytes]
    answers: Answers = field(default_factory=Answers)
    sent_count: int = 0
    begun_s: float = 0.0

    def send(self) -> None:
        """Send the next call, and what the server waits for."""
        data = self.answers.take_replies()
        if self.sent_count < len(self.frames):
            data += self.frames[self.sent_count]
            self.sent_count += 1
            self.begun_s = time.perf_counter()
        if data:
            self.connection.sendall(data)


def send_closed(target: str, bodies: list[list[bytes]], method: str) -> list[float]:
    """Send each client's bodies one after the other; return seconds of each call."""
    host, _, port = target.rpartition(":")
    block = encode_headers(method)
    times: list[float] = []
    wanted = sum(map(len, bodies))
    clients: list[_Client] = []
    with selectors.DefaultSelector() as selector:
        for own in bodies:
            connection = socket.create_connection((host, int(port)))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(PREFACE)
            frames = [encode_call(2 * at + 1, block, body) for at, body in enumerate(own)]
            client = _Client(connection, frames)
            clients.append(client)
            selector.register(connection, selectors.EVENT_READ, client)
            client.send()
        while len(times) < wanted:
            for key, _ in selector.select(60.0):
                client = key.data
                received = client.connection.recv(1 << 16)
                assert received, "the server hung up"
                ended = client.answers.feed(received)
                if ended:
                    times.append(time.perf_counter() - client.begun_s)
                    client.send()
                elif replies := client.answers.take_replies():
                    client.connection.sendall(replies)
    for client in clients:
        client.connection.close()
        client.answers.check()
    return times


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
