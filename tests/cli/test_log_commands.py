"""`instanter log show` and `verify`, on a log that is being written."""

import json
from collections.abc import Iterator
from pathlib import Path

import msgpack
import pytest

from instanter.keeper.records import RecordKind
from instanter.store.log.log import Log
from tests.cli.outcomes import Command
from tests.store.log.logs import Opener

START_NS = 1_700_000_000_123_456_789


@pytest.fixture
def log() -> Iterator[Log]:
    """A log that is open, with six records."""
    with Opener(Path("store/log"))() as log:
        for number in range(3):
            body = {"customer": f"c-{number}", "mark": bytes(range(40)), 7: [1.5, None, "Zürich"]}
            log.append(RecordKind.EVENTS, START_NS + number, msgpack.packb(body))
        log.append(RecordKind.TICK, START_NS + 10, b"")
        log.append(999, START_NS + 11, b"\xc1 no msgpack")
        log.append(RecordKind.LOAD_BLOCK, START_NS + 12, msgpack.packb(["row"] * 500))
        log.write_group()
        yield log


def test_records_are_shown_one_a_line_beside_the_writer(command: Command, log: Log) -> None:
    outcome = command("log", "show", "--data", "store")
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert [line.split()[0] for line in lines] == ["1", "2", "3", "4", "5", "6"]
    assert lines[0].split()[1:4] == ["2023-11-14T22:13:20.123456Z", "events", "81"]
    assert '"customer": "c-0", "mark": "<40 bytes 000102030405060708090a0b0c0d0e0f…>"' in lines[0]
    assert "Zürich" in lines[0]
    assert "<0 bytes >" in lines[3]
    assert lines[4].split()[2] == "999"
    assert len(lines[5]) < 500
    assert lines[5].endswith("…")


def test_records_are_picked_by_sequence_and_kind(command: Command, log: Log) -> None:
    def shown(*options: str) -> list[int]:
        outcome = command("log", "show", "--data", "store", "--json", *options)
        assert outcome.code == 0, outcome.err
        return [json.loads(line)["sequence"] for line in outcome.out.splitlines()]

    assert shown("--from", "2", "--to", "4") == [2, 3, 4]
    assert shown("--kind", "events") == [1, 2, 3]
    assert shown("--kind", "LOAD-BLOCK") == [6]
    assert shown("--from", "9") == []
    wrong = command("log", "show", "--data", "store", "--kind", "event")
    assert wrong.code == 2
    assert "'event' is no kind of record" in wrong.err
    assert "did you mean 'events'?" in wrong.err


def test_a_record_as_json_has_all_of_it(command: Command, log: Log) -> None:
    outcome = command("log", "show", "--data", "store", "-o", "json")
    lines = [json.loads(line) for line in outcome.out.splitlines()]
    assert lines[1] == {
        "sequence": 2,
        "time": "2023-11-14T22:13:20.123456Z",
        "kind": "events",
        "size_bytes": 81,
        "body": {
            "customer": "c-1",
            "mark": "<40 bytes 000102030405060708090a0b0c0d0e0f…>",
            "7": [1.5, None, "Zürich"],
        },
    }
    assert lines[5]["body"] == ["row"] * 500


def test_a_whole_log_is_verified(command: Command, log: Log) -> None:
    outcome = command("log", "verify", "--data", "store")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == "6 records (1-6) in 1 segment, 4,096 bytes\nNothing is lost.\n"
    summary = json.loads(command("log", "verify", "--data", "store", "--json").out)
    assert summary == {
        "segment_count": 1,
        "record_count": 6,
        "first_sequence": 1,
        "last_sequence": 6,
        "size_bytes": 4096,
        "torn": None,
        "holes": [],
    }


def test_an_interrupted_write_is_no_loss(command: Command, log: Log) -> None:
    file = Path("store/log/00000000000000000001.log")
    whole = file.read_bytes()
    file.write_bytes(whole[:2500].ljust(4096, b"\0"))
    outcome = command("log", "verify", "--data", "store")
    assert outcome.code == 0
    assert "interrupted write of record 6 at the end: " in outcome.out
    assert outcome.out.endswith("the next start cuts it off\nNothing is lost.\n")
    shown = command("log", "show", "--data", "store")
    assert shown.code == 0
    assert len(shown.out.splitlines()) == 5
    assert file.read_bytes() == whole[:2500].ljust(4096, b"\0"), "nothing is changed"


def test_a_hole_is_listed_and_refused(command: Command, log: Log) -> None:
    log.sync()
    log.append(1, 1, b"knows that the others were on disk")
    log.write_group()
    file = Path("store/log/00000000000000000001.log")
    damaged = bytearray(file.read_bytes())
    damaged[184 + 40] ^= 4
    file.write_bytes(damaged)
    outcome = command("log", "verify", "--data", "store")
    assert outcome.code == 1
    assert f"lost: 2: damaged frame in {file.name} at byte 184\n" in outcome.out
    assert "6 records (1-7) in 1 segment" in outcome.out
    assert "error: the log in store/log is damaged in 1 place" in outcome.err
    as_json = command("log", "verify", "--data", "store", "--json")
    assert as_json.code == 1
    assert json.loads(as_json.out)["holes"] == [
        {"lost_sequences": "2", "file": file.name, "offset": 184, "what": "damaged frame"}
    ]
    shown = command("log", "show", "--data", "store")
    assert shown.code == 1
    assert len(shown.out.splitlines()) == 1
    assert "lost records: 2; " in shown.err


@pytest.mark.parametrize("size_bytes", [2500, 184])
def test_a_file_that_was_cut_is_damage_to_whoever_reads_to_its_end(
    command: Command, log: Log, size_bytes: int
) -> None:
    file = Path("store/log/00000000000000000001.log")
    file.write_bytes(file.read_bytes()[:size_bytes])
    for verb in ("verify", "show"):
        outcome = command("log", verb, "--data", "store")
        assert outcome.code == 1
        assert "and all later" in outcome.out + outcome.err
    lines = outcome.out.splitlines()
    assert f"lost records: {len(lines) + 1} and all later; " in outcome.err
    assert f"at byte {size_bytes:,} (file cut off); restore" in outcome.err
    before = command("log", "show", "--data", "store", "--to", "1")
    assert (before.code, before.err) == (0, "")


def test_a_folder_without_a_log_is_told(command: Command) -> None:
    for verb in ("show", "verify"):
        outcome = command("log", verb, "--data", "stroe")
        assert outcome.code == 1
        assert outcome.err == "error: stroe/log: there is no log in this folder\n"
    assert not Path("stroe").exists()
