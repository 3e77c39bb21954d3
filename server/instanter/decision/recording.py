"""What a turn of decisions leaves in the log: everything that outcomes and explanations need.

One document a turn, made of the turn's arrays as they are, so that a decision costs little on the
way to its reply. The profiles themselves are not in it, but their revisions: the store keeps what
a profile was for as long as anybody may ask.

A document is a msgpack array: format, prefix, turn, time, revisions of catalogue and models,
generation of the live models, then columns with one entry a row (customer, request id, channel,
placement, profile revision, asked, told), then those with one entry a listed offer (name, value,
listed), then given context slots, derived slots, the ids of the decisions with a request id, and
`stock_record`. Numbers are little-endian. In format 1 the ids are not there, but follow from
customer and request id (`decision_ids.hash_request`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgpack
import numpy as np
from numpy.typing import NDArray

from instanter.catalogue.schema import MISSING_CODE
from instanter.decision.decision_ids import (
    DECISION_ID_SIZE_BYTES,
    format_decision_id,
    hash_request,
)
from instanter.decision.questions import Question
from instanter.decision.stock_record import TurnShelves, pack_shelves, unpack_shelves
from instanter.decision.tables import DecisionTables
from instanter.errors import DamagedError
from instanter.kernels.arbitration import REASON_COUNT
from instanter.kernels.decision import (
    ASKED_COUNT,
    ASKED_STATE,
    ASKED_WANTED,
    LISTED_CHOICE,
    LISTED_COUNT,
    LISTED_OFFER,
    LISTED_PRIORITY,
    LISTED_PROPENSITY,
    LISTED_WEIGHT,
    LISTED_WEIGHTED,
    TOLD_ARM,
    TOLD_HELD,
    TOLD_KEPT,
    TOLD_REASONS,
)

Recorder = Callable[[bytes], object]
"""Takes the document of a turn; it must not wait for anything."""

ARM_DECIDED, ARM_RANDOM, ARM_HOLDOUT = 1, 2, 3
"""Numbers of the contract's `Arm`."""

_FORMAT: Final = 2
_FORMAT_WITHOUT_IDS: Final = 1
_NO_ROWS = np.zeros((0, LISTED_COUNT))
_NO_CONTEXT = (b"", b"", b"")
_OTHERS_AT: Final = 8
_OTHERS_TOLD, _OTHERS_IDS = 4, 13
"""Places of `told` and of the ids behind the request ids of a document, and where that is."""


class TurnArrays(Protocol):
    """The arrays of one turn, a row for each decision; further rows are ignored.

    Attributes
    ----------
    slots, context
        uint32[n, S], uint32[n, X]: profile slots, with the derived ones filled in, and context.
    asked, told, listed
        As in `kernels/turns.decide_batch`.
    revisions
        int64[n]: revision of each profile, 0 for none.
    """

    slots: NDArray[np.uint32]
    context: NDArray[np.uint32]
    asked: NDArray[np.int32]
    told: NDArray[np.int32]
    listed: NDArray[np.float64]
    revisions: NDArray[np.int64]

    @property
    def stock(self) -> TurnShelves | None:
        """The shelves of the rows; None when stock does not tell on offers."""


def encode_turn(
    tables: DecisionTables,
    questions: Sequence[Question],
    arrays: TurnArrays,
    decision_ids: Sequence[bytes],
    *,
    prefix: bytes,
    turn: int,
    now_ns: int,
    generation: int,
    pack: Callable[[object], bytes] = msgpack.packb,
) -> bytes:
    """Return the document of a turn.

    Parameters
    ----------
    tables
        What decided.
    questions
        What was asked, a row each.
    arrays
        What came in and went out; read-only here.
    decision_ids
        16 bytes for each row.
    prefix, turn
        The first parts of the decisions' ids, 8 bytes and below 2**48.
    now_ns
        The moment that was decided at, nanoseconds since 1970.
    generation
        Generation of the live score table, 0 without one.
    pack
        Packs a document; a packer that is used again and again saves making its buffer.
    """
    count = len(questions)
    told = arrays.told[:count]
    kept = told[:, TOLD_KEPT].tolist()
    rows = _gather_listed(arrays.listed, kept)
    gave_context = any(question.context for question in questions)
    offers = tables.offers
    shown = [offers[place] for place in rows[:, LISTED_OFFER].astype(int).tolist()]
    document = (
        _FORMAT,
        prefix,
        turn,
        now_ns,
        tables.catalogue.revision,
        tables.score_table.revision,
        generation,
        [question.customer_id for question in questions],
        [question.request_id for question in questions],
        [question.channel for question in questions],
        [question.placement for question in questions],
        arrays.revisions[:count].tobytes(),
        arrays.asked[:count].tobytes(),
        told.astype(np.int16).tobytes(),
        [offer.name for offer in shown],
        [offer.value_minor for offer in shown],
        rows.tobytes(),
        *(_encode_context(arrays.context[:count]) if gave_context else _NO_CONTEXT),
        tables.derived_slots.tobytes(),
        arrays.slots[:count, tables.derived_slots].tobytes() if len(tables.derived_slots) else b"",
        b"".join([i for i, q in zip(decision_ids, questions, strict=True) if q.request_id]),
        *(() if arrays.stock is None else pack_shelves(arrays.stock)),
    )
    return pack(document)


