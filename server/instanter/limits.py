"""All limits of the server, each with its reason; their relations are asserted at the end.

Those of the check at the till stand in `fraud_limits`, those of stock in `stock_limits`, those of
connections, calls and messages in `wire_limits`. A limit is named most significant word first, unit
last. Whoever needs a bound takes it from there, so that an operator can read what the server will
refuse.
"""

from typing import Final

# --- Profiles -----------------------------------------------------------------------------------

PROFILE_SLOTS_PAGE: Final = 1_000
"""Slots that fit one 4096-byte LMDB page with header and tail; more cost a second page."""

PROFILE_SLOTS_MAX: Final = 2_000
"""Slots of a profile, retired ones included: bounds the record (8,080 bytes) and a decision."""

CONTEXT_SLOTS_MAX: Final = 100
"""Context attributes of a schema: each costs a slot in every request's context row."""

CUSTOMER_ID_SIZE_BYTES_MAX: Final = 256
"""UTF-8 bytes of a customer id: far above any real key, far below LMDB's 511-byte keys."""

CATEGORY_VALUES_MAX: Final = 4_096
"""Declared values of one category, retired ones included: bounds dictionaries and error texts."""

CATEGORY_VALUE_SIZE_BYTES_MAX: Final = 256
"""UTF-8 bytes of one category value."""

NAME_SIZE_MAX: Final = 100
"""Characters of an attribute, offer, channel, placement, issue, group or treatment name."""

# --- Catalogue ----------------------------------------------------------------------------------

OFFERS_MAX: Final = 2_000
"""Offers of a catalogue, expired ones included: a decision scores all of them."""

CHANNELS_MAX: Final = 32
"""Channels of a catalogue."""

SURFACES_MAX: Final = 256
"""Pairs of channel and placement: each holds one row of treatments over all offers."""

RULE_SIZE_BYTES_MAX: Final = 16_384
"""UTF-8 bytes of one CEL rule: a rule that long is generated, and belongs into an attribute."""

RULE_DEPTH_MAX: Final = 32
"""Nesting of one rule: keeps the parser's and the compiler's recursion shallow."""

PROGRAM_PREDICATES_MAX: Final = 60_000
"""Distinct comparisons of all rules together: bounds the time of one decision's rules."""

PROGRAM_EDGES_MAX: Final = 200_000
"""Operands of all `&&`, `||` and `!` together: bounds the time of one decision's rules."""

PROGRAM_TERMS_MAX: Final = 60_000
"""Distinct arithmetic steps of all rules together: bounds the time of one decision's rules."""

OFFER_VALUE_MINOR_MAX: Final = 10**15
"""Minor units that a response to an offer may be worth: more than any single sale, and sums of
their squares stay exact."""

OFFER_FACTOR_MAX: Final = 1e6
"""Lever, weight of a treatment or of a context: an infinite one would make all priorities equal."""

CONTEXT_WEIGHTS_MAX: Final = 20
"""Context weights of one offer."""

TREATMENTS_MAX: Final = 64
"""Treatments of one offer."""

TEXT_SIZE_MAX: Final = 2_000
"""Characters of a text for people: a title, a description, a treatment's content."""

CATALOGUE_PROBLEMS_MAX: Final = 100
"""Mistakes reported of one catalogue: more of them are not read by anyone."""

CATALOGUE_PATH_SIZE_BYTES_MAX: Final = 255
"""UTF-8 bytes of a catalogue file's path."""

CATALOGUE_FILES_MAX: Final = 1_000
"""Files of one publication."""

CATALOGUE_FILE_SIZE_BYTES_MAX: Final = 4 << 20
"""Bytes of one catalogue file: 1000 attributes take about 200 kB."""

CATALOGUE_SIZE_BYTES_MAX: Final = 12 << 20
"""Bytes of all catalogue files together; below the message limit, so that a clear error comes."""

# --- Events, contact policy, response ------------------------------------------------------------

