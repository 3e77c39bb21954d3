"""Slow twins of `kernels/responses`: messages of the generated classes, encoded by them."""

import numpy as np

from instanter.v1.decision_service_pb2 import DecideOffersResponse, RankedOffer


def _write(out, at, data):
    out[at : at + len(data)] = np.frombuffer(bytes(data), np.uint8)
    return at + len(data)


def put_varint(out, at, number):
    """Seven bits a byte, the lowest first; the highest bit says that more follow."""
    data = []
    while number >= 128:
        data.append(number % 128 + 128)
        number //= 128
    return _write(out, at, [*data, number])


def put_double(out, at, bits, tag):
    """The tag, then eight bytes, little-endian; nothing for 0."""
    return _write(out, at, bytes([tag]) + int(bits).to_bytes(8, "little")) if bits else at


def put_bytes(out, at, data, start, stop):
    """A copy."""
    return _write(out, at, data[start:stop].tobytes())


def explain_nothing(told, count, offer_count):
    """The last stage that stopped an offer."""
    held, _, _, *reasons = told.tolist()
    if held:
        return 1
    if count:
        return 0
    if reasons[1] + reasons[2] == offer_count:
        return 2
    if reasons[7]:
        return 4
    if any(reasons[12:14]):
        return 6
    return 5 if any(reasons[8:12]) else 3


def _offer(listed, case, known, head, value, tail, fragment, fragment_start):
    o = int(listed[0])
    numbers = head[o], value[o], tail[2 * (case + known) + int(listed[4]), o]
    cut = [fragment[fragment_start[n] : fragment_start[n + 1]].tobytes() for n in numbers]
    offer = RankedOffer.FromString(b"".join(cut))
    offer.priority, offer.propensity, offer.context_weight = listed[[1, 2, 3]].tolist()
    offer.choice_propensity = listed[5]
    return offer


def put_offer(listed, bits, case, known, head, value, tail, fragment, fragment_start, out, at):
    """One message within a response."""
    assert bits.tobytes() == listed.tobytes()
    offer = _offer(listed, case, known, head, value, tail, fragment, fragment_start)
    return _write(out, at, DecideOffersResponse(offers=[offer]).SerializeToString())


def encode_responses(
    count, ids, asked, told, listed, figures, head, value, tail, fragment, fragment_start,
    offer_size_max, out, end, counted,
):  # fmt: skip
    """One message after the other."""
    del offer_size_max
    counted[:] = 0
    at = 0
    for i in range(count):
        state, surface, wanted = asked[i, :3].tolist()
        held, kept, arm, *reasons = told[i].tolist()
        no_offer = explain_nothing(told[i], kept, len(value))
        response = DecideOffersResponse.FromString(figures.tobytes())
        response.decision = f"decisions/{ids[16 * i : 16 * i + 16].tobytes().hex()}"
        response.profile_state, response.arm = state, arm
        response.in_holdout, response.no_offer_reason = bool(held), no_offer
        for row in listed[i, :kept]:
            response.offers.append(
                _offer(
                    row, 2 * (arm == 2), int(state == 1), head[surface], value, tail, fragment,
                    fragment_start,
                )
            )  # fmt: skip
        if kept < wanted and not held:
            for stage in (1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 7):
                if reasons[stage]:
                    response.exclusions.add(reason=stage, offer_count=reasons[stage])
        at = _write(out, at, response.SerializeToString())
        end[i] = at
        counted[[0, 1, 2], [state, no_offer, arm]] += 1
    return at
