"""How kernels are compiled: once, ahead of time, with their types in sight.

Every kernel states its signatures, so Numba compiles it (or reads it from its cache) when its
module is imported and refuses to compile anything later: a call with other types is a TypeError,
never a pause in the middle of traffic.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numba

from instanter.kernels.cache import make_cache_folder

numba.config.CACHE_DIR = str(make_cache_folder())


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
