"""A real server, started as a process by `instanter serve`."""

import json
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import REPOSITORY

START_S_MAX = 90
LONE = "bench.lone_server"


@dataclass
class Served:
    process: subprocess.Popen[str]
    ready: dict[str, object]

    @property
    def address(self) -> str:
        return f"localhost:{self.ready['port']}"


@contextmanager
def serving(folder: Path, *arguments: str, module: str = "instanter.cli") -> Iterator[Served]:
    """Serve on a free port; whatever happens, the process ends with the block.

    With `LONE` as its module it has no standbys: each takes a core for seconds, and where no
    process is killed none is needed.
    """
    command = [sys.executable, "-m", module, "serve", "--data", str(folder), "--json"]
    with (
        Path(f"{folder}.log").open("w") as log,
        subprocess.Popen(
            [*command, "--listen", "127.0.0.1:0", *arguments],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            # From anywhere else, `bench` is not found.
            cwd=REPOSITORY if module == LONE else None,
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
