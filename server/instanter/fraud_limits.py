"""The limits of the check at the till, each with its reason; all others are in `limits`."""

from typing import Final

FRAUD_RULES_MAX: Final = 1_000
"""Rules of the check at the till: one pass over as many takes 20 µs."""

FRAUD_AMOUNT_MINOR_MAX: Final = 10**12
"""Largest amount of one transaction in minor units: ten thousand million of most currencies."""

FRAUD_MCC_MAX: Final = 9_999
"""Largest merchant category code: four digits. Codes that ISO 18245 has not given out are taken
too, because card schemes have their own."""

FRAUD_VELOCITIES_MAX: Final = 64
"""Velocities: each is evaluated and counted for every transaction."""

FRAUD_TERMINALS_MAX: Final = 20_000
"""Terminals whose place the catalogue knows: 20,000 lines take 1.5 MB of its 4 MB a file."""

FRAUD_FIELDS_MAX: Final = 30
"""Further fields of a transaction, withdrawn ones included."""

FRAUD_FEATURES_MAX: Final = 48
"""Figures that the model looks at; they are kept with each transaction until its label comes."""

FRAUD_PAIRS_MAX: Final = 12
"""Pairs of figures that also count together in the model: with 48 figures it has 64 kB."""

FRAUD_THRESHOLDS_MAX: Final = 100
"""Entries of the table of thresholds, which is read from its top until one matches."""

FRAUD_THRESHOLD_NAMES_MAX: Final = 1_000
"""Merchants that one entry of thresholds names."""

FRAUD_POINTS_MAX: Final = 100
"""Points of one rule, of the model, and the greatest risk."""

FRAUD_REASONS_MAX: Final = 8
"""Reason codes of one verdict: more of them are not read by anyone."""

FRAUD_WINDOW_S_MIN: Final = 10
"""Shortest window of a velocity."""

FRAUD_CLOCK_AHEAD_S_MAX: Final = 86_400
"""How far ahead of the server's clock a catalogue may let a transaction's time be: one day."""

FRAUD_CLOCK_BEHIND_S_MAX: Final = 400 * 86_400
"""How far behind: more than a year, so that a year's file can be replayed."""

FRAUD_SNOOZES_PER_CARD_MAX: Final = 16
"""Rules that are silent for one card: 16 bytes each, read with every transaction of it."""

TRANSACTION_ID_SIZE_MAX: Final = 64
"""Characters of a transaction's id: a UUID has 36."""

FRAUD_ID_SIZE_MAX: Final = 128
"""Characters of a card's token, and of the ids of terminals, merchants and devices: a digest of
512 bits in hexadecimal."""

TRANSACTION_KEPT_NS: Final = 120 * 86_400_000_000_000
"""Time for which an assessed transaction and its case are kept: chargebacks come up to 120 days
later. Its id is known as long."""

TRANSACTION_OUTCOMES_BATCH_MAX: Final = 1_000
"""Outcomes of transactions of one call: one record of the log, which others wait for."""

ASSESS_NS_MIN: Final = 1_000_000
"""What a caller's deadline must leave for an assessment by rules: 0.2 ms of work, and the disk."""

HOTLIST_ENTRIES_MAX: Final = 10_000_000
"""Entries of one hotlist, about 100 bytes each: ten times what is promised."""

HOTLIST_BATCH_MAX: Final = 1_000
"""Entries of one call: one record of the log, which others wait for, about 10 ms."""

HOTLIST_SHRINK_RATE_MAX: Final = 0.2
"""Part of a hotlist that another one may lack, unless told otherwise: a file that was cut, or the
feed of another list, lacks more."""

HOTLIST_TEXT_SIZE_MAX: Final = 200
"""Characters of an entry's reason, and of its source."""

CASE_NOTES_MAX: Final = 100
"""Notes of one case."""

CASE_ASSIGNEE_SIZE_MAX: Final = 200
"""Characters that name whoever works on a case."""
