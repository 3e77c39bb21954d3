"""Hotlists between files, standard input, tables and the server."""

import re
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final

from instanter.card_data import holds_card_number
from instanter.cli.context_values import KINDS
from instanter.cli.failures import CommandError
from instanter.cli.output import (
    count_of,
    make_console,
    make_plain,
    make_table,
    print_json,
    print_json_line,
    show_value,
)
from instanter.cli.progress import show_progress
from instanter.cli.standard_streams import open_input
from instanter.client import (
    Client,
    HotlistCounts,
    HotlistEntry,
    HotlistReplacement,
    InvalidRequestError,
    PreconditionError,
)
from instanter.clock import SystemClock
from instanter.errors import show

_COLUMNS: Final = ("id", "reason", "source", "expire_time")
_BATCH: Final = 1_000
_FIELD: Final = re.compile(r"hotlist_entries\[(?P<index>\d+)\]\.(?P<field>\w+)")
_SHRINKS: Final = "HOTLIST_SHRINKS"


def load_hotlist(
    client: Client, hotlist: str, file: Path, *, allow_shrink: bool
) -> HotlistReplacement:
    """Replace a list with the entries of a file, and return how long both are.

    Raises
    ------
    CommandError
        The file is no list, was cut, or the new list is too short; or the server refuses an entry:
        its row is named.
    """
    read_count = sent_count = 0

    def read() -> Iterator[HotlistEntry]:
        nonlocal read_count
        for entry in read_entries(file):
            read_count += 1
            yield entry

    with show_progress(f"loading {file.name}", "entries", SystemClock()) as tell:

        def on_block(count: int) -> None:
            nonlocal sent_count
            sent_count = read_count
            tell(count, 0)

        try:
            return client.fraud.replace_hotlist(
                hotlist, read(), allow_shrink=allow_shrink, on_block=on_block
            )
        except InvalidRequestError as error:
            found = _FIELD.match(error.message)
            if found is None:
                raise
            # The server knows the place in the block that it was sent, and no more.
            row = sent_count + int(found["index"]) + 1
            column = "id" if found["field"] == "name" else found["field"]
            told = error.message[found.end() :]
            raise CommandError(f"{file}: row {row}: {column}{told}; nothing was changed") from error
        except PreconditionError as error:
            if error.reason != _SHRINKS:
                raise
            raise CommandError(
                error.message, hint="if the file is right, say so with --allow-shrink"
            ) from error


def read_entries(file: Path) -> Iterator[HotlistEntry]:
    """Yield the entries of a CSV or Parquet file.

    A CSV file that does not end with a line end was cut: its last entry may be half of one.

    Raises
    ------
    CommandError
        It is no list, or was cut.
    """
    import pyarrow as pa

    row = 0
    try:
        for batch in _open_batches(file):
            names = _find_columns(batch.schema.names, file)
            columns = [batch.column(name).to_pylist() for name in names]
            for values in zip(*columns, strict=True):
                row += 1
                yield _make_entry(dict(zip(names.values(), values, strict=True)), file, row)
    except (pa.ArrowException, EOFError) as error:
        reason = _show_found(" ".join(str(error).split()))
        raise CommandError(f"{file}: it is no list, or was cut: {reason}") from None


def _open_batches(file: Path) -> Iterator[Any]:
    """Yield the file's rows as batches of columns; everything of CSV is text."""
    import pyarrow as pa
    import pyarrow.csv as pa_csv
    import pyarrow.parquet as pq

    with file.open("rb") as opened:
        if opened.read(4) == b"PAR1":
            yield from pq.ParquetFile(file).iter_batches(_BATCH)
            return
    stream = pa.input_stream(str(file), compression="gzip" if file.suffix == ".gz" else None)
    with stream:
        text = stream.read()
    if text and not text.endswith(b"\n"):
        raise CommandError(
            f"{file}: it does not end with a line end, so it was cut; nothing was changed"
        )
    # What editors and spreadsheets write before the first name is no part of it.
    text = text.removeprefix(BOM_UTF8).lstrip()
    head = text.split(b"\n", 1)[0].decode("utf-8", "replace")
    names = [name.strip().strip('"').strip() for name in head.split(",")]
    has_head = any(name in _COLUMNS for name in names)
    if not has_head:
        names = [f"column {n}" for n in range(len(names))]
    table = pa_csv.read_csv(
        pa.BufferReader(text),
        read_options=pa_csv.ReadOptions(column_names=names, skip_rows=int(has_head)),
        convert_options=pa_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
        ),
    )
    yield from table.to_batches(_BATCH)


