"""The store under kill -9, power cuts, a full disk and failing system calls."""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import lmdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from instanter import limits
from instanter.cli.store_access import open_to_write
from instanter.clock import SystemClock
from instanter.errors import ExhaustedError
from instanter.store import profiles, records
from instanter.store.environment import Environment
from tests.crash.batches import put_batch, whole_batches
from tests.crash.disks import (
    MIB,
    cut_power,
    make_image,
    mounted,
    needs_mounts,
    written_back_out_of_order,
)

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")


WRITE_BATCHES = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from instanter.store.environment import Environment
from tests.crash.batches import put_batch
with Environment.open(Path(sys.argv[1]), map_size_bytes=1 << 20) as environment:
    for batch in range(100_000):
        put_batch(environment, batch)
        print(batch, flush=True)
"""


@contextmanager
def writing(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that writes batch after batch and acknowledges each with its number."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITE_BATCHES, str(folder)], stdout=subprocess.PIPE
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def acknowledgements(process: subprocess.Popen[bytes], count: int) -> set[int]:
    assert process.stdout is not None
    return {int(process.stdout.readline()) for _ in range(count)}


@pytest.mark.parametrize("acknowledged_count", [1, 37])
def test_a_killed_writer_leaves_whole_batches_and_all_it_acknowledged(
    tmp_path: Path, acknowledged_count: int
) -> None:
    with writing(tmp_path / "store") as process:
        acknowledged = acknowledgements(process, acknowledged_count)
        process.kill()
    with Environment.open(tmp_path / "store") as environment:
        assert whole_batches(environment) >= acknowledged
        put_batch(environment, 999_999)


def test_a_killed_load_leaves_whole_batches_and_can_be_run_again(tmp_path: Path) -> None:
    rows = 5 * limits.LOAD_BATCH_ROWS
    file = tmp_path / "customers.parquet"
    table = pa.table({"id": np.arange(rows), **{f"n{i}": np.arange(rows) for i in range(40)}})
    pyarrow.parquet.write_table(table, file)
    load = (
        "import sys\n"
        "from pathlib import Path\n"
        "from instanter.catalogue.schema import Attribute, AttributeKind, AttributeSource, Schema\n"
        "from instanter.cli.store_access import make_block_writer, open_to_write\n"
        "from instanter.clock import SystemClock\n"
        "from instanter.data.load import load_customers\n"
        "attributes = tuple(Attribute(f'n{i}', AttributeKind.NUMBER, AttributeSource.LOADED, i)\n"
        "    for i in range(40))\n"
        "schema = Schema(0, attributes, 40, 0)\n"  # as long as nothing has been published
        "with open_to_write(Path(sys.argv[2]), SystemClock()) as store:\n"
        "    report = load_customers(Path(sys.argv[1]), 'id', schema,\n"
        "        make_block_writer(store, schema),\n"
        "        progress=lambda p: print(p.loaded_count, flush=True))\n"
        "    print(report.created_count, report.updated_count, flush=True)\n"
    )
    command = [sys.executable, "-c", load, str(file), str(tmp_path / "store")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while not int(process.stdout.readline()):
            pass
        process.kill()
    # The last batch may be in the log only, until it is replayed.
    kept = open_to_write(tmp_path / "store", SystemClock())
    with kept as store, store.readable.read() as transaction:
        count = profiles.measure_profiles(transaction).profile_count
        assert 0 < count < rows
        assert count % limits.LOAD_BATCH_ROWS == 0
        out = np.empty(40, np.uint32)
        for row in range(0, count, 97):
            state = profiles.copy_slots(transaction, records.key_of(str(row)), out)
            assert state is profiles.ProfileState.KNOWN
            assert (out.view(np.float32) == row).all()
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert again.stdout.splitlines()[-1] == f"{rows - count} {count}"


@pytest.mark.root
@needs_mounts
@pytest.mark.parametrize("in_order", [True, False], ids=["in order", "out of order"])
@pytest.mark.parametrize("seed", [1, 2])
def test_acknowledged_batches_survive_a_power_cut(
    tmp_path: Path, seed: int, in_order: bool
) -> None:
    image, mount = tmp_path / "disk", tmp_path / "mount"
    make_image(image, 96 * MIB)
    with mounted("-o", "loop", str(image), at=mount), writing(mount / "store") as process:
        # A random moment: the cut falls into the writer's next batches.
        acknowledged = acknowledgements(process, 1)
        choose = random.Random(seed)
        pushed = [mount / "store" / "data.mdb"]
        with nullcontext() if in_order else written_back_out_of_order(lambda: pushed, choose):
            acknowledged |= acknowledgements(process, random.Random(seed).randint(20, 120))
            cut_power(mount)
    with (
        mounted("-o", "loop", str(image), at=mount),
        Environment.open(mount / "store") as environment,
    ):
        assert whole_batches(environment) >= acknowledged
        put_batch(environment, 999_999)


@pytest.mark.root
@needs_mounts
def test_a_full_disk_is_a_clear_error_reads_go_on_and_room_heals_it(tmp_path: Path) -> None:
    with mounted("-t", "tmpfs", "-o", "size=12m", "tmpfs", at=tmp_path / "small") as mount:
        filler = mount / "filler"
        filler.write_bytes(bytes(6 * MIB))
        with Environment.open(mount / "store") as environment:
            written = set()
            error = None
            while error is None:
                try:
                    put_batch(environment, len(written))
                    written.add(len(written))
                except ExhaustedError as caught:
                    error = caught
            assert error.reason == "STORE_DISK_FULL"
            assert str(mount / "store") in error.message
            assert "bytes free" in error.message
            assert len(written) > 10
            for _ in range(3):
                assert whole_batches(environment) == written
                with pytest.raises(ExhaustedError):
                    put_batch(environment, 5000)
            filler.unlink()
            put_batch(environment, 5000)
            assert whole_batches(environment) == written | {5000}
        with Environment.open(mount / "store") as environment:
            assert whole_batches(environment) == written | {5000}


@pytest.mark.root
@needs_mounts
def test_a_disk_that_is_full_from_the_start_is_a_clear_error(tmp_path: Path) -> None:
    with mounted("-t", "tmpfs", "-o", "size=1m", "tmpfs", at=tmp_path / "small") as mount:
        with (mount / "filler").open("wb") as filler:
            os.posix_fallocate(filler.fileno(), 0, shutil.disk_usage(mount).free)
        with pytest.raises(ExhaustedError, match="full or fails"):
            Environment.open(mount / "store")
        (mount / "filler").unlink()
        with Environment.open(mount / "store") as environment:
            put_batch(environment, 1)


class Panicked:
    """An LMDB environment whose meta page could not be written: it refuses everything."""

    def __init__(self, real: object) -> None:
        self._real = real

    def begin(self, *arguments: object, **options: object) -> object:
        raise lmdb.PanicError("mdb_txn_begin", 0)

    def close(self) -> None:
        self._real.close()


@pytest.mark.parametrize("first", ["read", "write"])
def test_a_panic_of_lmdb_is_left_by_opening_it_anew(tmp_path: Path, first: str) -> None:
    with Environment.open(tmp_path) as environment:
        put_batch(environment, 1)
        environment._raw = Panicked(environment._raw)
        if first == "write":
            put_batch(environment, 2)
        assert 1 in whole_batches(environment)
        put_batch(environment, 2)
        assert whole_batches(environment) == {1, 2}


WRITE_AND_FAIL = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from instanter.errors import ExhaustedError
from instanter.store.environment import Environment
from tests.crash.batches import put_batch, whole_batches
failed = 0
acknowledged = set()
with Environment.open(Path(sys.argv[1])) as environment:
    for batch in range(4):
        try:
            put_batch(environment, batch)
            acknowledged.add(batch)
        except ExhaustedError:
            failed += 1
        assert whole_batches(environment) >= acknowledged, (batch, acknowledged)
print(failed, *acknowledged)
"""


