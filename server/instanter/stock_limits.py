"""The limits of the stock side, each with its reason; all others are in `limits`."""

from typing import Final

STOCK_SITES_MAX: Final = 10_000
"""Sites of a catalogue: the largest chains have as many."""

STOCK_UNITS_MAX: Final = 50_000
"""Stock-keeping units of a catalogue: 50,000 lines take 2 MB of its 4 MB a file."""

STOCK_POLICIES_MAX: Final = 1_000
"""Policies: the first that matches counts, and more of them are not read by anyone."""

STOCK_COVER_TIERS_MAX: Final = 4
"""Tiers of days of cover of one policy: one for each severity."""

STOCK_GRANTS_MAX: Final = 1_000
"""Distributors with a grant."""

STOCK_PURCHASES_MAX: Final = 50
"""Kinds of events that movements follow from."""

STOCK_KEEPING_UNIT_SIZE_MAX: Final = 64
"""Characters of a stock-keeping unit: a key of the store with a site's name stays below 200."""

STOCK_UNITS_AMOUNT_MAX: Final = 1_000_000_000
"""Units of one movement, of a position and of every number of a policy: sums of 2³² of them are
exact as int64, and each is exact as float64."""

EVENT_MOVEMENT_NUMBER_MAX: Final = 2**24 - 1
"""Greatest number of an event that may be a movement's id: fields are float32, in which greater
ones are not told apart, so that two sales would count as one."""

STOCK_LEAD_TIME_S_MAX: Final = 365 * 86_400
"""Longest lead time: one year."""

STOCK_COVER_DAYS_MAX: Final = 365.0
"""Most days of cover that a tier or a curve names."""

STOCK_TRANSFER_SITES_MAX: Final = 100
"""Sites from which one policy lets units be taken: each is looked at for a suggestion."""

STOCK_CURVE_POINTS_MAX: Final = 16
"""Points of the curve by which low cover lowers an offer's priority."""

STOCK_REACHABLE_MAX: Final = 8
"""Attributes that say which sites a customer reaches: each costs a read in a decision."""

STOCK_CLOCK_BEHIND_S_MAX: Final = 400 * 86_400
"""How late a movement may come: more than a year, so that a year's file can be replayed. Without a
word of the catalogue it is as for events."""

STOCK_ALERT_RETENTION_S_MAX: Final = 90 * 86_400
"""Longest time for which transitions of alerts are kept: 90 days."""

STOCK_HEARTBEAT_S_MAX: Final = 300
"""Longest silence of a stream of alerts: proxies close connections that say nothing for longer."""

MOVEMENTS_BATCH_MAX: Final = 1_000
"""Movements of one batch, as events: one record, one transaction, about 20 ms."""

MOVEMENT_IDS_KEPT_NS: Final = 30 * 86_400 * 1_000_000_000
"""Time for which the id of a movement is remembered, by whichever door it came: the promised 30
days. A till that was cut off sends its week again, where an event is sent again within hours."""

ALERTS_DROPPED_MAX: Final = 64
"""Transitions older than the retention that go with one record: more than it adds as a rule."""

STOCK_HINT_OFFERS_MAX: Final = 8
"""Offers that a hint names: more of them are not read by anyone."""

STOCK_TICK_POSITIONS_MAX: Final = 500
"""Positions that one tick looks at: bounds how long other writes wait."""

RESHELVED_POSITIONS_MAX: Final = 50_000
"""Positions that a publication looks up because offers are tied to units that none was tied to
before: 50,000 take 0.1 s, in which other writes wait."""

STOCK_FILTER_NAMES_MAX: Final = 1_000
"""Names of one kind that a filter of positions or alerts may have."""

ACKNOWLEDGER_SIZE_MAX: Final = 200
"""Characters of the name of somebody who acknowledges an alert."""

STOCK_SNOOZE_NS_MAX: Final = 30 * 86_400 * 1_000_000_000
"""Longest time for which an alert is put off: 30 days; what lasts longer is for the policy."""

SUBSCRIBER_LAG_NS_MAX: Final = 2_000_000_000
"""Time that a subscriber who followed and has fallen behind by all that may wait for it has to
catch up: a burst of alerts takes a reader a moment, and nobody who wants to know reads slower."""

SUBSCRIBER_STALL_NS_MAX: Final = 60_000_000_000
"""Time without reading anything after which a subscriber who catches up is cut: as long as fronts
wait for readers of replies."""
