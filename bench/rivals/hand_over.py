"""Hands the standard workload to the rivals: the same profiles, offers, rules and weights.

What they get are plain files in one folder: `decision.npz` for `NumpyDecision`, `lmdb` with one
record a customer, `customers.npz` with the first customers' values by attribute.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import lmdb
import numpy as np
from numpy.typing import NDArray

from bench import workload
from bench.decide.world import World
from bench.rivals.numpy_decision import BinArrays, NumpyDecision, RuleArrays, ScoreArrays
from instanter.catalogue.compiled import CompiledCatalogue
from instanter.catalogue.schema import MISSING_CODE
from instanter.decision.binning_plan import BinningPlan
from instanter.decision.learner import serve
from instanter.decision.published import load_models
from instanter.kernels.binning import SOURCE_PROFILE_CODE, SOURCE_PROFILE_NUMBER
from instanter.store.profiles import list_profiles
from instanter.store.records import key_of

DECISION_FILE = "decision.npz"
CUSTOMERS_FILE = "customers.npz"
LMDB_FOLDER = "lmdb"

_PAGE = 1000
_MAP_SIZE_BYTES_EACH = 16_384
_MAP_SIZE_BYTES_MIN = 1 << 24
_CLAUSE = re.compile(
    r"profile\.(\w+) < ([\d.]+)"
    r" && profile\.(\w+) in \[([^\]]+)\]"
    r" && \(profile\.(\w+) == true \|\| profile\.(\w+) > ([\d.]+)\)"
    r" && profile\.(\w+) != '(v\d+)'"
    r" && profile\.(\w+) >= ([\d.]+)"
)


@dataclass(frozen=True, slots=True, eq=False)
class Customers:
    """The first customers' values by attribute, as a feature store holds them.

    Attributes
    ----------
    names
        str[n].
    attributes
        str[A]: numbers first.
    numbers
        float32[n, N].
    codes
        uint32[n, A − N]: codes of categories, 0 or 1 of flags.
    """

    names: NDArray[np.str_]
    attributes: NDArray[np.str_]
    numbers: NDArray[np.float32]
    codes: NDArray[np.uint32]

    def list_texts(self, at: int) -> list[str]:
        """Return one customer's values as text, in the order of the attributes.

        A number is the shortest text that reads back as the same float32.
        """
        return [str(value) for value in (*self.numbers[at], *self.codes[at])]

    def pack(self, at: int) -> bytes:
        """Return one customer's values as the store holds them, 4 bytes each."""
        return b"".join((self.numbers[at].tobytes(), self.codes[at].tobytes()))


def hand_over(world: World, folder: Path, customer_count: int) -> tuple[NumpyDecision, Customers]:
    """Write everything that the rivals need into a folder.

    Parameters
    ----------
    world
        The open store, with its catalogue and models published.
    folder
        To write into; is made.
    customer_count
        How many customers `customers.npz` holds, from number 0.
    """
    folder.mkdir()
    decision = make_decision(world)
    decision.save(folder / DECISION_FILE)
    _copy_profiles(world, folder / LMDB_FOLDER)
    customers = _list_customers(world, customer_count)
    np.savez(
        folder / CUSTOMERS_FILE,
        names=customers.names,
        attributes=customers.attributes,
        numbers=customers.numbers,
        codes=customers.codes,
    )
    return decision, customers


def make_decision(world: World) -> NumpyDecision:
    """Lay out the published catalogue and models for NumPy, the weights as float32."""
    _, models = load_models(world.environment)
    assert models is not None
    catalogue = world.catalogue
    plan = models.plan
    served = [serve(plan, models.models[offer.name]) for offer in catalogue.offers]
    weight = np.stack([model.weight for model in served], axis=1)
    # Requests carry no context, so its attributes always are missing: a part of the intercept.
    context_rows = plan.row_start[plan.profile_predictor_count :]
    knot_x, knot_y = (
        np.array([getattr(model, name) for model in served])
        for name in ("calibration_x", "calibration_y")
    )
    trust = (knot_y[:, 1] - knot_y[:, 0]) / (knot_x[:, 1] - knot_x[:, 0])
    intercept = np.array([model.intercept for model in served]) + weight[context_rows].sum(axis=0)
    surface = catalogue.surfaces[workload.CHANNEL, workload.PLACEMENT]
    scores = ScoreArrays(
        weight=np.ascontiguousarray(weight, np.float32),
        intercept=intercept.astype(np.float32),
        offset=(knot_y[:, 0] - trust * knot_x[:, 0]).astype(np.float32),
        trust=trust.astype(np.float32),
        worth=catalogue.value * catalogue.lever * catalogue.treatment_weight[surface],
    )
    names = np.array([offer.name for offer in catalogue.offers])
    return NumpyDecision(_read_rules(catalogue), _lay_out_bins(plan), scores, names)


