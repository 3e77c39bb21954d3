"""A server that measures itself: where the time of one decision goes, stage by stage.

`python -m bench.front.stages FILE FOLDER` serves the store in FOLDER until SIGTERM, by one process,
and writes into FILE, about twenty times a second, how much processor time each stage has taken so
far and how often it was entered.
"""

import asyncio
import importlib
import json
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvloop

from instanter.events_log import make_events_log
from instanter.node import Node
from instanter.rpc.listening import Listening

STAGES: dict[str, tuple[str, ...]] = {
    "intake": ("instanter.rpc.fast.connection:FastConnection.data_received",),
    "decode": ("instanter.rpc.fast.calls:BatchedRoute.accept",),
    "dispatch": (
        "instanter.rpc.fast.calls:Turn._end",
        "instanter.rpc.fast.calls:BatchedRoute.answer",
    ),
    "check": ("instanter.rpc.decision_requests:RequestReader.read",),
    "engine": ("instanter.decision.engine:DecisionEngine.decide_as",),
    "read": ("instanter.store.profile_rows:ProfileRows.read",),
    "kernels": ("instanter.decision.engine:decide_batch",),
    "record": ("instanter.decision.engine:encode_turn",),
    "keep": (
        "instanter.node:Node._record_decisions",
        "instanter.keeper.keeper:Keeper._carry_out",
    ),
    "translate": ("instanter.rpc.decisions:_EncodedDesk.decide",),
    "encode": ("instanter.rpc.decision_responses:ResponseEncoder.__call__",),
    "frame": (
        "instanter.rpc.fast.calls:finish",
        "instanter.rpc.fast.connection:FastConnection.reply",
        "instanter.rpc.fast.connection:FastConnection.flush",
    ),
}
"""Functions by stage. What one calls that is a stage of its own is not counted in it."""

_EVERY_S = 0.05
_CALIBRATION_CALLS = 20_000


class Stopwatch:
    """Adds up the processor time of functions, without what the measured ones among them take.

    Belongs to one thread. The clock on the wall would count what others do on the core as well.
    What the measuring costs itself is found out first and left out.

    Attributes
    ----------
    took_ns, calls
        By stage.
    """

    def __init__(self) -> None:
        self._inner_ns = 0
        self._inside_ns = 0
        self._around_ns = 0
        self.took_ns: dict[str, int] = {}
        self.calls: dict[str, int] = {}
        self._calibrate()

    @property
    def cost_ns(self) -> int:
        """What one measured call costs more than it would without."""
        return self._around_ns

    def wrap(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, measured."""
        self.took_ns.setdefault(stage, 0)
        self.calls.setdefault(stage, 0)
        took_ns, calls, clock = self.took_ns, self.calls, time.thread_time_ns

        def measured(*given: Any, **named: Any) -> Any:
            outer_ns, self._inner_ns = self._inner_ns, 0
            began_ns = clock()
            try:
                return function(*given, **named)
            finally:
                whole_ns = clock() - began_ns
                took_ns[stage] += whole_ns - self._inner_ns - self._inside_ns
                calls[stage] += 1
                self._inner_ns = outer_ns + whole_ns + self._around_ns - self._inside_ns

        return measured

    def _calibrate(self) -> None:
        """Find out what measuring costs: within the two looks at the clock, and around them."""

        def nothing() -> None:
            return None

        nothing_measured = self.wrap("", nothing)
        times = []
        for function in (nothing, nothing_measured):
            began_ns = time.thread_time_ns()
            for _ in range(_CALIBRATION_CALLS):
                function()
            times.append((time.thread_time_ns() - began_ns) // _CALIBRATION_CALLS)
        self._inside_ns = max(self.took_ns.pop("") // self.calls.pop("") - times[0], 0)
        self._around_ns = max(times[1] - times[0], 0)
        self._inner_ns = 0


def install(stopwatch: Stopwatch) -> None:
    """Measure the functions of all stages."""
    for stage, places in STAGES.items():
        for place in places:
            module_name, path = place.split(":")
            owner: Any = importlib.import_module(module_name)
            *outer, name = path.split(".")
            for part in outer:
                owner = getattr(owner, part)
            setattr(owner, name, stopwatch.wrap(stage, getattr(owner, name)))


def keep_writing(stopwatch: Stopwatch, path: Path) -> None:
    """Write what has been measured, again and again."""
    beside = path.with_suffix(".new")
    while True:
        described = {
            "took_ns": stopwatch.took_ns,
            "calls": stopwatch.calls,
            "cost_ns": stopwatch.cost_ns,
            "cpu_ns": time.process_time_ns(),
        }
        beside.write_text(json.dumps(described))
        beside.replace(path)
        time.sleep(_EVERY_S)


async def serve(folder: Path) -> None:
    """Serve a store with the fast front until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    with Node(folder, log=make_events_log(sys.stderr, as_json=True)) as node:
        await node.serve(Listening(port=0, transport="fast"), stop, lambda *_: None)


if __name__ == "__main__":
    watch = Stopwatch()
    install(watch)
    target = (watch, Path(sys.argv[1]))
    threading.Thread(target=keep_writing, args=target, daemon=True).start()
    uvloop.run(serve(Path(sys.argv[2])))
