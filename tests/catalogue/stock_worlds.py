"""A catalogue with everything that a stock section can say."""

from tests.catalogue.worlds import SHOP

STOCK = """\
stock:
  period: week
  sites:
    berlin-1: {region: east, time_zone: Europe/Berlin}
    bonn: {region: west}
    online:
  units:
    BEAN: coffee
    LEAF: {category: tea, title: Green tea}
    "CUP 0.2": {}
  policies:
    - name: coffee
      categories: [coffee]
      regions: [east, west]
      lead_time: 5d
      lead_time_sd: 1d
      service_level: 0.95
      order_up_to: 100
      minimum: 2
      maximum: 500
      cover: [{days: 2, severity: critical}, {days: 7, severity: warning}]
      plunge: {false_alarms_per_day: 0.001, severity: critical}
      severities: {overstock: none, stock_out: serious}
      count_tolerance: {units: 5, share: 0.05}
      hysteresis: 0.1
      escalate_after: 1h
      transfer_from: same_region
    - {units: [BEAN], reorder_point: 20, order_units: 10, negative: allowed,
       transfer_from: [online]}
  purchases:
    purchase: {unit: sku, units: quantity, site: store, movement_id: line, returns: back}
    order: {unit: sku, site_is: online}
  offers:
    site: context.store
    reachable: [profile.home, near]
    low_cover: [{days: 0, factor: 0.2}, {days: 7, factor: 1.0}]
  grants:
    eastern: {regions: [east]}
    roaster: {sites: [online], regions: [west], units: [LEAF], categories: [coffee]}
    all: {everything: true}
  alerts: {retention: 2d, heartbeat: 5s}
"""

AROUND = """\
attributes:
  - {name: store, kind: category, source: context, values: [bonn, berlin-1, mars]}
  - {name: home, kind: category, values: [berlin-1, bonn]}
  - {name: near, kind: category, values: [online]}
  - {name: age, kind: number}
events:
  - name: purchase
    fields:
      - {name: sku, kind: category, values: [LEAF, BEAN, GONE]}
      - {name: quantity, kind: number}
      - {name: store, kind: category, values: [berlin-1, bonn]}
      - {name: line, kind: number}
      - {name: back, kind: flag}
  - name: order
    fields: [{name: sku, kind: category, values: [BEAN]}]
offers:
  - {name: beans, value_minor: 5, stock_keeping_unit: BEAN, treatments: [{channel: web}]}
  - {name: club, value_minor: 5, treatments: [{channel: web}]}
  - {name: moon, value_minor: 5, stock_keeping_unit: ROCK, treatments: [{channel: web}]}
"""

STOCK_FILES = {"shop.yaml": SHOP, "around.yaml": AROUND, "stock.yaml": STOCK}
