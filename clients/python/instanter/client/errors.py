"""The errors that calls raise: one class for each way to react, decoded from rich status details.

The reason (stable, UPPER_SNAKE_CASE) tells more closely what happened. `_CLASS_BY_CODE` and
`_CLASS_BY_REASON` are the only table.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

_DETAILS_KEY = "grpc-status-details-bin"


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field of a request that is wrong.

    Attributes
    ----------
    field
        Path of the field in the request; for a catalogue `file:line: field`.
    description
        What is wrong with it, and what would be right.
    reason
        Stable machine-readable reason; empty when the server gave none.
    """

    field: str
    description: str
    reason: str = ""


class ClientError(Exception):
    """A call failed. Catch this to catch all of them.

    Attributes
    ----------
    message
        What happened, for people.
    code
        Name of the gRPC code, `INVALID_ARGUMENT` for example.
    reason
        Stable machine-readable reason, `OFFER_COUNT_INVALID` for example; empty when the failure
        did not come from the server itself (no connection, deadline).
    violations
        The fields that are wrong, when the request was.
    metadata
        Further machine-readable facts.
    correlation_id
        Names this failure in the server's log; empty when the server logged nothing.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        reason: str = "",
        violations: tuple[FieldViolation, ...] = (),
        metadata: Mapping[str, str] | None = None,
        correlation_id: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.reason = reason
        self.violations = violations
        self.metadata = dict(metadata or {})
        self.correlation_id = correlation_id

    def __str__(self) -> str:
        label = f"{self.code}/{self.reason}" if self.reason else self.code
        quoted = f" [correlation id {self.correlation_id}]" if self.correlation_id else ""
        return f"{label}: {self.message}{quoted}"


class InvalidRequestError(ClientError):
    """The request is wrong; `violations` say where. Sending it again does not help."""


class CatalogueInvalidError(InvalidRequestError):
    """The catalogue has mistakes, one violation each; nothing of it was published."""


class NotFoundError(ClientError):
    """What the request names does not exist."""


class ConflictError(ClientError):
    """Somebody else changed it first; read it again and retry."""


class PreconditionError(ClientError):
    """The server is not in the state that the request needs, no catalogue yet for example."""


class ExhaustedError(ClientError):
    """A limit or a resource is used up: disk, queue, message size. Slow down."""


class UnavailableError(ClientError):
    """There is no server, or it cannot serve now. Later it may."""


class DeadlineExceededError(ClientError):
    """The answer did not come in time. A write may have happened nevertheless."""


class DamagedError(ClientError):
    """Stored bytes are not what was written; they are never served."""


class DeniedError(ClientError):
    """The caller is unknown to the server, or may not do this."""


class ServerError(ClientError):
    """The server failed in a way that nobody foresaw; tell its people the correlation id."""


_CLASS_BY_REASON: dict[str, type[ClientError]] = {"CATALOGUE_INVALID": CatalogueInvalidError}

_CLASS_BY_CODE: dict[str, type[ClientError]] = {
    "INVALID_ARGUMENT": InvalidRequestError,
    "OUT_OF_RANGE": InvalidRequestError,
    "NOT_FOUND": NotFoundError,
    "ALREADY_EXISTS": ConflictError,
    "ABORTED": ConflictError,
    "FAILED_PRECONDITION": PreconditionError,
    "RESOURCE_EXHAUSTED": ExhaustedError,
    "UNAVAILABLE": UnavailableError,
    "DEADLINE_EXCEEDED": DeadlineExceededError,
    "DATA_LOSS": DamagedError,
    "PERMISSION_DENIED": DeniedError,
    "UNAUTHENTICATED": DeniedError,
}


def translate(error: Any) -> ClientError:
    """Return the typed form of a gRPC failure.

    Parameters
    ----------
    error
        A `grpc.RpcError` of a call, or a `grpc.aio.AioRpcError`: both know `code()`, `details()`
        and `trailing_metadata()`.
    """
    code: str = error.code().name
    reason = correlation_id = ""
    metadata: dict[str, str] = {}
    violations: tuple[FieldViolation, ...] = ()
    for detail in _details(error.trailing_metadata()):
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            info = error_details_pb2.ErrorInfo.FromString(detail.value)
            reason, metadata = info.reason, dict(info.metadata)
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            bad = error_details_pb2.BadRequest.FromString(detail.value)
            violations = tuple(
                FieldViolation(each.field, each.description, each.reason)
                for each in bad.field_violations
            )
        elif detail.Is(error_details_pb2.RequestInfo.DESCRIPTOR):
            correlation_id = error_details_pb2.RequestInfo.FromString(detail.value).request_id
    kind = _CLASS_BY_REASON.get(reason) or _CLASS_BY_CODE.get(code, ServerError)
    return kind(
        error.details() or "the server gave no description",
        code=code,
        reason=reason,
        violations=violations,
        metadata=metadata,
        correlation_id=correlation_id or metadata.get("correlation_id", ""),
    )


def _details(trailing_metadata: Any) -> list[Any]:
    """Return the `Any` messages of a rich status; none when there is no readable one."""
    for key, value in trailing_metadata or ():
        if key == _DETAILS_KEY:
            try:
                return list(status_pb2.Status.FromString(value).details)
            except DecodeError:  # a proxy on the way may have cut the header short
                return []
    return []
