"""Reading two layers as one.

What makes a reader's two snapshots one: it takes the overlay's first, then the base's, and the
base's must have been committed before the overlay's was taken. Otherwise the base might hold the
end of a fold of which the overlay snapshot does not have the other changes yet. A reader knows it
by the base's transaction number being one that was seen earlier; when it is not (once a fold) the
reader begins again, now having seen it. Nothing is purged before the base that holds it is
committed, so the base, taken later, has all that the overlay lacks.

The rows that are held in memory are of no snapshot: only the thread that writes reads them.
"""

from threading import get_ident
from types import TracebackType

import lmdb

from instanter.store.environment import Environment
from instanter.store.held_rows import HeldRows
from instanter.store.lmdb_errors import translated
from instanter.store.transaction import Transaction


class LayeredReading:
    """A read transaction of both layers as a context manager; made by `State.read`."""

    __slots__ = ("_base", "_base_raw", "_held", "_overlay", "_overlay_raw", "_thread")

    def __init__(
        self, base: Environment, overlay: Environment, held: HeldRows | None = None
    ) -> None:
        self._base = base
        self._held = held
        self._overlay = overlay

    def __enter__(self) -> Transaction:
        thread = self._thread = get_ident()
        base, overlay = self._base, self._overlay
        while True:
            seen = base.seen_id
            overlay_raw = self._overlay_raw = overlay.begin_read(thread)
            try:
                base_raw = self._base_raw = base.begin_read(thread)
            except BaseException:
                overlay.end_read(overlay_raw, thread)
                raise
            base_id = base_raw.id()
            if base_id == seen:
                return Transaction(
                    base_raw, base.handles, overlay_raw, overlay.handles, held=self._held
                )
            # It may have been committed after the overlay's snapshot was taken.
            base.seen_id = base_id
            self._end()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()
        if isinstance(error, lmdb.Error):
            raise translated(error, self._base.folder) from error

    def _end(self) -> None:
        try:
            self._base.end_read(self._base_raw, self._thread)
        finally:
            self._overlay.end_read(self._overlay_raw, self._thread)
