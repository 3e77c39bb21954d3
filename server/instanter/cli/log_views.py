"""Shows the records of a log, and what is wrong with it."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgpack
import typer

from instanter.cli.failures import EXIT_USAGE, CommandError
from instanter.cli.output import count_of, make_plain, print_json, print_json_line
from instanter.errors import nearest, show
from instanter.keeper.records import RecordKind
from instanter.store.log.frames import LogRecord
from instanter.store.log.reading import LogReader
from instanter.store.log.segments import LOG_FOLDER_NAME
from instanter.store.log.survey import Survey

_BINARY_SHOWN_SIZE_BYTES: Final = 16
_BODY_SHOWN_SIZE: Final = 400
"""Characters of a record's content in a line for people; JSON has all of it."""

_START_OF_TIME = datetime(1970, 1, 1, tzinfo=UTC)


def show_log(
    data_folder: str | Path,
    *,
    from_sequence: int | None,
    to_sequence: int | None,
    kind: str | None,
    as_json: bool,
) -> None:
    """Write one line a record to stdout.

    Raises
    ------
    CommandError
        There is no such kind.
    InstanterError
        There is no log, it is damaged, or it does not hold the first record any more.
    """
    wanted = None if kind is None else _read_kind(kind)
    reader = _open(data_folder)
    first = reader.first_sequence() if from_sequence is None else from_sequence
    for record in reader.read(first, to_sequence):
        if wanted is not None and record.kind != wanted:
            continue
        if as_json:
            print_json_line(
                {
                    "sequence": record.sequence,
                    "time": _time_of(record),
                    "kind": _kind_name(record.kind),
                    "size_bytes": len(record.body),
                    "body": _make_readable(_decode(record.body)),
                }
            )
        else:
            typer.echo(_line_of(record))


def verify_log(data_folder: str | Path, *, as_json: bool) -> None:
    """Check a log and write what it holds to stdout.

    Raises
    ------
    CommandError
        Records are lost, after they were listed.
    InstanterError
        There is no log, or it is of a newer version.
    """
    reader = _open(data_folder)
    survey = reader.survey()
    if as_json:
        print_json(_summary_of(survey))
    else:
        _write_summary(survey)
    if survey.holes:
        raise CommandError(
            f"the log in {reader.folder} is damaged in {count_of(len(survey.holes), 'place')}",
            hint="restore the files that are named from a backup",
        )


def _open(data_folder: str | Path) -> LogReader:
    return LogReader.open(Path(data_folder) / LOG_FOLDER_NAME)


def _read_kind(text: str) -> RecordKind:
    name = text.upper().replace("-", "_")
    try:
        return RecordKind[name]
    except KeyError:
        names = [kind.name.lower() for kind in RecordKind]
        close = nearest(text.lower(), names)
        raise CommandError(
            f"--kind: {show(text)} is no kind of record; there are {', '.join(names)}",
            hint=f"did you mean {close!r}?" if close else "",
            exit_code=EXIT_USAGE,
        ) from None


def _kind_name(kind: int) -> str:
    try:
        return RecordKind(kind).name.lower()
    except ValueError:
        return str(kind)


def _time_of(record: LogRecord) -> str:
    """Return a record's time in UTC to the microsecond; a strange one as its nanoseconds."""
    try:
        moment = _START_OF_TIME + timedelta(microseconds=record.time_ns // 1000)
    except OverflowError:
        return f"{record.time_ns} ns"
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _decode(body: bytes) -> Any:
    """Return what a record says; one that is no msgpack is shown as the bytes it is."""
    try:
        return msgpack.unpackb(body, strict_map_key=False, unicode_errors="replace")
    except (ValueError, msgpack.exceptions.UnpackException):
        return body


def _make_readable(value: Any) -> Any:
    """Return a decoded value as JSON has it: binary shortened, keys as text."""
    if isinstance(value, bytes):
        digits = value[:_BINARY_SHOWN_SIZE_BYTES].hex()
        more = "…" if len(value) > _BINARY_SHOWN_SIZE_BYTES else ""
        return f"<{len(value)} bytes {digits}{more}>"
    if isinstance(value, dict):
        return {
            key if isinstance(key, str) else str(_make_readable(key)): _make_readable(each)
            for key, each in value.items()
        }
    if isinstance(value, list | tuple):
        return [_make_readable(each) for each in value]
    if isinstance(value, str | int | float | None):
        return value
    return str(value)


def _line_of(record: LogRecord) -> str:
    body = json.dumps(make_plain(_make_readable(_decode(record.body))), ensure_ascii=False)
    if len(body) > _BODY_SHOWN_SIZE:
        body = body[:_BODY_SHOWN_SIZE] + "…"
    return (
        f"{record.sequence:>9} {_time_of(record)} {_kind_name(record.kind):<17} "
        f"{len(record.body):>7} {body}"
    )


def _summary_of(survey: Survey) -> dict[str, Any]:
    torn = survey.torn
    return {
        "segment_count": len(survey.segments),
        "record_count": survey.record_count,
        "first_sequence": survey.first_sequence,
        "last_sequence": survey.next_sequence - 1,
        "size_bytes": survey.size_bytes,
        "torn": torn
        and {
            "sequence": torn.sequence,
            "file": torn.path.name,
            "offset": torn.position.offset,
            "size_bytes": torn.size_bytes,
        },
        "holes": [
            {
                "lost_sequences": str(hole),
                "file": hole.path.name,
                "offset": hole.offset,
                "what": hole.what,
            }
            for hole in survey.holes
        ],
    }


def _write_summary(survey: Survey) -> None:
    records = count_of(survey.record_count, "record")
    if survey.record_count:
        records += f" ({survey.first_sequence}-{survey.next_sequence - 1})"
    typer.echo(
        f"{records} in {count_of(len(survey.segments), 'segment')}, {survey.size_bytes:,} bytes"
    )
    if survey.torn is not None:
        torn = survey.torn
        typer.echo(
            f"interrupted write of record {torn.sequence} at the end: {torn.size_bytes:,} bytes in "
            f"{torn.path.name} at byte {torn.position.offset:,}; the next start cuts it off"
        )
    for hole in survey.holes:
        typer.echo(f"lost: {hole}: {hole.what} in {hole.path.name} at byte {hole.offset:,}")
    if not survey.holes:
        typer.echo("Nothing is lost.")
