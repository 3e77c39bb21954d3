"""The benchmark's stock: sites and units, one policy with everything in it, one of a single line.

Units of the category `watched` have nothing but a reorder point, so that each of their movements
raises or clears one alert, no more and no less. All others have the policy that asks for most:
lead time and service level, tiers of cover, plunge.
"""

from collections.abc import Iterator
from itertools import product

import numpy as np
import yaml

from bench.stock.sizes import Sizes
from instanter.v1 import stock_service_pb2 as messages

RECORD_METHOD = "/instanter.v1.StockService/RecordStockMovements"
WATCH_METHOD = "/instanter.v1.StockService/WatchStockAlerts"
REGIONS = 10
DISTRIBUTOR = "everything"

_REORDER_POINT = 10
_HIGH, _STEP = 15, 10
"""A sale of a step from high leads below the reorder point; a receipt of it clears the alert."""

_POLICIES = f"""\
    - {{categories: [watched], reorder_point: {_REORDER_POINT}, hysteresis: 0.2}}
    - {{lead_time: 5d, service_level: 0.95, order_up_to: 2000000, negative: allowed,
       cover: [{{days: 7, severity: warning}}, {{days: 2, severity: critical}}],
       plunge: {{false_alarms_per_day: 0.001, severity: serious}}}}
"""


def make_files(sizes: Sizes) -> dict[str, str]:
    """Return the catalogue's file with the stock, path to YAML text."""
    stock = {
        "stock": {
            "sites": {
                name_site(at): {"region": f"r{at % REGIONS}", "time_zone": "Europe/Berlin"}
                for at in range(sizes.sites)
            },
            "units": {
                **{name_watched(at): "watched" for at in range(sizes.watched_units)},
                **{name_unit(at): f"c{at % 20}" for at in range(sizes.units)},
            },
            "grants": {DISTRIBUTOR: {"regions": sorted({f"r{at % REGIONS}"
                                                        for at in range(sizes.sites)})}},
        }
    }  # fmt: skip
    return {"stock.yaml": yaml.safe_dump(stock, sort_keys=False) + f"  policies:\n{_POLICIES}"}


def name_site(number: int) -> str:
    """Return the name of a site."""
    return f"s{number:04d}"


def name_unit(number: int) -> str:
    """Return the name of a unit under the policy with everything in it."""
    return f"u{number:05d}"


def name_watched(number: int) -> str:
    """Return the name of a unit whose every movement raises or clears an alert."""
    return f"w{number:05d}"


def make_opening(sizes: Sizes) -> Iterator[messages.RecordStockMovementsRequest]:
    """Yield the requests that fill every position."""
    movements = [
        _fill(site, name_watched(at), _HIGH)
        for site, at in product(range(sizes.sites), range(sizes.watched_units))
    ]
    movements += [
        _fill(site, name_unit(at), 1_000_000)
        for site, at in product(range(sizes.sites), range(sizes.units))
    ]
    for first in range(0, len(movements), 1000):
        yield messages.RecordStockMovementsRequest(movements=movements[first : first + 1000])


def _fill(site: int, unit: str, units: int) -> messages.StockMovement:
    return messages.StockMovement(
        movement_id=f"opening/{site}/{unit}",
        site=f"sites/{name_site(site)}",
        stock_keeping_unit=unit,
        kind=messages.STOCK_MOVEMENT_KIND_RECEIPT,
        units=units,
    )


class AlertingMovements:
    """Movements each of which raises or clears exactly one alert, in an endless order.

    Parameters
    ----------
    sizes
        Of the world.
    first
        How many of the order have been recorded before.
    """

    def __init__(self, sizes: Sizes, first: int = 0) -> None:
        self._sites, self._units = sizes.sites, sizes.watched_units
        self._next = first

    def make(self) -> messages.StockMovement:
        """Return the next one."""
        at = self._next
        self._next += 1
        position = at % (self._sites * self._units)
        sells = at // (self._sites * self._units) % 2 == 0
        return messages.StockMovement(
            movement_id=f"alerting/{at}",
            site=f"sites/{name_site(position % self._sites)}",
            stock_keeping_unit=name_watched(position // self._sites),
            kind=messages.STOCK_MOVEMENT_KIND_SALE
            if sells
            else messages.STOCK_MOVEMENT_KIND_RECEIPT,
            units=_STEP,
        )


def make_sales(draw: np.random.Generator, sizes: Sizes, count: int) -> bytes:
    """Return an encoded request of `count` sales of one or a few units, positions at random."""
    request = messages.RecordStockMovementsRequest()
    for site, unit, units in zip(
        draw.integers(0, sizes.sites, count).tolist(),
        draw.integers(0, sizes.units, count).tolist(),
        draw.geometric(0.6, count).tolist(),
        strict=True,
    ):
        request.movements.add(
            movement_id=draw.bytes(16).hex(),
            site=f"sites/{name_site(site)}",
            stock_keeping_unit=name_unit(unit),
            kind=messages.STOCK_MOVEMENT_KIND_SALE,
            units=units,
        )
    return request.SerializeToString()
