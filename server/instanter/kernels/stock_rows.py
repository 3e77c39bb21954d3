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
PLACE_COLUMNS = 4

STATE_WORDS = 126
"""int64 words of a position's state; all 0 for a new one. Demand lies in it as float64."""
PROFILE_WORDS = 176
"""float64 words of a site's profile; all 0 for a new one."""
