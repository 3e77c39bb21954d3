"""What outcomes leave in a customer's activity record: contacts, and the answers to them."""

from typing import Final

from instanter.decision.contacts import Contact, ContactKind, record_contact
from instanter.errors import DamagedError
from instanter.keeper.attribution import OutcomeKind
from instanter.store.activity import CONTACTS, DAMAGED_ACTIVITY, copy_activity, put_activity
from instanter.store.records import key_of
from instanter.store.transaction import Transaction

CONTACT_OF: Final = {
    OutcomeKind.PRESENTED: ContactKind.PRESENTED,
    OutcomeKind.ACCEPTED: ContactKind.ACCEPTED,
    OutcomeKind.CONVERTED: ContactKind.ACCEPTED,
    OutcomeKind.REJECTED: ContactKind.REJECTED,
}
"""What an outcome means for the contact policy; a click means nothing."""


def note_contact(transaction: Transaction, customer_id: str, contact: Contact) -> bool:
    """Add a contact or an answer to a customer's record.

    Returns
    -------
    bool
        False when the record is damaged. It is left as it is: decisions then take every cap for
        reached, which one contact in a new record would undo.
    """
    key = key_of(customer_id)
    sections = copy_activity(transaction, key)
    if sections is DAMAGED_ACTIVITY:
        return False
    try:
        section = record_contact(sections.get(CONTACTS, b""), contact)
    except DamagedError:
        return False
    put_activity(transaction, key, {**sections, CONTACTS: section})
    return True
