"""One catalogue and one set of models, laid out for the kernels: what a decision reads.

Made whole when either changes, and swapped in with one assignment: every decision uses one
catalogue revision and one model revision, never a mixture.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instanter.catalogue.compiled import CompiledCatalogue, Offer
from instanter.catalogue.derivation_plan import DerivationPlan, make_derivation_plan
from instanter.catalogue.schema import Attribute
from instanter.decision.live_table import LiveTable
from instanter.decision.policy_tables import limits_contacts, pack_policy
from instanter.decision.questions import OfferReason
from instanter.decision.score_table import ScoreTable
from instanter.decision.stock_tables import StockTables, make_stock_tables
from instanter.kernels.decision import PACKED_F64, PACKED_I32, PACKED_U8
from instanter.kernels.holdout import hash_bytes

Reasons = tuple[tuple[tuple[tuple[tuple[int, ...], ...], ...], ...], ...]
"""See `DecisionTables.reasons`."""


@dataclass(frozen=True, slots=True, eq=False)
class DecisionTables:
    """Everything that one decision reads besides the profile.

    Attributes
    ----------
    catalogue, score_table
        Where it all comes from.
    profile_slot_count, context_slot_count
        Width of a profile row and of a context row.
    derived_slots
        int32[D]: profile slots of derived attributes, rising.
    derivations
        How derived attributes are evaluated.
    surfaces
        (channel, placement) to surface index.
    context
        Context attributes by name.
    offers
        Offers in column order.
    treatment_names
        For each surface, the treatment's name of each offer, "" for none.
    reasons
        `reasons[random][known][weighted][o]`: the offer's reasons, by whether chance chose,
        whether a profile is used and whether a context weight applied; made beforehand because a
        tuple lookup takes 0.05 µs and making one 0.3 µs.
    has_policy
        Whether there is a contact policy.
    draws_arms
        Whether customers' ids are needed: for a holdout or a random arm.
    draws_choices
        Whether decisions need a seed: for a random arm or for exploration.
    live
        Where newer scores of the same layout come from while the server learns; None when nothing
        does.
    live_path
        Where such a table will be; None when there is one already, or will be none.
    stock
        How stock tells on offers; empty when it does not.
    kernel_arguments
        The arguments of `decide_batch` that do not change from call to call, in its order.
    """

    catalogue: CompiledCatalogue
    score_table: ScoreTable
    profile_slot_count: int
    context_slot_count: int
    derived_slots: NDArray[np.int32]
    derivations: DerivationPlan
    surfaces: dict[tuple[str, str], int]
    context: dict[str, Attribute]
    offers: tuple[Offer, ...]
    treatment_names: tuple[tuple[str, ...], ...]
    reasons: Reasons
    has_policy: bool
    draws_arms: bool
    draws_choices: bool
    stock: StockTables
    kernel_arguments: tuple[Any, ...]
    live: LiveTable | None = None
    live_path: Path | None = None


def make_tables(catalogue: CompiledCatalogue, score_table: ScoreTable) -> DecisionTables:
    """Lay out a catalogue and its models for the kernels."""
    stock = make_stock_tables(catalogue)
    return DecisionTables(
        catalogue=catalogue,
        score_table=score_table,
        profile_slot_count=catalogue.schema.profile_slot_count,
        context_slot_count=catalogue.schema.context_slot_count,
        derived_slots=np.array(
            sorted(attribute.slot for attribute in catalogue.schema.derived.values()), np.int32
        ),
        derivations=make_derivation_plan(catalogue),
        surfaces=catalogue.surfaces,
        context=catalogue.schema.context,
        offers=catalogue.offers,
        treatment_names=_name_treatments(catalogue),
        reasons=_list_reasons(catalogue, score_table),
        has_policy=limits_contacts(catalogue.contact_policy),
        draws_arms=catalogue.holdout_rate > 0.0 or catalogue.arms.random_rate > 0.0,
        draws_choices=(
            catalogue.arms.random_rate > 0.0 or catalogue.learning_rules.exploration > 0.0
        ),
        stock=stock,
        kernel_arguments=_order_arguments(catalogue, score_table, stock),
    )


def with_scores(tables: DecisionTables, scores: ScoreTable) -> DecisionTables:
    """Return tables that decide by other scores of the same layout. Takes about 20 µs.

    Parameters
    ----------
    tables
        From `make_tables`; not changed.
    scores
        Only what learning changes may differ. All of it but the weights is copied.
    """
    arguments = list(tables.kernel_arguments)
    for packed, cut, names in (
        (_ARGUMENT_F64, _ARGUMENT_F64 + 1, PACKED_F64),
        (_ARGUMENT_I32, _ARGUMENT_I32 + 1, PACKED_I32),
    ):
        array, cuts = arguments[packed].copy(), arguments[cut]
        for index, name in enumerate(names):
            if name in LEARNED_ARRAYS:
                array[cuts[index] : cuts[index + 1]] = getattr(scores, name).ravel()
        arguments[packed] = array
    arguments[_ARGUMENT_WEIGHT] = scores.weight
    reasons = tables.reasons
    if (scores.fitted != tables.score_table.fitted).any():
        scores = replace(scores, fitted=scores.fitted.copy())
        reasons = _list_reasons(tables.catalogue, scores)
    else:
        scores = replace(scores, fitted=tables.score_table.fitted)
    return replace(tables, score_table=scores, reasons=reasons, kernel_arguments=tuple(arguments))


LEARNED_ARRAYS = frozenset(
    {
        "base",
        "context_base",
        "scale",
        "intercept",
        "prior_logit",
        "calibration_x",
        "calibration_y",
        "doubt",
    }
)
"""What learning changes in a score table, beside `weight` and `fitted`."""

_ARGUMENT_F64, _ARGUMENT_I32, _ARGUMENT_WEIGHT = 6, 8, 14
"""Places in `DecisionTables.kernel_arguments`; the cuts come behind each packed array."""


def _name_treatments(catalogue: CompiledCatalogue) -> tuple[tuple[str, ...], ...]:
    """List the treatments' names of every surface."""
    return tuple(
        tuple(
            offer.treatments[index].name if index >= 0 else ""
            for offer, index in zip(catalogue.offers, row.tolist(), strict=True)
        )
        for row in catalogue.treatment_index
    )


