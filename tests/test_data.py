"""The shipped flight delays are what their README says."""

import numpy as np
import pytest

from wlrmf.data import load_nyc_delays


@pytest.fixture(scope="module")
def flights():
    return load_nyc_delays()


def test_shapes_and_types(flights):
    assert flights.delay.shape == flights.n_flights.shape == (223, 365)
    assert flights.routes.shape == (223,)
    assert flights.dates.shape == (365,)
    assert flights.delay.dtype == np.float64
    assert flights.n_flights.dtype == np.int64
    assert flights.routes.dtype.kind == "U"


def test_missing_cells_are_those_without_a_flight(flights):
    missing = np.isnan(flights.delay)
    assert missing.sum() == 18_259
    assert round(100 * missing.mean(), 1) == 22.4
    np.testing.assert_array_equal(missing, flights.n_flights == 0)


def test_totals(flights):
    assert flights.n_flights.sum() == 327_346
    assert flights.n_flights.max() == 34
    minutes = np.nan_to_num(flights.delay) * flights.n_flights
    # Whole minutes survive the rounding of their mean to float32.
    np.testing.assert_allclose(minutes, np.rint(minutes), rtol=0, atol=1e-3)
    assert np.rint(minutes).sum() == 2_257_174


def test_names_are_sorted_and_unique(flights):
    assert flights.routes[0] == "EWR-ALB"
    assert (flights.routes[1:] > flights.routes[:-1]).all()
    assert flights.dates[0] == np.datetime64("2013-01-01")
    assert (np.diff(flights.dates) == np.timedelta64(1, "D")).all()


def test_each_call_returns_new_writable_arrays(flights):
    again = load_nyc_delays()
    again.delay[:] = 0
    assert np.isnan(flights.delay).any()
