"""Reads a catalogue's files from a folder, for the command line."""

import os
from pathlib import Path

from instanter import limits
from instanter.catalogue.problems import Problems
from instanter.errors import InvalidFieldError

_SUFFIXES = (".yaml", ".yml")


def load_files(folder: Path) -> dict[str, str]:
    """Return path below the folder to text of each `*.yaml` and `*.yml`, in the order of paths.

    Hidden files and folders are left out. A single file is taken as a folder of one.

    Raises
    ------
    InvalidFieldError
        There is no such folder.
    CatalogueInvalidError
        It holds no YAML, or files that are too many, too large or not UTF-8.
    """
    if folder.is_file():
        paths = [folder]
        folder = folder.parent
    elif folder.is_dir():
        paths = sorted(_find_paths(folder))
    else:
        raise InvalidFieldError("folder", str(folder), "a folder that exists")
    problems = Problems()
    if not paths:
        problems.add(str(folder), 0, "files", "", "there is no *.yaml or *.yml below this folder")
    if len(paths) > limits.CATALOGUE_FILES_MAX:
        message = f"there are {len(paths):,} files; at most {limits.CATALOGUE_FILES_MAX:,}"
        problems.add(str(folder), 0, "files", "", message)
    problems.check()
    files: dict[str, str] = {}
    for path in paths:
        text = _load_file(path, path.relative_to(folder).as_posix(), problems)
        if text is not None:
            files[path.relative_to(folder).as_posix()] = text
    problems.check()
    return files


def _find_paths(folder: Path) -> list[Path]:
    """Return the YAML files below a folder; links are followed, but no folder is entered twice."""
    found: list[Path] = []
    entered: set[str] = set()
    for root, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in entered:
            folders.clear()
            continue
        entered.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found.extend(
            Path(root) / name
            for name in names
            if name.endswith(_SUFFIXES) and not name.startswith(".")
        )
        if len(found) > limits.CATALOGUE_FILES_MAX:
            break
    return found


def _load_file(path: Path, name: str, problems: Problems) -> str | None:
    if not path.is_file():
        problems.add(name, 0, "content", "", "is not a regular file, or a link to nowhere")
        return None
    try:
        with path.open("rb") as file:
            content = file.read(limits.CATALOGUE_FILE_SIZE_BYTES_MAX + 1)
        text = content.decode("utf-8")
    except OSError as error:
        problems.add(name, 0, "content", "", f"cannot be read: {error.strerror}")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        offending = repr(content[error.start : error.start + 1])
        problems.add(name, line, "content", offending, "is not UTF-8; save the file as UTF-8")
    else:
        if len(content) <= limits.CATALOGUE_FILE_SIZE_BYTES_MAX:
            return text
        message = f"is larger than {limits.CATALOGUE_FILE_SIZE_BYTES_MAX:,} bytes"
        problems.add(name, 0, "content", "", message)
    return None
