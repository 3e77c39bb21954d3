"""Takes a label back out of the states that have counted it.

Labels are counted only, so that one less is the state as if the label had never come; the rare
case needs no kernel of its own.
"""

from typing import Final

import numpy as np

from instanter.catalogue.fraud_plan import LABEL
from instanter.catalogue.fraud_words import EntityKind
from instanter.fraud.book import EMPTY_STATE, Book
from instanter.fraud.questions import CountedTransaction
from instanter.fraud.states import EntityStates
from instanter.kernels.derived_state import HEAD_WORDS

_LOW: Final = 0xFFFF_FFFF


def withdraw_label(
    states: EntityStates, counted: CountedTransaction, book: Book, event: bytes
) -> None:
    """Count a label no longer.

    Parameters
    ----------
    states
        Counts.
    counted, book
        As for `FraudEngine.label`.
    event
        The patterns of the label that was counted.
    """
    # What one label counts where nothing is known.
    alone: dict[tuple[EntityKind, str], bytes] = {}
    states.count(
        counted,
        lambda kind, name: EMPTY_STATE,  # noqa: ARG005 - the same for all
        lambda kind, name, state: alone.update({(kind, name): state.velocities}),
        LABEL,
        event,
    )
    for (kind, name), velocities in alone.items():
        state = book.find_state(kind, name)
        less = _subtract(state.velocities, velocities)
        book.put_state(kind, name, state._replace(velocities=less))


def _subtract(state: bytes, counted: bytes) -> bytes:
    """Return a state without what another one of a single label counts."""
    gone = {state_id: words[1:] for state_id, words in _split(counted)}
    kept: list[int] = []
    for state_id, words in _split(state):
        newest, entries = words[0], words[1:]
        if state_id in gone:
            entries = _subtract_entry(entries, gone[state_id])
        if entries:
            kept += (len(entries) << 32 | state_id, newest, *entries)
    return np.array(kept, np.int64).tobytes()


def _subtract_entry(words: list[int], counted: list[int]) -> list[int]:
    """Return entries without what the one of a single label counts: 1, and of a rate its sums."""
    width, key = len(counted), counted[0] >> 32
    kept: list[int] = []
    for at in range(0, len(words), width):
        entry = words[at : at + width]
        if entry[0] >> 32 == key:
            rest = [own - one for own, one in zip(entry[1:], counted[1:], strict=True)]
            entry = [entry[0] - 1, *rest] if entry[0] & _LOW > 1 else []
        kept += entry
    return kept


def _split(state: bytes) -> list[tuple[int, list[int]]]:
    """Return state id and further words of each block of a state."""
    words = np.frombuffer(state, np.int64).tolist() if state else []
    blocks: list[tuple[int, list[int]]] = []
    at = 0
    while at < len(words):
        end = at + HEAD_WORDS + (words[at] >> 32)
        blocks.append((words[at] & _LOW, words[at + 1 : end]))
        at = end
    return blocks
