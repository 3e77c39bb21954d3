"""`StockService.RecordStockMovements`: check, hand the movements to the keeper, count."""

from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from typing import Final

from instanter.errors import InvalidFieldError, place_field
from instanter.keeper.commands import Submit
from instanter.keeper.stock_movements import (
    GivenMovement,
    MovementCounts,
    RecordStockMovements,
)
from instanter.limits import EVENT_ID_SIZE_MAX
from instanter.rpc.batch_counts import check_count
from instanter.rpc.durability import read_relaxed
from instanter.rpc.front import CallContext, DeferredMethod
from instanter.rpc.names import SITES, parse_plain_name
from instanter.rpc.request_ids import check_id
from instanter.rpc.timestamps import read_time_ns
from instanter.stock_limits import MOVEMENTS_BATCH_MAX
from instanter.v1 import stock_service_pb2 as messages

PRICE_MINOR_MAX: Final = 1_000_000_000_000
"""The highest price, in minor units: sums of a million of them are exact."""

_TRANSFER: Final = messages.STOCK_MOVEMENT_KIND_TRANSFER
_PRICE_CHANGE: Final = messages.STOCK_MOVEMENT_KIND_PRICE_CHANGE
_KINDS: Final = frozenset(messages.StockMovementKind.values()) - {0}
_KIND_NAMES: Final = ", ".join(
    name for name, number in messages.StockMovementKind.items() if number in _KINDS
)
_SITES_SIZE: Final = len(SITES)


class MovementDesk:
    """Answers `RecordStockMovements`.

    Parameters
    ----------
    submit
        Carries out a command, as `Keeper.submit` does.
    """

    def __init__(self, *, submit: Submit) -> None:
        self._submit = submit

    def describe(self) -> DeferredMethod:
        """Return the method as fronts serve it."""
        return DeferredMethod(
            "RecordStockMovements",
            messages.RecordStockMovementsRequest,
            messages.RecordStockMovementsResponse,
            self.record,
            _translate_counts,
            None,
        )

    def record(
        self, request: messages.RecordStockMovementsRequest, context: CallContext
    ) -> Future[MovementCounts]:
        """Queue the recording of a batch of movements.

        The movements themselves are read when their turn comes, off the event loop when they are
        many.

        Raises
        ------
        InvalidFieldError
            There are none or too many movements, or the durability is unknown; the future raises it
            for everything else.
        """
        count = len(request.movements)
        check_count("movements", count, MOVEMENTS_BATCH_MAX, reason="MOVEMENT_COUNT_INVALID")
        relaxed = read_relaxed(request.durability)
        command = RecordStockMovements(partial(_read_movements, request))
        return self._submit(command, context.deadline_ns, relaxed=relaxed, weight=count)


def _read_movements(request: messages.RecordStockMovementsRequest) -> Sequence[GivenMovement]:
    """Return the movements of a request.

    Raises
    ------
    InvalidFieldError
        One of them cannot be read.
    """
    found: list[GivenMovement] = []
    for movement in request.movements:
        try:
            found.append(_read_movement(movement))
        except InvalidFieldError as error:
            raise place_field(error, f"movements[{len(found)}]") from None
    return found


def _read_movement(movement: messages.StockMovement) -> GivenMovement:
    """Return one movement; its site, unit and units are checked by the engine. Takes 2 µs."""
    movement_id, site, kind = movement.movement_id, movement.site, movement.kind
    check_id(movement_id, "movement_id", EVENT_ID_SIZE_MAX, reason="MOVEMENT_ID_INVALID")
    if kind not in _KINDS:
        raise InvalidFieldError(
            "kind", kind, f"one of {_KIND_NAMES}", reason="MOVEMENT_KIND_INVALID"
        )
    if not site.startswith(SITES):
        parse_plain_name(site, SITES, "site")
    destination, price_minor = movement.destination_site, movement.price_minor
    if destination or kind == _TRANSFER:
        destination = _read_destination(movement)
    if price_minor or kind == _PRICE_CHANGE:
        _check_price(movement)
    return GivenMovement(
        movement_id,
        kind,
        site[_SITES_SIZE:],
        movement.stock_keeping_unit,
        movement.units,
        _read_time_ns(movement) if movement.HasField("movement_time") else None,
        destination,
        price_minor,
    )


def _read_destination(movement: messages.StockMovement) -> str:
    """Return where a transfer goes."""
    destination = movement.destination_site
    if movement.kind != _TRANSFER:
        raise InvalidFieldError(
            "destination_site",
            destination,
            "nothing, because only a transfer goes to another site",
            reason="DESTINATION_SITE_INVALID",
        )
    if destination == movement.site:
        raise InvalidFieldError(
            "destination_site",
            destination,
            "another site than the one that the transfer comes from",
            reason="DESTINATION_SITE_INVALID",
        )
    return parse_plain_name(destination, SITES, "destination_site")


def _check_price(movement: messages.StockMovement) -> None:
    """Refuse a price that cannot be, or that does not belong there."""
    price_minor = movement.price_minor
    if movement.kind != _PRICE_CHANGE:
        raise InvalidFieldError(
            "price_minor",
            price_minor,
            "0, because only a change of price has one",
            reason="PRICE_INVALID",
        )
    if not 0 <= price_minor <= PRICE_MINOR_MAX:
        raise InvalidFieldError(
            "price_minor",
            price_minor,
            f"0 to {PRICE_MINOR_MAX:,} minor units",
            reason="PRICE_INVALID",
        )
    if movement.units:
        raise InvalidFieldError(
            "units",
            movement.units,
            "0, because nothing moves with a change of price",
            reason="UNITS_INVALID",
        )


def _read_time_ns(movement: messages.StockMovement) -> int:
    """Return when a movement happened, nanoseconds since 1970."""
    return read_time_ns(
        movement.movement_time,
        "movement_time",
        expected="a time from 90 days ago to 5 minutes ahead",
        reason="MOVEMENT_TIME_OUT_OF_RANGE",
    )


def _translate_counts(counts: MovementCounts) -> messages.RecordStockMovementsResponse:
    """Return the response that says what was recorded."""
    return messages.RecordStockMovementsResponse(
        recorded_count=counts.recorded_count, duplicate_count=counts.duplicate_count
    )
