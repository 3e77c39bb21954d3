"""What a stock section is tied to, as it stands in files: events of purchases, and offers."""

from dataclasses import dataclass
from typing import Final

from instanter import stock_limits
from instanter.catalogue.stock import CoverPoint
from instanter.catalogue.stock_names import StockNames
from instanter.catalogue.yaml_reader import NumberRange, Reader
from instanter.catalogue.yaml_tree import Node, Scalar

_PURCHASE_KEYS: Final = ("unit", "units", "site", "site_is", "movement_id", "returns")
_FIELD_KEYS: Final = ("unit", "units", "site", "movement_id", "returns")
_OFFER_KEYS: Final = ("site", "reachable", "site_is", "low_cover", "unknown")
_POINT_KEYS: Final = ("days", "factor")
_UNKNOWN: Final = {"withhold": True, "offer": False}
_DAYS: Final = NumberRange(0.0, stock_limits.STOCK_COVER_DAYS_MAX)
_FACTORS: Final = NumberRange(0.0, 1.0)


@dataclass(frozen=True, slots=True)
class DeclaredPurchase:
    """How a movement follows from an event; its fields are not known to exist yet.

    Attributes
    ----------
    event
        Name of the event kind.
    field
        Its path, for example `stock.purchases/purchase`.
    fields
        Key to the name of the event's field that it names.
    fixed_site
        Name of the site of all events; empty when a field says it.
    """

    event: Scalar
    field: str
    fields: dict[str, Scalar]
    fixed_site: str


@dataclass(frozen=True, slots=True)
class DeclaredStockedOffers:
    """How stock tells on offers; its attributes are not known to exist yet.

    Attributes
    ----------
    site
        The context attribute, as `context.site`; None without one.
    reachable
        The attributes of the profile, as `profile.home_store`.
    fixed_site
        Name of the site of whoever has none of these; empty without.
    low_cover, withhold_unknown
        As in `catalogue/stock.StockedOffers`.
    """

    site: Scalar | None
    reachable: tuple[Scalar, ...]
    fixed_site: str
    low_cover: tuple[CoverPoint, ...]
    withhold_unknown: bool


def read_purchase(
    reader: Reader, names: StockNames, event: Scalar, node: Node, field: str
) -> DeclaredPurchase | None:
    """Return one entry of `purchases:`, or None when it is no mapping.

    Parameters
    ----------
    reader, names
        Read values and names of the section.
    event, node, field
        Name, value and path of the entry.
    """
    entries = reader.read_mapping(node, field, _PURCHASE_KEYS, ("unit",))
    if entries is None:
        return None
    fields: dict[str, Scalar] = {}
    for key in _FIELD_KEYS:
        named = entries.get(key)
        if named is not None and reader.read_text(named, f"{field}.{key}") is not None:
            assert isinstance(named, Scalar), "texts are scalars"
            fields[key] = named
    if ("site" in entries) == ("site_is" in entries):
        message = "say either site, the event's field that names it, or site_is, a declared site"
        reader.refuse(node, f"{field}.site", message)
    fixed = None
    if "site_is" in entries:
        fixed = names.read_one(entries["site_is"], f"{field}.site_is", "sites")
    return DeclaredPurchase(event, field, fields, fixed or "")


def read_stocked_offers(
    reader: Reader, names: StockNames, node: Node
) -> DeclaredStockedOffers | None:
    """Return `offers:`, or None when it is no mapping.

    Parameters
    ----------
    reader, names, node
        As for `read_purchase`.
    """
    field = "stock.offers"
    entries = reader.read_mapping(node, field, _OFFER_KEYS)
    if entries is None:
        return None
    site = entries.get("site")
    if site is not None and reader.read_text(site, f"{field}.site") is None:
        site = None
    reachable: list[Scalar] = []
    if "reachable" in entries:
        path = f"{field}.reachable"
        for item in reader.read_list(entries["reachable"], path, stock_limits.STOCK_REACHABLE_MAX):
            if reader.read_text(item, path) is not None:
                assert isinstance(item, Scalar), "texts are scalars"
                reachable.append(item)
    fixed = unknown = None
    if "site_is" in entries:
        fixed = names.read_one(entries["site_is"], f"{field}.site_is", "sites")
    if not {"site", "reachable", "site_is"} & entries.keys():
        message = "says of no site; name the request's attribute, `site: context.site`, those of "
        message += "the profile, `reachable: [profile.home_site]`, or one site, `site_is: online`"
        reader.refuse(node, field, message)
    if "unknown" in entries:
        unknown = reader.read_choice(entries["unknown"], f"{field}.unknown", _UNKNOWN)
    return DeclaredStockedOffers(
        site=site if isinstance(site, Scalar) else None,
        reachable=tuple(reachable),
        fixed_site=fixed or "",
        low_cover=_read_curve(reader, entries.get("low_cover"), f"{field}.low_cover"),
        withhold_unknown=unknown is not False,
    )


def _read_curve(reader: Reader, node: Node | None, field: str) -> tuple[CoverPoint, ...]:
    """Return the points of a curve, their days rising and their factors not falling."""
    if node is None:
        return ()
    points: list[CoverPoint] = []
    for index, item in enumerate(
        reader.read_list(node, field, stock_limits.STOCK_CURVE_POINTS_MAX)
    ):
        path = f"{field}[{index}]"
        entries = reader.read_mapping(item, path, _POINT_KEYS, _POINT_KEYS) or {}
        if not entries.keys() >= set(_POINT_KEYS):
            continue
        days = reader.read_number(entries["days"], f"{path}.days", _DAYS)
        factor = reader.read_number(entries["factor"], f"{path}.factor", _FACTORS)
        if days is None or factor is None:
            continue
        if points and days <= points[-1].days:
            message = f"must be more days than the point before, {points[-1].days:g}"
            reader.refuse(entries["days"], f"{path}.days", message)
        elif points and factor < points[-1].factor:
            message = f"must not be below the point before, {points[-1].factor:g}: less cover must "
            reader.refuse(entries["factor"], f"{path}.factor", f"{message}not raise a priority")
        else:
            points.append(CoverPoint(days, factor))
    return tuple(points)
