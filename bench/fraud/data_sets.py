"""The two data sets of simulated card transactions, as files that a replay takes."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench.learning import data_folder

_HANDBOOK = "fraud_handbook/transactions_2018-06-11_2018-08-14.parquet"
_SYNCCFD = "fraud_geo_synccfd_a"
_EARTH_RADIUS_KM = 6371.0088


@dataclass(frozen=True, slots=True, eq=False)
class Synccfd:
    """Run A of the simulator synccfd.

    Attributes
    ----------
    table
        As it is, with two columns more: `HOME_KM` from the card's home to the terminal,
        `SHIPPING_KM` from there to where it is sent, missing for what is not sent.
    times_ms, cards, terminals
        int64[N]: milliseconds since 1970, ids.
    present, frauds
        bool[N].
    terminal_places
        float64[terminals, 2]: latitude and longitude by id.
    """

    table: pa.Table
    times_ms: NDArray[np.int64]
    cards: NDArray[np.int64]
    terminals: NDArray[np.int64]
    present: NDArray[np.bool_]
    frauds: NDArray[np.bool_]
    terminal_places: NDArray[np.float64]


def find_handbook() -> Path | None:
    """Return the file of the handbook's transactions, or None when it is not there."""
    path = data_folder() / _HANDBOOK
    return path if path.exists() else None


def find_synccfd() -> Path | None:
    """Return the folder of run A, or None when it is not there."""
    path = data_folder() / _SYNCCFD
    return path if path.exists() else None


@cache
def read_synccfd() -> Synccfd:
    """Read run A, and measure its distances."""
    folder = find_synccfd()
    assert folder is not None, "the caller has looked"
    table = pq.read_table(folder / "transactions.parquet")
    homes = _read_places(folder / "customers.parquet", "CUSTOMER_ID", "billing")
    places = _read_places(folder / "terminals.parquet", "TERMINAL_ID", "terminal")
    cards, terminals, frauds = (
        table[name].to_numpy().astype(np.int64)
        for name in ("CUSTOMER_ID", "TERMINAL_ID", "TX_FRAUD")
    )
    shipped = np.stack(
        [table[name].to_numpy().astype(np.float64) for name in ("TX_SHIPP_LAT", "TX_SHIPP_LONG")],
        axis=1,
    )
    for name, there in (("HOME_KM", places[terminals]), ("SHIPPING_KM", shipped)):
        distance = _measure(homes[cards], there)
        table = table.append_column(name, pa.array(distance, mask=np.isnan(distance)))
    times = table["TX_DATETIME"].to_numpy().astype("datetime64[ms]").astype(np.int64)
    present = np.array(table["TX_TYPE"].to_pylist()) == "CP"
    return Synccfd(table, times, cards, terminals, present, frauds == 1, places)


def _read_places(path: Path, key: str, prefix: str) -> NDArray[np.float64]:
    """Return float64[ids, 2]: places by id."""
    table = pq.read_table(path, columns=[key, f"{prefix}_lat", f"{prefix}_long"])
    ids = table[key].to_numpy().astype(np.int64)
    places = np.full((int(ids.max()) + 1, 2), np.nan)
    for at, name in enumerate((f"{prefix}_lat", f"{prefix}_long")):
        places[ids, at] = table[name].to_numpy()
    return places


def _measure(here: NDArray[np.float64], there: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return great-circle distances in km, NaN where a place is missing."""
    (a, b), (c, d) = np.radians(here).T, np.radians(there).T
    h = np.sin((c - a) / 2) ** 2 + np.cos(a) * np.cos(c) * np.sin((d - b) / 2) ** 2
    distance: NDArray[np.float64] = 2 * _EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.clip(h, 0, 1)))
    return distance