@needs_strace
@pytest.mark.parametrize(
    "fault",
    ["pwrite64:error=ENOSPC", "writev:error=ENOSPC", "fdatasync:error=EIO"],
)
def test_each_single_failing_write_or_sync_is_an_error_that_heals(
    tmp_path: Path, fault: str
) -> None:
    call = fault.split(":")[0]
    failures = 0
    for when in (1, 2, 3, 5, 8, 13, 21, 34):
        folder = tmp_path / f"{call}-{when}"
        Environment.open(folder).close()
        done = subprocess.run(
            [
                *("strace", "-f", "--seccomp-bpf", "-qq", "-o", os.devnull, "-e", f"trace={call}"),
                *("-e", f"inject={fault}:when={when}"),
                *(sys.executable, "-c", WRITE_AND_FAIL, str(folder)),
            ],
            capture_output=True,
            text=True,
        )
        if "ptrace" in done.stderr.lower():
            pytest.skip("tracing a process is not allowed here")
        assert done.returncode == 0, f"{fault}, call {when}: {done.stderr[-2000:]}"
        failed, *acknowledged = map(int, done.stdout.split())
        assert failed <= 1
        with Environment.open(folder) as environment:
            assert whole_batches(environment) >= set(acknowledged)
        if not failed:
            break
        failures += failed
    assert failures, "no fault was injected"