def view_slots(world: World) -> Iterator[tuple[str, NDArray[np.uint32]]]:
    """Iterate over all customers and their slots."""
    slot_count = world.catalogue.schema.profile_slot_count
    after = b""
    while True:
        with world.environment.read() as transaction:
            page = list_profiles(transaction, after, _PAGE, slot_count)
        for row in page:
            assert row.profile is not None
            yield row.customer_id, row.profile.slots
        if not page:
            return
        after = key_of(page[-1].customer_id)


def _lay_out_bins(plan: BinningPlan) -> BinArrays:
    """Return the bins of the profile's attributes, numbers first as the plan has them."""
    numbers = np.flatnonzero(plan.predictor_source == SOURCE_PROFILE_NUMBER)
    codes = np.flatnonzero(plan.predictor_source == SOURCE_PROFILE_CODE)
    depth = int(np.diff(plan.edge_start).max(initial=0))
    edges = np.full((depth, len(numbers)), np.inf, np.float32)
    for column, p in enumerate(numbers):
        own = plan.edges[plan.edge_start[p] : plan.edge_start[p + 1]]
        edges[: len(own), column] = own
    return BinArrays(
        number_slot=plan.predictor_slot[numbers].astype(np.int64),
        code_slot=plan.predictor_slot[codes].astype(np.int64),
        edges=edges,
        code_bin_max=(plan.bin_count[codes] - 1).astype(np.uint32),
        row_start=plan.row_start[np.concatenate((numbers, codes))].astype(np.int64),
        row_count=np.array([plan.row_count]),
    )


def _read_rules(catalogue: CompiledCatalogue) -> RuleArrays:
    """Read the rules' text; all of them have one form."""
    found = [_CLAUSE.fullmatch(offer.eligibility) for offer in catalogue.offers]
    loaded = catalogue.schema.loaded

    def read(group: int) -> list[str]:
        texts = [match[group] for match in found if match is not None]
        assert len(texts) == len(found), "a rule is not of the workload's form"
        return texts

    def find_slots(group: int) -> NDArray[np.int64]:
        return np.array([loaded[name].slot for name in read(group)])

    def read_limits(group: int) -> NDArray[np.float32]:
        return np.array([float(text) for text in read(group)], np.float32)

    among_values = np.zeros((len(found), workload.CATEGORY_VALUES), np.bool_)
    for row, (name, text) in enumerate(zip(read(3), read(4), strict=True)):
        codes = [loaded[name].values.index(value) for value in re.findall(r"'(\w+)'", text)]
        among_values[row, codes] = True
    others = zip(read(8), read(9), strict=True)
    return RuleArrays(
        below=find_slots(1),
        below_limit=read_limits(2),
        among=find_slots(3),
        among_values=among_values,
        told=find_slots(5),
        above=find_slots(6),
        above_limit=read_limits(7),
        other=find_slots(8),
        other_value=np.array([loaded[name].values.index(v) for name, v in others], np.uint32),
        least=find_slots(10),
        least_limit=read_limits(11),
    )


def _copy_profiles(world: World, folder: Path) -> None:
    """Write every customer's slots into an LMDB of the rival's own, as bare vectors."""
    size = _MAP_SIZE_BYTES_MIN + _MAP_SIZE_BYTES_EACH * world.customer_count
    with lmdb.open(str(folder), map_size=size, sync=False) as environment:
        rows = view_slots(world)
        while True:
            page = [row for row, _ in zip(rows, range(_PAGE), strict=False)]
            if not page:
                return
            with environment.begin(write=True) as transaction:
                for name, slots in page:
                    transaction.put(name.encode(), slots.tobytes(), append=True)


def _list_customers(world: World, count: int) -> Customers:
    """Return the first customers' values by attribute."""
    names, rows = [], []
    for name, slots in view_slots(world):
        names.append(name)
        rows.append(slots)
        if len(rows) == count:
            break
    loaded = world.catalogue.schema.loaded
    numbers = [name for name in loaded if name.startswith("number_")]
    others = [name for name in loaded if not name.startswith("number_")]
    ordered = [loaded[name].slot for name in (*numbers, *others)]
    assert ordered == list(range(workload.ATTRIBUTES)), "values stand in the order of the slots"
    slots = np.stack(rows)[:, : workload.ATTRIBUTES]
    assert not (slots == MISSING_CODE).any(), "the standard profiles have no missing value"
    return Customers(
        np.array(names),
        np.array([*numbers, *others]),
        slots.view(np.float32)[:, : len(numbers)],
        slots[:, len(numbers) :],
    )
