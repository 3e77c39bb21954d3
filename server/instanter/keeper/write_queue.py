"""The queue of the keeper: commands in the order they came, and the groups they are taken in."""

from collections import deque
from typing import Final

from instanter.errors import ExhaustedError
from instanter.keeper.records import HEAVY_KINDS, PATIENT_KINDS
from instanter.keeper.waiting import Waiting
from instanter.limits import WRITES_ON_LOOP_WEIGHT_MAX, WRITES_WAITING_MAX

_PATIENT_MAX: Final = 128
"""How many commands that nobody waits for are gathered at the most."""


class WriteQueue:
    """What waits to be carried out. One thread at a time: the keeper's lock is held."""

    __slots__ = ("_count", "_pressing_count", "_waiting")

    def __init__(self) -> None:
        self._waiting: deque[Waiting] = deque()
        self._count = 0
        self._pressing_count = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def is_long(self) -> bool:
        """Whether what is next takes too long for an event loop."""
        waiting = self._waiting[0]
        return waiting.weight > WRITES_ON_LOOP_WEIGHT_MAX or waiting.kind in HEAVY_KINDS

    @property
    def is_pressed(self) -> bool:
        """Whether somebody waits, or so much has come that it is time."""
        return self._pressing_count > 0 or len(self._waiting) >= _PATIENT_MAX

    def admit(self) -> None:
        """Count a command that is to wait.

        Raises
        ------
        ExhaustedError
            Too many wait already.
        """
        if self._count >= WRITES_WAITING_MAX:
            raise ExhaustedError(
                f"{WRITES_WAITING_MAX} writes wait for the disk already; retry later",
                reason="WRITES_WAITING_EXHAUSTED",
            )
        self._count += 1

    def append(self, waiting: Waiting) -> None:
        """Add what was admitted."""
        self._waiting.append(waiting)
        self._pressing_count += waiting.kind not in PATIENT_KINDS

    def pop_group(self, weight_max: int) -> list[Waiting]:
        """Take out the commands of one group, a heavy one alone; they take no more from here on."""
        group: list[Waiting] = []
        weight = 0
        while self._waiting:
            waiting = self._waiting[0]
            heavy = waiting.kind in HEAVY_KINDS
            weight += waiting.weight
            if group and (heavy or weight > weight_max):
                break
            group.append(self._waiting.popleft())
            waiting.close()
            self._count -= len(waiting.commands)
            self._pressing_count -= waiting.kind not in PATIENT_KINDS
            if heavy:
                break
        return group

    def pop_all(self) -> list[Waiting]:
        """Take out everything."""
        group = list(self._waiting)
        for waiting in group:
            waiting.close()
        self._waiting.clear()
        self._count = self._pressing_count = 0
        return group
