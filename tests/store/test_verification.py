"""Single flipped bits in the pages of LMDB: never a wrong value, and a walk finds them all."""

import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from instanter.store import activity, profiles
from instanter.store.databases import DATABASES, META, PROFILES
from instanter.store.records import MARKER, key_of
from instanter.store.state import State
from instanter.store.verification import StoreReport

CUSTOMERS = 300
SLOTS = 40
FLIPS = 60


def make_store(folder: Path) -> None:
    """Write customers whose attributes and activity follow from their numbers."""
    keys = [key_of(f"customer-{number:05d}") for number in range(CUSTOMERS)]
    slots = np.arange(CUSTOMERS * SLOTS, dtype=np.uint32).reshape(CUSTOMERS, SLOTS)
    with State.open(folder, writable=True) as state:
        for now_ms in (1, 2):
            state.write(
                lambda t, now_ms=now_ms: profiles.put_block(
                    t, keys, slots, schema_revision=1, now_ms=now_ms, keep_until_s=7200
                ),
                sequence=now_ms,
            )
            state.write(lambda t: [activity.put_activity(t, key, {1: key * 3}) for key in keys])
            fold = state.fold()
            assert state.purge(fold, 10_000)
        assert state.verify().is_sound


READ_ALL = """
import sys
from pathlib import Path
import numpy as np
from instanter.errors import InstanterError
from instanter.store import activity, profiles
from instanter.store.profiles import ProfileState
from instanter.store.records import key_of
from instanter.store.state import State

customers, slot_count = int(sys.argv[2]), int(sys.argv[3])
expected = np.arange(customers * slot_count, dtype=np.uint32).reshape(customers, slot_count)
out = np.empty(slot_count, np.uint32)
for folder in map(Path, sys.argv[1].split(":")):
    wrong = lost = damaged = 0
    try:
        with State.open(folder, writable=False) as state:
            for number in range(customers):
                key = key_of(f"customer-{number:05d}")
                try:
                    with state.read() as transaction:
                        found = profiles.copy_slots(transaction, key, out)
                        sections = activity.copy_activity(transaction, key)
                except InstanterError:
                    damaged += 1
                    continue
                lost += found is ProfileState.UNKNOWN or sections is activity.NO_ACTIVITY
                damaged += found is ProfileState.DAMAGED or sections is activity.DAMAGED_ACTIVITY
                wrong += found is ProfileState.KNOWN and (out != expected[number]).any()
                wrong += bool(sections) and sections != {1: key * 3}
            sound = state.verify().is_sound
    except InstanterError:
        damaged, sound = 1, False
    print(wrong, lost, damaged, int(sound), flush=True)
"""


def read_all(folders: list[Path]) -> list[tuple[int, int, int, bool] | None]:
    """Return for each store what was wrong, lost, damaged and whether it was found sound.

    None stands for a store that killed the process, as LMDB may when its pages make no sense.
    """
    results: list[tuple[int, int, int, bool] | None] = []
    while len(results) < len(folders):
        rest = ":".join(map(str, folders[len(results) :]))
        command = [sys.executable, "-c", READ_ALL, rest, str(CUSTOMERS), str(SLOTS)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        for line in done.stdout.splitlines():
            wrong, lost, damaged, sound = map(int, line.split())
            results.append((wrong, lost, damaged, bool(sound)))
        if done.returncode < 0:
            results.append(None)
        else:
            assert done.returncode == 0, done.stderr
    return results


def test_no_flipped_bit_makes_a_wrong_value_and_verify_finds_all_that_do_harm(
    tmp_path: Path,
) -> None:
    make_store(tmp_path / "store")
    data = (tmp_path / "store/data.mdb").read_bytes()
    rng = random.Random(11)
    folders = []
    for number in range(FLIPS):
        folder = tmp_path / f"flipped-{number}"
        folder.mkdir()
        flipped = bytearray(data)
        bit = rng.randrange(8 * len(data))
        flipped[bit >> 3] ^= 1 << (bit & 7)
        (folder / "data.mdb").write_bytes(flipped)
        folders.append(folder)
    results = read_all(folders)
    assert not [result for result in results if result is not None and result[0]]
    # What is sound has lost nothing: the bit stood where nothing is.
    unseen = [result for result in results if result is not None and result[3] and any(result[:3])]
    assert not unseen
    harmed_count = sum(result is None or not result[3] for result in results)
    assert harmed_count > FLIPS // 4, "too little was damaged to prove anything"


def messages(report: StoreReport) -> list[tuple[str, str]]:
    return [(found.name, damage.message) for found in report.databases for damage in found.damages]


def test_the_report_names_what_is_damaged_and_where(tmp_path: Path) -> None:
    key = key_of("anna")
    with State.open(tmp_path, writable=True) as state:
        state.write(
            lambda t: profiles.put_profile(
                t, key, np.zeros(3, np.uint32), schema_revision=1, now_ms=1
            ),
            sequence=1,
        )
        state.fold()
        state.write(lambda t: profiles.delete_profile(t, key))
        report = state.verify()
        assert report.is_sound
        assert len(report.databases) == 2 * len(DATABASES)
        counts = {(r.layer, r.name): r.entry_count for r in report.databases}
        assert counts["base", "profiles"] == counts["overlay", "profiles"] == 1
        state.base.write(lambda t: t.put(PROFILES, key, b"damaged!"))
        state.base.write(lambda t: t.put(META, b"whatever", MARKER))
        report = state.verify()
    assert not report.is_sound
    assert messages(report) == [
        ("profiles", "its value is damaged"),
        ("meta", "its value is damaged"),
    ]


def test_a_store_whose_tree_is_broken_says_so_instead_of_failing(tmp_path: Path) -> None:
    make_store(tmp_path / "store")
    data = bytearray((tmp_path / "store/data.mdb").read_bytes())
    page_size = 4096
    meta_pages = 2 * page_size
    data[meta_pages:] = bytes(len(data) - meta_pages)
    shutil.rmtree(tmp_path / "store/overlay")
    (tmp_path / "store/data.mdb").write_bytes(data)
    ((_, _, damaged, sound),) = [r or (0, 0, 1, False) for r in read_all([tmp_path / "store"])]
    assert damaged
    assert not sound


def test_a_store_that_is_cut_off_is_never_found_sound(tmp_path: Path) -> None:
    make_store(tmp_path / "store")
    file = tmp_path / "store/data.mdb"
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    (result,) = read_all([tmp_path / "store"])
    assert result is None or not result[3]
