"""How long the log is kept for presentations that nobody has answered yet."""

from instanter.errors import DamagedError
from instanter.keeper.commands import ApplyContext
from instanter.limits import OUTCOME_FUTURE_NS_MAX
from instanter.store.outcomes import is_due
from instanter.store.transaction import Readable

_S_NS = 1_000_000_000
_FOREVER_NS = 1 << 62


def find_wait_ns(context: ApplyContext) -> int:
    """Return how long a presentation waits until it teaches, by the catalogue in force.

    0 while none is known, and where it teaches at once: the end of its wait needs no log then.
    """
    catalogue = context.published.peek()
    if catalogue is None or catalogue.learning_rules.negative_at_once:
        return 0
    return catalogue.outcome_rules.wait_s * _S_NS


def find_needed_ns(state: Readable, context: ApplyContext, now_ns: int) -> int:
    """Return the age up to which records of the log are needed to end waits.

    Parameters
    ----------
    state
        Has the waits; read here.
    context
        Knows the catalogue in force. What waits by an earlier one may need older records.
    now_ns
        Nanoseconds since 1970.
    """
    try:
        with state.read() as transaction:
            # What is due has not been ended yet, after a long stop for one: all of it is needed.
            if is_due(transaction, now_ns):
                return _FOREVER_NS
    except DamagedError:
        # The ticks tell it; a wait that cannot be read does not keep the log for ever.
        pass
    wait_ns = find_wait_ns(context)
    return wait_ns + OUTCOME_FUTURE_NS_MAX if wait_ns else 0
