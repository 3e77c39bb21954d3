"""Starts every contestant that can be started here, and says why the others cannot."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench import load
from bench.decide.world import World
from bench.measurement import REPOSITORY
from bench.rivals import contestants
from bench.rivals.contestants import Contestant
from bench.rivals.hand_over import Customers, hand_over
from bench.rivals.numpy_decision import NumpyDecision
from bench.rivals.redis_process import MISSING_REASON, Redis, run_redis
from bench.rivals.redis_process import is_available as redis_is_available
from bench.rivals.sizes import Sizes
from bench.server_process import ServerFailedError, ServerProcess, make_serve_command

ENVIRONMENT = REPOSITORY / ".venv-rivals"
"""Where `make bench-rivals` installs what the rivals (b) and (c) are made of."""

TITLES = {
    "rival_a": "(a) grpcio thread pool + LMDB + NumPy",
    "rival_b": "(b) FastAPI + Redis hash + scikit-learn",
    "rival_c": "(c) Feast feature server + Redis, fetch only",
    "rival_d": "(d) Redis HGETALL alone, fetch only",
    "redis_get": "Redis GET of one packed value, fetch only",
}
"""The rivals, in the order of the table."""

_COMPACT_FIELDS = "4096"
_ORDINARY_FIELDS = "128"
_LAST_WORDS_SIZE = 300


@dataclass(slots=True)
class LineUp:
    """Who takes part, and what the answers are compared with.

    Attributes
    ----------
    contestants
        By key, Instanter first.
    ports
        Where each of them listens that has a port.
    absent
        Why the others do not take part, by key.
    decision, customers, redis
        What the rivals were given.
    """

    decision: NumpyDecision
    customers: Customers
    redis: Redis | None = None
    contestants: dict[str, Contestant] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)


@contextmanager
def line_up(
    world: World, folder: Path, sizes: Sizes, *, rivals: Sequence[str], transports: Sequence[str]
) -> Iterator[LineUp]:
    """Start everybody on the server's core; they wait for their turn without using it.

    Parameters
    ----------
    world
        The open store with the standard workload.
    folder
        For what the rivals are given, and for Redis.
    sizes
        How many customers each gets.
    rivals
        Keys of `TITLES`; the others are not started.
    transports
        Fronts of Instanter.
    """
    # One core: more threads in the linear algebra would only get in each other's way.
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    given = folder / "given"
    decision, customers = hand_over(world, given, min(sizes.customers_redis, sizes.customers))
    found = LineUp(decision, customers)
    with ExitStack() as stack:
        starts: dict[str, Callable[[], Contestant]] = {
            f"instanter_{transport}": lambda name=transport: _start_instanter(  # type: ignore[misc] # mypy reads no defaults of lambdas
                stack, found, world.folder, name, sizes.customers
            )
            for transport in transports
        }
        starts["rival_a"] = lambda: _start_grpcio(stack, found, given, sizes.customers)
        starts["rival_b"] = lambda: _start_naive_bayes(stack, found, given)
        starts["rival_c"] = lambda: _start_feast(stack, found, given, sizes.customers_feast)
        starts["rival_d"] = lambda: _take_redis(
            found, "rival_d", "HGETALL", "customer:__rand_int__"
        )
        starts["redis_get"] = lambda: _take_redis(found, "redis_get", "GET", "packed:__rand_int__")
        if redis_is_available() and set(rivals) - {"rival_a"}:
            found.redis = stack.enter_context(run_redis(folder))
            _fill_redis(found.redis, customers)
        for key, start in starts.items():
            if key in TITLES and key not in rivals:
                found.absent[key] = "left out on request"
                continue
            reason = _find_obstacle(key, found.redis)
            if reason:
                found.absent[key] = reason
                continue
            try:
                found.contestants[key] = start()
            except ServerFailedError as error:
                found.absent[key] = _find_last_words(str(error))
        yield found


def _find_obstacle(key: str, redis: Redis | None) -> str:
    """Return why a contestant cannot be started here, or an empty text."""
    if key not in {"rival_d", "redis_get"} and not load.is_available():
        return load.MISSING_REASON
    if key in TITLES and key != "rival_a" and redis is None:
        return MISSING_REASON
    if key in {"rival_b", "rival_c"} and not (ENVIRONMENT / ".installed").exists():
        log = ENVIRONMENT / "install.log"
        words = log.read_text("utf-8", "replace") if log.exists() else ""
        return f"not installed; `make bench-rivals` does it. {_find_last_words(words)}".strip()
    return ""


def _start_instanter(
    stack: ExitStack, found: LineUp, folder: Path, transport: str, customer_count: int
) -> Contestant:
    own = folder
    if found.ports:
        # A store has one server at a time; so the second front gets a copy.
        own = folder.parent / f"store-{transport}"
        subprocess.run(["cp", "--recursive", "--sparse=always", str(folder), str(own)], check=True)
    command = [*make_serve_command(), "--transport", transport]
    command += ["--data", str(own), "--listen", "127.0.0.1:0"]
    server = stack.enter_context(ServerProcess(command))
    key = f"instanter_{transport}"
    found.ports[key] = server.port
    server.wait_settled()
    ask = contestants.ask_over_grpc(server.port)
    title = f"Instanter, front {transport}"
    return Contestant(key, title, customer_count, ask, server.read_cpu_s)


def _start_grpcio(stack: ExitStack, found: LineUp, given: Path, customer_count: int) -> Contestant:
    server = stack.enter_context(
        ServerProcess([sys.executable, "-m", "bench.rivals.grpcio_server", str(given)])
    )
    found.ports["rival_a"] = server.port
    ask = contestants.ask_over_grpc(server.port)
    return Contestant("rival_a", TITLES["rival_a"], customer_count, ask, server.read_cpu_s)


def _start_naive_bayes(stack: ExitStack, found: LineUp, given: Path) -> Contestant:
    redis = found.redis
    assert redis is not None
    python = str(ENVIRONMENT / "bin/python")
    command = [python, "-m", "bench.rivals.naive_bayes_server", str(given), str(redis.socket)]
    server = stack.enter_context(ServerProcess(command))
    found.ports["rival_b"] = server.port
    return Contestant(
        "rival_b",
        TITLES["rival_b"],
        len(found.customers.names),
        contestants.ask_over_http(
            server.port, contestants.DECIDE_PATH, contestants.make_json_request
        ),
        lambda: server.read_cpu_s() + redis.read_cpu_s(),
    )


def _start_feast(stack: ExitStack, found: LineUp, given: Path, customer_count: int) -> Contestant:
    redis = found.redis
    assert redis is not None
    python = str(ENVIRONMENT / "bin/python")
    command = [python, "-m", "bench.rivals.feast_server", str(given), str(redis.port)]
    server = stack.enter_context(ServerProcess([*command, str(customer_count)]))
    found.ports["rival_c"] = server.port
    attributes = [str(name) for name in found.customers.attributes]
    return Contestant(
        "rival_c",
        TITLES["rival_c"],
        customer_count,
        contestants.ask_over_http(
            server.port,
            contestants.FETCH_PATH,
            lambda number: contestants.make_fetch(number, attributes),
        ),
        lambda: server.read_cpu_s() + redis.read_cpu_s(),
    )


def _take_redis(found: LineUp, key: str, *command: str) -> Contestant:
    assert found.redis is not None
    count = len(found.customers.names)
    ask = contestants.ask_redis(found.redis, list(command), count)
    return Contestant(key, TITLES[key], count, ask, found.redis.read_cpu_s)


def _fill_redis(redis: Redis, customers: Customers) -> None:
    """Write the customers' hashes, and each whole profile as one value."""
    fields = [str(name) for name in customers.attributes]
    # A compact hash is read whole at half the cost of an ordinary one; Feast, which asks for each
    # field by its name, is better off with ordinary ones.
    redis.ask("CONFIG", "SET", "hash-max-listpack-entries", _COMPACT_FIELDS)
    redis.write_hashes(
        (contestants.name_hash(at), fields, customers.list_texts(at))
        for at in range(len(customers.names))
    )
    redis.ask("CONFIG", "SET", "hash-max-listpack-entries", _ORDINARY_FIELDS)
    redis.write_values(
        (contestants.name_packed(at), customers.pack(at)) for at in range(len(customers.names))
    )


def _find_last_words(text: str) -> str:
    """Return the end of what a program said before it ended."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join(lines[-3:])[-_LAST_WORDS_SIZE:]
