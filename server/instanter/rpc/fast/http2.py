"""How libnghttp2 is set up: what it refuses by itself, and what clients are told."""

from typing import Final

from ngh2 import Configuration, Setting

from instanter import wire_limits

CONFIGURATION: Final = Configuration(
    max_inbound_header_list_size=wire_limits.METADATA_SIZE_BYTES_HARD_MAX,
    max_inbound_header_count=wire_limits.METADATA_FIELDS_MAX,
    stream_reset_rate_limit=(wire_limits.RESETS_BURST_MAX, wire_limits.RESETS_PER_SECOND_MAX),
)
"""Beyond these the connection ends."""

SETTINGS: Final = {
    Setting.MAX_CONCURRENT_STREAMS: wire_limits.STREAMS_PER_CONNECTION_MAX,
    Setting.INITIAL_WINDOW_SIZE: wire_limits.STREAM_WINDOW_SIZE_BYTES,
    Setting.MAX_HEADER_LIST_SIZE: wire_limits.METADATA_SIZE_BYTES_MAX,
}
"""What a client is told in the greeting."""
