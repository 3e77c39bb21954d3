"""Counters of several processes as one, also after some of them have ended."""

from collections.abc import Iterable
from typing import Any, Final

from instanter.metrics import Metrics

_GREATEST: Final = frozenset({"catalogue_revision", "model_revision"})
"""What the processes have in common."""

_LIVING: Final = frozenset(
    {"fraud_rules_paused_count", "hotlist_entry_counts", "log_ahead_s", "streams_open_count"}
)
"""What ends with a process."""

_ERRORS: Final = "errors"


def take_snapshot(metrics: Metrics) -> dict[str, Any]:
    """Return counters as plain values, for another process."""
    snapshot: dict[str, Any] = {
        name: getattr(metrics, name) for name in Metrics.__slots__ if not name.startswith("_")
    }
    snapshot[_ERRORS] = [(*key, count) for key, count in metrics.list_errors().items()]
    return snapshot


def add_snapshot(metrics: Metrics, snapshot: dict[str, Any], *, living: bool) -> None:
    """Add the counters of another process.

    Parameters
    ----------
    metrics
        What they are added to.
    snapshot
        What `take_snapshot` returned over there.
    living
        Whether that process lives: what it has open now is left out otherwise.
    """
    for name, value in snapshot.items():
        if name == _ERRORS:
            for method, code, count in value:
                metrics.count_error(method, code, count)
        elif name in _GREATEST:
            setattr(metrics, name, max(getattr(metrics, name), value))
        elif name in _LIVING and not living:
            continue
        elif isinstance(value, list | tuple):
            mine = getattr(metrics, name)
            mine[:] = [a + b for a, b in zip(mine, value, strict=True)]
        else:
            setattr(metrics, name, getattr(metrics, name) + value)


def add_up(snapshots: Iterable[dict[str, Any]], ended: Metrics) -> Metrics:
    """Return the sum of living processes' counters, and of those that have `ended`."""
    total = Metrics()
    add_snapshot(total, take_snapshot(ended), living=False)
    for snapshot in snapshots:
        add_snapshot(total, snapshot, living=True)
    return total
