"""`FraudService.AssessTransaction`: check the transaction, hand it to the keeper, translate."""

import struct
from collections.abc import Mapping
from concurrent.futures import Future
from datetime import datetime
from functools import lru_cache
from math import isnan
from typing import Final, cast

from instanter.catalogue.fraud_words import Disposition, Source
from instanter.errors import InvalidFieldError
from instanter.events_log import EventsLog
from instanter.fraud.questions import FieldValue, Transaction
from instanter.fraud.verdicts import MODEL_REASON
from instanter.fraud_limits import FRAUD_FIELDS_MAX, FRAUD_ID_SIZE_MAX, TRANSACTION_ID_SIZE_MAX
from instanter.keeper.assessing import AssessTransaction
from instanter.keeper.assessing_together import AssessEncoded
from instanter.keeper.commands import Gather, Submit
from instanter.keeper.verdicts import Approval, Verdict
from instanter.metrics import Metrics
from instanter.rpc.attribute_values import read_values
from instanter.rpc.card_numbers import check_message, may_hold_card_data
from instanter.rpc.dispatch import decode
from instanter.rpc.front import CallContext, DeferredMethod, GatheredWork
from instanter.rpc.names import (
    FRAUD_RULES,
    MERCHANTS,
    TERMINALS,
    format_case_name,
    is_bin,
    is_plain_id,
    parse_customer_name,
    parse_plain_name,
)
from instanter.rpc.timestamps import read_time_ns
from instanter.store.transactions import NO_CASE
from instanter.v1 import fraud_service_pb2 as messages
from instanter.v1.attribute_value_pb2 import AttributeValue
from instanter.v1.durability_pb2 import DURABILITY_DURABLE

_APPROVED: Final = messages.AssessTransactionResponse(
    disposition=messages.DISPOSITION_APPROVE
).SerializeToString()
_RISK: Final = struct.Struct("<Bd")
"""Tag and value of a double on the wire."""
_RISK_TAG: Final = 2 << 3 | 1
_PROBABILITY_TAG: Final = 3 << 3 | 1

_NO_FIELDS: Final[Mapping[str, FieldValue]] = {}
_PRESENT: Final = {
    messages.TRANSACTION_CHANNEL_CARD_PRESENT: True,
    messages.TRANSACTION_CHANNEL_CARD_NOT_PRESENT: False,
}


class AssessmentDesk:
    """Answers `AssessTransaction`.

    Parameters
    ----------
    submit, gather
        Carry out commands, as `Keeper.submit` and `Keeper.gather` do.
    metrics, log
        Count verdicts, and are told of rules that a guard has paused.
    """

    def __init__(self, *, submit: Submit, gather: Gather, metrics: Metrics, log: EventsLog) -> None:
        self._submit = submit
        self._gather = gather
        self._metrics = metrics
        self._log = log

    def describe(self) -> DeferredMethod:
        """Return the method as fronts serve it."""
        return DeferredMethod(
            "AssessTransaction",
            messages.AssessTransactionRequest,
            messages.AssessTransactionResponse,
            self.assess,
            self.translate,
            None,
            encode=self.encode,
            gathered=GatheredWork(_make_command, self._gather),
        )

    def assess(
        self, request: messages.AssessTransactionRequest, context: CallContext
    ) -> Future[Verdict]:
        """Queue an assessment.

        Raises
        ------
        InvalidFieldError
            Something of the request cannot be what it stands for, or holds a card number; the
            future raises it for what depends on the catalogue.
        """
        command = AssessTransaction(read_transaction(request), context.deadline_ns)
        return self._submit(command, context.deadline_ns)

    def encode(self, result: Verdict | Approval) -> bytes:
        """Count a verdict and return the encoded response that tells it."""
        if isinstance(result, Verdict):
            return self.translate(result).SerializeToString()
        self._metrics.count_assessment(Source.RULES, Disposition.APPROVE)
        rest = _encode_rest(
            result.catalogue_revision,
            names_model=result.names_model,
            lacks_place=result.lacks_place,
        )
        parts = [_APPROVED]
        # A message has no numbers that are 0, and a probability that is none is told as 0.
        if result.risk:
            parts.append(_RISK.pack(_RISK_TAG, result.risk))
        if result.probability and not isnan(result.probability):
            parts.append(_RISK.pack(_PROBABILITY_TAG, result.probability))
        parts.append(rest)
        return b"".join(parts)

    def translate(self, verdict: Verdict) -> messages.AssessTransactionResponse:
        """Count a verdict and return the response that tells it."""
        if not verdict.was_known:
            self._metrics.count_assessment(verdict.source, verdict.disposition)
        for rule in verdict.paused:
            self._metrics.fraud_rule_pauses_count += 1
            self._log.warning("fraud_rule_paused", rule=rule)
        response = messages.AssessTransactionResponse(
            disposition=cast("messages.Disposition.ValueType", int(verdict.disposition)),
            risk=verdict.risk,
            # Not a number: there is no model, or it was not asked.
            fraud_probability=0.0 if isnan(verdict.probability) else verdict.probability,
            source=cast("messages.AssessmentSource.ValueType", int(verdict.source)),
            durability=DURABILITY_DURABLE,
            catalogue_revision=verdict.catalogue_revision,
            duplicate=verdict.was_known,
        )
        if verdict.reasons:
            response.reasons.extend(verdict.reasons)
        if verdict.fired:
            response.fraud_rules.extend(FRAUD_RULES + rule for rule in verdict.fired)
        if verdict.stand_in_causes:
            causes = cast("list[messages.StandInCause.ValueType]", list(verdict.stand_in_causes))
            response.stand_in_causes.extend(causes)
        if verdict.case != NO_CASE:
            response.case = format_case_name(verdict.case)
        return response


