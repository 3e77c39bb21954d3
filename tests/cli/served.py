"""A real server, started as a process by `instanter serve`."""

import json
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_S_MAX = 90


@dataclass
class Served:
    process: subprocess.Popen[str]
    ready: dict[str, object]

    @property
    def address(self) -> str:
        return f"localhost:{self.ready['port']}"


@contextmanager
def serving(folder: Path, *arguments: str) -> Iterator[Served]:
    """Serve on a free port; whatever happens, the process ends with the block."""
    command = [sys.executable, "-m", "instanter.cli", "serve", "--data", str(folder), "--json"]
    with (
        Path(f"{folder}.log").open("w") as log,
        subprocess.Popen(
            [*command, "--listen", "127.0.0.1:0", *arguments],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            told, _, _ = select.select([process.stdout], [], [], START_S_MAX)
            line = process.stdout.readline() if told else ""
            assert line, Path(f"{folder}.log").read_text()
            yield Served(process, json.loads(line))
        finally:
            process.kill()
