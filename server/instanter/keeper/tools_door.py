"""Lets the command's tools write into a store that a server keeps, through its keeper.

`instanter load`, `fit` and `apply --data` hand over megabytes: blocks of profiles, models, a
catalogue. They do so on a Unix socket in the store's folder, which only its owner can reach. Each
message is its length (uint32, little-endian) and msgpack; one request is answered before the next
one is read, so that the sender never waits in memory.
"""

import contextlib
import os
import socket
import struct
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final

import msgpack
import numpy as np

from instanter import errors
from instanter.errors import InstanterError, PreconditionError, UnavailableError
from instanter.events_log import EventsLog
from instanter.keeper.commands import Command, Submit
from instanter.keeper.loading import LoadBlock
from instanter.keeper.publishing import PublishDocument
from instanter.keeper.records import RecordKind
from instanter.limits import LOG_RECORD_SIZE_BYTES_MAX, TOOLS_CONNECTIONS_MAX
from instanter.store.profiles import BlockResult

SOCKET_NAME: Final = "tools.sock"

_LENGTH: Final = struct.Struct("<I")
_SOCKET_PATH_SIZE_BYTES_MAX: Final = 107
"""What the address of a Unix socket can hold; longer paths go through the folder's descriptor."""


class ToolsDoor:
    """Takes commands of tools. Runs on threads of its own, one a connection.

    Parameters
    ----------
    folder
        The store's folder.
    submit
        Carries out a command.
    events_log
        Told of what a tool sent that cannot be read.
    """

    def __init__(self, folder: Path, submit: Submit, *, events_log: EventsLog) -> None:
        self._folder = folder
        self._submit = submit
        self._events_log = events_log
        self._free = threading.BoundedSemaphore(TOOLS_CONNECTIONS_MAX)
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._run, name="tools", daemon=True)

    def start(self) -> None:
        """Begin to take connections; a socket left behind by a server that died is replaced."""
        with contextlib.suppress(FileNotFoundError):
            (self._folder / SOCKET_NAME).unlink()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with _socket_path(self._folder) as path:
            listener.bind(path)
        (self._folder / SOCKET_NAME).chmod(0o600)
        listener.listen(TOOLS_CONNECTIONS_MAX)
        self._listener = listener
        self._thread.start()

    def stop(self) -> None:
        """Take no more connections and end those that are open."""
        if self._listener is None:
            return
        for connection in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        with contextlib.suppress(FileNotFoundError):
            (self._folder / SOCKET_NAME).unlink()

    def _run(self) -> None:
        listener = self._listener
        assert listener is not None, "started"
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            if not self._free.acquire(blocking=False):
                connection.close()
                continue
            self._open.add(connection)
            threading.Thread(
                target=self._serve, args=(connection,), name="tool", daemon=True
            ).start()

    def _serve(self, connection: socket.socket) -> None:
        """Answer one tool's requests until it goes."""
        try:
            while (request := _receive(connection)) is not None:
                _send(connection, self._answer(request))
        except OSError:
            pass  # the tool has gone; what it was not told it will find in the store
        except (ValueError, TypeError, LookupError, msgpack.UnpackException) as error:
            self._events_log.warning("tool_request_invalid", message=str(error))
        finally:
            self._open.discard(connection)
            connection.close()
            self._free.release()

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        command = _read_command(request)
        try:
            result = self._submit(command).result()
        except InstanterError as error:
            return {"error": _pack_error(error)}
        if isinstance(result, BlockResult):
            row = (result.created_count, result.updated_count, result.damaged)
            return {"block": row}
        return {"result": result}


