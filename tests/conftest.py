"""What all tests share: compiled kernels, the real data's folder, how hypothesis searches."""

import os
import subprocess
import sys
from pathlib import Path

import hypothesis
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

# A shared runner stalls now and then, which is no failure of the code; and failing examples must
# come back on the next run wherever it is, so the search is derandomised.
hypothesis.settings.register_profile("suite", deadline=None, derandomize=True)
hypothesis.settings.load_profile("suite")


def pytest_configure(config: pytest.Config) -> None:
    """Compile every kernel once before the workers start, into a cache they all read.

    Numba's cache files are pickles without a lock: two processes that fill one at the same time
    can leave a broken file behind.
    """
    if hasattr(config, "workerinput"):
        return
    os.environ.setdefault("INSTANTER_KERNEL_CACHE", str(Path(sys.prefix) / "kernels"))
    # Hundreds of processes import the same 300 modules, which takes each a third of a second more
    # where what Python compiles is not written down, as some containers say.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if getattr(config.option, "numprocesses", None) and not config.option.collectonly:
        subprocess.run([sys.executable, "-c", "import instanter.kernels.table"], check=True)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the project."""
    return REPOSITORY


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder with the real data sets; skips where it is absent."""
    folder = Path(os.environ.get("INSTANTER_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data: INSTANTER_DATA or {folder} is not a folder")
    return folder
