"""`StockService.GetStockPosition` and `ListStockPositions`: check, read, translate."""

from collections.abc import Iterable, Sequence
from typing import Final

from instanter.catalogue.stock import StockPlan
from instanter.clock import Clock
from instanter.errors import InvalidFieldError
from instanter.keeper.published import PublishedCatalogue
from instanter.keeper.stock_views import StockViews, WantedPositions
from instanter.rpc.customers import READ_LANE
from instanter.rpc.front import BlockingMethod, CallContext
from instanter.rpc.names import SITES, parse_plain_name, parse_position_name
from instanter.rpc.page_tokens import format_page_token, parse_page_token, read_page_size
from instanter.rpc.stock_filters import (
    FilterReader,
    StockFilter,
    check_covered,
    find_grant,
    get_plan,
    read_distributor,
)
from instanter.rpc.stock_messages import translate_position
from instanter.store.transaction import Readable
from instanter.v1 import stock_service_pb2 as messages

_METHOD: Final = "ListPositions"
_ALL_SITES: Final = "sites/-"


class PositionDesk:
    """Answers what is asked about positions.

    Parameters
    ----------
    store
        The store that is read.
    published
        Knows the catalogue in force.
    clock
        Tells for which time figures are made.
    """

    def __init__(self, store: Readable, *, published: PublishedCatalogue, clock: Clock) -> None:
        self._store = store
        self._published = published
        self._clock = clock
        self._views = StockViews()

    def describe(self) -> tuple[BlockingMethod, ...]:
        """Return the methods as fronts serve them."""
        return (
            BlockingMethod(
                "GetStockPosition",
                messages.GetStockPositionRequest,
                messages.StockPosition,
                self.get_position,
                READ_LANE,
            ),
            BlockingMethod(
                "ListStockPositions",
                messages.ListStockPositionsRequest,
                messages.ListStockPositionsResponse,
                self.list_positions,
                READ_LANE,
            ),
        )

    def get_position(
        self, request: messages.GetStockPositionRequest, context: CallContext
    ) -> messages.StockPosition:
        """Return one position.

        Raises
        ------
        InvalidFieldError
            A name is wrong.
        PermissionDeniedError
            The distributor may not see it.
        CatalogueMissingError, PreconditionError
            There is no catalogue, or it declares no stock.
        NotFoundError
            The site or the unit is not declared.
        """
        del context
        site, unit = parse_position_name(request.name, "name")
        distributor = read_distributor(request.distributor)
        now_ns = self._clock.now_ns()
        with self._store.read() as transaction:
            catalogue = self._published.load(transaction)
            plan = get_plan(catalogue)
            check_covered(plan, distributor, site, unit, "name")
            assert catalogue is not None, "it has a plan"
            view = self._views.get(transaction, catalogue, site, unit, now_ns)
        return translate_position(view, now_ns)

    def list_positions(
        self, request: messages.ListStockPositionsRequest, context: CallContext
    ) -> messages.ListStockPositionsResponse:
        """Return one page of positions.

        Raises
        ------
        InvalidFieldError
            A name, the size or the token is wrong.
        PermissionDeniedError
            The distributor may not see what is named.
        CatalogueMissingError, PreconditionError
            There is no catalogue, or it declares no stock.
        """
        del context
        limit = read_page_size(request.page_size)
        sites: list[str] = []
        if request.parent != _ALL_SITES:
            sites.append(parse_plain_name(request.parent, SITES, "parent"))
        after = _read_place(request.page_token, sites)
        now_ns = self._clock.now_ns()
        with self._store.read() as transaction:
            catalogue = self._published.load(transaction)
            plan = get_plan(catalogue)
            assert catalogue is not None, "it has a plan"
            # Threads of the lane share none: its memory is for those who subscribe by thousands.
            wanted = FilterReader().read(plan, request, sites, "parent")
            page = self._views.list(
                transaction,
                catalogue,
                _find_wanted(plan, wanted, request),
                after=after,
                limit=limit,
                now_ns=now_ns,
            )
        return messages.ListStockPositionsResponse(
            positions=[translate_position(view, now_ns) for view in page.views],
            next_page_token=""
            if page.after is None
            else format_page_token("/".join(page.after), _METHOD),
        )


def _read_place(token: str, sites: Sequence[str]) -> tuple[str, str] | None:
    """Return site and unit within a page token; None for an empty one.

    One of a site that is not listed, if any are named, is of another listing: behind it there may
    be nothing, and that would look like an end.
    """
    place = parse_page_token(token, "page_token", _METHOD)
    if not place:
        return None
    site, _, unit = place.partition("/")
    if not site or not unit or (sites and site not in sites):
        raise InvalidFieldError(
            "page_token",
            token,
            "the next_page_token of the page before, unchanged, or nothing for the first page",
            reason="PAGE_TOKEN_INVALID",
        )
    return site, unit


def _find_wanted(
    plan: StockPlan, wanted: StockFilter, request: messages.ListStockPositionsRequest
) -> WantedPositions:
    """Return which sites and units match a filter, by their indices."""
    grant = find_grant(plan, wanted.distributor)
    all_sites: Iterable[int] = range(len(plan.sites))
    sites = [
        at
        for at in sorted(plan.site_index[name] for name in wanted.sites) or all_sites
        if (not wanted.regions or plan.sites[at].region in wanted.regions)
        and (grant is None or grant.site_covered[at])
    ]
    named = sorted(plan.unit_index[name] for name in wanted.units)
    # Of 50,000 units, only a filter by category looks at each.
    covered = bytes([1]) * len(plan.units) if grant is None else grant.unit_covered
    matches = bytearray(covered)
    if wanted.categories:
        for at, unit in enumerate(plan.units):
            matches[at] &= unit.category in wanted.categories
    if named and not any(matches[at] for at in named):
        sites = []
    below = request.available_below_units if request.HasField("available_below_units") else None
    return WantedPositions(sites, [at for at in named if matches[at]], bytes(matches), below)
