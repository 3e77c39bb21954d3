"""Where compiled kernels are kept, and who fills the folder: `kernels/cache`."""

import shutil
import subprocess
import sys
from pathlib import Path

from instanter.kernels import cache


def _ask_digest(room):
    """Return the digest that a copy of the module in another place gives."""
    run = "import runpy, sys; print(runpy.run_path(sys.argv[1])['digest_sources']())"
    command = [sys.executable, "-c", run, str(room / "cache.py")]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_folder_is_of_these_sources_in_this_place_for_these_versions(monkeypatch, tmp_path):
    digest = cache.digest_sources()
    assert digest == cache.digest_sources()
    room = tmp_path / "kernels"
    shutil.copytree(Path(cache.__file__).parent, room, ignore=shutil.ignore_patterns("__pycache__"))
    elsewhere = _ask_digest(room)
    assert elsewhere != digest
    with (room / "wire.py").open("a") as source:
        source.write("# changed\n")
    assert _ask_digest(room) != elsewhere
    monkeypatch.setattr(cache, "version", lambda name: "another one")
    assert cache.digest_sources() != digest


def test_a_full_folder_is_noted_once_and_nobody_waits_for_it(monkeypatch, tmp_path):
    monkeypatch.setenv(cache.ENVIRONMENT_NAME, str(tmp_path))
    folder = cache.make_cache_folder()
    assert not cache.is_full(folder)
    with cache.filling_alone():
        cache.note_full(folder)
    assert cache.is_full(folder)
    (folder / "lock").unlink()
    folder.chmod(0o500)
    with cache.filling_alone():
        cache.note_full(folder)
    folder.chmod(0o700)
    assert not (folder / "lock").exists()
