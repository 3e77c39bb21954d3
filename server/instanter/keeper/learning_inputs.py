"""What there is to learn from a decision: its inputs as they were, binned by the plan in force."""

import numpy as np

from instanter.catalogue.compiled import CompiledCatalogue, Offer
from instanter.catalogue.schema import MISSING_CODE, Schema
from instanter.decision.binning_plan import Binner
from instanter.decision.models import ModelSet, digest_of, plan_from_bytes, plan_to_bytes
from instanter.decision.recording import RecordedDecision
from instanter.errors import DamagedError, PreconditionError
from instanter.store.history import load_kept_profile
from instanter.store.model_states import load_plan, load_plan_digest
from instanter.store.profiles import Profile, ProfileState, load_profile
from instanter.store.publications import MODELS, current_revision, load_current
from instanter.store.records import key_of
from instanter.store.transaction import Transaction

_MS_NS = 1_000_000


class PlanInForce:
    """Knows the binning plan that a transaction sees, decoded once. Belongs to one thread.

    It is that of the published models, or without any the one that the keeper made.
    """

    __slots__ = ("_binner", "_digest", "_made", "_revision")

    def __init__(self) -> None:
        self._revision = -1
        self._made = b""
        self._binner: Binner | None = None
        self._digest = b""

    def load(self, transaction: Transaction) -> tuple[Binner, bytes] | None:
        """Return the plan, ready to bin with, and its digest; None while there is none.

        Raises
        ------
        DamagedError
            A plan that was made cannot be read.
        """
        revision = current_revision(transaction, MODELS)
        made = b"" if revision else load_plan_digest(transaction)
        if (revision, made) != (self._revision, self._made):
            self._read(transaction, revision)
            self._revision, self._made = revision, made
        return None if self._binner is None else (self._binner, self._digest)

    def _read(self, transaction: Transaction, revision: int) -> None:
        self._binner, self._digest = None, b""
        if revision:
            models = load_published(transaction)
            packed = None if models is None else plan_to_bytes(models.plan)
        else:
            packed = load_plan(transaction)
        if packed is not None:
            self._binner, self._digest = Binner(plan_from_bytes(packed)), digest_of(packed)


def load_published(transaction: Transaction) -> ModelSet | None:
    """Return the published models, or None when there are none that can be read.

    Models that cannot be read teach nobody; decisions have told the operator already.
    """
    try:
        current = load_current(transaction, MODELS)
        return None if current is None else ModelSet.from_bytes(current[1])
    except (DamagedError, PreconditionError):
        return None


class CurrentProfiles:
    """Reads the profiles of one command's customers as they are now, each once.

    Parameters
    ----------
    transaction
        An open transaction, in which nothing is written meanwhile.
    slot_count
        Slots of the present schema.
    """

    __slots__ = ("_found", "slot_count", "transaction")

    def __init__(self, transaction: Transaction, slot_count: int) -> None:
        self.transaction = transaction
        self.slot_count = slot_count
        self._found: dict[str, Profile | None] = {}

    def load(self, customer_id: str) -> Profile | None:
        """Return a profile, whose slots are not to be written; None when there is none.

        Raises
        ------
        DamagedError
            Its record is damaged.
        """
        if customer_id not in self._found:
            self._found[customer_id] = load_profile(
                self.transaction, key_of(customer_id), self.slot_count
            )
        return self._found[customer_id]


class LearningInputs:
    """Finds what a decision teaches. Belongs to one thread."""

    __slots__ = ("_offers", "_plan", "_revision")

    def __init__(self) -> None:
        self._plan = PlanInForce()
        self._revision = 0
        self._offers: dict[str, Offer] = {}

    def load_plan(self, transaction: Transaction) -> tuple[Binner, bytes] | None:
        """Return what `PlanInForce.load` does; None for a damaged plan, which teaches nobody."""
        try:
            return self._plan.load(transaction)
        except DamagedError:
            return None

    def find_offer(self, catalogue: CompiledCatalogue, name: str) -> Offer | None:
        """Return an offer of the catalogue, or None when it is no longer there."""
        if catalogue.revision != self._revision:
            self._offers = {offer.name: offer for offer in catalogue.offers}
            self._revision = catalogue.revision
        return self._offers.get(name)

    def find_bins(
        self,
        profiles: CurrentProfiles,
        binner: Binner,
        schema: Schema,
        decision: RecordedDecision,
    ) -> bytes | None:
        """Return the bins of a decision's inputs as they were when it was made.

        Returns
        -------
        bytes
            See `Binner.find_bins`; without those of the profile when none was used. None when the
            profile of that moment is no longer kept.
        """
        slots = None
        if decision.profile_state == ProfileState.KNOWN:
            profile = _load_profile(profiles, decision)
            if profile is None:
                return None
            slots = profile.slots.copy()
            for slot, code in decision.derived.items():
                if slot < len(slots):
                    slots[slot] = code
        context = np.full(schema.context_slot_count, MISSING_CODE, np.uint32)
        for slot, code in decision.context.items():
            if slot < len(context):
                context[slot] = code
        return binner.find_bins(slots, context, decision.channel)


def _load_profile(profiles: CurrentProfiles, decision: RecordedDecision) -> Profile | None:
    """Return a decision's profile as it was, or None when it is not kept or is damaged."""
    revision = decision.profile_revision
    try:
        profile = profiles.load(decision.customer_id)
        if profile is None or profile.revision != revision:
            key = key_of(decision.customer_id)
            profile = load_kept_profile(profiles.transaction, key, revision, profiles.slot_count)
    except DamagedError:
        return None
    return None if profile is None or is_newer(profile, decision) else profile


def is_newer(profile: Profile, decision: RecordedDecision) -> bool:
    """Return whether a profile was begun after a decision, and so is not what it was made of.

    A customer who was deleted and came back counts revisions from 1 again: the revision alone
    does not tell one from the other.
    """
    return profile.create_time_ms * _MS_NS > decision.time_ns
