"""A command that is alone is written before it is applied: what if that does not go well."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lmdb
import pytest

from instanter.errors import ExhaustedError, UnavailableError
from instanter.keeper import carrying
from instanter.keeper.commands import ApplyContext
from instanter.keeper.customers import UpdateCustomer
from instanter.keeper.records import RecordKind
from instanter.keeper.syncing import Syncer
from instanter.store.environment import Environment
from instanter.store.log.frames import LogRecord
from instanter.store.log.log import Log
from instanter.store.transaction import Transaction
from tests.keeper.desk import Desk, make_put, open_desk

Spoil = Callable[[str, BaseException], None]
"""Makes applying a customer's record fail, once that is done."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch) -> Spoil:
    left: dict[bytes, BaseException] = {}
    apply = carrying.apply_record

    def apply_and_fail(transaction: Transaction, record: LogRecord, context: ApplyContext) -> Any:
        result = apply(transaction, record, context)
        for name in list(left):
            if name in record.body:
                raise left.pop(name)
        return result

    monkeypatch.setattr(carrying, "apply_record", apply_and_fail)

    def add(name: str, error: BaseException) -> None:
        left[name.encode()] = error

    return add


def list_kinds(desk: Desk) -> list[int]:
    return [record.kind for record in desk.kept.log.read(1)][-3:]


@pytest.mark.parametrize("relaxed", [False, True])
def test_the_disk_begins_before_the_effect(
    folder: Path, monkeypatch: pytest.MonkeyPatch, relaxed: bool
) -> None:
    done: list[str] = []

    def note(owner: Any, name: str) -> None:
        function = getattr(owner, name)

        def call(*given: Any) -> Any:
            done.append(name)
            return function(*given)

        monkeypatch.setattr(owner, name, call)

    with open_desk(folder) as desk:
        desk.publish()
        note(Log, "write_group")
        note(Log, "begin_writing_out")
        note(Syncer, "begin")
        note(carrying, "apply_record")
        desk.put("anna", relaxed=relaxed).result(20)
        on_disk = [] if relaxed else ["begin_writing_out", "begin"]
        assert done == ["write_group", *on_disk, "apply_record"]
        monkeypatch.undo()


def test_what_has_to_be_applied_again_is_written_once(folder: Path, spoil: Spoil) -> None:
    with open_desk(folder) as desk:
        desk.publish()
        spoil("anna", lmdb.MapFullError("the map is full"))
        count = desk.kept.log.next_sequence
        desk.put("anna", 1).result(20)
        assert desk.kept.log.next_sequence == count + 1
        assert desk.get("anna") == 1
        assert desk.kept.state.applied_sequence() == count
    with open_desk(folder) as again:
        assert again.get("anna") == 1


@pytest.mark.parametrize("error", [RuntimeError("a bug"), ExhaustedError("no room", reason="X")])
def test_what_cannot_be_applied_is_taken_back(
    folder: Path, spoil: Spoil, error: BaseException
) -> None:
    with open_desk(folder) as desk:
        desk.publish()
        desk.put("anna", 1).result(20)
        spoil("anna", error)
        refused = desk.put("anna", 2)
        assert refused.exception(20) is error
        last = desk.kept.log.next_sequence - 1
        assert desk.kept.log.synced_sequence >= last, "its caller is told when that is on disk"
        assert list_kinds(desk)[-2:] == [RecordKind.UPDATE_CUSTOMER, RecordKind.VOID]
        assert desk.get("anna") == 1
        desk.put("bert", 3).result(20)
    with open_desk(folder) as again:
        assert (again.get("anna"), again.get("bert")) == (1, 3)


