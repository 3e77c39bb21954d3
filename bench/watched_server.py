"""The command `instanter`, which says on standard error whenever Numba compiles something.

`python -m bench.watched_server serve …` takes the command's own arguments.
"""

import json
import sys

from numba.core import event

from instanter.cli.main import run


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
    event.register("numba:compile", _Watcher())
    sys.exit(run(sys.argv[1:]))
