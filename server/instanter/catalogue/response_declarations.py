"""Reads `arms:`, `outcomes:` and `learning:` of a catalogue."""

import math

from instanter import limits
from instanter.catalogue.response import UNANSWERED, Arms, LearningRules, OutcomeRules
from instanter.catalogue.yaml_reader import NumberRange, Reader, format_duration
from instanter.catalogue.yaml_tree import Node

_RATES = NumberRange(0.0, 1.0, high_included=False)
_LABELS = NumberRange(0, 10**9)
_EXPLORATION = NumberRange(0.0, limits.EXPLORATION_MAX)


class ResponseReader:
    """Reads how responses are gathered and learned from.

    Parameters
    ----------
    reader
        Reads values and records problems.
    """

    __slots__ = ("_reader",)

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def read_arms(self, node: Node | None, holdout_rate: float) -> Arms:
        """Return the arms of `arms:`; together with the holdout they must leave somebody over."""
        reader, default = self._reader, Arms()
        entries = node and reader.read_mapping(node, "arms", ("random_rate", "salt"))
        if not entries:
            return default
        rate, salt = default.random_rate, default.random_salt
        if "random_rate" in entries:
            found = reader.read_number(entries["random_rate"], "arms.random_rate", _RATES)
            rate = rate if found is None else found
            if rate + holdout_rate >= 1.0:
                message = (
                    f"and the holdout's rate, {holdout_rate:g}, make {rate + holdout_rate:g} "
                    "together; it must be below 1, or nobody is left to decide for"
                )
                reader.refuse(entries["random_rate"], "arms.random_rate", message)
        if "salt" in entries:
            salt = reader.read_text(entries["salt"], "arms.salt", limits.NAME_SIZE_MAX) or salt
        return Arms(rate, salt)

    def read_outcomes(self, node: Node | None) -> OutcomeRules:
        """Return the rules of `outcomes:`."""
        reader, default = self._reader, OutcomeRules()
        entries = node and reader.read_mapping(node, "outcomes", ("wait", "accept_for"))
        if not entries:
            return default
        wait_s: int | None = default.wait_s
        accept_s: int | None = default.accept_s
        low_s = limits.WINDOW_S_MIN
        if "wait" in entries:
            high_s = limits.OUTCOME_WAIT_S_MAX
            wait_s = reader.read_duration_s(entries["wait"], "outcomes.wait", low_s, high_s)
        if "accept_for" in entries:
            high_s = limits.WINDOW_S_MAX
            field = "outcomes.accept_for"
            accept_s = reader.read_duration_s(entries["accept_for"], field, low_s, high_s)
        if wait_s is None or accept_s is None:
            return default
        if accept_s < wait_s:
            key = "accept_for" if "accept_for" in entries else "wait"
            message = (
                f"outcomes would be accepted for {format_duration(accept_s)} only, but a "
                f"presentation waits {format_duration(wait_s)} for its answer; accept_for must be "
                "at least as long as wait"
            )
            reader.refuse(entries[key], f"outcomes.{key}", message)
        return OutcomeRules(wait_s, accept_s)

    def read_learning(self, node: Node | None) -> LearningRules:
        """Return the rules of `learning:`."""
        reader, default = self._reader, LearningRules()
        known = ("enabled", "half_life_labels", "exploration", "unanswered")
        entries = node and reader.read_mapping(node, "learning", known)
        if not entries:
            return default
        enabled, labels, exploration = True, 0, 0.0
        if "enabled" in entries:
            found = reader.read_flag(entries["enabled"], "learning.enabled")
            enabled = default.enabled if found is None else found
        if "half_life_labels" in entries:
            field = "learning.half_life_labels"
            labels = reader.read_whole(entries["half_life_labels"], field, _LABELS) or 0
        if "exploration" in entries:
            field = "learning.exploration"
            exploration = reader.read_number(entries["exploration"], field, _EXPLORATION) or 0.0
        at_once = default.negative_at_once
        if "unanswered" in entries:
            choice = reader.read_choice(entries["unanswered"], "learning.unanswered", UNANSWERED)
            at_once = at_once if choice is None else choice
        return LearningRules(enabled, labels, exploration, at_once)


assert math.isfinite(_EXPLORATION.high), "infinite exploration would be no choice at all"
