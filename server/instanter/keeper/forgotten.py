"""Whether a customer was deleted after a decision was made about them.

Outcomes come late, and the wait of a presentation ends by itself. Neither may bring back what a
deleted customer asked to have forgotten, nor teach anything of it. No list of the deleted is kept
for it, which would be a record of its own: a presentation leaves a contact, which only a deletion
takes away, and a profile tells since when it is there.
"""

from instanter.decision.contacts import ContactKind, make_contact, may_have_contact
from instanter.decision.recording import RecordedDecision
from instanter.errors import DamagedError
from instanter.keeper.learning_inputs import CurrentProfiles, is_newer
from instanter.store.activity import CONTACTS, DAMAGED_ACTIVITY, copy_activity
from instanter.store.profiles import ProfileState
from instanter.store.records import key_of
from instanter.store.transaction import Transaction


def lacks_contact(
    transaction: Transaction,
    customer_id: str,
    *,
    decision_id: bytes,
    offer: str,
    presented_ns: int,
) -> bool:
    """Return whether the contact is gone that an offer's presentation has left.

    Parameters
    ----------
    transaction
        An open transaction.
    customer_id
        Whose contact it was.
    decision_id, offer
        What was presented.
    presented_ns
        When, or some time before, nanoseconds since 1970: what is no longer kept of that time,
        because of many others, is not gone by a deletion.
    """
    sections = copy_activity(transaction, key_of(customer_id))
    if sections is DAMAGED_ACTIVITY:
        return False
    contact = make_contact(presented_ns, offer, "", "", ContactKind.PRESENTED, decision_id)
    try:
        return not may_have_contact(sections.get(CONTACTS, b""), contact)
    except DamagedError:
        return False


def lacks_profile(profiles: CurrentProfiles, decision: RecordedDecision) -> bool:
    """Return whether the profile is gone that a decision was made with, be there another one."""
    if decision.profile_state != ProfileState.KNOWN:
        return False
    try:
        profile = profiles.load(decision.customer_id)
    except DamagedError:
        return False
    return profile is None or is_newer(profile, decision)
