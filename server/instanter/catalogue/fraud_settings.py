"""Reads the settings of `fraud:`: all that is neither a list nor a rule."""

from collections.abc import Mapping
from typing import Final

from instanter import fraud_limits, limits
from instanter.catalogue.fraud import (
    CONTINUE,
    CompromisedTerminal,
    FraudSettings,
    Guard,
    Hotlists,
    StandIn,
    Travel,
)
from instanter.catalogue.fraud_words import Disposition, ListKind
from instanter.catalogue.yaml_reader import NumberRange, Reader
from instanter.catalogue.yaml_tree import Node

_LISTS: Final = {kind.name.lower(): kind for kind in ListKind}
_SEVERE: Final = {"refer": Disposition.REFER, "decline": Disposition.DECLINE}
_SIMPLE: Final = (
    "hotlist_missing", "hotlist_stale", "state_damaged", "place_missing", "clock_jumped",
)  # fmt: skip
_DEADLINE_KEYS: Final = ("approve_up_to_minor", "else")
_GUARD_KEYS: Final = ("enabled", "share", "period", "declines_min", "times_history")
_SHARES: Final = NumberRange(0.0, 1.0, low_included=False)
_COUNTS: Final = NumberRange(1, 1_000_000)
_TIMES: Final = NumberRange(1.0, 1_000.0)
_DISTANCES: Final = NumberRange(0.0, 20_100.0)
_SPEEDS: Final = NumberRange(0.0, 1e6, low_included=False)
_AMOUNTS: Final = NumberRange(0, 10**15)
_DAY_S: Final = 86_400


def read_guard(reader: Reader, node: Node, field: str, default: Guard) -> Guard:
    """Return a guard; what it leaves out is as in another one.

    Parameters
    ----------
    reader, node, field
        Where it stands.
    default
        The other one.
    """
    entries = reader.read_mapping(node, field, _GUARD_KEYS) or {}
    enabled: bool | None = default.enabled
    share: float | None = default.share_max
    period_s: int | None = default.period_s
    declines: int | None = default.declines_min
    times: float | None = default.times_history
    if "enabled" in entries:
        enabled = reader.read_flag(entries["enabled"], f"{field}.enabled")
    if "share" in entries:
        share = reader.read_number(entries["share"], f"{field}.share", _SHARES)
    if "period" in entries:
        path = f"{field}.period"
        period_s = reader.read_duration_s(
            entries["period"], path, limits.WINDOW_S_MIN, limits.WINDOW_S_MAX
        )
    if "declines_min" in entries:
        declines = reader.read_whole(entries["declines_min"], f"{field}.declines_min", _COUNTS)
    if "times_history" in entries:
        times = reader.read_number(entries["times_history"], f"{field}.times_history", _TIMES)
    if enabled is None or share is None or period_s is None or declines is None or times is None:
        return default
    return Guard(enabled, share, period_s, declines, times)


