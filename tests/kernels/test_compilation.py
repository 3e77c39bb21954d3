"""When kernels are compiled, and for what: `kernels/compilation`."""

import subprocess
import sys

import numba
import numpy as np
import pytest
from numba import float64, void

from instanter.kernels import compilation
from instanter.kernels.array_types import READ_F64, WRITE_F64
from instanter.kernels.compilation import inner_kernel, kernel

pytestmark = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="nothing is compiled")

SHARES = """
from instanter.kernels.compilation import InnerKernel
from instanter.kernels.table import KERNELS, count_compiled
inner = [row.function for row in KERNELS if isinstance(row.function, InnerKernel)]
assert len(inner) > len(KERNELS) / 2, "is the cache full?"
assert not any(function.signatures for function in inner)
assert count_compiled() == len(KERNELS) - len(inner)
assert inner[0].compiled.signatures
assert count_compiled() > len(KERNELS) - len(inner), "what is read late is counted"
"""


def test_with_a_full_cache_no_inner_kernel_is_read():
    subprocess.run([sys.executable, "-c", SHARES], check=True)


@pytest.mark.parametrize("is_full", [False, True])
def test_an_inner_kernel_has_its_signatures_and_no_others(monkeypatch, is_full):
    monkeypatch.setattr(compilation, "is_full", lambda folder: is_full)

    @inner_kernel(float64(float64, READ_F64))
    def weigh(share, values):
        return share / 2 * values[0]

    assert len(weigh.signatures) == (not is_full)

    # Whole numbers, which these are, would be refused if they were not converted.
    @kernel(void(READ_F64, WRITE_F64))
    def weigh_all(values, out):
        out[0] = weigh(3, values)

    assert len(weigh.signatures) == 1
    values, out = np.array([5.0]), np.zeros(1)
    weigh_all(values, out)
    assert out[0] == 7.5
    values.flags.writeable = False
    assert weigh(3, values) == 7.5
    for wrong in ((3, values.astype(np.float32)), (values, values), (1,)):
        with pytest.raises(TypeError):
            weigh(*wrong)
    with pytest.raises(numba.TypingError):

        @kernel(void(READ_F64))
        def weigh_wrongly(values):
            weigh(values, values)

    assert weigh.signatures == [(float64, READ_F64)]