class ToolsClient:
    """A tool's end of the door. For one thread; `close` it.

    Parameters
    ----------
    folder
        The store's folder.

    Raises
    ------
    PreconditionError
        No server listens there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with _socket_path(folder) as path:
                self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            raise PreconditionError(
                f"another process uses the store in {folder} and takes no writes of others; wait "
                "until it has ended, or stop it",
                reason="STORE_LOCKED",
            ) from error

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def submit(self, command: Command[Any], deadline_ns: int | None = None) -> Future[Any]:
        """Have a command carried out and return its result as a future that is done.

        Raises
        ------
        UnavailableError
            The server went away; whether it was carried out is not known.
        """
        del deadline_ns  # a tool waits as long as it takes
        future: Future[Any] = Future()
        try:
            _send(self._socket, _pack_command(command))
            answer = _receive(self._socket)
        except OSError:
            answer = None
        if answer is None:
            raise UnavailableError(
                f"the server of the store in {self._folder} went away; run the command again"
            )
        if "error" in answer:
            future.set_exception(_read_error(answer["error"]))
        elif "block" in answer:
            created, updated, damaged = answer["block"]
            future.set_result(BlockResult(created, updated, tuple(damaged)))
        else:
            future.set_result(answer["result"])
        return future


@contextlib.contextmanager
def _socket_path(folder: Path):  # type: ignore[no-untyped-def]
    """Yield the socket's path, by way of the folder's descriptor when it is too long."""
    path = str(folder / SOCKET_NAME)
    if len(path.encode()) <= _SOCKET_PATH_SIZE_BYTES_MAX:
        yield path
        return
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET_NAME}"
    finally:
        os.close(descriptor)


def _pack_command(command: Command[Any]) -> dict[str, Any]:
    packed: dict[str, Any] = {"kind": int(command.kind)}
    match command:
        case LoadBlock():
            mask = command.slot_mask
            return packed | {
                "keys": list(command.keys),
                "slots": command.slots.tobytes(),
                "mask": None if mask is None else mask.tobytes(),
                "schema_revision": command.schema_revision,
            }
        case PublishDocument():
            return packed | {"body": command.body, "expected": command.expected_revision}
        case _:
            raise AssertionError(f"tools do not send {command.kind!r}")


def _read_command(packed: dict[str, Any]) -> Command[Any]:
    match packed["kind"]:
        case RecordKind.LOAD_BLOCK:
            keys, mask = packed["keys"], packed["mask"]
            return LoadBlock(
                keys,
                np.frombuffer(packed["slots"], np.uint32).reshape(len(keys), -1),
                None if mask is None else np.frombuffer(mask, np.bool_),
                packed["schema_revision"],
            )
        case RecordKind.PUBLISH_CATALOGUE | RecordKind.PUBLISH_MODELS as kind:
            return PublishDocument(RecordKind(kind), packed["body"], packed["expected"])
    raise ValueError(f"tools do not send records of kind {packed['kind']}")


def _pack_error(error: InstanterError) -> dict[str, Any]:
    return {
        "class": type(error).__name__,
        "message": error.message,
        "reason": error.reason,
        "field": error.field,
        "metadata": error.metadata,
    }


def _read_error(packed: dict[str, Any]) -> InstanterError:
    """Return the error that the keeper raised, of its own class where that can be made."""
    words = {key: packed[key] for key in ("reason", "field", "metadata")}
    kind = getattr(errors, packed["class"], InstanterError)
    try:
        found: InstanterError = kind(packed["message"], **words)
    except TypeError:
        found = InstanterError(packed["message"], **words)
    return found


def _send(connection: socket.socket, message: dict[str, Any]) -> None:
    body = msgpack.packb(message)
    connection.sendall(_LENGTH.pack(len(body)))
    connection.sendall(body)


def _receive(connection: socket.socket) -> dict[str, Any] | None:
    """Return the next message, or None when the other side has hung up."""
    head = _receive_exactly(connection, _LENGTH.size)
    if head is None:
        return None
    (size,) = _LENGTH.unpack(head)
    if size > LOG_RECORD_SIZE_BYTES_MAX:
        raise ValueError(f"a message of {size:,} bytes is too long")
    body = _receive_exactly(connection, size)
    if body is None:
        return None
    message: dict[str, Any] = msgpack.unpackb(body)
    return message


def _receive_exactly(connection: socket.socket, size: int) -> bytearray | None:
    received = bytearray(size)
    view = memoryview(received)
    at = 0
    while at < size:
        count = connection.recv_into(view[at:])
        if not count:
            return None
        at += count
    return received
