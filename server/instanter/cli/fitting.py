"""Fits an offer's model on a file and publishes it beside the other offers' models."""

from pathlib import Path

from instanter.catalogue.compiled import CompiledCatalogue
from instanter.cli.failures import CommandError
from instanter.cli.output import (
    count_of,
    make_console,
    make_plain,
    print_json,
    print_note,
    show_names,
)
from instanter.cli.progress import show_progress
from instanter.cli.store_access import WritableStore, check_store, load_catalogue, open_to_write
from instanter.clock import SystemClock
from instanter.data.fit import FitOptions, FitReport, fit_file
from instanter.decision.models import ModelSet
from instanter.decision.published import find_revisions, load_models
from instanter.errors import nearest, show
from instanter.keeper.publishing import PublishDocument
from instanter.keeper.records import RecordKind


def fit(
    file: Path,
    folder: Path,
    *,
    target_column: str,
    offer: str,
    channel: str,
    excluded_columns: tuple[str, ...],
    passes: int,
    fresh: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Fit on a file, publish into the store in `folder`, and show how good the model is.

    Raises
    ------
    CommandError
        When there is no store, no catalogue, or no such offer.
    InstanterError
        When the file, a column, a label or the store refuses; ConflictError when somebody else
        published models meanwhile.
    """
    check_store(folder)
    clock = SystemClock()
    with open_to_write(folder, clock) as store:
        catalogue = load_catalogue(store.readable)
        options = FitOptions(
            target_column=target_column,
            offer=offer,
            channel=channel,
            excluded_columns=excluded_columns,
            passes=passes,
            prior_propensity=_find_prior(catalogue, offer),
        )
        # To begin anew is also the way out when the published models cannot be read.
        revision, models = (
            (find_revisions(store.readable).models, None) if fresh else load_models(store.readable)
        )
        with show_progress(f"learning {file.name}", "rows", clock) as tell:

            def on_progress(rate: float, row_count: int) -> None:
                tell(row_count, round(row_count / rate) if rate else 0)

            fitted, report = fit_file(
                file,
                options,
                catalogue.schema,
                tuple(catalogue.channels),
                models,
                progress=on_progress,
            )
        if not dry_run:
            revision = _publish(store, fitted, revision)
    if as_json:
        print_json({**make_plain(report), "model_revision": revision, "published": not dry_run})
    else:
        _show(report, offer, revision, dry_run=dry_run)


def _find_prior(catalogue: CompiledCatalogue, name: str) -> float:
    """Return the propensity that the catalogue declares for an offer before any outcome."""
    priors = {offer.name: offer.prior_propensity for offer in catalogue.offers}
    if name in priors:
        return priors[name]
    near = nearest(name, priors)
    hint = f"did you mean '{near}'?" if near else "`instanter get offers` lists them"
    raise CommandError(f"the published catalogue has no offer {show(name)}", hint=hint)


def _publish(store: WritableStore, models: ModelSet, revision: int) -> int:
    """Publish on top of the revision that was read, so that nobody's models are lost."""
    command = PublishDocument(RecordKind.PUBLISH_MODELS, models.to_bytes(), revision)
    published: int = store.submit(command).result()
    return published


def _show(report: FitReport, offer: str, revision: int, *, dry_run: bool) -> None:
    console = make_console()
    share = report.positive_count / report.row_count
    console.print(
        f"Learned {count_of(report.row_count, 'row')} ({share:.2%} positive) with "
        f"{count_of(report.predictor_count, 'predictor')}."
    )
    console.print(
        f"Each predicted before it was learned: log loss {report.log_loss:.4f}, "
        f"AUC {report.auc:.4f}."
    )
    for each in report.rejections:
        print_note(
            f"note: row {each.row:,}, {each.column}: {each.value} {each.reason}; taken as missing"
        )
    left_out = report.rejection_count - len(report.rejections)
    if left_out:
        print_note(f"note: … and {count_of(left_out, 'value')} more")
    if report.malformed_count:
        print_note(f"note: {count_of(report.malformed_count, 'row')} with missing fields left out")
    if report.columns_ignored:
        print_note(f"note: not learned from: {show_names(report.columns_ignored)}")
    if dry_run:
        console.print("Nothing was published (--dry-run).")
    else:
        console.print(f"Published models {revision} with offer {offer}.", style="bold")
