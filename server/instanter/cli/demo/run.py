"""The whole demo, step by step, through the same doors that everybody uses."""

import asyncio
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import pyarrow.parquet as pq
from rich.live import Live

from instanter.cli.demo.catalogue import make_catalogue
from instanter.cli.demo.drive import Drive
from instanter.cli.demo.learning import learn_models
from instanter.cli.demo.view import draw_view, summarise
from instanter.cli.demo.world import KEY_COLUMN, World, make_world
from instanter.cli.failures import CommandError
from instanter.cli.output import make_console, print_note
from instanter.cli.progress import show_progress
from instanter.cli.store_access import load_schema, make_block_writer, open_to_write
from instanter.client import Client, Timeouts
from instanter.clock import Clock, SystemClock
from instanter.data.load import LoadProgress, load_customers
from instanter.keeper.publishing import PublishDocument
from instanter.keeper.records import RecordKind

_CONCURRENCY = 8
_VIEW_INTERVAL_S = 0.25
_LINE_INTERVAL_S = 5.0
_INSTALL_WAIT_S = 30.0
_STOP_WAIT_S = 15.0
_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """What the demo is asked for.

    Attributes
    ----------
    seconds
        How long it drives; None until Ctrl-C.
    customer_count
        Customers of the retailer.
    seed
        Makes the same demo again.
    """

    seconds: float | None
    customer_count: int
    seed: int


def run_demo(settings: DemoSettings) -> None:
    """Make the world, serve it, load it, learn, and drive it until the end.

    Raises
    ------
    CommandError
        The server did not start, or not one decision was answered.
    """
    with _clearing_away(), tempfile.TemporaryDirectory(prefix="instanter-demo-") as name:
        folder = Path(name)
        print_note(f"1 of 5: a retailer of {settings.customer_count:,} customers × 1000 attributes")
        world = make_world(settings.customer_count, settings.seed)
        with _serve(folder / "store") as target:
            _fill(world, folder, target, settings.seed)
            _drive(world, target, settings)


@contextmanager
def _clearing_away() -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and a closed terminal end the demo as exceptions, once.

    Unhandled, the latter two would leave the server running, which has a session of its own; and
    an impatient second Ctrl-C is not to cut the clearing away short.
    """
    is_ending = False

    def end(number: int, _frame: FrameType | None) -> None:
        nonlocal is_ending
        is_ending = True
        _ignore_endings()
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)

    former = {number: signal.signal(number, end) for number in _ENDINGS}
    try:
        yield
    finally:
        # A process that a signal ends stays deaf to the next one until it is gone.
        for number, handler in former.items() if not is_ending else ():
            signal.signal(number, handler)


def _ignore_endings() -> None:
    for number in _ENDINGS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Put a signal off to the end of the block.

    An exception in the middle of starting a process leaves one that nobody knows.
    """
    waiting: list[int] = []
    former = {
        number: signal.signal(number, lambda number, _frame: waiting.append(number))
        for number in _ENDINGS
    }
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
    if waiting:
        signal.raise_signal(waiting[0])


@contextmanager
def _serve(store: Path) -> Iterator[str]:
    """Run a server in a process of its own and yield its host and port."""
    print_note("2 of 5: the server, in a process of its own")
    log = store.parent / "server.log"
    process: subprocess.Popen[str] | None = None
    try:
        with _undisturbed():
            process = _start(store, log)
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            said = log.read_text()[-2000:]
            raise CommandError(f"the server did not start: {said.strip() or 'it said nothing'}")
        yield f"127.0.0.1:{json.loads(line)['port']}"
    finally:
        if process is not None:
            _stop(process)


def _start(store: Path, log: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "instanter.cli", "serve", "--data", str(store)]
    with log.open("w") as stderr:
        return subprocess.Popen(  # noqa: S603 - this very program, started with its own words
            [*command, "--listen", "127.0.0.1:0", "--json"],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            # Ctrl-C is for the demo, which then ends the server in its own time.
            start_new_session=True,
        )


def _stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_WAIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    assert process.stdout is not None
    process.stdout.close()


def _fill(world: World, folder: Path, target: str, seed: int) -> None:
    """Publish the catalogue, load the customers, learn and publish the models."""
    print_note("3 of 5: its catalogue of 200 offers, published through gRPC")
    with Client(target) as client:
        client.apply_catalogue(make_catalogue(world))
    file = folder / "customers.parquet"
    pq.write_table(world.table, file, compression="none", row_group_size=4096)
    clock = SystemClock()
    count = world.table.num_rows
    with open_to_write(folder / "store", clock) as store:
        schema = load_schema(store.readable)
        print_note("4 of 5: its customers, loaded beside the running server")
        with show_progress("loading customers", "rows", clock) as tell:

            def on_progress(progress: LoadProgress) -> None:
                tell(progress.row_count, count)

            load_customers(
                file,
                KEY_COLUMN,
                schema,
                make_block_writer(store, schema),
                progress=on_progress,
            )
        print_note("5 of 5: models, learned from a random past")
        with show_progress("learning", "offers", clock) as tell:
            models = learn_models(world, schema, store.readable, seed + 1, tell)
        store.submit(PublishDocument(RecordKind.PUBLISH_MODELS, models.to_bytes())).result()
    _await_models(target, clock)


def _await_models(target: str, clock: Clock) -> None:
    """Wait until the server decides with the models: within a second, as promised."""
    end_ns = clock.monotonic_ns() + int(_INSTALL_WAIT_S * 1e9)
    # New tables are being laid out meanwhile: on a busy machine that takes longer than a decision.
    with Client(target, timeouts=Timeouts(decision_s=_INSTALL_WAIT_S)) as client:
        while not client.decide_offers("c0000000", "web").model_revision:
            if clock.monotonic_ns() > end_ns:
                raise CommandError("the server did not install the models")
            time.sleep(0.05)


def _drive(world: World, target: str, settings: DemoSettings) -> None:
    """Drive the server and show how it goes."""
    drive = Drive(
        world, target, concurrency=_CONCURRENCY, seed=settings.seed + 2, clock=SystemClock()
    )
    try:
        asyncio.run(_drive_and_show(drive, target, settings.seconds))
    finally:
        _ignore_endings()
    print_note(summarise(drive.score))
    if not drive.score.decision_count:
        raise CommandError("not one decision was answered")


async def _drive_and_show(drive: Drive, target: str, seconds: float | None) -> None:
    """Drive until the time is over or Ctrl-C, and redraw the view meanwhile."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in _ENDINGS:
        loop.add_signal_handler(number, stop.set)
    if seconds is not None:
        loop.call_later(seconds, stop.set)
    driving = asyncio.create_task(drive.run(stop))
    driving.add_done_callback(lambda _: stop.set())
    console = make_console()
    if console.is_terminal:
        with Live(console=console, auto_refresh=False) as live:
            while not stop.is_set():
                live.update(draw_view(drive.score, target), refresh=True)
                await _sleep_until(stop, _VIEW_INTERVAL_S)
    else:
        while not stop.is_set():
            await _sleep_until(stop, _LINE_INTERVAL_S)
            if not stop.is_set():
                print_note(summarise(drive.score))
    await driving


async def _sleep_until(stop: asyncio.Event, seconds: float) -> None:
    """Sleep, but wake up when `stop` is set."""
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
