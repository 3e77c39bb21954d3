"""When it is folded: before a replay of what is not would take too long."""

from pathlib import Path

import pytest

from instanter.keeper import folding
from instanter.keeper.records import RecordKind
from instanter.keeper.replay import estimate_replay_ns
from instanter.store.log.frames import LogPosition, LogRecord
from tests.api.waiting import wait_until
from tests.keeper.desk import Desk, open_desk


def is_folded(desk: Desk) -> bool:
    return desk.kept.state.folded_sequence() == desk.kept.state.applied_sequence()


def test_it_is_folded_as_soon_as_a_replay_would_take_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding, "FOLD_REPLAY_NS", 2_000_000)
    with open_desk(tmp_path / "store") as desk:
        desk.publish()
        for value in range(10):
            desk.put("anna", value).result(20)
        assert not is_folded(desk)
        assert not desk.keeper._folder._is_much
        futures = [desk.put("bert", value) for value in range(100)]
        assert all(future.result(20) for future in futures)
        wait_until(lambda: is_folded(desk), "it is folded")
        desk.put("anna", 11).result(20)
        folder = desk.keeper._folder
        # What came while it folded counts until the next fold.
        wait_until(lambda: not folder._is_much, "it begins anew with each fold")


def test_a_tail_that_was_replayed_is_folded_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever replaces a keeper that is killed again and again must not replay ever more."""
    monkeypatch.setattr(folding.Folder, "_try_fold", lambda _: None)
    with open_desk(tmp_path / "store") as desk:
        desk.publish()
        for value in range(100):
            desk.put(f"c{value}").result(20)
    monkeypatch.undo()
    monkeypatch.setattr(folding, "FOLD_REPLAY_NS", 2_000_000)
    with open_desk(tmp_path / "store") as desk:
        wait_until(lambda: is_folded(desk), "it is folded")


@pytest.mark.parametrize(
    ("kind", "size_bytes", "low_us", "high_us"),
    [
        (RecordKind.EVENTS, 150, 8, 30),
        (RecordKind.EVENTS, 12_000, 400, 1_500),
        (RecordKind.ASSESSMENTS, 600, 30, 100),
        (RecordKind.DECISIONS, 2_650, 18, 250),
        (RecordKind.STOCK_MOVEMENTS, 11_800, 900, 3_000),
    ],
)
def test_a_replay_takes_about_what_was_measured(
    kind: RecordKind, size_bytes: int, low_us: float, high_us: float
) -> None:
    """Of records of real loads: what each took, and at most three times as much or so."""
    record = LogRecord(1, 1, kind, bytes(size_bytes), LogPosition(1, 0))
    assert low_us < estimate_replay_ns(record) / 1e3 < high_us
