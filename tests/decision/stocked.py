"""A small shop some of whose offers are tied to stock."""

import numpy as np

from instanter.store.stock_shelves import Shelf, update_shelf
from tests.decision.worlds import FILES

STOCK = """
attributes:
  - {name: store, kind: category, source: context, values: [berlin, bonn, mars]}
  - {name: home, kind: category, values: [berlin, bonn, mars]}
  - {name: near, kind: category, values: [bonn, berlin]}
stock:
  sites: {berlin: {region: east}, bonn: {region: west}}
  units: {BEAN: coffee, LEAF: tea, CUP: }
  offers:
    site: context.store
    reachable: [profile.home, profile.near]
    low_cover: [{days: 0, factor: 0.2}, {days: 10, factor: 1}]
"""

STOCKED = {
    "shop.yaml": FILES["shop.yaml"].replace("rate: 0.1", "rate: 0"),
    "offers.yaml": FILES["offers.yaml"]
    .replace("name: any", "name: any\n    stock_keeping_unit: BEAN")
    .replace("name: adult", "name: adult\n    stock_keeping_unit: LEAF")
    .replace("name: gold", "name: gold\n    stock_keeping_unit: BEAN"),
    "stock.yaml": STOCK,
}
"""`any` and `gold` need BEAN, `adult` needs LEAF; the others need nothing."""


def put_on_shelf(store, catalogue, site, **units):
    """Say what a site has: name to available and days of cover."""
    plan = catalogue.stock
    codes = [plan.units[plan.unit_index[name]].code for name in units]
    shelf = Shelf(
        np.array(codes, np.uint32),
        np.array([available for available, _ in units.values()], np.int64),
        np.array([cover for _, cover in units.values()], np.float32),
    )
    store.write(lambda transaction: update_shelf(transaction, site, shelf))
