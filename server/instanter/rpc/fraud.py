"""`FraudService`: what its methods are made of."""

from instanter.clock import Clock
from instanter.events_log import EventsLog
from instanter.keeper.commands import Gather, Submit
from instanter.keeper.published import PublishedCatalogue
from instanter.metrics import Metrics
from instanter.rpc.assessing import AssessmentDesk
from instanter.rpc.cases import CaseDesk
from instanter.rpc.fraud_rules import FraudRuleDesk
from instanter.rpc.front import Method, Service
from instanter.rpc.transaction_outcomes import TransactionOutcomeDesk
from instanter.store.transaction import Readable


def describe_fraud_service(
    store: Readable,
    *,
    submit: Submit,
    gather: Gather,
    published: PublishedCatalogue,
    clock: Clock,
    metrics: Metrics,
    log: EventsLog,
    further: tuple[Method, ...] = (),
) -> Service:
    """Return `FraudService` as fronts serve it.

    Parameters
    ----------
    store
        The store that is read.
    submit, gather
        Carry out commands, as `Keeper.submit` and `Keeper.gather` do.
    published
        Knows the catalogue in force.
    clock, metrics, log
        As for `AssessmentDesk`.
    further
        Methods that others answer.
    """
    return Service(
        "instanter.v1.FraudService",
        (
            AssessmentDesk(submit=submit, gather=gather, metrics=metrics, log=log).describe(),
            TransactionOutcomeDesk(submit=submit).describe(),
            *CaseDesk(store, submit=submit).describe(),
            *FraudRuleDesk(store, submit=submit, published=published, clock=clock).describe(),
            *further,
        ),
    )
