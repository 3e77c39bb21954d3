"""Server reflection: what services there are and what their messages look like, for tools.

A bidirectional stream on which each request has one response, so it needs no more than a route
that answers message by message. Both versions of the service have the same messages.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.rpc import code_pb2
from grpc_reflection.v1alpha import reflection_pb2 as messages

from instanter.clock import Clock
from instanter.rpc.dispatch import Dispatcher, undecodable
from instanter.rpc.fast.calls import Call, finish, start_timer

REFLECTION_NAMES: Final = (
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
)
"""Full names of the service's versions."""


class ReflectionRoute:
    """The route of `ServerReflectionInfo`.

    Parameters
    ----------
    names
        Full names of all services that are served. One that the pool does not know is not listed,
        for tools take a listed service without a description as a failure of everything.
    pool
        Knows the descriptors.
    dispatcher, loop, clock
        As in `SingleRoute`.
    """

    __slots__ = ("_clock", "_dispatcher", "_loop", "_names", "_pool")

    name: Final = "ServerReflectionInfo"
    takes_many: Final = True

    def __init__(
        self,
        names: Iterable[str],
        pool: DescriptorPool,
        dispatcher: Dispatcher,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
    ) -> None:
        self._names = tuple(name for name in sorted(names) if _is_known(pool, name))
        self._pool = pool
        self._dispatcher = dispatcher
        self._loop = loop
        self._clock = clock

    def accept(self, call: Call, message: bytes | bytearray) -> None:
        """Answer one message of a call."""
        if call.timer is None and not start_timer(call, self._dispatcher, self._loop, self._clock):
            return
        try:
            request = messages.ServerReflectionRequest.FromString(message)
        except DecodeError as error:
            status = self._dispatcher.fail(self.name, undecodable(error))
            finish(call, status, self._dispatcher)
            return
        call.connection.send(call, self._answer(request).SerializeToString())
        if call.half_closed and call.buffer is None:
            # The request came whole, with its only message; otherwise the connection ends it.
            call.connection.end(call)

    def _answer(self, request: Any) -> Any:
        """Return the response to one message."""
        response = messages.ServerReflectionResponse(
            valid_host=request.host, original_request=request
        )
        kind = request.WhichOneof("message_request")
        if kind == "list_services":
            for name in self._names:
                response.list_services_response.service.add(name=name)
            return response
        try:
            self._look_up(request, kind, response)
        except KeyError as error:
            response.error_response.error_code = code_pb2.NOT_FOUND
            # As a text a KeyError has quotes round what it says.
            response.error_response.error_message = str(error.args[0])
        return response

    def _look_up(self, request: Any, kind: str | None, response: Any) -> None:
        """Fill a response with descriptors; KeyError when there is none of that name."""
        pool = self._pool
        if kind == "file_by_filename":
            _add_files(pool.FindFileByName(request.file_by_filename), response)
        elif kind == "file_containing_symbol":
            _add_files(pool.FindFileContainingSymbol(request.file_containing_symbol), response)
        elif kind == "file_containing_extension":
            wanted = request.file_containing_extension
            extended = pool.FindMessageTypeByName(wanted.containing_type)
            extension = pool.FindExtensionByNumber(extended, wanted.extension_number)
            _add_files(pool.FindFileContainingSymbol(extension.full_name), response)
        elif kind == "all_extension_numbers_of_type":
            extended = pool.FindMessageTypeByName(request.all_extension_numbers_of_type)
            numbers = sorted(found.number for found in pool.FindAllExtensions(extended))
            found_numbers = response.all_extension_numbers_response
            found_numbers.base_type_name = extended.full_name
            found_numbers.extension_number.extend(numbers)
        else:
            raise KeyError("there is no question that this server understands")


def _is_known(pool: DescriptorPool, name: str) -> bool:
    try:
        pool.FindServiceByName(name)
    except KeyError:
        return False
    return True


def _add_files(first: Any, response: Any) -> None:
    """Add a file and all files that it needs, each once."""
    waiting = [first]
    seen = {first.name}
    while waiting:
        file = waiting.pop()
        response.file_descriptor_response.file_descriptor_proto.append(file.serialized_pb)
        for needed in file.dependencies:
            if needed.name not in seen:
                seen.add(needed.name)
                waiting.append(needed)
