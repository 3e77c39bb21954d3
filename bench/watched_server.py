"""The command `instanter`, whose processes say on standard error whenever Numba compiles something.

`python -m bench.watched_server serve …` takes the command's own arguments. Its processes run this
module too, with the arguments that the supervisor gives them.
"""

import json
import sys

from numba.core import event

from instanter.cli.main import run
from instanter.supervisor import child, spawning


class _Watcher(event.Listener):  # type: ignore[misc] # Numba has no types
    """Says what is compiled, once it is."""

    def on_start(self, event: event.Event) -> None:
        """Numba begins to compile a function: it was in no cache."""
        name = str(event.data["dispatcher"].py_func.__qualname__)
        sys.stderr.write(json.dumps({"event": "kernel_compiled", "kernel": name}) + "\n")
        sys.stderr.flush()

    def on_end(self, event: event.Event) -> None:
        """Numba has compiled it."""


if __name__ == "__main__":
    if sys.argv[1].isdigit():
        event.register("numba:compile", _Watcher())
        sys.exit(child.main(sys.argv[1:]))
    spawning.COMMAND = (sys.executable, "-P", "-m", "bench.watched_server")
    sys.exit(run(sys.argv[1:]))
