"""The two clients against a server of the contract: what arrives, and what comes back."""

import inspect
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import trustme
from google.rpc import error_details_pb2

from instanter import client as api
from instanter.client import (
    AsyncClient,
    Client,
    DecisionRequest,
    Event,
    EventCounts,
    Outcome,
    OutcomeKind,
    Tls,
)
from instanter.client.calls import METHODS
from instanter.v1 import (
    catalogue_service_pb2,
    customer_service_pb2,
    decision_service_pb2,
    event_service_pb2,
)
from tests.client.toy_server import ToyServer, refuse, toy_server
from tests.client.waiting import NO_PAUSE


def test_a_decision_comes_back_as_plain_values(client: Any) -> None:
    decision = client.decide_offers("c-17", "web", "home_hero", 2, request_id="0123456789")
    assert decision.id == "01234567"
    assert decision.name == "decisions/01234567"
    assert [(offer.offer, offer.name) for offer in decision.offers] == [
        ("offer-1", "offers/offer-1"),
        ("offer-2", "offers/offer-2"),
    ]
    assert decision.offers[0].reasons == (api.OfferReason.PRIOR,)
    assert decision.no_offer_reason is api.NoOfferReason.UNSPECIFIED
    assert decision.profile_state is api.ProfileState.UNKNOWN
    assert decision.took_us == 41
    assert decision


def test_no_offer_is_a_regular_answer_that_is_false(client: Any) -> None:
    decision = client.decide_offers("c-17", "quiet")
    assert not decision
    assert decision.no_offer_reason is api.NoOfferReason.NO_ELIGIBLE_OFFER
    assert decision.exclusions == (api.Exclusion(api.ExclusionReason.NOT_ELIGIBLE, 7),)


def test_the_question_arrives_as_it_was_asked(client: Any, toy: ToyServer) -> None:
    moment = datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    context = {
        "basket_value": 12.5,
        "items": 3,
        "device": "phone",
        "signed_in": True,
        "arrived": moment,
        "unknown": None,
        "ratio": np.float32(0.5),
    }
    client.decide_offers("c-17", "web", "home_hero", 2, context, "r-1")
    (asked,) = toy.seen
    assert asked.customer == "customers/c-17"
    assert (asked.channel, asked.placement, asked.offer_count) == ("web", "home_hero", 2)
    assert asked.request_id == "r-1"
    assert asked.context["basket_value"].number_value == 12.5
    assert asked.context["items"].number_value == 3.0
    assert asked.context["device"].category_value == "phone"
    assert asked.context["signed_in"].WhichOneof("kind") == "flag_value"
    assert asked.context["arrived"].instant_value.ToDatetime(tzinfo=UTC) == moment
    assert asked.context["ratio"].number_value == 0.5
    assert "unknown" not in asked.context


def test_a_resource_name_is_as_good_as_an_id(client: Any, toy: ToyServer) -> None:
    client.decide_offers("customers/c-17", "web")
    assert toy.seen[0].customer == "customers/c-17"


def test_values_without_a_kind_are_refused_before_they_are_sent(
    client: Any, toy: ToyServer
) -> None:
    with pytest.raises(TypeError, match=r"basket: \[1\] is a list; expected a float"):
        client.decide_offers("c", "web", context={"basket": [1]})
    with pytest.raises(ValueError, match=r"at: 2026-01-01T00:00:00 has no time zone"):
        client.decide_offers("c", "web", context={"at": datetime.fromisoformat("2026-01-01")})
    with pytest.raises(TypeError, match=r"mask: 'age' is a text; expected a list"):
        client.get_customer("c", "age")
    assert toy.seen == []


def test_a_batch_is_answered_in_order_and_each_question_has_its_id(
    client: Any, toy: ToyServer
) -> None:
    questions = [
        DecisionRequest("a", "web", offer_count=3),
        DecisionRequest("b", "quiet"),
        DecisionRequest("c", "web", request_id="mine"),
    ]
    answers = client.decide_offers_batch(questions)
    assert [len(answer.offers) for answer in answers] == [3, 0, 1]
    ids = [question.request_id for question in toy.seen[0].requests]
    assert len(set(ids)) == 3
    assert ids[2] == "mine"


