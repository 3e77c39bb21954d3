"""Compiles catalogues in a process of their own.

A catalogue is input from people: a heavy one would hold the interpreter lock of the server for
seconds, a hostile one could exhaust its memory or crash a parser written in C. The process gets
limits of time and memory and ends with the compilation. Starting it takes 0.15 s, which nobody
who publishes a catalogue notices.

The two sides exchange msgpack, not pickle: what comes back is data, whatever happened over there.
"""

import os
import resource
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgpack

from instanter.catalogue import serialization
from instanter.catalogue.changes import Action, Change, FieldChange
from instanter.catalogue.compilation import compile_catalogue
from instanter.errors import CatalogueInvalidError, ExhaustedError, Problem
from instanter.limits import COMPILE_MEMORY_SIZE_BYTES_MAX, COMPILE_NS_MAX
from instanter.module_path import find_module_path
from instanter.orphans import end_with_parent

_EXHAUSTED: Final = "exhausted"


@dataclass(frozen=True, slots=True)
class CompiledBody:
    """What came out of compiling a catalogue.

    Attributes
    ----------
    body
        The compiled catalogue, serialized for the store.
    changes
        What differs from the previous catalogue; empty when they mean the same.
    warnings
        What is allowed but deserves a look.
    """

    body: bytes
    changes: tuple[Change, ...]
    warnings: tuple[str, ...]


class CatalogueCompiler(Protocol):
    """Compiles a catalogue somewhere."""

    def compile(
        self,
        files: Mapping[str, str],
        previous: bytes | None,
        *,
        revision: int,
        publish_time_ns: int,
    ) -> CompiledBody:
        """Compile a catalogue; `previous` is the serialized one in force, the rest as in
        `catalogue.compilation.compile_catalogue`.

        Raises
        ------
        CatalogueInvalidError
            With everything that is wrong.
        ExhaustedError
            It took too much time or memory.
        """  # noqa: D205 - the sentence is one
        ...


class LocalCompiler:
    """Compiles on the calling thread. For tools and tests; a server has better to do."""

    __slots__ = ()

    def compile(
        self,
        files: Mapping[str, str],
        previous: bytes | None,
        *,
        revision: int,
        publish_time_ns: int,
    ) -> CompiledBody:
        """Compile a catalogue; see `CatalogueCompiler`."""
        compilation = compile_catalogue(
            files,
            serialization.from_bytes(previous) if previous else None,
            revision=revision,
            publish_time_ns=publish_time_ns,
        )
        return CompiledBody(
            serialization.to_bytes(compilation.catalogue),
            compilation.changes,
            compilation.warnings,
        )


class ProcessCompiler:
    """Compiles in a process of its own, started for each compilation.

    Parameters
    ----------
    time_ns_max
        Time after which the process is killed.
    memory_size_bytes_max
        Address space that it may use.
    """

    __slots__ = ("_memory_size_bytes_max", "_time_ns_max")

    def __init__(
        self,
        *,
        time_ns_max: int = COMPILE_NS_MAX,
        memory_size_bytes_max: int = COMPILE_MEMORY_SIZE_BYTES_MAX,
    ) -> None:
        self._time_ns_max = time_ns_max
        self._memory_size_bytes_max = memory_size_bytes_max

    def compile(
        self,
        files: Mapping[str, str],
        previous: bytes | None,
        *,
        revision: int,
        publish_time_ns: int,
    ) -> CompiledBody:
        """Compile a catalogue; see `CatalogueCompiler`."""
        question = _pack(
            {
                "files": dict(files),
                "previous": previous,
                "revision": revision,
                "publish_time_ns": publish_time_ns,
                "memory_size_bytes_max": self._memory_size_bytes_max,
            }
        )
        try:
            finished = subprocess.run(  # noqa: S603 - our own program, with our own words
                [sys.executable, "-m", "instanter.keeper.compiler", str(os.getpid())],
                input=question,
                capture_output=True,
                timeout=self._time_ns_max / 1e9,
                env=_make_environment(),
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise _exhausted(f"more than {self._time_ns_max / 1e9:g} s") from error
        if finished.returncode < 0:
            raise _exhausted(f"what the machine allows (signal {-finished.returncode})")
        if finished.returncode > 0:
            shown = finished.stderr[-4_000:].decode("utf-8", "replace")
            raise RuntimeError(f"the process that compiles catalogues failed: {shown}")
        answer = msgpack.unpackb(finished.stdout, unicode_errors="surrogatepass")
        return self._read_answer(answer)

    def _read_answer(self, answer: dict[str, Any]) -> CompiledBody:
        """Return the body in an answer of the process, or raise what it says."""
        if answer.get("problems"):
            raise CatalogueInvalidError([Problem(*row) for row in answer["problems"]])
        if answer.get("mistake") == _EXHAUSTED:
            raise _exhausted(f"more than {self._memory_size_bytes_max >> 20:,} MiB of memory")
        changes = tuple(
            Change(Action(action), name, tuple(FieldChange(*field) for field in fields))
            for action, name, fields in answer["changes"]
        )
        return CompiledBody(answer["body"], changes, tuple(answer["warnings"]))


def answer_question(question: bytes) -> bytes:
    """Compile what a question asks for and return the answer: the other side of the process."""
    asked = msgpack.unpackb(question, unicode_errors="surrogatepass")
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    bound = asked["memory_size_bytes_max"]
    bound = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
    exhausted = _pack({"mistake": _EXHAUSTED})  # now: later there may be no memory to say so
    resource.setrlimit(resource.RLIMIT_AS, (bound, bound))
    try:
        compiled = LocalCompiler().compile(
            asked["files"],
            asked["previous"],
            revision=asked["revision"],
            publish_time_ns=asked["publish_time_ns"],
        )
    except CatalogueInvalidError as error:
        rows = [(p.file, p.line, p.field, p.text, p.message, p.suggestion) for p in error.problems]
        return _pack({"problems": rows})
    except MemoryError:
        return exhausted
    changes = [
        (
            change.action.value,
            change.resource,
            [(field.field, field.old_value, field.new_value) for field in change.fields],
        )
        for change in compiled.changes
    ]
    return _pack({"body": compiled.body, "changes": changes, "warnings": compiled.warnings})


def _pack(answer: dict[str, Any]) -> bytes:
    packed: bytes = msgpack.packb(answer, unicode_errors="surrogatepass")
    return packed


def _make_environment() -> dict[str, str]:
    """Return the environment of the process: what imports need, and one thread for arithmetic."""
    return {
        "PATH": os.environ.get("PATH", ""),
        "PYTHONPATH": find_module_path(),
        "PYTHONHASHSEED": "0",
        "LANG": "C.UTF-8",
        # Each thread of the linear algebra that nobody here uses reserves address space.
        "OPENBLAS_NUM_THREADS": "1",
    }


def _exhausted(what: str) -> ExhaustedError:
    return ExhaustedError(
        f"compiling the catalogue took {what}; nothing was published. Make it smaller",
        reason="CATALOGUE_TOO_HEAVY",
    )


if __name__ == "__main__":
    end_with_parent(int(sys.argv[1]))
    sys.stdout.buffer.write(answer_question(sys.stdin.buffer.read()))
