"""Learns the demo's models from a past in which offers were shown at random.

The past goes through the same kernels that learn from outcomes: row by row, in order.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from instanter.catalogue.schema import MISSING_CODE, Schema
from instanter.cli.demo.world import World
from instanter.decision.binning_plan import make_plan
from instanter.decision.learner import LearnerSettings, learn, new_model
from instanter.decision.models import ModelSet
from instanter.store.profiles import ProfileState, copy_slots
from instanter.store.records import key_of
from instanter.store.transaction import Readable

PRESENTED_PER_OFFER = 1_500
_SAMPLE_COUNT = 4_000
_PASSES = 3
_PRIOR_PROPENSITY = 0.05


def learn_models(
    world: World,
    schema: Schema,
    store: Readable,
    seed: int,
    progress: Callable[[int, int], None],
) -> ModelSet:
    """Draw a past and learn from it.

    Parameters
    ----------
    world
        The retailer with its hidden truth.
    schema, store
        The published schema, and the store that the customers have been loaded into.
    seed
        Draws who saw what, and who accepted.
    progress
        Called with the offers learned and their number.
    """
    draw = np.random.default_rng(seed)
    count = world.table.num_rows
    slots = _read_slots(store, schema, count)
    context = np.full((count, schema.context_slot_count), MISSING_CODE, np.uint32)
    sample = draw.choice(count, min(count, _SAMPLE_COUNT), replace=False)
    plan = make_plan(schema, slots[sample], context[sample])
    rows = plan.bin_customers(slots, context, "")
    settings = LearnerSettings()
    # A small retailer has a small past.
    presented_count = min(PRESENTED_PER_OFFER, 3 * count)
    models = {}
    for at, offer in enumerate(world.offers):
        shown = draw.integers(0, count, presented_count)
        accepted = draw.random(len(shown)) < world.acceptance(shown, at)
        model = new_model(plan, settings, _PRIOR_PROPENSITY)
        learn(plan, settings, model, rows[shown], accepted.astype(np.uint8), passes=_PASSES)
        models[offer.name] = model
        progress(at + 1, len(world.offers))
    return ModelSet(plan, settings, models)


def _read_slots(store: Readable, schema: Schema, count: int) -> NDArray[np.uint32]:
    """Read all profiles of the demo; uint32[count, S]."""
    slots = np.empty((count, schema.profile_slot_count), np.uint32)
    with store.read() as transaction:
        for row in range(count):
            state = copy_slots(transaction, key_of(f"c{row:07d}"), slots[row])
            assert state is ProfileState.KNOWN, "the demo has loaded every customer"
    return slots
