"""How the tables are laid out that `kernels/event_requests` knows kinds of events by."""

KIND_NAME = 0
"""Where a kind's name begins in the text."""
KIND_NAME_END = 1
KIND_CODE = 2
KIND_FIELDS = 3
"""Where the rows of its fields begin in the tables."""
KIND_FIELDS_END = 4
KIND_REQUIRED = 5
"""How many fields an event of it must have."""
KIND_COLUMNS = 6

FIELD_NAME = 0
FIELD_NAME_END = 1
FIELD_MEMBER = 2
"""Which member of `AttributeValue` holds its values."""
FIELD_SLOT = 3
FIELD_IS_REQUIRED = 4
FIELD_LOW = 5
FIELD_HIGH = 6
"""The smallest and largest number, float64 in the place of an int64."""
FIELD_VALUES = 7
"""Where the rows of a category's values begin in the tables."""
FIELD_VALUES_END = 8
FIELD_COLUMNS = 9

VALUE_NAME = 0
VALUE_NAME_END = 1
VALUE_CODE = 2
VALUE_COLUMNS = 3

NUMBER_MEMBER = 1
CATEGORY_MEMBER = 2
FLAG_MEMBER = 3
INSTANT_MEMBER = 4