def _find_columns(names: Sequence[str], file: Path) -> dict[str, str]:
    """Return what each column means.

    Raises
    ------
    CommandError
        There is no `id`, or a column that means nothing here: it may be one whose name is misspelt.
    """
    meanings = {name: name.strip() for name in names}
    if len(names) == 1 and not set(meanings.values()).intersection(_COLUMNS):
        return {names[0]: "id"}
    unknown = [name for name in meanings.values() if name not in _COLUMNS]
    if unknown or "id" not in meanings.values() or len(set(meanings.values())) < len(names):
        about = f"; {_show_found(', '.join(map(show, unknown)))} is none of them" if unknown else ""
        raise CommandError(
            f"{file}: it has the columns {_show_found(', '.join(meanings.values()))}; expected "
            f"`id`, and any of {', '.join(_COLUMNS[1:])}, each once{about}; nothing was changed"
        )
    return meanings


def _make_entry(values: dict[str, Any], file: Path, row: int) -> HotlistEntry:
    plain = {name: _strip(value) for name, value in values.items()}
    if plain["id"] is None or plain["id"] == "":
        raise CommandError(f"{file}: row {row} has no id; nothing was changed")
    return HotlistEntry(
        str(plain["id"]),
        str(plain.get("reason") or ""),
        str(plain.get("source") or ""),
        _read_end(plain.get("expire_time"), file, row),
    )


def _strip(value: Any) -> Any:
    """Return a value without blanks around it: an entry that has some stops nobody."""
    if not isinstance(value, str):
        return value
    plain = value.strip()
    # Behind a blank quotes are no quotes to whoever reads CSV.
    if plain != value and len(plain) > 1 and plain[0] == plain[-1] == '"':
        return plain[1:-1].strip()
    return plain


def _show_found(text: str) -> str:
    """Return what was found in a file as errors show it: never with a card number in it."""
    return "(not shown: a card number)" if holds_card_number(text) else text


def _read_end(value: Any, file: Path, row: int) -> datetime | None:
    if value is None or value == "":
        return None
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    found = KINDS["instant"](value) if isinstance(value, str) else None
    if not isinstance(found, datetime):
        raise CommandError(
            f"{file}: row {row}: expire_time {_show_found(show(value))} is not right; expected an "
            "RFC 3339 instant; nothing was changed"
        )
    return found


def read_ids(given: Iterable[str]) -> Iterator[str]:
    """Yield ids as given; `-` stands for the lines of standard input, up to a tab each."""
    for each in given:
        if each != "-":
            yield each
            continue
        for line in open_input():
            if line.strip():
                yield line.strip().partition("\t")[0]


def add_entries(client: Client, hotlist: str, entries: Iterable[HotlistEntry]) -> HotlistCounts:
    """Put entries on a list, a thousand at a time, and return how many were new."""
    rest = iter(entries)
    created_count = existing_count = 0
    while batch := list(islice(rest, _BATCH)):
        counts = client.fraud.add_all_to_hotlist(hotlist, batch)
        created_count += counts.created_count
        existing_count += counts.existing_count
    return HotlistCounts(created_count, existing_count)


def show_hotlist(client: Client, hotlist: str, *, every: bool, as_json: bool) -> None:
    """Write a list to standard output."""
    page = client.fraud.list_hotlist_page(hotlist)
    if every and as_json:
        for entry in client.fraud.list_hotlist(hotlist):
            print_json_line(entry)
        return
    if as_json:
        print_json(page)
        return
    entries = client.fraud.list_hotlist(hotlist) if every else page.entries
    table = make_table("id", "reason", "source", "expires", "added")
    for entry in entries:
        table.add_row(
            entry.id,
            entry.reason,
            entry.source,
            show_value(entry.expire_time),
            show_value(entry.create_time),
        )
    console = make_console()
    console.print(table)
    since = f", since {make_plain(page.update_time)}" if page.update_time else ""
    console.print(f"{hotlist}: {count_of(page.entry_count, 'entry')}{since}", style="dim")
