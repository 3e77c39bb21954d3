"""The one error table: from errors of the domain to the status that a caller receives (AIP-193).

An error that is in no row is a bug of ours: the caller gets INTERNAL and a correlation id, the
log gets the same id and the traceback.
"""

from typing import Final

from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from instanter.errors import (
    AlreadyExistsError,
    CatalogueInvalidError,
    CatalogueMissingError,
    ConflictError,
    DamagedError,
    ExhaustedError,
    ExpiredError,
    InstanterError,
    InvalidFieldError,
    LogDamagedError,
    NotFoundError,
    OutOfRangeError,
    PermissionDeniedError,
    PreconditionError,
    Problem,
    UnavailableError,
)

DOMAIN: Final = "instanter.dev"
"""The domain of every `ErrorInfo.reason`."""

CODES: Final[dict[type[InstanterError], int]] = {
    AlreadyExistsError: code_pb2.ALREADY_EXISTS,
    CatalogueInvalidError: code_pb2.INVALID_ARGUMENT,
    CatalogueMissingError: code_pb2.FAILED_PRECONDITION,
    ConflictError: code_pb2.ABORTED,
    DamagedError: code_pb2.DATA_LOSS,
    ExhaustedError: code_pb2.RESOURCE_EXHAUSTED,
    ExpiredError: code_pb2.DEADLINE_EXCEEDED,
    InvalidFieldError: code_pb2.INVALID_ARGUMENT,
    LogDamagedError: code_pb2.DATA_LOSS,
    NotFoundError: code_pb2.NOT_FOUND,
    OutOfRangeError: code_pb2.OUT_OF_RANGE,
    PermissionDeniedError: code_pb2.PERMISSION_DENIED,
    PreconditionError: code_pb2.FAILED_PRECONDITION,
    UnavailableError: code_pb2.UNAVAILABLE,
}
"""Kind of error to canonical code; a kind derived from one of these has the same code."""

STATUS_SIZE_BYTES_MAX: Final = 4_096
"""Bytes of a status. It travels in the trailers, in base64 (a third more) beside the message (which
is percent-encoded there, so up to three times as long); clients refuse more than 8 KiB."""

MESSAGE_SIZE_BYTES_MAX: Final = 768
"""Bytes of the message, which is in the trailers twice."""

_DESCRIPTION_SIZE_MAX: Final = 400
_METADATA_VALUE_SIZE_MAX: Final = 200


def find_code(error: InstanterError) -> int | None:
    """Return the canonical code of an error, or None when the table has no row for it."""
    for kind in type(error).__mro__:
        code = CODES.get(kind)
        if code is not None:
            return code
    return None


def make_status(error: InstanterError) -> status_pb2.Status:
    """Return the status of an error that the table knows.

    Parameters
    ----------
    error
        An error whose kind has a row in `CODES`.

    Returns
    -------
    google.rpc.Status
        Code, message, one `ErrorInfo`, and a `BadRequest` when a field is to blame; at most
        `STATUS_SIZE_BYTES_MAX` bytes. When not all field violations fit, the metadata say how
        many were left out (`violations_left_out_count`).
    """
    code = find_code(error)
    assert code is not None, f"{type(error).__name__} has no row in the table"
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN)
    for key, value in error.metadata.items():
        info.metadata[key] = _cut(value, _METADATA_VALUE_SIZE_MAX)
    violations = _list_violations(error)
    status = status_pb2.Status(code=code, message=_cut(error.message, MESSAGE_SIZE_BYTES_MAX))
    kept, left_out_count = _fit(violations, STATUS_SIZE_BYTES_MAX - _size(status, info))
    if left_out_count:
        info.metadata["violations_left_out_count"] = str(left_out_count)
    status.details.append(_pack(info))
    if kept:
        status.details.append(_pack(error_details_pb2.BadRequest(field_violations=kept)))
    return status


def make_internal_status(correlation_id: str) -> status_pb2.Status:
    """Return the status of a bug: nothing about it but the id that finds it in the log."""
    info = error_details_pb2.ErrorInfo(
        reason="INTERNAL", domain=DOMAIN, metadata={"correlation_id": correlation_id}
    )
    return status_pb2.Status(
        code=code_pb2.INTERNAL,
        message=f"the server made a mistake; its log has it under {correlation_id}",
        details=[_pack(info)],
    )


def _list_violations(error: InstanterError) -> list[error_details_pb2.BadRequest.FieldViolation]:
    """Return one field violation for each thing that is wrong."""
    if isinstance(error, CatalogueInvalidError):
        return [_describe_problem(problem) for problem in error.problems]
    if not error.field:
        return []
    expected = error.expected if isinstance(error, InvalidFieldError) else ""
    return [
        error_details_pb2.BadRequest.FieldViolation(
            field=_cut(error.field, _METADATA_VALUE_SIZE_MAX),
            description=_cut(f"expected {expected}" if expected else error.message),
            reason=error.reason,
        )
    ]


def _describe_problem(problem: Problem) -> error_details_pb2.BadRequest.FieldViolation:
    """Return the field violation of one mistake in a catalogue, with file and line."""
    return error_details_pb2.BadRequest.FieldViolation(
        field=_cut(problem.field, _METADATA_VALUE_SIZE_MAX),
        description=_cut(str(problem)),
        reason=CatalogueInvalidError.reason,
    )


def _fit(
    violations: list[error_details_pb2.BadRequest.FieldViolation], size_bytes_max: int
) -> tuple[list[error_details_pb2.BadRequest.FieldViolation], int]:
    """Return the first violations that fit, and how many do not."""
    size = 0
    for count, violation in enumerate(violations):
        size += violation.ByteSize() + 4
        if size > size_bytes_max:
            return violations[:count], len(violations) - count
    return violations, 0


def _size(status: status_pb2.Status, info: error_details_pb2.ErrorInfo) -> int:
    """Return the bytes of a status with one detail, and the room the names of two types take."""
    return int(status.ByteSize()) + int(info.ByteSize()) + 200


def _pack(message: error_details_pb2.ErrorInfo | error_details_pb2.BadRequest) -> any_pb2.Any:
    """Return a detail as the status carries it."""
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed


def _cut(text: str, size_bytes_max: int = _DESCRIPTION_SIZE_MAX) -> str:
    """Return a text that takes at most so many bytes, whole characters only."""
    raw = text.encode("utf-8", "backslashreplace")
    if len(raw) <= size_bytes_max:
        return raw.decode()
    return raw[: size_bytes_max - 3].decode("utf-8", "ignore") + "…"
