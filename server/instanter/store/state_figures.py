"""How large a state is: of its layers together."""

from dataclasses import dataclass

from instanter.store.environment import StoreFigures


@dataclass(frozen=True, slots=True)
class StateFigures:
    """How large a state is.

    Attributes
    ----------
    base, overlay
        Figures of the layers; None without an overlay.
    folded_sequence, applied_sequence
        Up to where the base, and the whole state, hold the log.
    """

    base: StoreFigures
    overlay: StoreFigures | None
    folded_sequence: int
    applied_sequence: int