def _list_reasons(catalogue: CompiledCatalogue, score_table: ScoreTable) -> Reasons:
    """List each offer's reasons for the eight cases of chance, profile and context weight."""

    def reasons_of(
        offer: Offer, fitted: int, chance: int, known: int, weighted: int
    ) -> tuple[int, ...]:
        source = OfferReason.PRIOR
        if fitted:
            source = OfferReason.MODEL if known else OfferReason.MODEL_WITHOUT_PROFILE
        found = [int(source)]
        if weighted:
            found.append(int(OfferReason.CONTEXT_WEIGHT))
        if offer.eligibility or offer.applicability or offer.suitability:
            found.append(int(OfferReason.RULES_HOLD))
        if chance:
            found.append(int(OfferReason.RANDOM_ARM))
        return tuple(found)

    pairs = list(zip(catalogue.offers, score_table.fitted.tolist(), strict=False))
    return tuple(
        tuple(
            tuple(
                tuple(reasons_of(o, fitted, chance, known, weighted) for o, fitted in pairs)
                for weighted in (0, 1)
            )
            for known in (0, 1)
        )
        for chance in (0, 1)
    )


def _order_arguments(
    catalogue: CompiledCatalogue, scores: ScoreTable, stock: StockTables
) -> tuple[Any, ...]:
    """Return the unchanging arguments of `decide_batch` in its order."""
    arms = catalogue.arms
    # The random arm's share is of all customers, and drawn among those who are not kept out.
    random_rate = min(arms.random_rate / (1.0 - catalogue.holdout_rate), 1.0)
    holders = (catalogue.program, catalogue, scores, stock)
    f64, f64_cut = _pack(PACKED_F64, holders, np.float64)
    i32, i32_cut = _pack(PACKED_I32, holders, np.int32)
    u8, u8_cut = _pack(PACKED_U8, holders, np.uint8)
    return (
        _hash_salt(catalogue.holdout_salt),
        catalogue.holdout_rate,
        _hash_salt(arms.random_salt),
        random_rate,
        catalogue.learning_rules.exploration,
        scores.profile_predictor_count,
        f64,
        f64_cut,
        i32,
        i32_cut,
        u8,
        u8_cut,
        scores.edges,
        catalogue.treatment_index,
        scores.weight,
        pack_policy(catalogue),
    )


def _hash_salt(salt: str) -> np.uint64:
    text = np.frombuffer(salt.encode(), np.uint8)
    return np.uint64(hash_bytes(text, 0, len(text), np.uint64(0)))


def _pack(
    names: tuple[str, ...], holders: tuple[object, ...], dtype: type[np.generic]
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Lay the named arrays end to end; return them and the cuts between them, int64[N + 1]."""
    found = []
    for name in names:
        (array,) = (getattr(holder, name) for holder in holders if hasattr(holder, name))
        assert array.dtype == dtype, f"{name} is {array.dtype}"
        found.append(array.ravel())
    ends = np.cumsum([len(array) for array in found], dtype=np.int64)
    return np.concatenate(found), np.concatenate([np.zeros(1, np.int64), ends])