def _make_command(request: bytes, deadline_ns: int | None) -> AssessEncoded:
    """Return what assesses an encoded request; carried out, it tells what is wrong with it."""
    return AssessEncoded(request, _read_encoded, deadline_ns)


@lru_cache(maxsize=8)
def _encode_rest(catalogue_revision: int, *, names_model: bool, lacks_place: bool) -> bytes:
    """Return what follows the numbers in the response to a usual transaction."""
    encoded: bytes = messages.AssessTransactionResponse(
        source=messages.ASSESSMENT_SOURCE_RULES,
        reasons=[MODEL_REASON] if names_model else (),
        stand_in_causes=[messages.STAND_IN_CAUSE_PLACE_MISSING] if lacks_place else (),
        durability=DURABILITY_DURABLE,
        catalogue_revision=catalogue_revision,
    ).SerializeToString()
    return encoded


def _read_encoded(encoded: bytes) -> Transaction:
    """Return the transaction of an encoded request.

    Raises
    ------
    InvalidFieldError
        As `read_transaction`; or it is no message of this type.
    """
    return read_transaction(decode(messages.AssessTransactionRequest, encoded))


def read_transaction(request: messages.AssessTransactionRequest) -> Transaction:
    """Return the transaction of a request.

    Raises
    ------
    InvalidFieldError
        Something of it cannot be what it stands for, or holds a card number.
    """
    # Each part is taken out of the message once: that costs more than most of what is done with it.
    transaction_id, card = request.transaction_id, request.card_token
    customer, terminal, merchant = request.customer, request.terminal, request.merchant
    currency, device, digits = request.currency, request.device, request.bin
    amount_minor = request.amount_minor
    texts = [transaction_id, card, customer, terminal, merchant, currency, device, digits]
    numbers: list[float] = [amount_minor, request.transaction_time.seconds]
    latitude = longitude = None
    if request.HasField("place"):
        latitude, longitude = request.place.latitude, request.place.longitude
        numbers += (latitude, longitude)
    given_fields = request.fields
    if given_fields:
        _list_fields(given_fields, texts, numbers)
    # The long way only when a short look finds something.
    if may_hold_card_data(texts, numbers):
        check_message(request)
    present = _PRESENT.get(request.channel)
    if present is None:
        raise InvalidFieldError(
            "channel",
            request.channel,
            "TRANSACTION_CHANNEL_CARD_PRESENT or TRANSACTION_CHANNEL_CARD_NOT_PRESENT",
            reason="TRANSACTION_CHANNEL_INVALID",
        )
    return Transaction(
        _read_id(transaction_id, "transaction_id", TRANSACTION_ID_SIZE_MAX),
        _read_id(card, "card_token", FRAUD_ID_SIZE_MAX),
        parse_customer_name(customer, "customer") if customer else "",
        parse_plain_name(terminal, TERMINALS, "terminal"),
        parse_plain_name(merchant, MERCHANTS, "merchant"),
        request.mcc,
        amount_minor,
        currency,
        _read_time_ns(request),
        present,
        latitude,
        longitude,
        _read_device(device) if device else "",
        _read_bin(digits) if digits else "",
        _read_fields(request) if given_fields else _NO_FIELDS,
    )


def _list_fields(
    fields: Mapping[str, AttributeValue], texts: list[str], numbers: list[float]
) -> None:
    """Add the texts and numbers of declared fields to those of the request.

    Raises
    ------
    InvalidFieldError
        There are too many.
    """
    if len(fields) > FRAUD_FIELDS_MAX:
        raise InvalidFieldError(
            "fields",
            f"{len(fields)} fields",
            f"at most {FRAUD_FIELDS_MAX} fields",
            reason="TRANSACTION_FIELDS_TOO_MANY",
        )
    for name, value in fields.items():
        texts += (name, value.category_value)
        numbers += (value.number_value, value.instant_value.seconds)


def _read_id(text: str, field: str, size_max: int) -> str:
    if not is_plain_id(text, size_max):
        raise InvalidFieldError(
            field,
            text,
            f"1 to {size_max} printable ASCII characters without '/'",
            reason="TRANSACTION_ID_INVALID" if field == "transaction_id" else "CARD_TOKEN_INVALID",
        )
    return text


def _read_time_ns(request: messages.AssessTransactionRequest) -> int:
    expected = "the time of the transaction, not before 1970; the same in every retry"
    if not request.HasField("transaction_time"):
        raise InvalidFieldError("transaction_time", "", expected, reason="TRANSACTION_TIME_INVALID")
    return read_time_ns(
        request.transaction_time,
        "transaction_time",
        expected=expected,
        reason="TRANSACTION_TIME_INVALID",
        # Nanoseconds of later years do not fit into 64 bits.
        seconds_max=(1 << 33) - 1,
    )


def _read_device(device: str) -> str:
    if not is_plain_id(device, FRAUD_ID_SIZE_MAX):
        raise InvalidFieldError(
            "device",
            device,
            f"at most {FRAUD_ID_SIZE_MAX} printable ASCII characters without '/'",
            reason="DEVICE_INVALID",
        )
    return device


def _read_bin(digits: str) -> str:
    if not is_bin(digits):
        raise InvalidFieldError(
            "bin", digits, "the first 6 to 8 digits of the card number", reason="BIN_INVALID"
        )
    return digits


def _read_fields(request: messages.AssessTransactionRequest) -> Mapping[str, FieldValue]:
    values = read_values(request.fields, "fields")
    return {
        name: value.timestamp() if isinstance(value, datetime) else value
        for name, value in values.items()
    }
