"""The l1-penalised quadratic model: its optimality condition, its zeros, its limits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dask_newton.local.lasso import quadratic_l1


def model(seed, q=15, units=1.0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(60, q)) * np.geomspace(1, units, q)
    M = X.T @ X / 60 + 1e-3 * np.diag(np.geomspace(1, units, q) ** 2)
    scale = np.sqrt(np.diag(M))
    g, w = rng.normal(size=q) * scale, rng.normal(size=q) / scale * (rng.random(q) < 0.5)
    t = 0.5 * scale * (rng.random(q) < 0.9)  # some entries are not penalised
    return M, g, w, t, scale


def violation(u, M, g, w, t, scale):
    """Return how far u is from the optimality condition, in variables of unit curvature."""
    gradient = (g + M @ (u - w)) / scale
    v, t = u * scale, t / scale
    shrunk = np.sign(v - gradient) * np.maximum(np.abs(v - gradient) - t, 0)
    return np.max(np.abs(v - shrunk))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), units=st.sampled_from([1.0, 1e4]), rtol=st.sampled_from([0.1, 1e-6]))
def test_optimality_condition_falls_as_asked(seed, units, rtol):
    M, g, w, t, scale = model(seed, units=units)
    u = quadratic_l1(M, g, w, t, rtol=rtol, max_iter=20_000)
    # The working set is taken to be right at twice the tolerance.
    assert violation(u, M, g, w, t, scale) <= 2 * rtol * violation(w, M, g, w, t, scale) * (1 + 1e-6)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_zeros_are_exact_and_those_of_the_optimum(dtype):
    M, g, w, t, scale = model(3)
    u = quadratic_l1(M.astype(dtype), g, w, t, rtol=1e-5, max_iter=20_000)
    exact = quadratic_l1(M, g, w, t, rtol=1e-12, max_iter=100_000)
    np.testing.assert_array_equal(u != 0, exact != 0)
    assert 0 < np.count_nonzero(exact) < len(exact)
    np.testing.assert_allclose(u * scale, exact * scale, atol=1e-3)


def test_without_l1_it_is_the_newton_step():
    M, g, w, t, scale = model(4)
    u = quadratic_l1(M, g, w, 0 * t, rtol=1e-10, max_iter=100_000)
    np.testing.assert_allclose(u * scale, (w - np.linalg.solve(M, g)) * scale, rtol=1e-6, atol=1e-8)


def test_a_strong_penalty_leaves_nothing():
    M, g, _, t, scale = model(5)
    np.testing.assert_array_equal(quadratic_l1(M, g, np.zeros(15), 1e3 * scale), 0)


def test_the_optimum_stays():
    M, g, w, t, _ = model(6)
    u = quadratic_l1(M, g, w, t, rtol=1e-13, max_iter=100_000)
    again = quadratic_l1(M, g + M @ (u - w), u, t)
    np.testing.assert_allclose(again, u, atol=1e-10)