def _gather_listed(listed: NDArray[np.float64], kept: list[int]) -> NDArray[np.float64]:
    """Return what each row lists, float64[Σ kept, LISTED_COUNT].

    What lies beyond the offers that a row lists belongs to somebody else's decision.
    """
    most = max(kept)
    if most == min(kept):
        return listed[: len(kept), :most].reshape(-1, listed.shape[2])
    return np.concatenate([listed[row, :own] for row, own in enumerate(kept) if own])


def _encode_context(context: NDArray[np.uint32]) -> tuple[bytes, bytes, bytes]:
    """Return row, slot (uint16 each) and code (uint32) of the slots that were given."""
    if not context.shape[1]:
        return _NO_CONTEXT
    row, slot = np.nonzero(context != MISSING_CODE)
    return (
        row.astype(np.uint16).tobytes(),
        slot.astype(np.uint16).tobytes(),
        context[row, slot].tobytes(),
    )


@dataclass(frozen=True, slots=True)
class ListedOffer:
    """One offer that a decision listed.

    Attributes
    ----------
    name, value_minor
        The offer's name and its worth at that moment.
    place
        Its index in the catalogue revision that decided.
    priority, propensity, context_weight, weighted
        As the response had them; whether a context weight applied.
    choice_propensity
        The probability with which it was to be ranked first, 0 when it was not.
    """

    name: str
    value_minor: int
    place: int
    priority: float
    propensity: float
    context_weight: float
    weighted: bool
    choice_propensity: float


@dataclass(frozen=True, slots=True)
class RecordedDecision:
    """One decision as the log keeps it.

    Attributes
    ----------
    decision_id
        16 bytes.
    customer_id, request_id, channel, placement
        As asked; request id "" for none.
    time_ns
        When, nanoseconds since 1970.
    catalogue_revision, model_revision, generation
        What decided.
    profile_revision, profile_state
        Which profile was used, and whether.
    offer_count
        How many offers were wanted.
    arm
        `ARM_...`.
    reason_counts
        [REASON_COUNT]: offers by the first reason that stopped them, index 0 those that stayed;
        all 0 in the holdout.
    offers
        Those listed, best first.
    context, derived
        Slot to code: what was given, and what the derived attributes were.
    shelf
        Place to factor of stocked units as in `kernels/stocked_offers`; 1 is left out, None is all.
    """

    decision_id: bytes
    customer_id: str
    request_id: str
    channel: str
    placement: str
    time_ns: int
    catalogue_revision: int
    model_revision: int
    generation: int
    profile_revision: int
    profile_state: int
    offer_count: int
    arm: int
    reason_counts: tuple[int, ...]
    offers: tuple[ListedOffer, ...]
    context: dict[int, int]
    derived: dict[int, int]
    shelf: dict[int, float] | None = None

    def find_offer(self, name: str) -> ListedOffer | None:
        """Return the listed offer of a name, or None when the decision does not have it."""
        return next((offer for offer in self.offers if offer.name == name), None)


