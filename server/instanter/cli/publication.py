"""Publishes a catalogue through a server or into a store, and shows what that changed.

Only what publishes by itself imports the compiler and the kernels: asking a server needs neither.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from instanter.cli.configuration import Configuration
from instanter.cli.failures import CommandError
from instanter.cli.output import make_console, print_note
from instanter.cli.server_connection import connect
from instanter.client import (
    Catalogue,
    CatalogueAction,
    CatalogueChange,
    CatalogueInvalidError,
    FieldChange,
    Publication,
)
from instanter.clock import SystemClock

if TYPE_CHECKING:
    from instanter.catalogue.changes import Change
    from instanter.catalogue.compiled import CompiledCatalogue

_SIGNS: Final = {
    CatalogueAction.CREATE: ("+", "green"),
    CatalogueAction.UPDATE: ("~", "yellow"),
    CatalogueAction.DELETE: ("-", "red"),
}
_WORDS: Final = {
    CatalogueAction.CREATE: "created",
    CatalogueAction.UPDATE: "updated",
    CatalogueAction.DELETE: "deleted",
}
_SHOWN_MAX: Final = 300
"""Changes that are shown: a first catalogue with stock has 60,000, which nobody reads."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def publish_to_server(
    files: dict[str, str],
    configuration: Configuration,
    *,
    dry_run: bool,
    expected_revision: int | None,
) -> Publication:
    """Publish through a server.

    Raises
    ------
    instanter.errors.CatalogueInvalidError
        With every mistake.
    CommandError
        For every other refusal.
    """
    with connect(configuration) as client:
        try:
            return client.apply_catalogue(
                files, validate_only=dry_run, expected_revision=expected_revision
            )
        except CatalogueInvalidError as error:
            # A server's answer has room for about ten mistakes (it travels in HTTP/2 trailers),
            # and not for their parts: find them again here. Only a mistake against the catalogue
            # in force, a changed kind for example, is not found without that one.
            from instanter.keeper.compiler import LocalCompiler

            LocalCompiler().compile(files, None, revision=1, publish_time_ns=0)
            raise CommandError(_join_violations(error)) from error


def _join_violations(error: CatalogueInvalidError) -> str:
    mistakes = "".join(f"\n  {each.description}" for each in error.violations)
    left_out = error.metadata.get("violations_left_out_count")
    more = f"\n  … and {left_out} more" if left_out else ""
    return f"the catalogue has mistakes; nothing was published{mistakes}{more}"


def publish_to_store(
    files: dict[str, str], folder: Path, *, dry_run: bool, expected_revision: int | None
) -> Publication:
    """Publish into the store in `folder`, with or without a server running on it.

    Raises
    ------
    InstanterError
        CatalogueInvalidError with every mistake, ConflictError when another revision than the
        expected one is in force, and what the store refuses.
    """
    from instanter.cli.store_access import open_to_write
    from instanter.keeper.compiler import LocalCompiler
    from instanter.keeper.published import PublishedCatalogue
    from instanter.keeper.publishing import CataloguePublisher

    clock = SystemClock()
    if dry_run and not folder.exists():
        # Trying leaves nothing behind, not even an empty store.
        compiled = LocalCompiler().compile(files, None, revision=1, publish_time_ns=0)
        return _describe(None, compiled.changes, compiled.warnings)
    with open_to_write(folder, clock) as store:
        publisher = CataloguePublisher(
            store.readable,
            compiler=LocalCompiler(),
            submit=store.submit,
            published=PublishedCatalogue(),
            clock=clock,
        )
        done = publisher.apply(
            files,
            validate_only=dry_run,
            expected_revision=expected_revision,
            deadline_ns=None,
        )
    return _describe(done.catalogue, done.changes, done.warnings)


def _describe(
    catalogue: "CompiledCatalogue | None", changes: "Iterable[Change]", warnings: tuple[str, ...]
) -> Publication:
    return Publication(
        catalogue=_describe_catalogue(catalogue),
        changes=tuple(
            CatalogueChange(
                action=CatalogueAction[change.action.name],
                resource=change.resource,
                fields=tuple(
                    FieldChange(each.field, each.old_value, each.new_value)
                    for each in change.fields
                ),
            )
            for change in changes
        ),
        warnings=warnings,
    )


def _describe_catalogue(catalogue: "CompiledCatalogue | None") -> Catalogue:
    if catalogue is None:
        return Catalogue(0, None, 0, 0, 0, {})
    return Catalogue(
        revision=catalogue.revision,
        publish_time=_EPOCH + timedelta(microseconds=catalogue.publish_time_ns // 1_000),
        schema_revision=catalogue.schema.revision,
        attribute_count=len(catalogue.schema.attributes),
        offer_count=len(catalogue.offers),
        files={},
    )


def show(published: Publication, *, dry_run: bool) -> None:
    """Show the differences and the revision."""
    console = make_console()
    for change in published.changes[:_SHOWN_MAX]:
        sign, style = _SIGNS.get(change.action, ("?", ""))
        console.print(f"{sign} {change.resource}", style=style)
        for field in change.fields:
            if field.old_value:
                console.print(f"    - {field.field}: {field.old_value}", style="red")
            if field.new_value:
                console.print(f"    + {field.field}: {field.new_value}", style="green")
    if len(published.changes) > _SHOWN_MAX:
        count = len(published.changes) - _SHOWN_MAX
        console.print(f"… and {count:,} more; --json lists all of them")
    for warning in published.warnings:
        print_note(f"warning: {warning}")
    revision = published.catalogue.revision
    if not published.changes:
        console.print(f"Nothing changed; revision {revision} is in force.")
    elif dry_run:
        counts = _count(published.changes)
        console.print(f"Would change: {counts}. Nothing was published (--dry-run).")
    else:
        counts = _count(published.changes)
        console.print(f"Published revision {revision}: {counts}.", style="bold")


def _count(changes: tuple[CatalogueChange, ...]) -> str:
    counted = (
        (sum(change.action is action for change in changes), word)
        for action, word in _WORDS.items()
    )
    return ", ".join(f"{count:,} {word}" for count, word in counted if count)
