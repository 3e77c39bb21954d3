"""The error table."""

import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2

from instanter import errors
from instanter.errors import CatalogueInvalidError, InstanterError, InvalidFieldError, Problem
from instanter.rpc.status import (
    CODES,
    DOMAIN,
    STATUS_SIZE_BYTES_MAX,
    find_code,
    make_internal_status,
    make_status,
)


def read_info(status: status_pb2.Status) -> error_details_pb2.ErrorInfo:
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return info


def read_violations(
    status: status_pb2.Status,
) -> list[error_details_pb2.BadRequest.FieldViolation]:
    bad = error_details_pb2.BadRequest()
    assert status.details[1].Unpack(bad)
    return list(bad.field_violations)


def test_every_error_of_the_domain_has_a_row() -> None:
    kinds = {
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, InstanterError)
    }
    assert kinds - {InstanterError} == set(CODES)


def test_a_kind_derived_from_a_row_has_its_code() -> None:
    class LateError(errors.ConflictError):
        pass

    assert find_code(LateError("late")) == code_pb2.ABORTED


def test_an_error_without_a_row_has_no_code() -> None:
    assert find_code(InstanterError("odd")) is None


def test_a_wrong_field_is_named_with_what_would_be_right() -> None:
    status = make_status(InvalidFieldError("offer_count", -1, "1 to 100", reason="COUNT_INVALID"))
    assert status.code == code_pb2.INVALID_ARGUMENT
    assert read_info(status).reason == "COUNT_INVALID"
    assert read_info(status).domain == DOMAIN
    (violation,) = read_violations(status)
    assert violation.field == "offer_count"
    assert violation.description == "expected 1 to 100"
    assert violation.reason == "COUNT_INVALID"


def test_nothing_is_suggested_among_very_many_names() -> None:
    names = (f"sku-{number}" for number in range(10**9))
    assert errors.nearest("sku-x", names) is None, "and not looked for"
    assert errors.nearest("sku-x", [f"sku-{number}" for number in range(1_000)]) is not None


def test_metadata_travel() -> None:
    status = make_status(errors.ConflictError("taken", metadata={"current": "7"}))
    assert read_info(status).metadata["current"] == "7"


@pytest.mark.parametrize("count", [1, 5, 200, 10_000])
def test_the_problems_of_a_catalogue_fit_the_trailers(count: int) -> None:
    problems = [
        Problem("offers.yaml", line, f"offers/o{line}.eligibility", "age >", "is cut off", "age")
        for line in range(1, count + 1)
    ]
    status = make_status(CatalogueInvalidError(problems))
    assert status.ByteSize() <= STATUS_SIZE_BYTES_MAX
    violations = read_violations(status)
    left_out = int(read_info(status).metadata.get("violations_left_out_count", "0"))
    assert violations
    assert len(violations) + left_out == count
    assert violations[0].field == "offers/o1.eligibility"
    assert violations[0].description.startswith("offers.yaml:1: ")
    assert "'age'" in violations[0].description


def test_the_longest_texts_fit_the_trailers_and_stay_unicode() -> None:
    error = InvalidFieldError("f" * 10_000, "v" * 10_000, "ü" * 10_000)
    error.metadata = {"customer": "\ud800€" * 1_000}
    status = make_status(error)
    assert status.ByteSize() <= STATUS_SIZE_BYTES_MAX
    (violation,) = read_violations(status)
    assert violation.description.endswith("ü…")


def test_a_bug_tells_its_correlation_id_and_nothing_else() -> None:
    status = make_internal_status("0123456789abcdef")
    assert status.code == code_pb2.INTERNAL
    assert "0123456789abcdef" in status.message
    assert read_info(status).metadata["correlation_id"] == "0123456789abcdef"