EVENT_KINDS_MAX: Final = 200
"""Kinds of events of a catalogue, withdrawn ones included."""

EVENT_FIELDS_MAX: Final = 50
"""Fields of one event kind, withdrawn ones included: bounds an event's row of values."""

DERIVATIONS_MAX: Final = 200
"""Derived attributes of a catalogue: each is evaluated in every decision."""

DERIVED_STATE_SIZE_BYTES_MAX: Final = 200 * 2_064
"""Bytes of what is kept of one customer's events: 2,064 a derivation at most, 800 for a sum, 16 to
100 as a rule, for a customer who does something now and then."""

EVENTS_BATCH_MAX: Final = 1_000
"""Events of one call: one record of the log, which others wait for."""

EVENT_ID_SIZE_MAX: Final = 64
"""Characters of an event id: a UUID has 36."""

EVENT_AGE_NS_MAX: Final = 90 * 86_400_000_000_000
"""How late an event may come: what is older than the longest window counts nowhere."""

EVENT_AHEAD_NS_MAX: Final = 300_000_000_000
"""How far a sender's clock may be ahead: five minutes."""

IDS_KEPT_NS: Final = 30 * 3_600_000_000_000
"""Time for which the id of an event or of a request is remembered: the promised 24 hours, and six
more for retries that began near their end."""

WINDOW_S_MIN: Final = 60
"""Shortest window, half-life or rest: one minute."""

WINDOW_S_MAX: Final = 90 * 86_400
"""Longest window, half-life or rest, and longest time until an outcome is accepted: 90 days."""

CAPS_MAX: Final = 50
"""Caps of a contact policy: each is checked for every offer of every decision."""

CAP_COUNT_MAX: Final = 100
"""Contacts that a cap may allow: below the contacts that are kept of a customer."""

COOL_OFFS_MAX: Final = 20
"""Cool-offs of a contact policy."""

QUIET_HOURS_MAX: Final = 10
"""Spans of quiet hours of a contact policy."""

CONSENTS_MAX: Final = 50
"""Consents of a contact policy."""

OUTCOME_WAIT_S_MAX: Final = 30 * 86_400
"""Longest wait until a presentation without an answer counts as ignored: 30 days."""

EXPLORATION_MAX: Final = 10.0
"""Standard deviations by which choices may be varied: above, choices are all but random."""

# --- Decisions ----------------------------------------------------------------------------------

OFFER_COUNT_MAX: Final = 100
"""Offers of one decision."""

BATCH_REQUESTS_MAX: Final = 1_000
"""Decisions, or customers read, in one batch call: bounds the time others wait for it."""

BATCH_TURN_MAX: Final = 64
"""Requests that one turn of the event loop decides together: 64 × 50 µs is about 3 ms."""

REQUEST_ENDINGS_KEPT: Final = 1_024
"""Ways to ask for a decision, customer apart, that are remembered: surfaces × numbers of offers."""

REQUEST_ID_SIZE_MAX: Final = 64
"""Characters of a request id: a UUID has 36."""

PAGE_SIZE_DEFAULT: Final = 100
"""Customers of a page when the request does not say."""

PAGE_SIZE_MAX: Final = 1_000
"""Customers of a page."""

CONTACTS_KEPT: Final = 256
"""Contacts kept of a customer, and as many answers, 24 bytes each: more than any cap counts. What
happened before them counts against the customer's offers as long as it could matter."""

RESERVATION_NS: Final = 30_000_000_000
"""Time for which an offer that a decision listed counts as a contact before it is presented: a
page is shown within it, or never."""

RESERVATION_LOCK_NS_MAX: Final = 20_000_000
"""How long a decision waits for a process that was stopped while it held a bucket's lock."""

# --- Propensity models --------------------------------------------------------------------------

PREDICTOR_BINS_MAX: Final = 64
"""Bins of one predictor, the missing bin included."""

MODELS_SIZE_BYTES_MAX: Final = 1 << 30
"""Bytes of one publication of models: 2,000 offers × 1,000 attributes × 11 bins take 450 MB."""