def test_a_customer_is_written_read_and_deleted(client: Any) -> None:
    born = datetime(1990, 5, 1, tzinfo=UTC)
    given = {"age": 30.0, "plan": "gold", "opted_in": False, "born": born}
    written = client.update_customer("c-1", given)
    assert written.attributes == given
    read = client.get_customer("c-1")
    assert read == written
    assert (read.id, read.name, read.revision) == ("c-1", "customers/c-1", 1)
    assert read.update_time == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert read.create_time is None
    client.delete_customer("c-1")
    with pytest.raises(api.NotFoundError) as raised:
        client.get_customer("c-1")
    assert raised.value.reason == "CUSTOMER_NOT_FOUND"
    client.delete_customer("c-1", allow_missing=True)


def test_none_makes_an_attribute_missing(client: Any, toy: ToyServer) -> None:
    client.update_customer("c-1", {"age": 30, "plan": "gold"})
    assert not toy.seen[0].HasField("update_mask")
    assert client.update_customer("c-1", {"age": None, "plan": "tin"}).attributes == {"plan": "tin"}
    assert list(toy.seen[1].update_mask.paths) == ["attributes.age", "attributes.plan"]


def test_a_mask_of_the_callers_own_is_sent_as_paths(client: Any, toy: ToyServer) -> None:
    client.update_customer("c-1", {"age": 30}, ["age", "attributes.plan", "*", "attributes"])
    assert list(toy.seen[0].update_mask.paths) == [
        "attributes.age",
        "attributes.plan",
        "*",
        "attributes",
    ]


def test_several_customers_come_in_the_order_asked_with_none_for_the_missing(client: Any) -> None:
    client.update_customer("a", {"age": 1})
    client.update_customer("b", {"age": 2})
    found = client.get_customers(["b", "nobody", "customers/a", "b"])
    assert [each and each.id for each in found] == ["b", None, "a", "b"]


def test_listing_goes_through_all_pages(client: Any, toy: ToyServer) -> None:
    for number in range(5):
        client.update_customer(f"c-{number}", {"age": number})
    toy.seen.clear()
    assert [each.id for each in client.list_customers(2)] == [f"c-{n}" for n in range(5)]
    assert [request.page_token for request in toy.seen] == ["", "2", "4"]


def test_the_catalogue_is_published_and_read(client: Any) -> None:
    with pytest.raises(api.NotFoundError):
        client.get_catalogue()
    dry = client.apply_catalogue({"a.yaml": "x"}, validate_only=True)
    assert dry.catalogue.revision == 0
    done = client.apply_catalogue({"a.yaml": "x", "b.yaml": "y"}, expected_revision=0)
    assert done.catalogue.revision == 1
    assert [(c.action.name, c.resource) for c in done.changes] == [
        ("CREATE", "offers/a.yaml"),
        ("CREATE", "offers/b.yaml"),
    ]
    changed = client.apply_catalogue({"a.yaml": "z"})
    assert [(c.action.name, c.fields) for c in changed.changes] == [
        ("UPDATE", (api.FieldChange("text", "x", "z"),)),
        ("DELETE", ()),
    ]
    assert client.get_catalogue().files == {}
    assert client.get_catalogue(with_files=True).files == {"a.yaml": "z"}
    with pytest.raises(api.ConflictError) as raised:
        client.apply_catalogue({"a.yaml": "q"}, expected_revision=0)
    assert raised.value.reason == "REVISION_CONFLICT"


def test_mistakes_of_a_catalogue_are_violations_one_each(client: Any) -> None:
    with pytest.raises(api.CatalogueInvalidError) as raised:
        client.apply_catalogue({"a.yaml": "mistake", "b.yaml": "mistake"})
    assert [v.field for v in raised.value.violations] == [
        "a.yaml:1: offers/latte",
        "b.yaml:1: offers/latte",
    ]


