"""Starts processes of the server. Imports next to nothing, so that the first starts at once."""

import os
import socket
import subprocess
import sys
from dataclasses import dataclass

from instanter.module_path import find_module_path

COMMAND: tuple[str, ...] = (sys.executable, "-P", "-m", "instanter.supervisor.child")
"""What a process is started with; the control channel and our process id follow."""


@dataclass(frozen=True, slots=True)
class Spawned:
    """A process that was started, and our end of its control channel."""

    process: subprocess.Popen[bytes]
    control: socket.socket

    def discard(self) -> None:
        """Kill the process, unless it is gone, and close the channel."""
        self.process.kill()
        self.process.wait()
        self.control.close()


def spawn(command: tuple[str, ...] | None = None) -> Spawned:
    """Start a process. It is a program of its own, never a copy of this one.

    Parameters
    ----------
    command
        Takes the place of `COMMAND`.

    Raises
    ------
    OSError
        The operating system has no room for another process.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(  # noqa: S603 - our own program, with our own words
            [*(command or COMMAND), str(theirs.fileno()), str(os.getpid())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": find_module_path()},
        )
    ours.setblocking(False)
    return Spawned(process, ours)
