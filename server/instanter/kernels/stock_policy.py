"""The columns of a stock policy as kernels read it: one row of float64 for each policy.

Units are whole units, times are days unless the name says otherwise. NaN stands for what a policy
does not say, and a severity of 0 for a cause that raises no alert.
"""

from typing import Final

REORDER_POINT: Final = 0
"""Declared reorder point in units; NaN when it follows from the lead time, or there is none."""
LEAD_TIME_DAYS: Final = 1
"""Days from an order to its receipt; NaN when not declared."""
LEAD_TIME_SD_DAYS: Final = 2
"""Standard deviation of the lead time in days; 0 when not declared."""
SERVICE_Z: Final = 3
"""Standard normal quantile of the service level; NaN when not declared."""
ORDER_UP_TO: Final = 4
"""Units up to which is ordered; NaN when not declared."""
ORDER_UNITS: Final = 5
"""Units of one order; NaN when not declared."""
MINIMUM: Final = 6
"""Units at or below which is reordered whatever the demand; NaN when not declared."""
MAXIMUM: Final = 7
"""Units above which there is too much; NaN when not declared."""
COVER_DAYS: Final = 8
"""Four columns, NOTICE, WARNING, SERIOUS and CRITICAL: days of cover below which an alert of this
severity is raised; NaN when there is no such tier. They fall from left to right."""
PLUNGE_FALSE_ALARMS_PER_DAY: Final = 12
"""False alarms of plunge allowed per day and position; NaN without plunge."""
HYSTERESIS: Final = 13
"""An alert clears beyond its threshold × (1 + this), 0 to 10."""
ESCALATE_AFTER_S: Final = 14
"""Seconds after which an alert that nobody acknowledged escalates; 0 for never."""
COUNT_TOLERANCE_UNITS: Final = 15
"""Units by which a count may differ from what was expected without an alert."""
COUNT_TOLERANCE_SHARE: Final = 16
"""The same as a share of what was expected, 0 to 1; the larger of both counts."""
NEGATIVE_ALLOWED: Final = 17
"""1 when on hand may fall below 0, else 0."""
SEVERITY: Final = 18
"""Six columns in the order of causes, STOCK_OUT, LOW_COVER, REORDER, PLUNGE, OVERSTOCK and
DATA_ERROR: the severity of an alert, 1 to 4, or 0 for no alert. LOW_COVER has its tiers instead
and holds that of the mildest, or 0."""
COLUMN_COUNT: Final = 24
"""Columns of a row."""
