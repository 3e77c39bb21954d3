"""A transaction of the store: an LMDB transaction together with the databases it can reach."""

from typing import Any, NamedTuple


class Handles(NamedTuple):
    """Handles of the named databases of one open environment."""

    meta: Any
    profiles: Any
    publications: Any


class Transaction:
    """What the modules of `store/` work on; everybody else only passes it on.

    What `raw` returns are views of the memory map. They end with the transaction: using one
    later can crash the process. So no function of `store/` returns one.

    Attributes
    ----------
    raw
        The LMDB transaction. Its default database is `profiles`, which saves the hot path a
        lookup.
    handles
        The named databases.
    """

    __slots__ = ("handles", "raw")

    def __init__(self, raw: Any, handles: Handles) -> None:
        self.raw = raw
        self.handles = handles