@dataclass(frozen=True, slots=True, eq=False)
class RecordedTurn:
    """One turn as the log keeps it.

    Attributes
    ----------
    prefix, turn
        First parts of the decisions' ids.
    time_ns, catalogue_revision, model_revision, generation
        As in `RecordedDecision`.
    customers, request_ids, channels, placements
        As asked, a row each.
    decision_ids
        Of the rows that have a request id, by row, 16 bytes each.
    revisions, asked, told
        int64[n], int32[n, ASKED_COUNT], int16[n, TOLD_COUNT], read-only: as in `TurnArrays`.
    offer_names, values_minor, listed
        Names, values and float64[m, LISTED_COUNT], read-only, of the listed offers, row by row.
    context
        uint16[k], uint16[k], uint32[k], read-only: row, slot and code of what was given.
    derived_slots, derived
        int32[D], uint32[n, D], read-only: profile slots of derived attributes, and their codes.
    shelves
        Of each row, as `RecordedDecision.shelf`; None when stock did not tell on offers.
    """

    prefix: bytes
    turn: int
    time_ns: int
    catalogue_revision: int
    model_revision: int
    generation: int
    customers: list[str]
    request_ids: list[str]
    decision_ids: dict[int, bytes]
    channels: list[str]
    placements: list[str]
    revisions: NDArray[np.int64]
    asked: NDArray[np.int32]
    told: NDArray[np.int16]
    offer_names: list[str]
    values_minor: list[int]
    listed: NDArray[np.float64]
    context: tuple[NDArray[np.uint16], NDArray[np.uint16], NDArray[np.uint32]]
    derived_slots: NDArray[np.int32]
    derived: NDArray[np.uint32]
    shelves: list[dict[int, float]] | None = None

    @property
    def rows(self) -> int:
        """How many decisions there are."""
        return len(self.customers)

    def id_of(self, row: int) -> bytes:
        """Return the id of a row's decision, 16 bytes."""
        own = self.decision_ids.get(row)
        return format_decision_id(self.prefix, self.turn, row) if own is None else own

    def arms(self) -> list[int]:
        """Return the arm of each row."""
        return [ARM_HOLDOUT if row[TOLD_HELD] else row[TOLD_ARM] for row in self.told.tolist()]

    def decision(self, row: int) -> RecordedDecision:
        """Return one decision."""
        kept = self.told[:, TOLD_KEPT]
        start = int(kept[:row].sum())
        rows, slots, codes = self.context
        own = rows == row
        return RecordedDecision(
            decision_id=self.id_of(row),
            customer_id=self.customers[row],
            request_id=self.request_ids[row],
            channel=self.channels[row],
            placement=self.placements[row],
            time_ns=self.time_ns,
            catalogue_revision=self.catalogue_revision,
            model_revision=self.model_revision,
            generation=self.generation,
            profile_revision=int(self.revisions[row]),
            profile_state=int(self.asked[row, ASKED_STATE]),
            offer_count=int(self.asked[row, ASKED_WANTED]),
            arm=self.arms()[row],
            reason_counts=self._count_reasons(row),
            offers=tuple(self._offer(start + k) for k in range(int(kept[row]))),
            context=dict(zip(slots[own].tolist(), codes[own].tolist(), strict=True)),
            derived=dict(zip(self.derived_slots.tolist(), self.derived[row].tolist(), strict=True)),
            shelf=None if self.shelves is None else self.shelves[row],
        )

    def _count_reasons(self, row: int) -> tuple[int, ...]:
        # The kernel leaves what it found for somebody else before where it does not count.
        counts = [] if self.told[row, TOLD_HELD] else self.told[row, TOLD_REASONS:].tolist()
        # Older builds knew fewer reasons.
        return (*counts, *(0,) * (REASON_COUNT - len(counts)))

    def _offer(self, at: int) -> ListedOffer:
        row = self.listed[at].tolist()
        return ListedOffer(
            name=self.offer_names[at],
            value_minor=self.values_minor[at],
            place=int(row[LISTED_OFFER]),
            priority=row[LISTED_PRIORITY],
            propensity=row[LISTED_PROPENSITY],
            context_weight=row[LISTED_WEIGHT],
            weighted=bool(row[LISTED_WEIGHTED]),
            choice_propensity=row[LISTED_CHOICE],
        )


@dataclass(frozen=True, slots=True)
class TurnOutline:
    """What the state keeps of a turn.

    Attributes
    ----------
    prefix, turn, time_ns
        As in `RecordedTurn`.
    request_ids, arms
        Request id, "" for none, and arm of each row.
    decision_ids
        Of the rows that have a request id, by row, 16 bytes each.
    """

    prefix: bytes
    turn: int
    time_ns: int
    request_ids: list[str]
    arms: list[int]
    decision_ids: dict[int, bytes]