def test_what_is_taken_back_stays_so_where_nothing_can_be_applied(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The overlay's disk is full, so the record that takes back cannot be applied either."""
    with open_desk(folder) as desk:
        desk.publish()
        desk.put("anna", 1).result(20)

        def fail(*_: Any) -> None:
            raise lmdb.MapFullError("the map is full")

        def refuse(_: Environment) -> None:
            raise ExhaustedError("the disk is full", reason="STORE_DISK_FULL")

        with monkeypatch.context() as patch:
            patch.setattr(carrying, "apply_record", fail)
            patch.setattr(Environment, "_grow", refuse)
            for value in (2, 3):
                with pytest.raises(ExhaustedError, match="the disk is full"):
                    desk.put("anna", value).result(20)
        assert desk.get("anna") == 1
        assert not desk.keeper.failed.is_set()
        desk.put("bert", 4).result(20)
        monkeypatch.setattr(type(desk.keeper._folder), "_try_fold", lambda _: None)
    monkeypatch.undo()
    with open_desk(folder) as again:
        assert (again.get("anna"), again.get("bert")) == (1, 4)


def test_what_can_be_neither_applied_nor_taken_back_is_the_keepers_end(
    folder: Path, spoil: Spoil, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_desk(folder) as desk:
        desk.publish()
        desk.put("anna", 1).result(20)
        spoil("anna", RuntimeError("a bug"))
        write_group, written = Log.write_group, []

        def write(log: Log) -> Any:
            written.append(log.next_sequence)
            if len(written) > 1:
                log._group.forget()
                raise ExhaustedError("the disk is full", reason="LOG_DISK_FULL")
            return write_group(log)

        with monkeypatch.context() as patch:
            patch.setattr(Log, "write_group", write)
            with pytest.raises(UnavailableError, match="neither applied nor taken back") as caught:
                desk.put("anna", 2).result(20)
        assert caught.value.reason == "WRITE_UNKNOWN"
        assert desk.keeper.failed.wait(20)
        with pytest.raises(UnavailableError):
            desk.put("bert")
    with open_desk(folder) as again:
        assert again.get("anna") == 2, "the log has it"


def test_a_full_log_leaves_nothing_to_undo(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_desk(folder) as desk:
        desk.publish()
        desk.put("anna", 1).result(20)

        def refuse(log: Log) -> None:
            log._group.forget()
            raise ExhaustedError("the disk is full", reason="LOG_DISK_FULL")

        with monkeypatch.context() as patch:
            patch.setattr(Log, "write_group", refuse)
            patch.setattr(carrying, "replay_tail", None)
            with pytest.raises(ExhaustedError):
                desk.put("anna", 2).result(20)
        assert desk.get("anna") == 1
        desk.put("anna", 3).result(20)
        assert desk.get("anna") == 3


@dataclass(frozen=True)
class Fickle:
    """A command with a mistake of ours: prepared again it wants something else, or nothing."""

    bodies: list[UpdateCustomer | None] = field(default_factory=list)

    @property
    def kind(self) -> RecordKind:
        return RecordKind.UPDATE_CUSTOMER

    def prepare(self, transaction: Transaction, now_ns: int, context: ApplyContext) -> Any:
        body = self.bodies.pop(0)
        if body is None:
            raise ExhaustedError("not any more", reason="X")
        return body.prepare(transaction, now_ns, context)


@pytest.mark.parametrize("second", [make_put("bert", 2), None])
def test_a_command_that_changes_its_mind_is_taken_back(
    folder: Path, spoil: Spoil, second: UpdateCustomer | None
) -> None:
    with open_desk(folder) as desk:
        desk.publish()
        spoil("anna", lmdb.MapFullError("the map is full"))
        fickle = Fickle([make_put("anna", 1), second])
        with pytest.raises(Exception, match="prepared in two ways"):
            desk.keeper.submit(fickle).result(20)
        assert list_kinds(desk)[-2:] == [RecordKind.UPDATE_CUSTOMER, RecordKind.VOID]
        desk.put("cora", 1).result(20)
    with open_desk(folder) as again:
        assert (again.get("anna"), again.get("bert"), again.get("cora")) == (None, None, 1)
