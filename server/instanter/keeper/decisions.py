"""Decisions in the log: how a turn gets there, and how one decision is found again."""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import msgpack

from instanter.decision.decision_ids import parse_decision_id as parse
from instanter.decision.recording import (
    RecordedDecision,
    RecordedTurn,
    decode_turn,
    outline_turn,
)
from instanter.errors import DamagedError, NotFoundError
from instanter.keeper.commands import Answered, ApplyContext
from instanter.keeper.records import RecordKind
from instanter.limits import EXPIRED_KEYS_PER_RECORD, TURNS_REMEMBERED_MAX
from instanter.store.arm_figures import add_figures
from instanter.store.decision_index import (
    DECISION_QUEUE,
    find_name,
    find_turn,
    put_name,
    put_turn,
)
from instanter.store.expiry import drop_expired, expiry_hour
from instanter.store.log.frames import LogPosition, LogRecord
from instanter.store.transaction import Transaction

DAY_NS = 86_400_000_000_000
S_NS = 1_000_000_000


@dataclass(frozen=True, slots=True, eq=False)
class RecordDecisions:
    """Writes down what one turn decided.

    Attributes
    ----------
    body
        What `decision/recording.encode_turn` made.
    archive
        Remembers it for the outcomes that follow at once.
    """

    body: bytes
    archive: "DecisionArchive"

    @property
    def kind(self) -> RecordKind:
        """Kind of its record."""
        return RecordKind.DECISIONS

    def prepare(
        self, transaction: Transaction, now_ns: int, context: ApplyContext
    ) -> bytes | Answered:
        """Return the body of the record: the turn, and from which hour on it may be forgotten.

        Raises
        ------
        DamagedError
            The turn cannot be read.
        """
        turn = outline_turn(self.body)
        if find_turn(transaction, turn.prefix, turn.turn) is not None:
            return Answered(None)
        catalogue = context.published.load(transaction)
        accept_s = catalogue.outcome_rules.accept_s if catalogue is not None else 0
        self.archive.remember(turn.prefix, turn.turn, self.body, now_ns)
        hour = expiry_hour(turn.time_ns + accept_s * S_NS)
        packed: bytes = msgpack.packb((hour, self.body))
        return packed


def _open_record(record: LogRecord) -> tuple[int, bytes]:
    """Return the hour of expiry and the document of a turn.

    Raises
    ------
    DamagedError
        The record cannot be read.
    """
    try:
        hour, body = msgpack.unpackb(record.body)
    except (msgpack.UnpackException, ValueError, TypeError) as error:
        raise DamagedError(f"record {record.sequence} cannot be read: {error}") from error
    return hour, body


def apply_decisions(transaction: Transaction, record: LogRecord, context: ApplyContext) -> None:
    """Write down where the turn stands, and count its decisions by arm."""
    del context
    hour, body = _open_record(record)
    turn = outline_turn(body)
    # A turn may come when its hour has passed, and hours that are done with are not looked at.
    hour = max(hour, expiry_hour(record.time_ns + 1))
    put_turn(
        transaction,
        turn.prefix,
        turn.turn,
        sequence=record.sequence,
        position=record.position,
        hour=hour,
    )
    counts: Counter[int] = Counter()
    for row, (arm, request_id) in enumerate(zip(turn.arms, turn.request_ids, strict=True)):
        # A retry is the same decision once more: it counts once.
        if not request_id or put_name(
            transaction, turn.decision_ids[row], turn.prefix, turn.turn, row, hour
        ):
            counts[arm] += 1
    day = turn.time_ns // DAY_NS
    for arm in sorted(counts):
        add_figures(transaction, day, arm, "", decisions=counts[arm])
    drop_expired(transaction, DECISION_QUEUE, record.time_ns, EXPIRED_KEYS_PER_RECORD)


class Try(NamedTuple):
    """One try of a decision.

    Attributes
    ----------
    decision
        As the log has it.
    recorded_ns
        Time of its record, nanoseconds since 1970. Where the clock was put back, the log's time
        stands: what comes later is as old as that says, not as the decision's own time does.
    """

    decision: RecordedDecision
    recorded_ns: int


class DecisionArchive:
    """Finds decisions of the past. Belongs to one thread.

    Parameters
    ----------
    read_at
        Reads a record of the log, see `store/log`.
    """

    def __init__(self, read_at: Callable[[LogPosition], LogRecord]) -> None:
        self._read_at = read_at
        self._recent: OrderedDict[tuple[bytes, int], tuple[bytes | RecordedTurn, int]] = (
            OrderedDict()
        )

    def remember(self, prefix: bytes, number: int, body: bytes, recorded_ns: int) -> None:
        """Hold a turn's document in memory; it need not be in the log's files yet.

        Most are never asked for: it is read when one is.
        """
        self._recent[prefix, number] = body, recorded_ns
        if len(self._recent) > TURNS_REMEMBERED_MAX:
            self._recent.popitem(last=False)

    def find(self, transaction: Transaction, decision_id: bytes) -> RecordedDecision | None:
        """Return a decision, or None when it was never made or is no longer known.

        Of several tries the latest.

        Parameters
        ----------
        transaction
            What is known is what it sees.
        decision_id
            16 bytes.

        Raises
        ------
        DamagedError, LogDamagedError
            The index or the log is damaged there.
        """
        return next((one.decision for one in self.find_tries(transaction, decision_id)), None)

    def find_tries(self, transaction: Transaction, decision_id: bytes) -> Iterator[Try]:
        """Yield all tries of a decision that are known, the latest first; otherwise as `find`."""
        for prefix, number, row in find_name(transaction, decision_id) or [parse(decision_id)]:
            found = self._find_turn(transaction, prefix, number)
            if found is None:
                continue
            turn, recorded_ns = found
            if row < turn.rows and turn.id_of(row) == decision_id:
                yield Try(turn.decision(row), recorded_ns)

    def _find_turn(
        self, transaction: Transaction, prefix: bytes, number: int
    ) -> tuple[RecordedTurn, int] | None:
        position = find_turn(transaction, prefix, number)
        if position is None:
            return None
        turn, recorded_ns = self._recent.get((prefix, number), (None, 0))
        if turn is None:
            try:
                record = self._read_at(position)
            except NotFoundError:
                # The log keeps records for a time only, whatever the catalogue wishes.
                return None
            _, turn = _open_record(record)
            recorded_ns = record.time_ns
            self.remember(prefix, number, turn, recorded_ns)
        if not isinstance(turn, RecordedTurn):
            turn = decode_turn(turn)
            self._recent[prefix, number] = turn, recorded_ns
        return turn, recorded_ns
