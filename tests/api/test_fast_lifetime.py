"""How long a connection of the fast front lives, by a clock of the test's own."""

from instanter import wire_limits
from instanter.rpc.fast.lifetime import Lifetime

SECOND_NS = 1_000_000_000


class Life:
    """A connection's lifetime with a time that the test moves, checked once a second."""

    def __init__(self, *, greeted: bool = True) -> None:
        self.now_ns = 17 * SECOND_NS
        self.lifetime = Lifetime(self.now_ns)
        self.lifetime.greeted = greeted

    def run(
        self, time_ns: int, *, heard: bool = False, calls_count: int = 0, taken: int = -1
    ) -> list[str]:
        """Let time pass; return what it asked for, second by second, where it asked."""
        verdicts = []
        for _ in range(time_ns // SECOND_NS):
            self.now_ns += SECOND_NS
            self.lifetime.heard = heard
            verdicts.append(
                self.lifetime.check(self.now_ns, calls_count=calls_count, taken_size_bytes=taken)
            )
        return [verdict for verdict in verdicts if verdict]


def test_a_client_that_does_not_greet_is_disconnected() -> None:
    life = Life(greeted=False)
    assert life.run(wire_limits.HANDSHAKE_NS_MAX - SECOND_NS, heard=True) == []
    assert life.run(SECOND_NS, heard=True) == ["handshake_too_slow"]


def test_a_silent_client_is_asked_once_and_then_disconnected() -> None:
    life = Life()
    assert life.run(wire_limits.KEEPALIVE_NS - SECOND_NS) == []
    assert life.run(wire_limits.KEEPALIVE_ANSWER_NS_MAX) == ["ping"]
    assert life.run(SECOND_NS) == ["silent"]


def test_a_client_that_answers_is_asked_again_after_the_next_silence() -> None:
    life = Life()
    assert life.run(wire_limits.KEEPALIVE_NS) == ["ping"]
    assert life.run(SECOND_NS, heard=True) == []
    assert life.run(wire_limits.KEEPALIVE_NS) == ["ping"]


def test_a_connection_without_calls_is_ended_in_order() -> None:
    life = Life()
    assert life.run(wire_limits.CONNECTION_IDLE_NS_MAX - SECOND_NS, heard=True) == []
    assert life.run(SECOND_NS, heard=True) == ["idle"]


def test_a_connection_with_calls_is_not_idle_but_ages() -> None:
    life = Life()
    young_ns = int(wire_limits.CONNECTION_AGE_NS_MAX * 0.89)
    assert life.run(young_ns, heard=True, calls_count=1) == []
    old = life.run(wire_limits.CONNECTION_AGE_NS_MAX // 4, heard=True, calls_count=1)
    assert set(old) == {"age"}


def test_connections_of_one_moment_do_not_age_at_the_same() -> None:
    ages = set()
    for _ in range(10):
        life = Life()
        count = 0
        while life.lifetime.check(life.now_ns, calls_count=1, taken_size_bytes=-1) != "age":
            life.now_ns += 60 * SECOND_NS
            life.lifetime.heard = True
            count += 1
        ages.add(count)
    assert len(ages) > 1


def test_a_reader_that_stops_is_disconnected_and_a_slow_one_is_not() -> None:
    life = Life()
    for left in range(200, 0, -1):
        assert life.run(SECOND_NS, heard=True, taken=left) == []
    assert life.run(wire_limits.READER_STOPPED_NS_MAX, heard=True, taken=1) == ["reader_stopped"]


def test_pings_are_counted_when_they_come_early_and_forgiven_with_a_reply() -> None:
    life = Life()
    for _ in range(10):
        assert not life.lifetime.take_ping(life.now_ns)
        life.now_ns += wire_limits.PING_INTERVAL_NS_MIN
    strikes = [
        life.lifetime.take_ping(life.now_ns) for _ in range(wire_limits.PING_STRIKES_MAX + 2)
    ]
    assert strikes == [False] * (wire_limits.PING_STRIKES_MAX + 1) + [True]
    life.lifetime.ping_strikes_count = 0
    assert not life.lifetime.take_ping(life.now_ns)
