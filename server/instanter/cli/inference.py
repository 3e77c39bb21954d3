"""Writes the first attributes.yaml from a file's columns."""

from collections import Counter
from pathlib import Path

import typer

from instanter.catalogue.attributes_yaml import format_attributes
from instanter.cli.failures import CommandError
from instanter.cli.output import count_of, print_note
from instanter.data.infer import infer_schema


def infer(
    file: Path,
    *,
    key_column: str | None,
    exclude: list[str],
    target: Path | None,
    force: bool,
) -> None:
    """Infer the attributes of a file and write them to `target`, or to stdout when it is None.

    Raises
    ------
    CommandError
        When the target exists already and `force` is false, or is no plain file.
    InstanterError
        When the file cannot be read, or lacks a named column.
    """
    if target is not None and target.exists() and not force:
        raise CommandError(
            f"{target}: exists already", hint="--force overwrites it, with all that was edited"
        )
    if target is not None and target.exists() and not target.is_file():
        # A draft takes the place of the target: never that of a pipe or of /dev/stdout.
        raise CommandError(
            f"{target}: is no plain file", hint="without -o it is written to standard output"
        )
    attributes = infer_schema(
        file, key_column, exclude, warn=lambda text: print_note(f"note: {text}")
    )
    text = format_attributes(attributes)
    if target is None:
        typer.echo(text, nl=False)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.draft")
    draft.write_text(text, encoding="utf-8")
    draft.replace(target)
    kinds = Counter(attribute.kind.name.lower() for attribute in attributes)
    counted = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common())
    print_note(f"{target}: {count_of(len(attributes), 'attribute')} ({counted})")
    print_note(f"What next: look through it, then `instanter apply -f {target.parent} --dry-run`.")
