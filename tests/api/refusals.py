"""Reads what a refused call says, as a client in any language would."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status


@dataclass
class Refusal:
    """The status of a refused call."""

    code: grpc.StatusCode
    message: str
    reason: str
    domain: str
    metadata: dict[str, str]
    violations: list[Any]

    @property
    def fields(self) -> list[str]:
        """Paths of the fields to blame."""
        return [violation.field for violation in self.violations]


def read_refusal(error: Any) -> Refusal:
    """Decode the details of a call's error."""
    refusal = Refusal(error.code(), error.details(), "", "", {}, [])
    status = rpc_status.from_call(error)
    for detail in status.details if status is not None else ():
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        if detail.Unpack(info):
            refusal.reason, refusal.domain = info.reason, info.domain
            refusal.metadata = dict(info.metadata)
        elif detail.Unpack(bad):
            refusal.violations = list(bad.field_violations)
    return refusal


def refuse(call: Callable[..., Any], request: Any, **options: Any) -> Refusal:
    """Make a call that must be refused, and return its refusal."""
    options.setdefault("timeout", 20)
    with pytest.raises(grpc.RpcError) as caught:
        call(request, **options)
    return read_refusal(caught.value)
