"""The penalised quadratic model: its optimality condition, its zeros, its limits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dask_newton.inner.penalised_model import minimize_by_products, minimize_model
from dask_newton.penalties import Norms

FAMILIES = ("l1", "groups", "groups across blocks")


def model(seed, q=15, units=1.0, family="l1"):
    """Return parts of M, gradient, point and norms, with units of the groups that differ by a factor ``units``."""
    rng = np.random.default_rng(seed)
    labels = None if family == "l1" else np.arange(q) % 5 if family == "groups across blocks" else np.arange(q) // 3
    size = np.geomspace(1, units, q if labels is None else 5)
    size = size if labels is None else size[labels]
    X = rng.normal(size=(60, q)) * size
    M = X.T @ X / 60 + 1e-3 * np.diag(size**2)
    parts = [(np.arange(q), M)]
    if family == "groups across blocks":
        halves = np.array_split(rng.permutation(q), 2)
        parts = [(half, M[np.ix_(half, half)]) for half in halves]
    g, w = rng.normal(size=q) * size, rng.normal(size=q) / size * (rng.random(q) < 0.5)
    free = rng.random(q) < 0.1 if labels is None else labels == 4  # some entries are not penalised
    norms = Norms(np.where(free, 0.0, (0.5 if labels is None else 2.5) * size), labels)
    return parts, g, w, norms


def dense(parts, n):
    M = np.zeros((n, n))
    for index, block in parts:
        M[np.ix_(index, index)] = block
    return M


def violation(u, parts, g, w, norms):
    """Return how far u is from the optimality condition, in variables of unit curvature."""
    M = dense(parts, len(g))
    scale = np.sqrt(norms.largest(np.diagonal(M)))
    v, gradient = u * scale, (g + M @ (u - w)) / scale
    return np.max(np.abs(v - norms.scaled(1 / scale).prox(v - gradient, 1.0)))


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), units=st.sampled_from([1.0, 1e4]), rtol=st.sampled_from([0.1, 1e-6, 1e-12]))
def test_optimality_condition_falls_as_asked(family, seed, units, rtol):
    parts, g, w, norms = model(seed, units=units, family=family)
    u = minimize_model(parts, g, w, norms, rtol=rtol, max_iter=20_000)
    before = violation(w, parts, g, w, norms)
    # The working set is taken to be right at twice the tolerance, and rounding is relative to the gradient.
    assert violation(u, parts, g, w, norms) <= 2 * rtol * before * (1 + 1e-6) + 1e-14 * before


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_zeros_are_exact_and_those_of_the_optimum(dtype, family):
    parts, g, w, norms = model(3, family=family)
    single = [(index, block.astype(dtype)) for index, block in parts]
    u = minimize_model(single, g, w, norms, rtol=1e-5, max_iter=20_000)
    exact = minimize_model(parts, g, w, norms, rtol=1e-12, max_iter=100_000)
    np.testing.assert_array_equal(u != 0, exact != 0)
    assert 0 < np.count_nonzero(exact) < len(exact)
    np.testing.assert_allclose(u, exact, atol=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_without_a_penalty_it_is_the_newton_step(family):
    parts, g, w, norms = model(4, family=family)
    u = minimize_model(parts, g, w, norms.scaled(0.0), rtol=1e-10, max_iter=100)
    np.testing.assert_allclose(u, w - np.linalg.solve(dense(parts, len(g)), g), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_strong_penalty_leaves_nothing_but_what_is_free(family):
    parts, g, w, norms = model(5, family=family)
    u = minimize_model(parts, g, 0 * w, norms.scaled(1e3))
    np.testing.assert_array_equal(u != 0, norms.free)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_optimum_stays(family):
    parts, g, w, norms = model(6, family=family)
    u = minimize_model(parts, g, w, norms, rtol=1e-13, max_iter=100_000)
    again = minimize_model(parts, g + dense(parts, len(g)) @ (u - w), u, norms)
    np.testing.assert_allclose(again, u, atol=1e-10)


def test_an_ill_conditioned_model_is_solved_by_newton_steps_on_the_support():
    """FISTA alone would need some 1e5 iterations here."""
    rng = np.random.default_rng(0)
    Q, _ = np.linalg.qr(rng.normal(size=(40, 40)))
    M = (Q * np.geomspace(1e-8, 1, 40)) @ Q.T
    w = rng.normal(size=40)
    g, norms = M @ rng.normal(size=40), Norms(np.full(40, 1e-3))
    u = minimize_model([(np.arange(40), M)], g, w, norms, rtol=1e-9, max_iter=500)
    parts = [(np.arange(40), M)]
    assert violation(u, parts, g, w, norms) <= 2e-9 * violation(w, parts, g, w, norms)


@pytest.mark.parametrize("condition", [1e-4, 1e-6, 1e-8])
def test_an_ill_conditioned_model_is_solved_by_conjugate_gradients_on_the_support(condition):
    """FISTA alone leaves a violation of 5e-9 at best after so many products."""
    rng = np.random.default_rng(0)
    Q, _ = np.linalg.qr(rng.normal(size=(40, 40)))
    M = (Q * np.geomspace(condition, 1, 40)) @ Q.T
    w = rng.normal(size=40)
    g, norms = M @ rng.normal(size=40), Norms(np.full(40, 1e-3))
    products = []

    def product(d):
        products.append(1)
        return M @ d

    u = minimize_by_products(product, np.diagonal(M), g, w, norms, rtol=1e-9, max_iter=1000)
    assert len(products) <= 1100
    parts = [(np.arange(40), M)]
    assert violation(u, parts, g, w, norms) <= 1e-9 * violation(w, parts, g, w, norms)


@pytest.mark.parametrize("family", FAMILIES)
def test_products_alone_give_the_same(family):
    parts, g, w, norms = model(7, family=family)
    M = dense(parts, len(g))
    u = minimize_by_products(lambda d: M @ d, np.diagonal(M), g, w, norms, rtol=1e-9, max_iter=5000)
    exact = minimize_model(parts, g, w, norms, rtol=1e-12, max_iter=100_000)
    np.testing.assert_allclose(u, exact, atol=1e-7)
    np.testing.assert_array_equal(u != 0, exact != 0)
