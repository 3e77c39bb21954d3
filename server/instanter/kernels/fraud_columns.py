"""How the card transactions of one turn are laid out, from their requests to their records."""

AMOUNT_MINOR = 0
DIGITS = 1
"""Of the currency's minor unit."""
CURRENCY = 2
"""Code of the currency, `catalogue/fraud_figures.encode_currency`."""
MCC = 3
GIVEN_NS = 4
"""The transaction's own time, nanoseconds since 1970."""
PRESENT = 5
"""1 for a card that was there, else 0."""
TERMINAL_HASH = 6
"""As `fraud/encoding.hash_name` tells names apart; so for merchant and device."""
MERCHANT_HASH = 7
DEVICE_HASH = 8
"""The code of a missing value when the device is not known."""
NUMBERS = 9

TRANSACTION_ID = 0
CARD = 1
CUSTOMER = 2
TERMINAL = 3
MERCHANT = 4
DEVICE = 5
CURRENCY_TEXT = 6
BIN = 7
TEXTS = 8
"""Names as they are kept, without what resource names begin with; empty where there is none."""
