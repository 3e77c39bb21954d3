"""How movements, places, states and profiles of the stock side are laid out.

Constants only, for kernels and the stock room alike; policies stand in `kernels/stock_policy`.
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
PLACE_ZONE = 4
"""Its site's time zone."""
PLACE_COLUMNS = 5

STATE_WORDS = 114
"""int64 words of a position's state; all 0 for a new one. Those from `DEMAND_FIRST` on are float64
unless they say otherwise."""

ON_HAND = 0
ON_ORDER = 1
COMMITTED = 2
SHORTFALL = 3
DATA_ERRORS = 4
"""Bits of `stock/questions.DataError`."""
COUNTED_MS = 5
"""Time of the latest count; 0 before the first."""
LATEST_MS = 6
"""Time of the latest movement."""
LATEST_RECORDED_MS = 7
"""When that was recorded, by the server's clock: the position's own clock goes on from there."""
DUE_MS = 8
"""When to look again, by the server's clock; 0 for never."""
ALERTS = 9
"""First word of the alerts, one for each cause."""
CAUSES = 6
ALERT_NUMBER = 0
"""Its number; 0 when there is none."""
ALERT_GRADE = 1
"""Severity, 8 × severity without escalations for want of acknowledgement, 64 when acknowledged,
128 × tier: their sum."""
ALERT_RAISED_MS = 2
ALERT_TOLD_MS = 3
"""When it was raised or escalated last."""
ALERT_SNOOZED_MS = 4
"""Until when it does not escalate for want of acknowledgement."""
ALERT_WORDS = 5
RING_NEXT = ALERTS + CAUSES * ALERT_WORDS
"""Changes of on hand so far."""
RING_LOST_MS = RING_NEXT + 1
"""The latest time of a change that the ring holds no more."""
RING_TIMES = RING_LOST_MS + 1
RING_SIZE = 32
RING_UNITS = RING_TIMES + RING_SIZE
"""The changes themselves, int32."""
PERIOD = RING_UNITS + RING_SIZE // 2
"""Number of the period that is being learned, int64: days or weeks since 1970, local time."""
SOLD_BITS = PERIOD + 1
"""Bit k: something was sold k + 1 periods ago; int64."""
ARRIVED_MS = SOLD_BITS + 1
"""Time of the latest arrival of a sale, int64."""
RUN_MS = ARRIVED_MS + 1
"""When the present run of sales began, int64."""
RUN_UNITS = RUN_MS + 1
"""Units sold in it, int64."""
RUN_SALES = RUN_UNITS + 1
"""Arrivals in it, int64."""
DEMAND_FIRST = RUN_SALES + 1
UNITS = DEMAND_FIRST
"""Sold in this period."""
ARRIVALS = UNITS + 1
"""Arrivals of sales in this period."""
AGE = ARRIVALS + 1
"""Periods learned from, by their weights; below 0 never."""
LEVEL_SLOW = AGE + 1
LEVEL_MIDDLE = LEVEL_SLOW + 1
LEVEL_FAST = LEVEL_MIDDLE + 1
SELLING_RATE = LEVEL_FAST + 1
"""TSB: probability that something is sold in a period."""
SELLING_SIZE = SELLING_RATE + 1
"""TSB: units of a period in which something is sold."""
VARIANCE = SELLING_SIZE + 1
"""Of a period's units around what was expected."""
ARRIVAL_SHAPE = VARIANCE + 1
"""Arrivals of the periods learned from, faded."""
ARRIVAL_EXPOSURE = ARRIVAL_SHAPE + 1
"""Those periods, faded."""
EVIDENCE = ARRIVAL_EXPOSURE + 1
"""First of the Shiryaev-Roberts statistics, one for each factor of `kernels/stock_plunge`."""
FACTORS = 3

PROFILE_WORDS = 182
"""float64 words of a site's profile; all 0 for a new one."""
SITE_PERIOD = 0
"""Number of the period whose sales are being added up."""
SITE_UNITS = 1
"""Units sold in it, those of unusually large sales cut off."""
SITE_SQUARES = 2
"""Their squares: what chance alone would make of the variance of the sum."""
SITE_AGE = 3
SITE_SLOW = 4
SITE_MIDDLE = 5
SITE_FAST = 6
SITE_NOISE = 7
"""`SITE_SQUARES`, smoothed as the fast level is."""
SITE_ARRIVALS = 8
"""Arrivals of sales that the hours of whole weeks hold, all together."""
SITE_RECENT = 9
"""Arrivals of the last day or so, faded."""
SITE_RECENT_EXPECTED = 10
"""What was expected for the same time."""
SITE_RECENT_MS = 11
"""Time up to which they are faded."""
SITE_EXPOSURE = 12
"""Days of those weeks, faded as they are."""
SITE_WEEK = 13
"""Number of the week whose arrivals are being added up."""
HOURS = 14
"""The 168 hours of the week, Monday first, float32: faded arrivals of whole weeks."""
WEEK_HOURS = 168
HOURS_NOW = HOURS + WEEK_HOURS // 2
"""The same of the present week: weights of days whose part of the week is not over would be off."""

assert EVIDENCE + FACTORS <= STATE_WORDS, "a state holds everything"
assert HOURS_NOW + WEEK_HOURS // 2 == PROFILE_WORDS, "a profile holds the whole week"
