"""Whose turn it is to be told how far it is: everybody within the heartbeat, evenly spread."""

from collections import OrderedDict

from instanter.rpc.alert_audience import Subscriber


class Heartbeats:
    """Has those who are told, in the order in which they were. For one event loop.

    Of many who came together a share is told at each look, before its time: so they are spread
    over the heartbeat from the first one on. Nobody is told later than a heartbeat after the last
    time, whoever came or went meanwhile.
    """

    __slots__ = ("_share", "_told_s")

    def __init__(self) -> None:
        self._told_s: OrderedDict[Subscriber, float] = OrderedDict()
        self._share = 0.0

    def note_told(self, subscriber: Subscriber, now_s: float) -> None:
        """Take up one who has just been told how far it is, or begins."""
        self._told_s[subscriber] = now_s
        self._told_s.move_to_end(subscriber)

    def discard(self, subscriber: Subscriber) -> None:
        """Let one go."""
        self._told_s.pop(subscriber, None)

    def note_tick(self, tick_s: float, heartbeat_s: float) -> None:
        """Let those who came together be told a tick's share of themselves sooner."""
        self._share += len(self._told_s) * tick_s / heartbeat_s

    def take(self, now_s: float, tick_s: float, heartbeat_s: float) -> list[Subscriber]:
        """Return those whose turn it is, and take them as told.

        Parameters
        ----------
        now_s
            The time of the event loop.
        tick_s
            Time between two looks.
        heartbeat_s
            The longest time between two turns.
        """
        taken: list[Subscriber] = []
        # The look behind the next one may be the one that is too late.
        due_s = now_s + 2 * tick_s - heartbeat_s
        while len(taken) < len(self._told_s):
            subscriber, told_s = next(iter(self._told_s.items()))
            if told_s > due_s and len(taken) + 1 > self._share:
                break
            self.note_told(subscriber, now_s)
            taken.append(subscriber)
        self._share = max(self._share - len(taken), 0.0)
        return taken
