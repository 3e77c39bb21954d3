"""How the stock side's rows are laid out: movements, places, policies, states, profiles.

Constants only: kernels, the catalogue and the stock room read the same names.
"""

MOVE_KIND = 0
"""Number of `stock/questions.MovementKind`."""
MOVE_POSITION = 1
"""Row of the position."""
MOVE_DESTINATION = 2
"""Row of a transfer's destination; −1 else."""
MOVE_UNITS = 3
MOVE_TIME = 4
"""Milliseconds since 1970."""
MOVE_FACT = 5
"""1 when it follows from an event, which is never refused."""
MOVE_COLUMNS = 6

PLACE_SITE = 0
"""Index of the site in the catalogue."""
PLACE_UNIT = 1
"""Index of the stock-keeping unit in the catalogue."""
PLACE_POLICY = 2
"""Row of its policy."""
PLACE_PROFILE = 3
"""Row of its site's profile, among those given."""
PLACE_COLUMNS = 4

COVER_TIERS = 4
"""Tiers of days of cover, at most."""

POLICY_NEGATIVE = 0
"""1 where negative stock is allowed, else 0."""
POLICY_REORDER_POINT = 1
"""Declared units; NaN when it follows from lead time and service level, or is none."""
POLICY_LEAD_TIME_DAYS = 2
"""NaN for none."""
POLICY_LEAD_TIME_DEVIATION_DAYS = 3
"""Standard deviation of the lead time, 0 for none."""
POLICY_SERVICE_Z = 4
"""The normal quantile of the service level; NaN for none."""
POLICY_ORDER_UP_TO = 5
"""Units; NaN for none."""
POLICY_ORDER_UNITS = 6
"""Units of each order; NaN for none."""
POLICY_MINIMUM = 7
"""Units; NaN for none."""
POLICY_MAXIMUM = 8
"""Units; NaN for none."""
POLICY_COUNT_UNITS = 9
"""A count may differ by so many units, or by `POLICY_COUNT_SHARE`, whichever is more."""
POLICY_COUNT_SHARE = 10
"""In [0, 1], of what was expected."""
POLICY_HYSTERESIS = 11
"""An alert clears beyond its threshold × (1 + this); for a maximum × (1 − this)."""
POLICY_ESCALATE_MS = 12
"""Unacknowledged alerts escalate after so long, and again; 0 for never."""
POLICY_PLUNGE_PER_DAY = 13
"""Declared false alarms a position and day, in (0, 1]; NaN for no watch."""
POLICY_PLUNGE_SEVERITY = 14
"""Number of `stock/questions.Severity`."""
POLICY_PERIOD_DAYS = 15
"""What demand is learned in: 1 or 7 days; the same for all policies of a catalogue."""
POLICY_COVER_DAYS = 16
"""First of the tiers' days, the largest first; NaN for none."""
POLICY_COVER_SEVERITY = POLICY_COVER_DAYS + COVER_TIERS
"""First of the tiers' severities, each worse than the one before; 0 for none."""
POLICY_COLUMNS = POLICY_COVER_SEVERITY + COVER_TIERS

STATE_WORDS = 126
"""int64 words of a position's state; all 0 for a new one. Demand lies in it as float64."""
PROFILE_WORDS = 176
"""float64 words of a site's profile; all 0 for a new one."""
