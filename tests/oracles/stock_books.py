"""Positions as a bookkeeper would keep them: all that was told, summed up anew each time."""

from collections import defaultdict
from dataclasses import dataclass, field

_ADDS = {"SALE": -1, "RETURN": 1, "RECEIPT": 1, "TRANSFER": -1, "ADJUSTMENT": 1}


@dataclass
class Books:
    """What was told of all positions; nothing of it is ever forgotten.

    For positions where negative stock is allowed: nothing is refused, so nothing depends on what
    came before it.
    """

    known: set[str] = field(default_factory=set)
    changes: dict[tuple[str, str], list[tuple[int, int]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    counts: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)

    def tell(
        self,
        movement_id: str,
        kind: str,
        site: str,
        unit: str,
        units: int,
        time_ms: int,
        destination: str = "",
    ) -> bool:
        """Take a movement, unless its id was told before; return whether it is new."""
        if movement_id in self.known:
            return False
        self.known.add(movement_id)
        if kind in _ADDS:
            self.changes[site, unit].append((time_ms, _ADDS[kind] * units))
        if kind == "TRANSFER":
            self.changes[destination, unit].append((time_ms, units))
        if kind == "COUNT":
            # Of two counts at the same time, the one that was told first.
            known = self.counts.get((site, unit))
            if known is None or time_ms > known[0]:
                self.counts[site, unit] = (time_ms, units)
        return True

    def on_hand(self, site: str, unit: str) -> int:
        """Return what was counted last, and what has changed since."""
        counted_ms, units = self.counts.get((site, unit), (-1, 0))
        return units + sum(change for ms, change in self.changes[site, unit] if ms > counted_ms)

    def changes_after(self, site: str, unit: str, time_ms: int) -> int:
        """Return how many changes are later than a time."""
        return sum(ms > time_ms for ms, _ in self.changes[site, unit])
