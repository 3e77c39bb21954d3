"""Write the generated modules beside the contract, check that they are current, lint it.

`make protos` runs it; the tests call `compile_modules` and `compile_descriptors`. Everything works
offline: the compiler and Google's annotation protos come from the locked Python packages.
"""

import argparse
import filecmp
import inspect
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path

import grpc_tools
from google.api import annotations_pb2

PROTOS = Path(__file__).resolve().parent
"""The root of the contract: a proto's path below it is its package."""

GENERATED_SUFFIXES = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py")
"""What is generated for each proto."""


def find_protos(root: Path = PROTOS) -> list[str]:
    """Return the paths of all protos below `root`, relative to it, sorted."""
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*.proto"))


def compile_modules(target: Path, root: Path = PROTOS) -> list[str]:
    """Generate the modules of all protos below `root` into `target`; return their paths.

    Raises
    ------
    SystemExit
        The compiler refused; its words went to standard error.
    """
    outputs = [f"--python_out={target}", f"--grpc_python_out={target}"]
    # The plugin stands beside the interpreter, which need not be on the PATH.
    plugin = Path(sysconfig.get_path("scripts")) / "protoc-gen-mypy"
    _run_compiler(
        [f"--plugin=protoc-gen-mypy={plugin}", *outputs, f"--mypy_out=quiet:{target}"], root
    )
    return sorted(
        path.relative_to(target).as_posix()
        for path in target.rglob("*")
        if path.name.endswith(GENERATED_SUFFIXES)
    )


def compile_descriptors(target: Path, root: Path = PROTOS) -> None:
    """Write the descriptor set of all protos below `root`, with comments and imports."""
    _run_compiler(
        [f"--descriptor_set_out={target}", "--include_source_info", "--include_imports"], root
    )


def find_stale(root: Path = PROTOS) -> list[str]:
    """Return what differs between the generated modules and those their protos would make now."""
    with tempfile.TemporaryDirectory(prefix="instanter-protos-") as folder:
        fresh = Path(folder)
        names = set(compile_modules(fresh, root))
        present = {
            path.relative_to(root).as_posix()
            for suffix in GENERATED_SUFFIXES
            for path in root.rglob(f"*{suffix}")
        }
        changed = {
            name
            for name in names & present
            if not filecmp.cmp(fresh / name, root / name, shallow=False)
        }
    return sorted(changed | (names ^ present))


def _run_compiler(arguments: Sequence[str], root: Path) -> None:
    google = Path(inspect.getfile(annotations_pb2)).parents[2]
    bundled = Path(inspect.getfile(grpc_tools)).parent / "_proto"
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{root}", f"-I{google}"]
    subprocess.run([*command, f"-I{bundled}", *arguments, *find_protos(root)], check=True, cwd=root)


def _lint() -> int:
    with tempfile.TemporaryDirectory(prefix="instanter-protos-") as folder:
        image = Path(folder) / "image.binpb"
        compile_descriptors(image)
        buf = str(Path(sysconfig.get_path("scripts")) / "buf")
        commands = [
            [buf, "lint", str(image), "--config", str(PROTOS / "buf.yaml")],
            [buf, "format", "--diff", "--exit-code", str(PROTOS)],
        ]
        return max(subprocess.run(command, check=False).returncode for command in commands)


def _write() -> int:
    with tempfile.TemporaryDirectory(prefix="instanter-protos-") as folder:
        for name in compile_modules(Path(folder)):
            shutil.copyfile(Path(folder) / name, PROTOS / name)
    # A proto that is gone leaves modules behind.
    for name in find_stale():
        (PROTOS / name).unlink()
    return 0


def main() -> int:
    """Do what the command line asks; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--check", action="store_true", help="fail when modules are not current")
    choice.add_argument("--lint", action="store_true", help="run buf's linter and formatter")
    asked = parser.parse_args()
    if asked.lint:
        return _lint()
    if not asked.check:
        return _write()
    stale = find_stale()
    for name in stale:
        sys.stderr.write(f"protos/{name} is not current; run `make protos`\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