OUTCOME_DECISION_NS_MAX: Final = 1_000_000_000
"""Time that an outcome waits for its decision's record, which another worker may still send."""

OUTCOMES_WAITING_MAX: Final = 10_000
"""Outcomes that wait so; further ones are answered as unknown at once."""

OUTCOME_FUTURE_NS_MAX: Final = 300_000_000_000
"""How far in the future an outcome may have happened: clocks differ by less than 5 minutes."""

TURNS_REMEMBERED_MAX: Final = 4_096
"""Turns of decisions that the keeper holds in memory: most outcomes are of the last seconds."""

DECISION_TRIES_MAX: Final = 8
"""Tries of one decision that can be answered: who retries more often than that has shown none."""

TICK_NS: Final = 1_000_000_000
"""How often the keeper looks for presentations whose wait has ended."""

LOG_AHEAD_NS_TOLD: Final = 10_000_000_000
"""How far ahead of the clock the log's time is told of: small steps of a clock are usual."""

LOG_AHEAD_TOLD_EVERY_NS: Final = 60_000_000_000
"""How often that is told."""

DISK_FULL_TOLD_EVERY_NS: Final = 60_000_000_000
"""How often it is told that writes are refused for want of disk."""

TICK_ENTRIES_MAX: Final = 1_000
"""Presentations of one tick: bounds how long other writes wait."""

EXPIRED_KEYS_PER_RECORD: Final = 16
"""Expired keys that go with each record: far more than one record adds."""

PLAN_SAMPLE_ROWS: Final = 2_048
"""Stored profiles from which a binning plan is made while no models are published."""

LEARNER_WAITING_SIZE_BYTES_MAX: Final = 64 << 20
"""Bytes of records that wait for the learner; above, writes wait for it: 60,000 labels with 1,000
predictors, which take it about a second."""


# --- Writes -----------------------------------------------------------------------------------

WRITES_WAITING_MAX: Final = 4_096
"""Writes that may wait for the disk; more are refused with RESOURCE_EXHAUSTED."""

WRITES_GROUP_MAX: Final = 512
"""Changes of one transaction, or of its one command: how long the first waits for the last."""

WRITES_ON_LOOP_WEIGHT_MAX: Final = 16
"""Changes of one transaction on the event loop, which answers nobody meanwhile: 1 ms at most."""

TOOLS_CONNECTIONS_MAX: Final = 8
"""Commands that may write into a served store at the same time: a load, a fit, an apply."""

COMPILE_NS_MAX: Final = 60_000_000_000
"""Time that a catalogue has to compile; the largest allowed one takes a fraction of it."""

COMPILE_MEMORY_SIZE_BYTES_MAX: Final = 4 << 30
"""Address space of the process that compiles a catalogue, libraries included (about 1 GB)."""

DRAIN_NS_MAX: Final = 5_000_000_000
"""Time that calls in flight have to finish when the server stops."""

# --- Processes ----------------------------------------------------------------------------------

WORKERS_MAX: Final = 32
"""Worker processes of a server: more cores than that are better used by a second node."""

FORWARDED_CALLS_MAX: Final = 8_192
"""Calls of one worker that wait for the keeper; more are refused with RESOURCE_EXHAUSTED."""

FORWARDED_SIZE_BYTES_MAX: Final = 64 << 20
"""Bytes of these calls' requests: four of the longest."""

TOLD_SIZE_BYTES_MAX: Final = 8 << 20
"""Bytes of decision records that wait for the keeper; more are dropped and counted: 40,000
decisions, 2 s at the highest rate one worker has."""

KEEPER_WAIT_NS_MAX: Final = 2_000_000_000
"""Time that a write waits for a keeper that is being replaced."""

KEEPER_STOP_NS_MAX: Final = 30_000_000_000
"""Time that a keeper has to finish its writes and to fold them before it is killed; what it has
acknowledged is in the log anyway."""

