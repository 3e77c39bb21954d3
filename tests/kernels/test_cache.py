"""Where compiled kernels are kept, and who fills the folder: `kernels/cache`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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


def _go_without_a_home(monkeypatch, tmp_path):
    """Let nobody make the folder that is wanted, and make what is temporary here."""
    (tmp_path / "file").touch()
    monkeypatch.setenv(cache.ENVIRONMENT_NAME, str(tmp_path / "file" / "kernels"))
    monkeypatch.setattr(cache.tempfile, "tempdir", str(tmp_path))


def test_all_processes_share_a_temporary_folder_where_the_wanted_one_cannot_be(
    monkeypatch, tmp_path
):
    _go_without_a_home(monkeypatch, tmp_path)
    folder = cache.make_cache_folder()
    assert folder == cache.make_cache_folder(), "or each process compiles for itself"
    stand_in = tmp_path / f"instanter-kernels-{os.getuid()}"
    assert folder.parent == stand_in
    assert stand_in.stat().st_mode & 0o777 == 0o700
    trouble = cache.describe_trouble(folder)
    assert trouble["wanted"] == str(tmp_path / "file" / "kernels")
    assert trouble["used"] == str(folder)
    monkeypatch.setenv(cache.ENVIRONMENT_NAME, str(tmp_path / "right"))
    assert cache.describe_trouble(cache.make_cache_folder()) is None


@pytest.mark.parametrize("how", ["others may write", "a link", "a file"])
def test_a_temporary_folder_that_somebody_else_may_have_made_is_not_used(
    monkeypatch, tmp_path, how
):
    _go_without_a_home(monkeypatch, tmp_path)
    stand_in = cache.find_stand_in_folder()
    if how == "a file":
        stand_in.touch(0o700)
    elif how == "a link":
        (tmp_path / "elsewhere").mkdir(0o700)
        stand_in.symlink_to(tmp_path / "elsewhere")
    else:
        stand_in.mkdir()
        stand_in.chmod(0o777)
    folder = cache.make_cache_folder()
    assert folder.parent == tmp_path
    assert not list((tmp_path / "elsewhere").glob("*"))
    assert cache.is_private(folder)


def test_a_user_without_a_home_is_one_whose_home_is_the_root(monkeypatch):
    def refuse():
        raise RuntimeError("Could not determine home directory.")

    for name in (cache.ENVIRONMENT_NAME, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", refuse)
    assert cache.find_parent_folder() == Path("/.cache/instanter/kernels")
