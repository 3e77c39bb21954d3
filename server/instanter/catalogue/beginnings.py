"""What a publication makes begin anew, or lose: allowed, but nothing brings it back.

What events, transactions and labels have told is kept by numbers that the next catalogue takes over
where the meaning stays (`derivations`, `fraud_compilation`). Where it does not, a rule on a count
sees 0 for everybody, and publishing the catalogue before once more does not help.
"""

from collections.abc import Collection, Iterator

from instanter.catalogue.compiled import CompiledCatalogue
from instanter.catalogue.events import Aggregation
from instanter.catalogue.fraud import FraudPolicy
from instanter.catalogue.fraud_figures import TERMINAL_VELOCITIES
from instanter.catalogue.schema import AttributeSource

_NAMES_SHOWN = 10


def list_beginnings(old: CompiledCatalogue, new: CompiledCatalogue) -> list[str]:
    """Return a sentence for each kind of thing that begins anew or is lost.

    Parameters
    ----------
    old, new
        The catalogue in force, and the one that is compiled on top of it.
    """
    return [*_list_currency(old, new), *_list_attributes(old, new), *_list_fraud(old, new)]


def _list_currency(old: CompiledCatalogue, new: CompiledCatalogue) -> Iterator[str]:
    if old.currency and new.currency and old.currency != new.currency:
        yield (
            f"currency: changes from {old.currency} to {new.currency}: all that was recorded in "
            f"minor units of {old.currency}, reports of uplift included, is read as {new.currency}"
        )


def _list_attributes(old: CompiledCatalogue, new: CompiledCatalogue) -> Iterator[str]:
    kept = {one.attribute: one.state_id for one in new.derivations}
    known = {
        one.attribute: one.state_id
        for one in old.derivations
        if one.aggregation is not Aggregation.RATIO
    }
    yield from _name_them(
        "attributes: begin anew without the events so far, because their derivations change",
        [name for name in known if name in kept and kept[name] != known[name]],
    )
    yield from _name_them(
        "attributes: lose what events told, also if they return, because they are withdrawn",
        [name for name in known if name not in kept],
    )
    derived = AttributeSource.DERIVED
    gone = {attribute.name for attribute in old.schema.withdrawn if attribute.source is derived}
    ratios = {o.attribute for o in new.derivations if o.aggregation is Aggregation.RATIO}
    yield from _name_them(
        "attributes: return without the events so far, because they were withdrawn",
        [name for name in kept if name in gone and name not in ratios],
    )


def _list_fraud(old: CompiledCatalogue, new: CompiledCatalogue) -> Iterator[str]:
    if old.fraud is None:
        return
    if new.fraud is None:
        yield (
            "fraud: is withdrawn: card transactions are refused, and what velocities, rules and "
            "the model know is lost, also if the section returns"
        )
        return
    yield from _list_velocities(old.fraud, new.fraud)
    was, now = old.fraud.model, new.fraud.model
    if was is not None and now is None:
        yield "fraud.model: is withdrawn: what it has learned is lost, also if it returns"
    elif was is not None and now is not None and was.model_id != now.model_id:
        yield "fraud.model: begins anew, because its features or pairs change"


def _list_velocities(old: FraudPolicy, new: FraudPolicy) -> Iterator[str]:
    known = {velocity.name: velocity.state_id for velocity in old.velocities}
    kept = {velocity.name: velocity.state_id for velocity in new.velocities}
    changed = [name for name in known if name in kept and kept[name] != known[name]]
    if set(changed) & set(TERMINAL_VELOCITIES):
        yield "fraud.compromised_terminal: counts labels anew, because its window changes"
    yield from _name_them(
        "velocities: begin anew without the transactions so far, because their meaning changes",
        [name for name in changed if name not in TERMINAL_VELOCITIES],
    )
    yield from _name_them(
        "velocities: lose what they have counted, also if they return, because they are withdrawn",
        [name for name in known if name not in kept],
    )


def _name_them(what: str, names: Collection[str]) -> Iterator[str]:
    if names:
        shown = ", ".join(sorted(names)[:_NAMES_SHOWN])
        yield f"{what}: {shown}{f', … ({len(names)})' if len(names) > _NAMES_SHOWN else ''}"
