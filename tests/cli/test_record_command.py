"""`instanter record events`: what is sent, and that every mistake is named with its line."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from instanter.cli import recording
from tests.cli.outcomes import Command
from tests.client.toy_server import ToyServer, refuse

EVENT = {"event_id": "e1", "customer": "c-1", "kind": "purchase"}


@pytest.fixture
def asked(command: Command, toy: ToyServer, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("INSTANTER_SERVER", toy.address)
    return command


def write(*lines: Any) -> Path:
    path = Path("events.jsonl")
    texts = (line if isinstance(line, str) else json.dumps(line) for line in lines)
    path.write_text("\n".join(texts) + "\n")
    return path


def test_events_arrive_and_count_once(asked: Command, toy: ToyServer) -> None:
    fields = {"amount": 12, "online": True, "department": "food", "at": "2026-11-22T12:00:00Z"}
    file = write(
        {**EVENT, "event_time": "2026-11-22T13:00:00+01:00", "fields": fields},
        "",
        EVENT | {"event_id": "e2"},
    )
    outcome = asked("record", "events", file)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == "2 events recorded, 0 had been before\n"
    first = toy.seen[0].events[0]
    assert first.customer == "customers/c-1"
    assert first.event_time.ToJsonString() == "2026-11-22T12:00:00Z"
    kinds = {name: value.WhichOneof("kind") for name, value in first.fields.items()}
    assert kinds == {
        "amount": "number_value",
        "online": "flag_value",
        "department": "category_value",
        "at": "instant_value",
    }
    again = asked("record", "events", file, "--json", "--relaxed")
    assert json.loads(again.out) == {"recorded_count": 0, "duplicate_count": 2}
    assert [request.durability for request in toy.seen] == [1, 2]


def test_long_files_are_sent_in_batches(
    asked: Command, toy: ToyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "EVENTS_BATCH_MAX", 10)
    file = write(*(EVENT | {"event_id": f"e{n}"} for n in range(25)))
    assert asked("record", "events", file).out.startswith("25 events recorded")
    assert [len(request.events) for request in toy.seen] == [10, 10, 5]


def test_what_the_server_refuses_is_named_with_its_line(
    asked: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "EVENTS_BATCH_MAX", 2)
    events = [EVENT | {"event_id": f"e{n}"} for n in range(6)]
    outcome = asked("record", "events", write(*events[:3], "", events[3] | {"kind": "visit"}))
    assert outcome.code == 1
    assert "events.jsonl:5: kind: it is not right; expected 'purchase'" in outcome.err
    assert "2 events before its batch are recorded" in outcome.err
    conflict = asked("record", "events", write(events[4], events[0] | {"customer": "other"}))
    assert "events.jsonl:2: event_id: taken" in conflict.err


def test_an_end_in_the_middle_says_what_is_recorded(
    asked: Command, toy: ToyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "EVENTS_BATCH_MAX", 2)
    events = [EVENT | {"event_id": f"e{n}"} for n in range(4)]
    outcome = asked("record", "events", write(*events, "{"))
    assert outcome.err == (
        "error: events.jsonl:5: '{' is no JSON: Expecting property name enclosed in double quotes:"
        " line 2 column 1 (char 2)\n"
        "  hint: 4 events before its batch are recorded; mend the line and run it again: they count"
        " once\n"
    )
    # What had been recorded before is recorded, too.
    assert "4 events before its batch" in asked("record", "events", write(*events, "{")).err


def test_a_server_that_goes_in_the_middle_says_what_is_recorded(
    asked: Command, toy: ToyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "EVENTS_BATCH_MAX", 2)

    def interrupt(request: Any, context: Any) -> None:
        if len(toy.seen) > 1:
            refuse(context, "RESOURCE_EXHAUSTED", "the disk is full", "DISK_FULL")

    toy.interrupt = interrupt
    outcome = asked("record", "events", write(*(EVENT | {"event_id": f"e{n}"} for n in range(4))))
    assert outcome.code == 1
    assert outcome.err == (
        "error: the disk is full\n"
        "  hint: 2 events before its batch are recorded; run it again: they count once\n"
    )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "'{' is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("\0", "is no JSON"),
        ("[1]", "'[1]' is no event; expected a JSON object"),
        ("3", "'3' is no event"),
        ({"customer": "c", "kind": "k"}, "event_id: 'nothing' is not right"),
        (EVENT | {"kind": 3}, "kind: '3' is not right; expected a text"),
        (EVENT | {"customer": ""}, "customer: '' is not right"),
        (
            EVENT | {"costumer": "c"},
            "'costumer' is nothing that an event has; did you mean 'customer'",
        ),
        (EVENT | {"fields": [1]}, "fields: '[1]' is not right; expected an object"),
        (EVENT | {"fields": {"a": [1]}}, "fields[\"a\"]: '[1]' is not right"),
        (EVENT | {"fields": {"a": 1 << 70}}, 'fields["a"]: '),
        (
            EVENT | {"event_time": "yesterday"},
            "event_time: 'yesterday' is not right; expected an RFC",
        ),
        (EVENT | {"customer": "\ud800"}, r"customer: '\ud800' is not right; expected a text that"),
        (EVENT | {"kind": "\ud800"}, r"kind: '\ud800' is not right"),
        (EVENT | {"fields": {"\udfff": 1}}, r"fields: '\udfff' is not right"),
        (EVENT | {"fields": {"a": "x\udfff"}}, r"""fields["a"]: 'x\udfff' is not right"""),
        (EVENT | {"event_time": 3}, "event_time: '3' is not right"),
        ("x" * (1 << 21), "the line has more than 1,048,576 bytes"),
        (
            '{"event_id": "e1", "customer": "a", "kind": "k", "customer": "b"}',
            "'customer' stands there twice, with 'a' and 'b'; expected it once",
        ),
        (
            '{"event_id": "e1", "customer": "a", "kind": "k", "fields": {"n": 1, "n": 2}}',
            "'n' stands there twice, with '1' and '2'",
        ),
        (EVENT | {"fields": {"n": float("nan")}}, "'NaN' is no number of JSON"),
        ('{"fields": {"n": 1_000}}', "is no JSON"),
    ],
)
def test_a_line_that_is_no_event_is_named(
    asked: Command, toy: ToyServer, line: Any, words: str
) -> None:
    outcome = asked("record", "events", write(EVENT, line, EVENT))
    assert outcome.code == 1
    assert f"events.jsonl:2: {words}" in outcome.err or words in outcome.err
    assert "events.jsonl:2: " in outcome.err
    assert outcome.err.count("\n") <= 2
    assert toy.seen == []


def test_a_file_that_is_not_there_is_named(asked: Command) -> None:
    outcome = asked("record", "events", "nowhere.jsonl")
    assert (outcome.code, outcome.err) == (1, "error: nowhere.jsonl: No such file or directory\n")
    assert asked("record", "events", ".").code == 1


def test_events_are_read_from_standard_input(
    asked: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = io.TextIOWrapper(io.BytesIO(json.dumps(EVENT).encode()))
    monkeypatch.setattr(sys, "stdin", lines)
    assert asked("record", "events", "-").out.startswith("1 event recorded")
