"""Slow twins of `kernels/arbitration`, one decision in plain words."""

TRUE, UNKNOWN = 2, 1


def exclude_offers(now_s, truth, rule_literal, treatment_index, valid_from_s, valid_to_s, reason):
    """The first reason that stops each offer."""
    for o in range(len(reason)):
        reason[o] = _first_reason(
            now_s, truth, rule_literal[:, o], treatment_index[o], valid_from_s[o], valid_to_s[o]
        )
    return int(sum(1 for r in reason if r == 0))


def _first_reason(now_s, truth, rules, treatment, valid_from, valid_to):
    if not valid_from <= now_s < valid_to:
        return 1
    if treatment < 0:
        return 2
    for stage, literal in enumerate(rules):
        if literal < 0:
            continue
        held = truth[literal]
        if held == UNKNOWN:
            return 6
        if held != TRUE:
            return (3, 4, 5)[stage]
    return 0


def weigh_context(
    truth, treatment_weight, weight_offer, weight_literal, weight_factor, weight, weighted
):
    """Treatment weight times every context weight whose condition is true."""
    for o in range(len(weight)):
        weight[o] = treatment_weight[o]
        weighted[o] = 0
        for at, offer in enumerate(weight_offer):
            if offer == o and truth[weight_literal[at]] == TRUE:
                weight[o] = weight[o] * weight_factor[at]
                weighted[o] = 1


def prioritise_offers(reason, propensity, weight, value, lever, priority):
    """Propensity × context weight × value × lever."""
    for o in range(len(reason)):
        priority[o] = 0.0
        if reason[o] == 0:
            priority[o] = propensity[o] * weight[o] * value[o] * lever[o]
            if not priority[o] > 0:
                priority[o] = 0.0
                reason[o] = 7
    return int(sum(1 for r in reason if r == 0))


def rank_offers(reason, priority, wanted, best):
    """Sort by priority, then by name, and take the first ones."""
    kept = [o for o in range(len(reason)) if reason[o] == 0]
    kept.sort(key=lambda o: (-priority[o], o))
    for at, o in enumerate(kept[:wanted]):
        best[at] = o
    return min(len(kept), wanted)


def count_reasons(reason, count):
    """How often each reason occurs."""
    for r in range(len(count)):
        count[r] = sum(1 for found in reason if found == r)