def outline_turn(body: bytes) -> TurnOutline:
    """Read of the document of a turn only what the state keeps; takes half of `decode_turn`.

    Raises
    ------
    DamagedError
        The bytes are not what `encode_turn` writes.
    """
    try:
        form, prefix, turn, now_ns, _, _, _, customers, request_ids, *others = msgpack.unpackb(body)
        cells = memoryview(others[_OTHERS_TOLD]).cast("h")
        width = len(cells) // len(request_ids)
        rows = len(customers)
        if len(request_ids) != rows or width * rows != len(cells) or width <= TOLD_ARM:
            raise ValueError(f"{len(cells)} cells of {rows} rows")
        return TurnOutline(
            prefix,
            turn,
            now_ns,
            request_ids,
            [
                ARM_HOLDOUT if cells[at + TOLD_HELD] else cells[at + TOLD_ARM]
                for at in range(0, len(cells), width)
            ],
            _read_ids(form, customers, request_ids, others[_OTHERS_IDS:]),
        )
    except (
        msgpack.UnpackException, ValueError, TypeError, LookupError, ZeroDivisionError,
    ) as error:  # fmt: skip
        raise DamagedError(f"a record of decisions cannot be read: {error}") from error


def decode_turn(body: bytes) -> RecordedTurn:
    """Read the document of a turn.

    Raises
    ------
    DamagedError
        The bytes are not what `encode_turn` writes.
    """
    try:
        form, *fields = msgpack.unpackb(body)
        ids = _read_ids(form, fields[6], fields[7], fields[_OTHERS_AT + _OTHERS_IDS :])
        if form == _FORMAT:
            del fields[_OTHERS_AT + _OTHERS_IDS]
        return _read_turn(fields, ids)
    except (msgpack.UnpackException, ValueError, TypeError, LookupError) as error:
        raise DamagedError(f"a record of decisions cannot be read: {error}") from error


def _read_ids(
    form: int, customers: list[str], request_ids: list[str], behind: list[Any]
) -> dict[int, bytes]:
    """Return the ids of the rows that have a request id, by row.

    Parameters
    ----------
    form
        The document's format; another one than there ever was is refused.
    customers, request_ids
        As asked, a row each.
    behind
        The document from the place on where the ids are, if there are any.
    """
    named = [row for row, request_id in enumerate(request_ids) if request_id]
    if form == _FORMAT_WITHOUT_IDS:
        return {row: hash_request(customers[row], request_ids[row]) for row in named}
    if form != _FORMAT:
        raise ValueError(f"format {form}")
    packed, size = behind[0], DECISION_ID_SIZE_BYTES
    if len(packed) != size * len(named):
        raise ValueError(f"{len(packed)} bytes of ids of {len(named)} decisions")
    return {row: packed[n * size : (n + 1) * size] for n, row in enumerate(named)}


def _read_turn(fields: list[Any], decision_ids: dict[int, bytes]) -> RecordedTurn:
    prefix, turn, now_ns, catalogue_revision, model_revision, generation = fields[:6]
    customers, request_ids, channels, placements, revisions, asked, told = fields[6:13]
    names, values, listed, row, slot, code, derived_slots, derived = fields[13:21]
    count = len(customers)
    slots = np.frombuffer(derived_slots, np.int32)
    return RecordedTurn(
        prefix=prefix,
        turn=turn,
        time_ns=now_ns,
        catalogue_revision=catalogue_revision,
        model_revision=model_revision,
        generation=generation,
        customers=customers,
        request_ids=request_ids,
        decision_ids=decision_ids,
        channels=channels,
        placements=placements,
        revisions=np.frombuffer(revisions, np.int64),
        asked=np.frombuffer(asked, np.int32).reshape(count, ASKED_COUNT),
        told=np.frombuffer(told, np.int16).reshape(count, -1),
        offer_names=names,
        values_minor=values,
        listed=np.frombuffer(listed).reshape(len(names), -1) if names else _NO_ROWS,
        context=(
            np.frombuffer(row, np.uint16),
            np.frombuffer(slot, np.uint16),
            np.frombuffer(code, np.uint32),
        ),
        derived_slots=slots,
        derived=np.frombuffer(derived, np.uint32).reshape(count, len(slots)),
        shelves=unpack_shelves(fields[21:], count),
    )