def test_an_error_names_code_reason_fields_and_text(client: Any) -> None:
    with pytest.raises(api.InvalidRequestError) as raised:
        client.decide_offers("c", "web", offer_count=0)
    error = raised.value
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "OFFER_COUNT_INVALID")
    assert error.violations == (
        api.FieldViolation("offer_count", "'0' is not right; expected 1 to 100"),
    )
    assert str(error) == (
        "INVALID_ARGUMENT/OFFER_COUNT_INVALID: offer_count: '0' is not right; expected 1 to 100"
    )


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("INVALID_ARGUMENT", api.InvalidRequestError),
        ("NOT_FOUND", api.NotFoundError),
        ("ABORTED", api.ConflictError),
        ("FAILED_PRECONDITION", api.PreconditionError),
        ("RESOURCE_EXHAUSTED", api.ExhaustedError),
        ("UNAVAILABLE", api.UnavailableError),
        ("DEADLINE_EXCEEDED", api.DeadlineExceededError),
        ("DATA_LOSS", api.DamagedError),
        ("UNAUTHENTICATED", api.DeniedError),
        ("INTERNAL", api.ServerError),
        ("UNIMPLEMENTED", api.ServerError),
    ],
)
def test_each_code_has_its_class(
    client: Any, toy: ToyServer, code: str, expected: type[api.ClientError]
) -> None:
    toy.interrupt = lambda _, context: refuse(
        context, code, "so it is", "SOME_REASON", error_details_pb2.RequestInfo(request_id="i-9")
    )
    with pytest.raises(api.ClientError) as raised:
        client.get_customer("c")
    assert type(raised.value) is expected
    assert (raised.value.code, raised.value.reason) == (code, "SOME_REASON")
    assert raised.value.correlation_id == "i-9"
    assert "[correlation id i-9]" in str(raised.value)


def test_a_failure_without_details_is_still_typed(client: Any, toy: ToyServer) -> None:
    toy.interrupt = lambda _, context: context.abort(grpc.StatusCode.NOT_FOUND, "gone")
    with pytest.raises(api.NotFoundError) as raised:
        client.get_customer("c")
    assert (raised.value.message, raised.value.reason, raised.value.violations) == ("gone", "", ())


def test_garbled_details_are_ignored(client: Any, toy: ToyServer) -> None:
    def interrupt(_: Any, context: Any) -> None:
        context.set_trailing_metadata((("grpc-status-details-bin", b"\xff\xff\xff"),))
        context.abort(grpc.StatusCode.NOT_FOUND, "gone")

    toy.interrupt = interrupt
    with pytest.raises(api.NotFoundError, match="gone"):
        client.get_customer("c")


def failing(times: int, code: str = "UNAVAILABLE") -> Callable[[Any, Any], None]:
    left = [times]

    def interrupt(_: Any, context: Any) -> None:
        left[0] -= 1
        if left[0] >= 0:
            refuse(context, code, "not now", "UNAVAILABLE")

    return interrupt


def test_a_decision_is_repeated_under_the_same_request_id(client: Any, toy: ToyServer) -> None:
    toy.interrupt = failing(2)
    assert client.decide_offers("c", "web")
    assert len(toy.seen) == 3
    assert len({request.request_id for request in toy.seen}) == 1
    assert toy.seen[0].request_id


def test_repetition_ends_after_three_attempts(client: Any, toy: ToyServer) -> None:
    toy.interrupt = failing(9)
    with pytest.raises(api.UnavailableError):
        client.get_customer("c")
    assert len(toy.seen) == 3


@pytest.mark.parametrize("code", ["INTERNAL", "RESOURCE_EXHAUSTED", "INVALID_ARGUMENT", "UNKNOWN"])
def test_only_unavailable_is_repeated(client: Any, toy: ToyServer, code: str) -> None:
    toy.interrupt = failing(1, code)
    with pytest.raises(api.ClientError):
        client.get_customer("c")
    assert len(toy.seen) == 1


@pytest.mark.parametrize(
    ("attempts", "call"),
    [
        (2, lambda client: client.update_customer("c", {"age": 1})),
        (2, lambda client: client.delete_customer("c", allow_missing=True)),
        (1, lambda client: client.apply_catalogue({"a.yaml": "x"})),
        (2, lambda client: client.apply_catalogue({"a.yaml": "x"}, validate_only=True)),
        (2, lambda client: client.decide_offers_batch([DecisionRequest("a", "web")])),
        (2, lambda client: client.list_customer_page()),
        (2, lambda client: client.get_customers(["a"])),
        (2, lambda client: client.record_events([Event("a", "purchase")])),
        (2, lambda client: client.record_outcomes([Outcome("a", "c", "o", OutcomeKind.CLICKED)])),
    ],
)
def test_writes_are_repeated_only_where_that_changes_nothing(
    client: Any, toy: ToyServer, attempts: int, call: Callable[[Any], object]
) -> None:
    toy.interrupt = failing(1)
    if attempts == 1:
        with pytest.raises(api.UnavailableError):
            call(client)
    else:
        call(client)
    assert len(toy.seen) == attempts


