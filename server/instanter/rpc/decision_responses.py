"""Responses to requests for decisions, encoded without a message for each of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray

from instanter.clock import Clock
from instanter.decision.questions import Question
from instanter.decision.recording import TurnArrays
from instanter.decision.tables import DecisionTables
from instanter.kernels.responses import (
    COUNTED_ARM,
    COUNTED_COLUMNS,
    COUNTED_NO_OFFER,
    COUNTED_ROWS,
    COUNTED_STATE,
    encode_responses,
)
from instanter.limits import BATCH_TURN_MAX
from instanter.metrics import Metrics
from instanter.rpc.names import format_offer_name
from instanter.v1.decision_service_pb2 import DecideOffersResponse, OfferReason, RankedOffer

_OUT_SIZE_BYTES: Final = 1 << 16
"""Room for the responses of a full turn with three offers each; it grows when it is too short."""


@dataclass(frozen=True, slots=True, eq=False)
class Fragments:
    """What one catalogue and one set of models say of their offers, encoded.

    Attributes
    ----------
    head, value, tail, fragment, fragment_start
        int32[surfaces, O], int32[O], int32[8, O], uint8, int32[F + 1], read-only: as in
        `encode_responses`.
    offer_size_max
        As there.
    """

    head: NDArray[np.int32]
    value: NDArray[np.int32]
    tail: NDArray[np.int32]
    fragment: NDArray[np.uint8]
    fragment_start: NDArray[np.int32]
    offer_size_max: int


def make_fragments(tables: DecisionTables) -> Fragments:
    """Encode what responses say of each offer; takes about 5 µs an offer and surface."""
    found: dict[bytes, int] = {b"": 0}

    def number(message: RankedOffer) -> int:
        return found.setdefault(message.SerializeToString(), len(found))

    head = [
        [
            number(RankedOffer(offer=format_offer_name(offer.name), treatment=name)) if name else -1
            for offer, name in zip(tables.offers, names, strict=True)
        ]
        for names in tables.treatment_names
    ]
    value = [number(RankedOffer(value_minor=offer.value_minor)) for offer in tables.offers]
    tail = [
        [
            number(
                RankedOffer(
                    lever=offer.lever, reasons=cast("tuple[OfferReason.ValueType, ...]", reasons)
                )
            )
            for offer, reasons in zip(
                tables.offers, tables.reasons[chance][known][weighted], strict=False
            )
        ]
        for chance in (0, 1)
        for known in (0, 1)
        for weighted in (0, 1)
    ]
    count = len(tables.offers)
    sizes = [len(fragment) for fragment in found]
    return Fragments(
        head=np.array(head, np.int32).reshape(len(head), count),
        value=np.array(value, np.int32),
        tail=np.array(tail, np.int32).reshape(len(tail), count),
        fragment=np.frombuffer(b"".join(found), np.uint8),
        fragment_start=np.cumsum([0, *sizes], dtype=np.int32),
        offer_size_max=3 * max(sizes),
    )


class ResponseEncoder:
    """Encodes the responses of a turn; one thread's. A `Translate` of the engine's.

    Parameters
    ----------
    clock
        Tells how long decisions took.
    metrics
        Counts them.

    Attributes
    ----------
    begun_ns
        Time of the clock's `monotonic_ns` at which the requests were there.
    """

    __slots__ = (
        "_clock", "_counted", "_end", "_fragments", "_made_of", "_metrics", "_out", "begun_ns",
    )  # fmt: skip

    def __init__(self, clock: Clock, metrics: Metrics) -> None:
        self._clock = clock
        self._metrics = metrics
        self._fragments: Fragments | None = None
        self._made_of: tuple[object, object] = (None, None)
        self._out = np.empty(_OUT_SIZE_BYTES, np.uint8)
        self._end = np.zeros(BATCH_TURN_MAX, np.int32)
        self._counted = np.zeros((COUNTED_ROWS, COUNTED_COLUMNS), np.int32)
        self.begun_ns = 0

    def __call__(
        self,
        tables: DecisionTables,
        questions: Sequence[Question],
        arrays: TurnArrays,
        decision_ids: Sequence[bytes],
    ) -> list[bytes]:
        """Return the turn's responses, each an encoded `DecideOffersResponse`."""
        count = len(questions)
        fragments = self._find_fragments(tables)
        took_us = (self._clock.monotonic_ns() - self.begun_ns) // 1000
        figures = DecideOffersResponse(
            catalogue_revision=tables.catalogue.revision,
            model_revision=tables.score_table.revision,
            took_us=took_us,
        ).SerializeToString()
        while True:
            size = encode_responses(
                count,
                np.frombuffer(b"".join(decision_ids), np.uint8),
                arrays.asked,
                arrays.told,
                arrays.listed,
                np.frombuffer(figures, np.uint8),
                fragments.head,
                fragments.value,
                fragments.tail,
                fragments.fragment,
                fragments.fragment_start,
                fragments.offer_size_max,
                self._out,
                self._end,
                self._counted,
            )
            if size >= 0:
                break
            self._out = np.empty(2 * len(self._out), np.uint8)
        self._count()
        encoded = self._out[:size].tobytes()
        ends = self._end[:count].tolist()
        return [encoded[start:end] for start, end in pairwise((0, *ends))]

    def _find_fragments(self, tables: DecisionTables) -> Fragments:
        """Return the fragments of the tables, made anew only when they say something else."""
        made_of = self._made_of
        fragments = self._fragments
        if (
            fragments is None
            or made_of[0] is not tables.treatment_names
            or made_of[1] is not tables.reasons
        ):
            fragments = self._fragments = make_fragments(tables)
            self._made_of = (tables.treatment_names, tables.reasons)
        return fragments

    def _count(self) -> None:
        """Count the turn's decisions."""
        metrics = self._metrics
        counted = self._counted.tolist()
        for totals, found in (
            (metrics.decisions_by_state, counted[COUNTED_STATE]),
            (metrics.no_offer_by_reason, counted[COUNTED_NO_OFFER]),
            (metrics.decisions_by_arm, counted[COUNTED_ARM]),
        ):
            for number in range(len(totals)):
                totals[number] += found[number]
