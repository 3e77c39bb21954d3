"""`CatalogueService`: check the requests, call store and publisher, translate the catalogue."""

from typing import Final

from instanter.catalogue.changes import Action, Change
from instanter.catalogue.compiled import CompiledCatalogue
from instanter.errors import CATALOGUE_MISSING_MESSAGE, InvalidFieldError, NotFoundError
from instanter.keeper.published import PublishedCatalogue
from instanter.keeper.publishing import CataloguePublisher
from instanter.limits import CATALOGUE_FILES_MAX
from instanter.rpc.batch_counts import check_count
from instanter.rpc.card_numbers import check_value
from instanter.rpc.front import BlockingMethod, CallContext, Lane, Service
from instanter.rpc.names import CATALOGUE_NAME, check_catalogue_name
from instanter.rpc.timestamps import make_timestamp
from instanter.store.transaction import Readable
from instanter.v1.catalogue_service_pb2 import (
    CATALOGUE_ACTION_CREATE,
    CATALOGUE_ACTION_DELETE,
    CATALOGUE_ACTION_UPDATE,
    CATALOGUE_VIEW_FULL,
    ApplyCatalogueRequest,
    ApplyCatalogueResponse,
    Catalogue,
    CatalogueChange,
    CatalogueFile,
    CatalogueView,
    FieldChange,
    GetCatalogueRequest,
)

CATALOGUE_LANE: Final = Lane("catalogue", threads=1, waiting_max=16)
"""One thread: two publications at once would only conflict."""

_ACTIONS: Final = {
    Action.CREATE: CATALOGUE_ACTION_CREATE,
    Action.UPDATE: CATALOGUE_ACTION_UPDATE,
    Action.DELETE: CATALOGUE_ACTION_DELETE,
}


class CatalogueService:
    """Answers the methods of `CatalogueService`.

    Parameters
    ----------
    store
        The store that is read.
    published
        Knows the catalogue in force.
    publisher
        Publishes.
    lane
        Threads of `GetCatalogue`, so that it does not wait for a compilation.
    """

    def __init__(
        self,
        store: Readable,
        *,
        published: PublishedCatalogue,
        publisher: CataloguePublisher,
        lane: Lane,
    ) -> None:
        self._store = store
        self._published = published
        self._publisher = publisher
        self._lane = lane

    def describe(self) -> Service:
        """Return the service as fronts serve it."""
        return Service(
            "instanter.v1.CatalogueService",
            (
                BlockingMethod(
                    "GetCatalogue", GetCatalogueRequest, Catalogue, self.get_catalogue, self._lane
                ),
                BlockingMethod(
                    "ApplyCatalogue",
                    ApplyCatalogueRequest,
                    ApplyCatalogueResponse,
                    self.apply_catalogue,
                    CATALOGUE_LANE,
                ),
            ),
        )

    def get_catalogue(self, request: GetCatalogueRequest, context: CallContext) -> Catalogue:
        """Return the published catalogue.

        Raises
        ------
        InvalidFieldError
            The name or the view is wrong.
        NotFoundError
            Nothing has been published yet.
        """
        del context
        check_catalogue_name(request.name, "name")
        if request.view not in CatalogueView.values():
            raise InvalidFieldError(
                "view", request.view, "a view of the contract", reason="VIEW_INVALID"
            )
        with self._store.read() as transaction:
            catalogue = self._published.load(transaction)
        if catalogue is None:
            raise NotFoundError(CATALOGUE_MISSING_MESSAGE, reason="CATALOGUE_NOT_FOUND")
        message = _translate_catalogue(catalogue)
        if request.view == CATALOGUE_VIEW_FULL:
            for path in sorted(catalogue.files):
                message.files.append(CatalogueFile(path=path, content=catalogue.files[path]))
        return message

    def apply_catalogue(
        self, request: ApplyCatalogueRequest, context: CallContext
    ) -> ApplyCatalogueResponse:
        """Publish a catalogue, or say what publishing it would change.

        Raises
        ------
        InvalidFieldError
            There are none or too many files, or two of one path, or a path holds a card number, or
            the revision is negative.
        CatalogueInvalidError, ConflictError, ExhaustedError
            As in `CataloguePublisher.apply`.
        """
        expected = request.expected_revision if request.HasField("expected_revision") else None
        if expected is not None and expected < 0:
            raise InvalidFieldError(
                "expected_revision", expected, "a revision, or 0", reason="REVISION_INVALID"
            )
        publication = self._publisher.apply(
            _read_files(request),
            validate_only=request.validate_only,
            expected_revision=expected,
            deadline_ns=context.deadline_ns,
        )
        catalogue = publication.catalogue
        return ApplyCatalogueResponse(
            catalogue=(
                Catalogue(name=CATALOGUE_NAME)
                if catalogue is None
                else _translate_catalogue(catalogue)
            ),
            changes=[_translate_change(change) for change in publication.changes],
            warnings=publication.warnings,
        )


def _read_files(request: ApplyCatalogueRequest) -> dict[str, str]:
    """Return the files of a request by path; the compiler checks paths and texts."""
    count = len(request.files)
    check_count("files", count, CATALOGUE_FILES_MAX, reason="FILES_INVALID")
    files: dict[str, str] = {}
    for index, file in enumerate(request.files):
        check_value(f"files[{index}].path", file.path)
        if file.path in files:
            raise InvalidFieldError(
                f"files[{index}].path",
                file.path,
                "a path that no other file of the request has",
                reason="FILE_DUPLICATE",
            )
        files[file.path] = file.content
    return files


def _translate_catalogue(catalogue: CompiledCatalogue) -> Catalogue:
    """Return the basic view of a catalogue."""
    return Catalogue(
        name=CATALOGUE_NAME,
        revision=catalogue.revision,
        publish_time=make_timestamp(catalogue.publish_time_ns),
        schema_revision=catalogue.schema.revision,
        attribute_count=len(catalogue.schema.attributes),
        offer_count=len(catalogue.offers),
    )


def _translate_change(change: Change) -> CatalogueChange:
    """Return the message of one difference."""
    return CatalogueChange(
        action=_ACTIONS[change.action],
        resource=change.resource,
        fields=[
            FieldChange(field=f.field, old_value=f.old_value, new_value=f.new_value)
            for f in change.fields
        ],
    )