class SettingsReader:
    """Reads the settings of all files.

    Parameters
    ----------
    reader
        Reads values and records problems.
    """

    __slots__ = ("_reader",)

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def read(self, nodes: Mapping[str, Node | None]) -> FraudSettings:
        """Return the settings; what is not said is the default.

        Parameters
        ----------
        nodes
            `baselines`, `travel`, `compromised_terminal`, `hotlists`, `stand_in`, `clock` and
            `guard`; None for those that do not stand in any file.
        """
        default = FraudSettings()
        half_life_s = default.baseline_half_life_s
        entries = self._entries(nodes["baselines"], "fraud.baselines", ("half_life",))
        if "half_life" in entries:
            path = "fraud.baselines.half_life"
            half_life_s = self._span(entries["half_life"], path, _DAY_S, half_life_s)
        clock = self._entries(nodes["clock"], "fraud.clock", ("ahead_max", "behind_max"))
        ahead_s, behind_s = default.clock_ahead_s, default.clock_behind_s
        if "ahead_max" in clock:
            ahead_s = self._span(
                clock["ahead_max"], "fraud.clock.ahead_max", 1, ahead_s,
                fraud_limits.FRAUD_CLOCK_AHEAD_S_MAX,
            )  # fmt: skip
        if "behind_max" in clock:
            behind_s = self._span(
                clock["behind_max"], "fraud.clock.behind_max", 1, behind_s,
                fraud_limits.FRAUD_CLOCK_BEHIND_S_MAX,
            )  # fmt: skip
        guard = default.guard
        if nodes["guard"] is not None:
            guard = read_guard(self._reader, nodes["guard"], "fraud.guard", guard)
        return FraudSettings(
            hotlists=self._read_hotlists(nodes["hotlists"]),
            stand_in=self._read_stand_in(nodes["stand_in"]),
            travel=self._read_travel(nodes["travel"]),
            compromised_terminal=self._read_compromised(nodes["compromised_terminal"]),
            guard=guard,
            baseline_half_life_s=half_life_s,
            clock_ahead_s=ahead_s,
            clock_behind_s=behind_s,
        )

    def _read_hotlists(self, node: Node | None) -> Hotlists:
        reader, default = self._reader, Hotlists()
        field = "fraud.hotlists"
        entries = self._entries(node, field, (*_LISTS, "expected", "stale_after"))
        found = dict(zip(ListKind, default.dispositions, strict=True))
        for word, kind in _LISTS.items():
            if word not in entries:
                continue
            choice = reader.read_choice(entries[word], f"{field}.{word}", _SEVERE)
            if kind is ListKind.CARDS and choice is Disposition.REFER:
                message = "must be decline: a hotlisted card is never approved, whatever it proves"
                reader.refuse(entries[word], f"{field}.{word}", message, "decline")
            elif choice is not None:
                found[kind] = choice
        stale_s = 0
        if "stale_after" in entries:
            stale_s = self._span(entries["stale_after"], f"{field}.stale_after", 60, 0)
        expected: tuple[ListKind, ...] = (ListKind.CARDS,) if stale_s else ()
        if "expected" in entries:
            path = f"{field}.expected"
            items = reader.read_list(entries["expected"], path, len(ListKind))
            choices = [reader.read_choice(item, path, _LISTS) for item in items]
            expected = tuple(sorted({choice for choice in choices if choice is not None}))
        return Hotlists(tuple(int(found[kind]) for kind in ListKind), expected, stale_s)

    def _read_stand_in(self, node: Node | None) -> StandIn:
        reader, default = self._reader, StandIn()
        field = "fraud.stand_in"
        entries = self._entries(node, field, (*_SIMPLE, "deadline_short"))
        choices = {"continue": CONTINUE, **_SEVERE}
        found: dict[str, int] = {}
        for key in _SIMPLE:
            choice = None
            if key in entries:
                choice = reader.read_choice(entries[key], f"{field}.{key}", choices)
            found[key] = getattr(default, key) if choice is None else int(choice)
        up_to, otherwise = default.approve_up_to_minor, default.deadline_otherwise
        if "deadline_short" in entries:
            path = f"{field}.deadline_short"
            deadline = self._entries(entries["deadline_short"], path, _DEADLINE_KEYS)
            if "approve_up_to_minor" in deadline:
                amount = deadline["approve_up_to_minor"]
                up_to = reader.read_whole(amount, f"{path}.approve_up_to_minor", _AMOUNTS) or 0
            if "else" in deadline:
                choice = reader.read_choice(deadline["else"], f"{path}.else", _SEVERE)
                otherwise = otherwise if choice is None else int(choice)
        return StandIn(**found, approve_up_to_minor=up_to, deadline_otherwise=otherwise)

    def _read_travel(self, node: Node | None) -> Travel:
        field, default = "fraud.travel", Travel()
        entries = self._entries(node, field, ("distance_km_min", "speed_kmh_max"))
        return Travel(
            self._number(entries, field, "distance_km_min", _DISTANCES, default.distance_km_min),
            self._number(entries, field, "speed_kmh_max", _SPEEDS, default.speed_kmh_max),
        )

    def _read_compromised(self, node: Node | None) -> CompromisedTerminal:
        field, default = "fraud.compromised_terminal", CompromisedTerminal()
        entries = self._entries(node, field, ("window", "labels_min", "suggest_rate"))
        window_s = default.window_s
        if "window" in entries:
            window_s = self._span(entries["window"], f"{field}.window", _DAY_S, window_s)
        labels = default.labels_min
        if "labels_min" in entries:
            path = f"{field}.labels_min"
            labels = self._reader.read_whole(entries["labels_min"], path, _COUNTS) or labels
        rate = self._number(entries, field, "suggest_rate", _SHARES, default.suggest_rate)
        return CompromisedTerminal(window_s, labels, rate)

    def _entries(self, node: Node | None, field: str, known: tuple[str, ...]) -> dict[str, Node]:
        if node is None:
            return {}
        return self._reader.read_mapping(node, field, known) or {}

    def _number(
        self, entries: dict[str, Node], field: str, key: str, allowed: NumberRange, default: float
    ) -> float:
        if key not in entries:
            return default
        found = self._reader.read_number(entries[key], f"{field}.{key}", allowed)
        return default if found is None else found

    def _span(
        self, node: Node, field: str, low_s: int, default: int, high_s: int = limits.WINDOW_S_MAX
    ) -> int:
        found = self._reader.read_duration_s(node, field, low_s, high_s)
        return default if found is None else found
