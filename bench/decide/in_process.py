"""What a decision takes inside the server's process, on stores of different sizes."""

from collections.abc import Callable

import numpy as np

from bench import workload
from bench.decide.sizes import Sizes
from bench.decide.world import World
from bench.measurement import Figure, Pair, measure_pair

_COPY_SIZE_BYTES = 800_000


def measure_decide_ratio(world: World, sparse: World, sizes: Sizes) -> Figure:
    """One decision ÷ one `numpy.copyto` of 800 kB; beside it the same on sparse profiles."""
    source = np.ones(_COPY_SIZE_BYTES // 4, np.float32)
    target = np.zeros_like(source)

    def copy(_: int) -> None:
        np.copyto(target, source)

    def measure(decide: Callable[[int], object]) -> Pair:
        return measure_pair(decide, copy, rounds=sizes.rounds, count=sizes.calls)

    dense = measure(world.decide_skewed)
    return Figure(
        dense.ratio,
        "≤ 3.5",
        "≤ 1.2",
        {
            "decide ÷ copyto": dense,
            "sparse": measure(sparse.decide_skewed),
            "uniform": measure(world.decide_uniform),
            "eligible_share": world.find_eligible_share(),
        },
    )


def measure_profile_size(world: World) -> Figure:
    """Bytes of the store a profile."""
    return Figure(
        world.read_profile_size_bytes(),
        "≤ 4,300",
        "",
        {"profiles": world.customer_count, "attributes": workload.ATTRIBUTES},
    )


def measure_growth(few: World, many: World, sizes: Sizes) -> Figure:
    """Time decisions among many profiles beside few: the worse of skewed and uniform choice."""
    skewed = measure_pair(
        many.decide_skewed, few.decide_skewed, rounds=sizes.rounds, count=sizes.calls
    )
    uniform = measure_pair(
        many.decide_uniform, few.decide_uniform, rounds=sizes.rounds, count=sizes.calls
    )
    return Figure(
        max(skewed.ratio, uniform.ratio),
        "≤ 1.5",
        "≤ 1.15",
        {
            "skewed": skewed,
            "uniform": uniform,
            "profiles_many": many.customer_count,
            "profiles_few": few.customer_count,
        },
    )
