"""How kernels are compiled: once, ahead of time, with their types in sight.

Every kernel states its signatures, so Numba compiles it for these (or reads it from its cache) and
refuses to compile anything else: a call with other types is a TypeError, never a pause in the
middle of traffic.

A `kernel` is called by Python: it is there once its module is imported. An `inner_kernel` is called
by kernels alone: the machine code that the cache keeps of those contains its own, so with a full
cache it is not read at all. Six of seven kernels are inner ones, and reading one takes 4 ms.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numba
from numba.extending import typeof_impl

from instanter.kernels.cache import is_full, make_cache_folder

CACHE_FOLDER: Final = make_cache_folder()
"""Where this process keeps compiled kernels."""

numba.config.CACHE_DIR = str(CACHE_FOLDER)


@dataclass(frozen=True, slots=True)
class Kernel:
    """One row of the table `KERNELS`: what tests and benchmarks need to know of a kernel.

    Attributes
    ----------
    name
        Name of the kernel and of its slow twin in `tests/oracles`.
    function
        The compiled function.
    written
        Names of the array arguments it writes to; all others are read-only.
    """

    name: str
    function: Any
    written: tuple[str, ...]


def kernel(signatures: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return the decorator that compiles a kernel for `signatures`, and for nothing else.

    IEEE arithmetic is kept (no fastmath): NaN is our missing value. Division follows NumPy's
    rules and never raises. The interpreter lock is released while a kernel runs.

    Parameters
    ----------
    signatures
        A Numba signature or a list of them. Arrays that are only read must be spelled
        `READ_...` of `kernels/array_types`, which takes writable and read-only ones.
    """
    return numba.njit(signatures, cache=True, nogil=True, error_model="numpy")


class InnerKernel:
    """An inner kernel that is read from the cache, or compiled, only when it is needed.

    That is when a kernel that calls it was not in the cache after all, or when Python calls it: a
    test or a benchmark, for the server itself calls no inner kernel. To Numba it is `compiled`.
    """

    def __init__(self, function: Callable[..., Any], signatures: Any) -> None:
        self.py_func = function
        self._signatures = signatures
        functools.update_wrapper(self, function)

    @functools.cached_property
    def compiled(self) -> Any:
        """What `kernel` makes of the function, with the same signatures and no others."""
        return kernel(self._signatures)(self.py_func)

    @property
    def signatures(self) -> list[Any]:
        """The signatures that are compiled by now: all that it states, or none yet."""
        return self.compiled.signatures if "compiled" in self.__dict__ else []

    def __call__(self, *arguments: Any) -> Any:
        """Call the compiled function."""
        return self.compiled(*arguments)


@typeof_impl.register(InnerKernel)
def _typeof_inner_kernel(value: InnerKernel, context: Any) -> Any:
    """Tell Numba, which meets an inner kernel in a kernel that it compiles, what that is."""
    return typeof_impl(value.compiled, context)


def inner_kernel(signatures: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return the decorator for a kernel that only kernels call; `signatures` as for `kernel`.

    Until the cache is full, or where Numba is switched off, it is `kernel`: compiling all in the
    order of their definition is a tenth faster than each amid the compilation of its first caller.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        if numba.config.DISABLE_JIT or not is_full(CACHE_FOLDER):
            return kernel(signatures)(function)
        return InnerKernel(function, signatures)

    return decorate
