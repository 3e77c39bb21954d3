"""Runs a bulk load: progress while it runs, and its report at the end."""

from dataclasses import replace
from pathlib import Path
from typing import Final

from instanter.cli.failures import CommandError
from instanter.cli.output import (
    count_of,
    make_console,
    make_table,
    print_json,
    print_note,
    show_names,
)
from instanter.cli.progress import show_progress
from instanter.cli.store_access import check_store, load_schema, make_block_writer, open_to_write
from instanter.clock import SystemClock
from instanter.data.load import LoadProgress, LoadReport
from instanter.data.load import load_customers as load_file

_REJECTIONS_SHOWN: Final = 20


def load_customers(
    file: Path,
    folder: Path,
    *,
    key_column: str,
    rejects: Path | None,
    ignore_unknown_columns: bool,
    as_json: bool,
) -> None:
    """Load a file into the store in `folder` and show what was done.

    Raises
    ------
    CommandError
        When rows were rejected, after the report; or when there is no catalogue.
    InstanterError
        When the file, the store or the disk refuses.
    """
    check_store(folder)
    clock = SystemClock()
    start_ns = clock.monotonic_ns()
    with (
        open_to_write(folder, clock) as store,
        show_progress(f"loading {file.name}", "rows", clock) as tell,
    ):

        def on_progress(progress: LoadProgress) -> None:
            rate = progress.done_rate
            tell(progress.row_count, round(progress.row_count / rate) if rate else 0)

        schema = load_schema(store.readable)
        report = load_file(
            file,
            key_column,
            schema,
            make_block_writer(store, schema),
            progress=on_progress,
            rejects=rejects,
            ignore_unknown_columns=ignore_unknown_columns,
        )
    # A batch is checked column by column; people read by row.
    in_order = sorted(report.rejections, key=lambda each: each.row)
    report = replace(report, rejections=tuple(in_order))
    if as_json:
        print_json(report)
    else:
        _show(report, (clock.monotonic_ns() - start_ns) / 1e9)
    if report.rejected_row_count:
        raise CommandError(
            f"{report.rejected_row_count:,} of {count_of(report.row_count, 'row')} rejected, "
            f"{report.loaded_count:,} loaded",
            hint=(
                f"{rejects} has every rejected value"
                if rejects
                else "--rejects FILE writes every rejected value to a file"
            ),
        )


def _show(report: LoadReport, seconds: float) -> None:
    console = make_console()
    if report.rejections:
        table = make_table("row", "column", "value", "reason", right=("row",))
        for each in report.rejections[:_REJECTIONS_SHOWN]:
            table.add_row(f"{each.row:,}", each.column, each.value, each.reason)
        console.print(table)
        left_out = report.rejection_count - min(len(report.rejections), _REJECTIONS_SHOWN)
        if left_out:
            console.print(f"… and {left_out:,} more rejected values")
    if report.attributes_absent:
        print_note(
            f"note: {count_of(len(report.attributes_absent), 'attribute')} without a column in "
            f"the file, so the values stay: {show_names(report.attributes_absent)}"
        )
    if report.columns_ignored:
        print_note(
            f"note: {count_of(len(report.columns_ignored), 'column')} skipped, no attribute's: "
            f"{show_names(report.columns_ignored)}"
        )
    console.print(
        f"Loaded {count_of(report.loaded_count, 'customer')} ({report.created_count:,} new, "
        f"{report.updated_count:,} updated) with "
        f"{count_of(report.attributes_loaded_count, 'attribute')} in {seconds:.1f} s.",
        style="bold",
    )
