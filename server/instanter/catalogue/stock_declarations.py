"""Reads the `stock:` of a catalogue: sites, units, grants and settings here, the rest beside."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from instanter import stock_limits
from instanter.catalogue.contact_policy_declarations import is_time_zone
from instanter.catalogue.stock import DemandPeriod, StockPolicy
from instanter.catalogue.stock_names import PLACE_KEYS, StockNames
from instanter.catalogue.stock_policy_declarations import StockPolicyReader
from instanter.catalogue.stock_uses import (
    DeclaredPurchase,
    DeclaredStockedOffers,
    read_purchase,
    read_stocked_offers,
)
from instanter.catalogue.yaml_reader import Reader, is_null
from instanter.catalogue.yaml_tree import Mapping as YamlMapping
from instanter.catalogue.yaml_tree import Node, Scalar
from instanter.limits import EVENT_AGE_NS_MAX

_LISTS: Final = ("sites", "units", "purchases", "grants")
_ONCE: Final = ("period", "policies", "offers", "alerts", "clock")
_SITE_KEYS: Final = ("region", "time_zone")
_UNIT_KEYS: Final = ("category", "title")
_GRANT_KEYS: Final = (*PLACE_KEYS, "everything")
_ALERT_KEYS: Final = ("retention", "heartbeat")
_PERIODS: Final = {period.name.lower(): period for period in DemandPeriod}
_ZONE_DEFAULT: Final = "UTC"
_RETENTION_S_DEFAULT: Final = 7 * 86_400
_HEARTBEAT_S_DEFAULT: Final = 10
_BEHIND_S_DEFAULT: Final = EVENT_AGE_NS_MAX // 1_000_000_000


@dataclass(frozen=True, slots=True)
class DeclaredSite:
    """A site as one file declares it; what it says stands in `catalogue/stock.Site`."""

    name: str
    region: str
    time_zone: str


@dataclass(frozen=True, slots=True)
class DeclaredUnit:
    """A unit as one file declares it; what it says stands in `catalogue/stock.StockUnit`."""

    name: str
    category: str
    title: str


@dataclass(frozen=True, slots=True)
class DeclaredGrant:
    """A grant as one file declares it; all four empty cover everything."""

    distributor: str
    sites: tuple[str, ...]
    regions: tuple[str, ...]
    units: tuple[str, ...]
    categories: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DeclaredStock:
    """What all files say of the stock side.

    Attributes
    ----------
    node
        Where it first stands.
    sites, units
        In the byte order of their names.
    period, policies, retention_s, heartbeat_s, behind_max_s
        As in `catalogue/stock.StockPlan`; the last policy matches everything.
    purchases, grants
        In the order of files and lines.
    offers
        None when stock does not tell on offers.
    """

    node: Node
    sites: tuple[DeclaredSite, ...]
    units: tuple[DeclaredUnit, ...]
    period: DemandPeriod
    policies: tuple[StockPolicy, ...]
    purchases: tuple[DeclaredPurchase, ...]
    grants: tuple[DeclaredGrant, ...]
    offers: DeclaredStockedOffers | None
    retention_s: int
    heartbeat_s: int
    behind_max_s: int


class StockReader:
    """Reads the `stock:` of all files together.

    Parameters
    ----------
    reader
        Reads values and records problems.
    """

    __slots__ = ("_lists", "_once", "_reader")

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._lists: dict[str, list[Node]] = {key: [] for key in _LISTS}
        self._once: dict[str, Node] = {}

    def read(self, sections: list[Node]) -> DeclaredStock | None:
        """Return what the sections say together, or None without any."""
        if not sections:
            return None
        reader = self._reader
        for section in sections:
            self._sort(section)
        sites = sorted(self._read_sites(), key=lambda site: site.name.encode())
        units = sorted(self._read_units(), key=lambda unit: unit.name.encode())
        for key, found in (("sites", sites), ("units", units)):
            if not found and not self._lists[key]:
                message = f"is missing: a stock section declares its {key}"
                reader.refuse(sections[0], f"stock.{key}", message)
        names = StockNames(
            reader,
            {
                "sites": {site.name for site in sites},
                "regions": {site.region for site in sites} - {""},
                "units": {unit.name for unit in units},
                "categories": {unit.category for unit in units} - {""},
            },
        )
        period = None
        if "period" in self._once:
            period = reader.read_choice(self._once["period"], "stock.period", _PERIODS)
        retention_s, heartbeat_s = self._read_alerts(self._once.get("alerts"))
        purchases = self._walk("purchases", stock_limits.STOCK_PURCHASES_MAX)
        offers = self._once.get("offers")
        return DeclaredStock(
            node=sections[0],
            sites=tuple(sites),
            units=tuple(units),
            period=period or DemandPeriod.DAY,
            policies=StockPolicyReader(reader, names).read(self._once.get("policies")),
            purchases=tuple(
                purchase
                for name, node, field in purchases
                if (purchase := read_purchase(reader, names, name, node, field))
            ),
            grants=tuple(self._read_grants(names)),
            offers=read_stocked_offers(reader, names, offers) if offers else None,
            retention_s=retention_s,
            heartbeat_s=heartbeat_s,
            behind_max_s=self._read_clock(self._once.get("clock")),
        )

    def _sort(self, section: Node) -> None:
        """Put each key of one file's section where it belongs."""
        reader = self._reader
        for key, node in (reader.read_mapping(section, "stock", (*_LISTS, *_ONCE)) or {}).items():
            if key in self._lists:
                self._lists[key].append(node)
            elif key in self._once:
                first = self._once[key]
                message = f"is said already in {first.file}:{first.line}; say it once"
                reader.refuse(node, f"stock.{key}", message)
            else:
                self._once[key] = node

    def _walk(self, key: str, count_max: int) -> Iterator[tuple[Scalar, Node, str]]:
        """Yield name, value and path of each entry of one list in all files."""
        reader = self._reader
        places: dict[str, str] = {}
        for section in self._lists[key]:
            if not isinstance(section, YamlMapping):
                reader.refuse(section, f"stock.{key}", "must be a mapping: `name: …` lines")
                continue
            for name, node in section.entries.items():
                line = section.key_lines[name]
                scalar = Scalar(section.file, line, 0, name, "'")
                field = f"stock.{key}/{name[:100]}"
                if name in places:
                    reader.refuse(scalar, field, f"is declared already in {places[name]}")
                    continue
                if len(places) == count_max:
                    reader.refuse(scalar, field, f"is one too many; at most {count_max:,}")
                    return
                places[name] = f"{section.file}:{line}"
                yield scalar, node, field

    def _read_sites(self) -> Iterator[DeclaredSite]:
        reader = self._reader
        for name, node, field in self._walk("sites", stock_limits.STOCK_SITES_MAX):
            reader.read_label(name, field)
            entries: dict[str, Node] = {}
            if not is_null(node):
                entries = reader.read_mapping(node, field, _SITE_KEYS) or {}
            region, zone = None, _ZONE_DEFAULT
            if "region" in entries:
                region = reader.read_label(entries["region"], f"{field}.region")
            if "time_zone" in entries:
                zone = self._read_zone(entries["time_zone"], f"{field}.time_zone")
            yield DeclaredSite(name.text, region or "", zone)

    def _read_zone(self, node: Node, field: str) -> str:
        text = self._reader.read_text(node, field)
        if text is not None and not is_time_zone(text):
            message = "must be an IANA name of a time zone, Europe/Berlin for example"
            self._reader.refuse(node, field, message)
            return _ZONE_DEFAULT
        return text or _ZONE_DEFAULT

    def _read_units(self) -> Iterator[DeclaredUnit]:
        reader = self._reader
        for name, node, field in self._walk("units", stock_limits.STOCK_UNITS_MAX):
            self._check_unit_name(name, field)
            category = title = None
            if isinstance(node, YamlMapping):
                entries = reader.read_mapping(node, field, _UNIT_KEYS) or {}
                if "category" in entries:
                    category = reader.read_label(entries["category"], f"{field}.category")
                if "title" in entries:
                    title = reader.read_text(entries["title"], f"{field}.title")
            elif not is_null(node):
                category = reader.read_label(node, field)
            yield DeclaredUnit(name.text, category or "", title or name.text)

    def _check_unit_name(self, name: Scalar, field: str) -> None:
        size_max = stock_limits.STOCK_KEEPING_UNIT_SIZE_MAX
        text = name.text
        if not 1 <= len(text) <= size_max or not (text.isascii() and text.isprintable()):
            message = f"a stock-keeping unit is 1 to {size_max} printable ASCII characters"
            self._reader.refuse(name, field, message)
        elif "/" in text or text != text.strip():
            message = "a stock-keeping unit has no / and no blanks at its ends"
            self._reader.refuse(name, field, message, text.replace("/", "-").strip())

    def _read_grants(self, names: StockNames) -> Iterator[DeclaredGrant]:
        reader = self._reader
        for name, node, field in self._walk("grants", stock_limits.STOCK_GRANTS_MAX):
            reader.read_label(name, field)
            entries = reader.read_mapping(node, field, _GRANT_KEYS)
            if entries is None:
                continue
            parts = entries.keys() & set(PLACE_KEYS)
            if "everything" in entries:
                path = f"{field}.everything"
                if reader.read_flag(entries["everything"], path) is False or parts:
                    message = "must be true and stand alone, or be left out"
                    reader.refuse(entries["everything"], path, message)
            elif not parts:
                message = "covers nothing; name sites, regions, units or categories, or say "
                reader.refuse(node, field, f"{message}`everything: true`")
            yield DeclaredGrant(name.text, *(names.read(entries, field, key) for key in PLACE_KEYS))

    def _read_alerts(self, node: Node | None) -> tuple[int, int]:
        """Return retention and heartbeat in seconds."""
        retention_s: int | None = None
        heartbeat_s: int | None = None
        entries = self._reader.read_mapping(node, "stock.alerts", _ALERT_KEYS) if node else None
        for key, seconds_node in (entries or {}).items():
            field = f"stock.alerts.{key}"
            if key == "retention":
                high_s = stock_limits.STOCK_ALERT_RETENTION_S_MAX
                retention_s = self._reader.read_duration_s(seconds_node, field, 60, high_s)
            else:
                high_s = stock_limits.STOCK_HEARTBEAT_S_MAX
                heartbeat_s = self._reader.read_duration_s(seconds_node, field, 1, high_s)
        return retention_s or _RETENTION_S_DEFAULT, heartbeat_s or _HEARTBEAT_S_DEFAULT

    def _read_clock(self, node: Node | None) -> int:
        """Return how late a movement may come, in seconds."""
        entries = node and self._reader.read_mapping(node, "stock.clock", ("behind_max",))
        if not entries:
            return _BEHIND_S_DEFAULT
        found = self._reader.read_duration_s(
            entries["behind_max"],
            "stock.clock.behind_max",
            60,
            stock_limits.STOCK_CLOCK_BEHIND_S_MAX,
        )
        return found or _BEHIND_S_DEFAULT
