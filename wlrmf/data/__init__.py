"""Real data that comes with the package."""

from __future__ import annotations

from importlib import resources
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["FlightDelays", "load_nyc_delays"]


class FlightDelays(NamedTuple):
    """Arrival delays of the flights that left New York City in 2013.

    Attributes
    ----------
    delay : ndarray of float64, shape (223, 365)
        Mean arrival delay in minutes, a row a route and a column a day; NaN where no flight
        arrived.
    n_flights : ndarray of int64, shape (223, 365)
        Number of flights behind each mean: the natural `weights` of its squared error.
    routes : ndarray of str, shape (223,)
        Origin and destination, such as "EWR-ATL".
    dates : ndarray of datetime64[D], shape (365,)
        Day of departure.
    """

    delay: NDArray[np.float64]
    n_flights: NDArray[np.int64]
    routes: NDArray[np.str_]
    dates: NDArray[np.datetime64]


def load_nyc_delays() -> FlightDelays:
    """Load the mean arrival delays of 223 routes on 365 days.

    22.4 % of the cells had no flight. The data are in the public domain (CC0); `README.md` beside
    the file says how it was built.

    Returns
    -------
    FlightDelays
        A named tuple ``(delay, n_flights, routes, dates)`` of new arrays.

    Examples
    --------
    >>> from wlrmf.data import load_nyc_delays
    >>> load_nyc_delays().delay.shape
    (223, 365)
    """
    file = resources.files(__name__).joinpath("nyc_delays_2013.npz")
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
        return FlightDelays(
            delay=arrays["mean_arr_delay"].astype(np.float64),
            n_flights=arrays["n_flights"].astype(np.int64),
            routes=arrays["route"],
            dates=arrays["date"],
        )
