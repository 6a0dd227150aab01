"""Forward and backward tracking, against its definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dask_newton.inner.tracking import track

ARMIJO = 1e-4


def tracked(f, slope, start, max_halvings=50):
    """Return the step size, and those that were tried."""
    tried = []

    def evaluate(steps):
        tried.extend(steps)
        return np.array([f(a) for a in steps])

    return track(evaluate, f(0.0), slope, start, armijo=ARMIJO, max_halvings=max_halvings), tried


def by_definition(f, slope, a):
    def acceptable(a):
        return f(a) <= f(0.0) + ARMIJO * a * slope

    if acceptable(a):
        while 2 * a <= 1e10 and acceptable(2 * a) and f(2 * a) < f(a):
            a *= 2
        return a
    while not acceptable(a):
        a /= 2
    return a


@settings(max_examples=100)
@given(bottom=st.floats(1e-6, 1e6), start=st.floats(1e-3, 1e3))
def test_steps_are_those_of_the_definition(bottom, start):
    """Of a valley whose bottom may be anywhere."""

    def f(a):
        return (a / bottom - 1) ** 2

    slope = -2 / bottom
    a, _ = tracked(f, slope, start)
    assert a == by_definition(f, slope, start)
    assert f(a) < f(0.0)


def test_a_fall_without_end_stops_at_the_cap():
    a, _ = tracked(lambda a: -a, -1.0, 1.0)
    assert a == 2.0**33 <= 1e10 < 2.0**34


def test_it_looks_no_further_than_the_first_step_that_is_worse():
    a, tried = tracked(lambda a: (a - 1) ** 2, -2.0, 1.0)
    assert (a, tried) == (1.0, [1.0, 2.0, 4.0, 8.0])


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_values_that_are_no_numbers_are_rejected(value):
    a, _ = tracked(lambda a: -a if a < 0.1 else value, -1.0, 1.0)
    assert a == 2.0**-4


@pytest.mark.parametrize("halvings", [1, 12, 30])
def test_without_an_acceptable_step_there_is_none(halvings):
    a, tried = tracked(lambda a: a, -1.0, 1.0, halvings)
    assert a == 0
    assert min(tried) == 2.0**-halvings
