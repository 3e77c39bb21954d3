"""Messages between processes of one server: msgpack values, one after another, on a local socket.

Such a stream needs no lengths of its own: each value says how long it is. What arrives is bounded,
because a length that is wrong must not make the receiver wait for gigabytes.
"""

from collections.abc import Iterator
from typing import Any

import msgpack


def pack(message: Any) -> bytes:
    """Return the bytes of one message: None, numbers, text, bytes, and lists and maps of these."""
    packed: bytes = msgpack.packb(message)
    return packed


class Frames:
    """Puts messages together from bytes as they arrive.

    Parameters
    ----------
    size_bytes_max
        Bytes of the longest message, and of the longest piece that is handed in at once.
    """

    __slots__ = ("_unpacker",)

    def __init__(self, size_bytes_max: int) -> None:
        self._unpacker = msgpack.Unpacker(max_buffer_size=2 * size_bytes_max, use_list=False)

    def feed(self, piece: bytes) -> Iterator[Any]:
        """Take the next piece of the stream and yield the messages that it completes.

        Raises
        ------
        ValueError
            The stream is broken, or a message in it is too long; nothing more can be read of it.
        """
        try:
            self._unpacker.feed(piece)
            yield from self._unpacker
        except msgpack.exceptions.BufferFull as error:
            raise ValueError("a message is longer than it may be") from error
        except msgpack.exceptions.UnpackException as error:
            raise ValueError(f"the stream of messages is broken: {error}") from error