HEARTBEAT_NS: Final = 200_000_000
"""How often each process tells the supervisor from its event loop that it is alive."""

SILENCE_NS_MAX: Final = 1_000_000_000
"""Silence after which a process that serves is killed and replaced."""

SILENCE_STARTING_NS_MAX: Final = 10_000_000_000
"""The same while it takes up its role: opening a store keeps the interpreter busy."""

WARM_UP_NS_MAX: Final = 300_000_000_000
"""Time that a new process has to import what it needs: the first one of all compiles kernels."""

RESTARTS_FAILED_MAX: Final = 10
"""Keepers in a row that fail to start, with longer and longer waits between them (22 s together),
after which a server without workers ends: whoever runs it has more to try than it has."""

# --- The store ----------------------------------------------------------------------------------

STORE_MAP_SIZE_BYTES_INITIAL: Final = 1 << 30
"""Address space of a new store and of a new overlay; it doubles when it is full."""

OVERLAY_RESERVED_SIZE_BYTES_INITIAL: Final = 8 << 20
"""The same of an overlay that is written through its map, which takes as much disk."""

FOLD_NS: Final = 60_000_000_000
"""Time between two folds when little is written: each slows down whatever runs beside it."""

FOLD_REPLAY_NS: Final = 1_000_000_000
"""A replay of as much processor time is folded at once: a killed keeper is replaced within 2 s."""

FOLD_ENTRIES: Final = 120_000
"""Entries at which it is folded, too: each may change a page of its own, and a transaction of LMDB
holds 131,071 of them, 512 MB, before it has to write some out early."""

FOLD_PROCESS_WAIT_NS_MAX: Final = 60_000_000_000
"""How long the process that folds may say nothing: it gives way to everything else."""

RELAXED_NS_MAX: Final = 200_000_000
"""Time until a write that was acknowledged before it was on disk is on disk."""

DECISION_INPUTS_KEPT_NS: Final = 7 * 86_400_000_000_000
"""Time for which the profile that an old decision was made with is kept after it was overwritten.
Later outcomes of that decision count, but teach nothing, and it cannot be explained any more."""

SWITCH_INTERVAL_NS: Final = 500_000
"""How long a thread of a serving process may keep the interpreter to itself while another wants it:
the event loop's longest wait for a thread that folds. The interpreter's own 5 ms were most of
what a decision took at the 99th percentile."""

PURGE_ROWS: Final = 1_000
"""Entries of the overlay that one step of a purge looks at: 0.9 ms, in which no write begins."""

PURGE_ROWS_ON_LOOP: Final = 200
"""The same on the event loop: 0.2 ms."""

STORE_READERS_MAX: Final = 126
"""Slots of LMDB's reader table: one a thread that reads."""

CATALOGUE_REVISIONS_KEPT: Final = 16
"""Revisions kept of the catalogue, the current one included: 16 × 12 MB at the very most."""

MODELS_REVISIONS_KEPT: Final = 4
"""Revisions kept of the models, the current one included: 200 models of 1000 attributes take
44 MB, and each fit of one offer publishes all of them."""

LIST_ROWS_MAX: Final = 10_000
"""Profiles listed in one read transaction: bounds how long it holds old pages."""

REVISION_POLL_NS: Final = 100_000_000
"""How often a process looks for a new catalogue or model: a tenth of the promised second."""

# --- The log ------------------------------------------------------------------------------------

LOG_SEGMENT_SIZE_BYTES_MAX: Final = 64 << 20
"""Bytes of a file of the log: a new one every few seconds at the highest rate, never thousands."""

LOG_SEGMENT_SIZE_BYTES_FIRST: Final = 4 << 20
"""Bytes of a new log's first file, made before the server can start; the next are twice as large
each, up to the most."""

LOG_SEGMENT_SIZE_BYTES_MIN: Final = 1 << 20
"""Bytes of a file of the log on a disk that is nearly full."""