def test_a_repeated_write_is_known_by_its_id(client: Any, toy: ToyServer) -> None:
    toy.interrupt = failing(1)
    client.update_customer("c", {"age": 1})
    toy.interrupt = failing(1)
    client.delete_customer("c")
    toy.interrupt = failing(1)
    assert client.record_events([Event("a", "purchase")]) == EventCounts(1, 0)
    assert toy.seen.pop() == toy.seen.pop()
    first, again, deletion, deletion_again = (asked.request_id for asked in toy.seen)
    assert first == again != deletion == deletion_again
    assert first


def test_a_server_that_is_not_there_is_unavailable(kind: Any) -> None:
    with (
        kind("127.0.0.1:1", retries=NO_PAUSE) as client,
        pytest.raises(api.UnavailableError),
    ):
        client.get_customer("c")


def test_the_deadline_is_sent_and_kept(client: Any, toy: ToyServer) -> None:
    left: list[float] = []

    def interrupt(_: Any, context: Any) -> None:
        left.append(context.time_remaining())

    toy.interrupt = interrupt
    client.get_customers(["c"])
    client.get_customers(["c"], timeout_s=1.5)
    assert 3.0 < left[0] <= 5.1
    assert 0.5 < left[1] <= 1.6


def test_an_answer_that_does_not_come_in_time_is_an_error_of_its_own(
    client: Any, toy: ToyServer
) -> None:
    late = threading.Event()
    toy.interrupt = lambda *_: late.wait(10.0)
    with pytest.raises(api.DeadlineExceededError):
        client.decide_offers("c", "web", timeout_s=0.05)
    late.set()


def test_headers_of_the_caller_go_with_every_call(kind: Any, toy: ToyServer) -> None:
    with kind(toy.address, metadata=[("authorization", "Bearer t")]) as client:
        client.list_customer_page()
    assert toy.metadata[0]["authorization"] == "Bearer t"


def test_tls_knows_the_server_by_its_authority(kind: Any, tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    pem = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(pem)
    chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
    credentials = grpc.ssl_server_credentials([(certificate.private_key_pem.bytes(), chain)])
    with toy_server(credentials) as served:
        with kind(served.address, tls=Tls(authority=pem)) as client:
            assert client.decide_offers("c", "web", timeout_s=5.0)
        with (
            kind(served.address, tls=Tls(), retries=NO_PAUSE) as stranger,
            pytest.raises(api.UnavailableError),
        ):
            stranger.get_customer("c")
    with pytest.raises(ValueError, match="expected both or neither"):
        Tls(certificate=pem)


def test_both_clients_have_the_same_methods_arguments_and_defaults() -> None:
    def doors(client: type) -> dict[str, inspect.Signature]:
        return {
            name: inspect.signature(method).replace(return_annotation=None)
            for name, method in vars(client).items()
            if not name.startswith("_")
        }

    assert doors(Client) == doors(AsyncClient)
    assert inspect.signature(Client) == inspect.signature(AsyncClient)


def test_the_table_of_methods_is_the_contract() -> None:
    declared = {
        f"/{service.full_name}/{method.name}": method.output_type.full_name
        for module in (
            catalogue_service_pb2,
            customer_service_pb2,
            decision_service_pb2,
            event_service_pb2,
        )
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    ours = {method.path: method.decode(b"").DESCRIPTOR.full_name for method in METHODS}
    assert ours == declared


@pytest.mark.parametrize(
    ("ours", "contract", "prefix"),
    [
        (api.OfferReason, decision_service_pb2.OfferReason, "OFFER_REASON_"),
        (api.NoOfferReason, decision_service_pb2.NoOfferReason, "NO_OFFER_REASON_"),
        (api.ProfileState, decision_service_pb2.ProfileState, "PROFILE_STATE_"),
        (api.ExclusionReason, decision_service_pb2.ExclusionReason, "EXCLUSION_REASON_"),
        (api.CatalogueAction, catalogue_service_pb2.CatalogueAction, "CATALOGUE_ACTION_"),
    ],
)
def test_the_enumerations_are_the_contracts(ours: Any, contract: Any, prefix: str) -> None:
    assert {prefix + member.name: member.value for member in ours} == dict(contract.items())


def test_a_reason_that_this_client_does_not_know_yet_does_not_break_it() -> None:
    from instanter.client import replies

    newer = decision_service_pb2.DecideOffersResponse()
    newer.ParseFromString(decision_service_pb2.DecideOffersResponse().SerializeToString())
    newer.no_offer_reason = 99
    assert replies.decision(newer).no_offer_reason is api.NoOfferReason.UNSPECIFIED
