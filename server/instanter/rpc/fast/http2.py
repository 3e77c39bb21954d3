"""How libnghttp2 is set up: what it refuses by itself, and what clients are told."""

from typing import Final

from ngh2 import Configuration, Setting

from instanter import limits

CONFIGURATION: Final = Configuration(
    max_inbound_header_list_size=limits.METADATA_SIZE_BYTES_HARD_MAX,
    max_inbound_header_count=limits.METADATA_FIELDS_MAX,
    stream_reset_rate_limit=(limits.RESETS_BURST_MAX, limits.RESETS_PER_SECOND_MAX),
)
"""Beyond these the connection ends."""

SETTINGS: Final = {
    Setting.MAX_CONCURRENT_STREAMS: limits.STREAMS_PER_CONNECTION_MAX,
    Setting.INITIAL_WINDOW_SIZE: limits.STREAM_WINDOW_SIZE_BYTES,
    Setting.MAX_HEADER_LIST_SIZE: limits.METADATA_SIZE_BYTES_MAX,
}
"""What a client is told in the greeting."""