LOG_DISK_DIVISOR: Final = 8
"""A new file of the log, or what the overlay takes at once: at most an eighth of the free disk."""

LOG_RECORD_SIZE_BYTES_MAX: Final = MODELS_SIZE_BYTES_MAX + (16 << 20)
"""Bytes of one record's body: a publication of models is one."""

LOG_AGE_NS_MAX: Final = 30 * 86_400_000_000_000
"""Age from which on a file of the log may go, unless told otherwise: a month to replay."""

LOG_SEGMENTS_PER_AGE: Final = 10
"""A file of the log is written to for at most this part of the age at which it may go: what is
deleted is gone from the log a tenth later than that, however little is written."""

LOG_SIZE_BYTES_MAX: Final = 16 << 30
"""Bytes of the whole log above which its oldest files go, unless told otherwise."""

# --- Loads --------------------------------------------------------------------------------------

LOAD_BATCH_ROWS: Final = 8_192
"""Rows of one load transaction: 33 MB of records; more waits longer, less syncs more often."""

LOAD_REJECTIONS_KEPT: Final = 1_000
"""Rejected values that a load report holds in memory; all of them are counted."""

LOAD_REJECTIONS_PER_ROW: Final = 10
"""Rejected values reported of one row: the first ten show what is wrong with it."""

FIT_PASSES_MAX: Final = 100
"""Passes of a fit over its file: a thousand attributes stop gaining after about five."""

FIT_ROWS_REPLAYED_MAX: Final = 200_000
"""Rows that a fit of several passes holds in memory: 800 MB with 1,000 predictors."""

INFER_CATEGORY_VALUES_MAX: Final = 200
"""Distinct texts of a column that `schema infer` takes for a category, not for free text."""

assert PROFILE_SLOTS_PAGE <= PROFILE_SLOTS_MAX
assert PROFILE_SLOTS_MAX % 2 == 0, "a record holds an even number of slots"
assert INFER_CATEGORY_VALUES_MAX <= CATEGORY_VALUES_MAX
assert min(CATALOGUE_REVISIONS_KEPT, MODELS_REVISIONS_KEPT) >= 2, "the one before is kept"
assert LIST_ROWS_MAX >= PAGE_SIZE_MAX
assert LOG_SEGMENT_SIZE_BYTES_MIN <= LOG_SEGMENT_SIZE_BYTES_FIRST <= LOG_SEGMENT_SIZE_BYTES_MAX
assert LOG_RECORD_SIZE_BYTES_MAX < 1 << 32, "a frame's length has 32 bits"
assert LOG_RECORD_SIZE_BYTES_MAX < LOG_SIZE_BYTES_MAX
assert CUSTOMER_ID_SIZE_BYTES_MAX + 8 <= 511, "a padded key must fit LMDB's key size"
assert OFFER_COUNT_MAX <= OFFERS_MAX
assert CONTACTS_KEPT > 100, "a cap counts up to 100 contacts"
assert DERIVATIONS_MAX <= PROFILE_SLOTS_MAX, "each derived attribute has a profile slot"
assert IDS_KEPT_NS > 24 * 3_600_000_000_000, "24 hours are promised"
assert EVENT_AGE_NS_MAX <= WINDOW_S_MAX * 1_000_000_000, "older events count in no window"
assert OUTCOME_WAIT_S_MAX <= WINDOW_S_MAX, "an ignored presentation is noted while it counts"
assert BATCH_TURN_MAX <= BATCH_REQUESTS_MAX
assert REVISION_POLL_NS * 5 < 1_000_000_000, "a new revision is promised within one second"
assert WRITES_GROUP_MAX <= WRITES_WAITING_MAX
assert PAGE_SIZE_DEFAULT <= PAGE_SIZE_MAX
assert 2 * HEARTBEAT_NS < SILENCE_NS_MAX, "one heartbeat may be late"
assert SILENCE_NS_MAX < KEEPER_WAIT_NS_MAX, "writes outlast the replacement of a keeper"
