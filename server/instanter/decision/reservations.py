"""Offers that were listed a moment ago and are not presented yet: they count as contacts.

Without them, decisions that come before the first presentation is recorded would all find the
same caps unreached and hand out more offers than the caps allow. A reservation ends when its
contact is recorded, which the kernel sees by the decision's tag, or after `RESERVATION_NS`.

They are kept by the process that decides, for all its engines together. Other processes do not
see them: with several workers, a cap can be overrun by decisions for one customer that different
workers make between a decision and the record of its presentation.
"""

import threading
from typing import Final

from instanter.decision.contacts import Contact
from instanter.limits import RESERVATION_NS, RESERVATIONS_MAX

Held = tuple[tuple[int, Contact], ...]
"""Pairs of the moment at which a reservation ends, nanoseconds since 1970, and its contact."""

NOTHING_HELD: Final[Held] = ()


class Reservations:
    """The reservations of one process, by customer; for any thread.

    A decision takes three steps: see what is held, decide, reserve. `reserve` refuses when somebody
    else reserved in between, and the decision is made again; so nobody waits for anybody.
    """

    __slots__ = ("_held", "_lock")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[bytes, Held] = {}

    def __len__(self) -> int:
        """How many customers have reservations, ended ones included until they are cleared."""
        return len(self._held)

    def view(self, key: bytes) -> Held:
        """Return what is held for a customer, ended reservations included."""
        return self._held.get(key, NOTHING_HELD)

    def reserve(
        self, key: bytes, seen: Held, tag: int, contacts: list[Contact], now_ns: int
    ) -> bool:
        """Hold further contacts for a customer.

        Parameters
        ----------
        key
            The customer's key.
        seen
            What `view` returned before the decision.
        tag, contacts
            Tag of the decision, and what it may lead to, which takes the place of what the same
            decision has reserved before.
        now_ns
            The moment of the decision, nanoseconds since 1970.

        Returns
        -------
        bool
            False, and nothing is held, when somebody else has reserved since `view`.
        """
        until_ns = now_ns + RESERVATION_NS
        held = tuple(
            (end_ns, contact) for end_ns, contact in seen if end_ns > now_ns and contact.tag != tag
        ) + tuple((until_ns, contact) for contact in contacts)
        with self._lock:
            if self._held.get(key, NOTHING_HELD) is not seen:
                return False
            # Taken out and put in again, so that the customers stand in the order of their ends.
            self._held.pop(key, None)
            if held:
                self._held[key] = held
                self._clear(now_ns)
        return True

    def _clear(self, now_ns: int) -> None:
        """Forget up to two customers whose reservations have ended, or the oldest of too many."""
        for _ in range(2):
            key, held = next(iter(self._held.items()))
            if held[-1][0] > now_ns and len(self._held) <= RESERVATIONS_MAX:
                return
            del self._held[key]


def list_live(held: Held, now_ns: int, own_tag: int) -> list[Contact]:
    """Return the contacts that are held now, without those of the decision itself.

    Parameters
    ----------
    held
        From `Reservations.view`.
    now_ns
        Nanoseconds since 1970.
    own_tag
        Tag of the decision that asks: a retry must find what the first try found.
    """
    return [contact for end_ns, contact in held if end_ns > now_ns and contact.tag != own_tag]
