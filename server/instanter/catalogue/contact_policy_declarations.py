"""Reads the `contact_policy:` of a catalogue."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar
from zoneinfo import ZoneInfo, available_timezones

from instanter import limits
from instanter.catalogue.contact_policy import (
    Cap,
    ContactScope,
    CoolOff,
    CoolOffCause,
    QuietHours,
)
from instanter.catalogue.problems import suggest
from instanter.catalogue.yaml_reader import NumberRange, Reader
from instanter.catalogue.yaml_tree import Mapping as YamlMapping
from instanter.catalogue.yaml_tree import Node, Scalar

_T = TypeVar("_T")

_KEYS = ("time_zone", "caps", "cool_off", "quiet_hours", "consent")
_CAP_KEYS = ("name", "count", "window", "per", "channel")
_COOL_OFF_KEYS = ("after", "for", "per")
_QUIET_KEYS = ("channels", "from", "to")
_CONSENT_KEYS = ("attribute", "channel", "purpose")
_ZONE_KEYS = ("attribute", "default")
_SCOPES = {scope.name.lower(): scope for scope in ContactScope}
_CAUSES = {cause.name.lower(): cause for cause in CoolOffCause}
_COUNTS = NumberRange(1, limits.CAP_COUNT_MAX)
_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)", re.ASCII)
_ZONE_DEFAULT = "UTC"


@dataclass(frozen=True, slots=True)
class DeclaredConsent:
    """A consent as it stands in a file; its attribute is not known to exist yet.

    Attributes
    ----------
    field
        Its path, for example `contact_policy.consent[0]`.
    attribute
        Name of the flag.
    channel, purpose
        As in `Consent`.
    """

    field: str
    attribute: Scalar
    channel: str
    purpose: str


@dataclass(frozen=True, slots=True)
class DeclaredPolicy:
    """A contact policy as it stands in a file.

    Attributes
    ----------
    caps, cool_offs, quiet_hours
        As in `ContactPolicy`.
    consents
        With the names of their attributes.
    time_zone
        IANA name.
    time_zone_attribute
        Name of the attribute that knows each customer's; None when there is none.
    """

    caps: tuple[Cap, ...]
    cool_offs: tuple[CoolOff, ...]
    quiet_hours: tuple[QuietHours, ...]
    consents: tuple[DeclaredConsent, ...]
    time_zone: str
    time_zone_attribute: Scalar | None


class PolicyReader:
    """Reads one contact policy.

    Parameters
    ----------
    reader
        Reads values and records problems.
    channels
        Declared placements of each declared channel.
    """

    __slots__ = ("_channels", "_reader")

    def __init__(self, reader: Reader, channels: dict[str, tuple[str, ...]]) -> None:
        self._reader = reader
        self._channels = channels

    def read(self, node: Node) -> DeclaredPolicy | None:
        """Return the policy, or None when it is no mapping."""
        entries = self._reader.read_mapping(node, "contact_policy", _KEYS)
        if entries is None:
            return None
        zone, attribute = self._read_zone(entries.get("time_zone"), "contact_policy.time_zone")
        return DeclaredPolicy(
            caps=self._read_caps(entries.get("caps")),
            cool_offs=self._read_all(
                entries, "cool_off", limits.COOL_OFFS_MAX, self._read_cool_off
            ),
            quiet_hours=self._read_all(
                entries, "quiet_hours", limits.QUIET_HOURS_MAX, self._read_quiet_hours
            ),
            consents=self._read_all(entries, "consent", limits.CONSENTS_MAX, self._read_consent),
            time_zone=zone,
            time_zone_attribute=attribute,
        )

    def _read_all(
        self,
        entries: dict[str, Node],
        key: str,
        count_max: int,
        read: Callable[[Node, str], _T | None],
    ) -> tuple[_T, ...]:
        """Return what `read` makes of each entry of a list; what is wrong is left out."""
        if key not in entries:
            return ()
        path = f"contact_policy.{key}"
        items = self._reader.read_list(entries[key], path, count_max)
        found = (read(item, f"{path}[{index}]") for index, item in enumerate(items))
        return tuple(one for one in found if one is not None)

    def _read_caps(self, section: Node | None) -> tuple[Cap, ...]:
        if section is None:
            return ()
        caps: dict[str, Cap] = {}
        items = self._reader.read_list(section, "contact_policy.caps", limits.CAPS_MAX)
        for index, item in enumerate(items):
            path = self._reader.find_path(item, "contact_policy.caps", index)
            cap = self._read_cap(item, path)
            if cap is not None and cap.name in caps:
                key = Scalar(item.file, item.line, 0, cap.name, "'")
                self._reader.refuse(key, f"{path}.name", "is the name of another cap already")
            elif cap is not None:
                caps[cap.name] = cap
        return tuple(caps.values())

    def _read_cap(self, node: Node, path: str) -> Cap | None:
        reader = self._reader
        entries = reader.read_mapping(node, path, _CAP_KEYS, ("name", "count", "window"))
        if not entries or not {"name", "count", "window"} <= entries.keys():
            return None
        name = reader.read_label(entries["name"], f"{path}.name")
        count = reader.read_whole(entries["count"], f"{path}.count", _COUNTS)
        window_s = self._read_span(entries["window"], f"{path}.window")
        scope = self._read_scope(entries, path, ContactScope.CUSTOMER)
        channel = self._read_channel(entries.get("channel"), f"{path}.channel")
        if name is None or count is None or window_s is None or scope is None or channel is None:
            return None
        return Cap(name, scope, count, window_s, channel)

    def _read_cool_off(self, node: Node, path: str) -> CoolOff | None:
        reader = self._reader
        entries = reader.read_mapping(node, path, _COOL_OFF_KEYS, ("after", "for"))
        if not entries or not {"after", "for"} <= entries.keys():
            return None
        cause = reader.read_choice(entries["after"], f"{path}.after", _CAUSES)
        rest_s = self._read_span(entries["for"], f"{path}.for")
        scope = self._read_scope(entries, path, ContactScope.OFFER)
        if cause is None or rest_s is None or scope is None:
            return None
        return CoolOff(cause, scope, rest_s)

    def _read_quiet_hours(self, node: Node, path: str) -> QuietHours | None:
        entries = self._reader.read_mapping(node, path, _QUIET_KEYS, ("from", "to"))
        if not entries or not {"from", "to"} <= entries.keys():
            return None
        start = self._read_minute(entries["from"], f"{path}.from")
        end = self._read_minute(entries["to"], f"{path}.to")
        channels: list[str] = []
        if "channels" in entries:
            items = self._reader.read_list(
                entries["channels"], f"{path}.channels", limits.CHANNELS_MAX
            )
            if not items:
                message = "must list at least one channel; leave the key out to mean all"
                self._reader.refuse(entries["channels"], f"{path}.channels", message)
            found = [self._read_channel(item, f"{path}.channels") for item in items]
            channels = [channel for channel in found if channel]
        if start is None or end is None:
            return None
        if start == end:
            message = "is the same time as `from`: hours without end; take the channel away instead"
            self._reader.refuse(entries["to"], f"{path}.to", message)
        return QuietHours(tuple(dict.fromkeys(channels)), start, end)

    def _read_consent(self, node: Node, path: str) -> DeclaredConsent | None:
        reader = self._reader
        entries = reader.read_mapping(node, path, _CONSENT_KEYS, ("attribute",))
        if not entries or "attribute" not in entries:
            return None
        channel = self._read_channel(entries.get("channel"), f"{path}.channel")
        purpose: str | None = ""
        if "purpose" in entries:
            purpose = reader.read_label(entries["purpose"], f"{path}.purpose")
        attribute = entries["attribute"]
        if reader.read_text(attribute, f"{path}.attribute", limits.NAME_SIZE_MAX) is None:
            return None
        if channel is None or purpose is None:
            return None
        assert isinstance(attribute, Scalar), "only a scalar is a text"
        return DeclaredConsent(path, attribute, channel, purpose)

    def _read_zone(self, node: Node | None, path: str) -> tuple[str, Scalar | None]:
        reader = self._reader
        if node is None:
            return _ZONE_DEFAULT, None
        if not isinstance(node, YamlMapping):
            return self._read_zone_name(node, path), None
        entries = reader.read_mapping(node, path, _ZONE_KEYS, _ZONE_KEYS) or {}
        zone, attribute = _ZONE_DEFAULT, entries.get("attribute")
        if "default" in entries:
            zone = self._read_zone_name(entries["default"], f"{path}.default")
        if attribute is None or reader.read_text(attribute, f"{path}.attribute") is None:
            return zone, None
        assert isinstance(attribute, Scalar), "only a scalar is a text"
        return zone, attribute

    def _read_zone_name(self, node: Node, path: str) -> str:
        name = self._reader.read_text(node, path, limits.NAME_SIZE_MAX)
        if name is not None and not is_time_zone(name):
            known = available_timezones()
            message = "is not the IANA name of a time zone, such as Europe/Berlin"
            if not known:
                message = "cannot be looked up: this machine has no time zone database (tzdata)"
            self._reader.refuse(node, path, message, suggest(name, known))
        return name or _ZONE_DEFAULT

    def _read_scope(
        self, entries: dict[str, Node], path: str, default: ContactScope
    ) -> ContactScope | None:
        if "per" not in entries:
            return default
        return self._reader.read_choice(entries["per"], f"{path}.per", _SCOPES)

    def _read_span(self, node: Node, path: str) -> int | None:
        return self._reader.read_duration_s(node, path, limits.WINDOW_S_MIN, limits.WINDOW_S_MAX)

    def _read_channel(self, node: Node | None, path: str) -> str | None:
        """Return a declared channel, empty for none given, or None after a problem."""
        if node is None:
            return ""
        channel = self._reader.read_label(node, path)
        if channel is not None and channel not in self._channels:
            known = ", ".join(self._channels) or "none"
            message = f"is not a declared channel; declared under `channels:` are: {known}"
            self._reader.refuse(node, path, message, suggest(channel, self._channels))
            return None
        return channel

    def _read_minute(self, node: Node, path: str) -> int | None:
        found = _TIME.fullmatch(node.text) if isinstance(node, Scalar) else None
        if found is None:
            self._reader.refuse(node, path, 'must be a time of the day from "00:00" to "23:59"')
            return None
        return 60 * int(found[1]) + int(found[2])


def is_time_zone(name: str) -> bool:
    """Return whether a text is the IANA name of a time zone that this machine knows."""
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError):  # unknown, a folder, no path below the database
        return False
    return True
