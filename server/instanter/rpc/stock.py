"""`StockService`: what its methods are made of."""

from instanter.clock import Clock
from instanter.keeper.commands import Submit
from instanter.keeper.published import PublishedCatalogue
from instanter.rpc.alert_hub import AlertHub
from instanter.rpc.front import Service
from instanter.rpc.resume_tokens import ResumeTokens
from instanter.rpc.stock_alerts import AlertDesk, WatchDesk
from instanter.rpc.stock_movements import MovementDesk
from instanter.rpc.stock_positions import PositionDesk
from instanter.store.transaction import Readable


def describe_stock_service(
    store: Readable,
    *,
    submit: Submit,
    published: PublishedCatalogue,
    clock: Clock,
    tokens: ResumeTokens,
    hub: AlertHub,
) -> Service:
    """Return `StockService` as fronts serve it.

    Parameters
    ----------
    store
        The store that is read.
    submit
        Carries out a command, as `Keeper.submit` does.
    published
        Knows the catalogue in force.
    clock
        Tells for which time figures are made.
    tokens, hub
        As for `WatchDesk`.
    """
    return Service(
        "instanter.v1.StockService",
        (
            MovementDesk(submit=submit).describe(),
            *PositionDesk(store, published=published, clock=clock).describe(),
            WatchDesk(store, published=published, tokens=tokens, hub=hub).describe(),
            *AlertDesk(store, submit=submit, published=published, clock=clock).describe(),
        ),
    )
