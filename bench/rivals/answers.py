"""Compares the contestants' answers before anything is timed.

Instanter and rival (a) must rank the same offers, all that a customer may have; only offers whose
priorities differ by less than one in a thousand may change places, since one adds up 16-bit fixed
point and the other float32. Rival (b) has another model, so only its eligible offers are compared.
The fetches of (c) and (d) must bring the profile's values.
"""

import math
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from bench.rivals import contestants
from bench.rivals.line_up import LineUp
from instanter.limits import OFFER_COUNT_MAX
from instanter.v1 import decision_service_pb2 as messages

PRIORITY_RATIO_MAX = 1e-3
_FETCHES = 10


class AnswersDifferError(Exception):
    """Two contestants answered differently: their speeds could not be compared."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far the answers agreed.

    Attributes
    ----------
    customer_count
        Customers that each front of Instanter and rival (a) were asked about, all fronts.
    offer_count
        Offers in those answers.
    identical_count
        Answers with the same offers in the same order.
    same_best_count
        Answers with the same best offer.
    eligible_checked_count
        Customers whose eligible offers rival (b) found to be the same.
    fetch_checked_count
        Profiles that (c) and (d) brought whole.
    """

    customer_count: int
    offer_count: int
    identical_count: int
    same_best_count: int
    eligible_checked_count: int
    fetch_checked_count: int


def check_answers(found: LineUp, customer_count: int) -> Agreement:
    """Ask everybody who takes part, and compare.

    Raises
    ------
    AnswersDifferError
        Somebody answered something else.
    """
    counts = np.zeros(4, np.int64)
    fronts = [key for key in found.ports if key.startswith("instanter")]
    if "rival_a" in found.ports:
        for front in fronts:
            ports = found.ports[front], found.ports["rival_a"]
            counts += _compare_rankings(*ports, customer_count)
    eligible = _check_eligible(found) if "rival_b" in found.ports else 0
    fetched = 0
    if "rival_c" in found.ports:
        fetched += _check_feast(found)
    if "rival_d" in found.contestants:
        fetched += _check_redis(found)
    customers, offers, identical, best = (int(count) for count in counts)
    return Agreement(customers, offers, identical, best, eligible, fetched)


def is_same_ranking(
    first: messages.DecideOffersResponse, second: messages.DecideOffersResponse
) -> bool:
    """Return whether two rankings hold the same offers in the same order but for near ties."""
    priorities = [{offer.offer: offer.priority for offer in a.offers} for a in (first, second)]
    if priorities[0].keys() != priorities[1].keys():
        return False
    by_name = ((p, priorities[1][name]) for name, p in priorities[0].items())
    # At each place nearly the same priority: an offer stands in another's place only if it is
    # nearly worth the same.
    by_place = zip(priorities[0].values(), priorities[1].values(), strict=True)
    return all(
        math.isclose(a, b, rel_tol=PRIORITY_RATIO_MAX)
        for pairs in (by_name, by_place)
        for a, b in pairs
    )


def _compare_rankings(first: int, second: int, customer_count: int) -> NDArray[np.int64]:
    """Return int64[4]: the counts of customers, offers, identical answers and same best offers."""
    offers = identical = best = 0
    with _open(first) as ours, _open(second) as theirs:
        ask_ours, ask_theirs = (_method(channel) for channel in (ours, theirs))
        for number in range(customer_count):
            request = contestants.make_request(number, OFFER_COUNT_MAX)
            a, b = ask_ours(request, timeout=30), ask_theirs(request, timeout=30)
            if a.profile_state != messages.PROFILE_STATE_KNOWN or a.model_revision < 1:
                raise AnswersDifferError(f"not a decision on profile and models: {a}")
            if not is_same_ranking(a, b):
                tops = [[(o.offer, o.priority) for o in answer.offers[:3]] for answer in (a, b)]
                raise AnswersDifferError(f"customer {number}: ours {tops[0]}, (a) {tops[1]}")
            names = [[offer.offer for offer in answer.offers] for answer in (a, b)]
            offers += len(names[0])
            identical += names[0] == names[1]
            best += names[0][:1] == names[1][:1]
    return np.array([customer_count, offers, identical, best])


def _check_eligible(found: LineUp) -> int:
    """Compare the eligible offers that rival (b) counts with the rules in NumPy."""
    count = min(_FETCHES, len(found.customers.names))
    for number in range(count):
        body = contestants.make_json_request(number)
        answer: dict[str, Any] = contestants.post(
            found.ports["rival_b"], contestants.DECIDE_PATH, body
        )
        eligible = found.decision.rules.find_eligible(_read_slots(found, number))
        names = {f"offers/{name}" for name in found.decision.offers[eligible]}
        told = {offer["offer"] for offer in answer["offers"]}
        if answer["eligible_count"] != len(names) or not told <= names:
            raise AnswersDifferError(f"rival (b), customer {number}: {answer}")
    return count


def _check_feast(found: LineUp) -> int:
    """Compare what Feast fetches with the profile."""
    attributes = [str(name) for name in found.customers.attributes]
    count = min(_FETCHES, found.contestants["rival_c"].customer_count)
    for number in range(count):
        body = contestants.make_fetch(number, attributes)
        answer: Any = contestants.post(found.ports["rival_c"], contestants.FETCH_PATH, body)
        names = answer["metadata"]["feature_names"]
        results = zip(names, answer["results"], strict=True)
        fetched = {name: result["values"][0] for name, result in results}
        _check_fetch(found, number, [float(fetched[name]) for name in attributes], "Feast")
    return count


def _check_redis(found: LineUp) -> int:
    """Compare what HGETALL fetches with the profile."""
    assert found.redis is not None
    count = min(_FETCHES, len(found.customers.names))
    for number in range(count):
        lines = found.redis.ask("HGETALL", contestants.name_hash(number))
        fetched = dict(zip(lines[::2], lines[1::2], strict=True))
        values = [float(fetched[str(name)]) for name in found.customers.attributes]
        _check_fetch(found, number, values, "Redis")
    return count


def _check_fetch(found: LineUp, number: int, values: list[float], who: str) -> None:
    customers = found.customers
    profile = [*customers.numbers[number].tolist(), *customers.codes[number].tolist()]
    # A number that travelled as text must come back as the same float32.
    if not np.array_equal(np.array(values, np.float32), np.array(profile, np.float32)):
        raise AnswersDifferError(f"{who} did not bring the profile of customer {number}")


def _read_slots(found: LineUp, number: int) -> NDArray[np.uint32]:
    return np.frombuffer(found.customers.pack(number), np.uint32)


def _open(port: int) -> grpc.Channel:
    return grpc.insecure_channel(f"127.0.0.1:{port}")


def _method(channel: grpc.Channel) -> Any:
    return channel.unary_unary(
        f"/{contestants.DECIDE_METHOD}",
        request_serializer=messages.DecideOffersRequest.SerializeToString,
        response_deserializer=messages.DecideOffersResponse.FromString,
    )
