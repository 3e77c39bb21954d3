"""The demo retailer's catalogue: the same YAML files that a marketer would write."""

import pyarrow as pa
import yaml

from instanter.cli.demo.world import CATEGORIES, KEY_COLUMN, World

_SHOP_YAML = """\
# Where offers can appear, in which currency they are worth something, and who is kept out.
currency: EUR
channels:
  web: [home_hero, basket]
  mobile: [home]
  store: [till]
holdout:
  rate: 0.05
  salt: spring
attributes:
  - {name: basket_value, kind: number, source: context, unit: EUR, range: [0, 100000],
     owner: web shop, purpose: offers, description: Worth of the basket at this moment.}
  - {name: device, kind: category, source: context, values: [desktop, phone, tablet, till],
     owner: web shop, purpose: offers, description: What the customer looks at.}
"""


_REGIONS = (
    "['north', 'east', 'south', 'west']",
    "['north_east', 'south_east', 'south', 'west']",
    "['north_west', 'east', 'south', 'west']",
    "['north', 'south_west', 'south', 'west']",
)


def make_catalogue(world: World) -> dict[str, str]:
    """Return the catalogue's files, path to text."""
    return {
        "attributes.yaml": yaml.safe_dump(
            {"attributes": _attributes(world.table)}, sort_keys=False
        ),
        "offers.yaml": yaml.safe_dump({"offers": _offers(world)}, sort_keys=False),
        "shop.yaml": _SHOP_YAML,
    }


def _attributes(table: pa.Table) -> list[dict[str, object]]:
    """Declare one attribute a column."""
    declared: list[dict[str, object]] = []
    for field in table.schema:
        if field.name == KEY_COLUMN:
            continue
        entry: dict[str, object] = {"name": field.name, "kind": _kind(field.type)}
        if pa.types.is_string(field.type):
            entry["values"] = sorted(table.column(field.name).unique().to_pylist())
        entry |= {"owner": "marketing", "purpose": "offers", "sensitivity": "personal"}
        declared.append(entry)
    return declared


def _kind(column_type: pa.DataType) -> str:
    """Return the attribute kind of a column type of the demo's table."""
    if pa.types.is_string(column_type):
        return "category"
    if pa.types.is_boolean(column_type):
        return "flag"
    return "instant" if pa.types.is_timestamp(column_type) else "number"


def _offers(world: World) -> list[dict[str, object]]:
    """Declare the 200 offers, each with rules that a shop would write."""
    declared: list[dict[str, object]] = []
    for at, offer in enumerate(world.offers):
        category = CATEGORIES[offer.category]
        declared.append(
            {
                "name": offer.name,
                "title": f"{offer.discount} % off {category.replace('_', ' ')}",
                "issue": "growth" if offer.discount < 20 else "retention",
                "group": category,
                "stock_keeping_unit": f"SKU-{offer.category:03d}",
                "value_minor": offer.value_minor,
                "lever": 1.0,
                "prior_propensity": 0.05,
                "treatments": [
                    {"channel": "web", "content": f"banner/{offer.name}"},
                    {"channel": "mobile", "content": f"card/{offer.name}"},
                    {"channel": "store", "placements": ["till"], "content": f"coupon/{offer.name}"},
                ],
                "eligibility": (
                    f"profile.age >= {18 + at % 5} && profile.complaints_365d < 3 && "
                    f"profile.region in {_REGIONS[at % 4]} || profile.member"
                ),
                "applicability": (
                    f"!has(profile.{category}_days_since) || profile.{category}_days_since > 3"
                ),
                "context_weights": [
                    {
                        "when": "has(context.basket_value) && context.basket_value > 80",
                        "weight": 1.2,
                    }
                ],
            }
        )
    return declared
