"""Weights from moments, and inputs of layers: against minimisers by SciPy, exact line searches, and their bounds."""

import array_api_strict as strict
import numpy as np
import pytest
import scipy.optimize

from dask_newton.arrays import to_host
from dask_newton.solvers.layerwise.inputs import exact_inputs, gain, gradient_inputs
from dask_newton.solvers.layerwise.weights import (
    LayerPenalty,
    Moments,
    exact_bias,
    gradient_weights,
    proximal_weights,
)

N, IN, OUT, K = 50, 6, 4, 0.3
RNG = np.random.default_rng(0)
P1 = np.c_[RNG.normal(size=(N, IN)), np.ones(N)]
T, S = RNG.normal(size=(N, OUT)), RNG.uniform(0.5, 2.0, N)
V = RNG.normal(size=(IN + 1, OUT))
MOMENTS = Moments(P1.T @ (S[:, None] * P1), P1.T @ (S[:, None] * T))
ZERO = np.zeros((IN + 1, OUT))
FREE = np.vstack([np.ones((IN, OUT)), np.zeros((1, OUT))])
PENALTIES = {
    "none": LayerPenalty(ZERO, ZERO),
    "l2": LayerPenalty(0.7 * FREE, ZERO),
    "biases too": LayerPenalty(ZERO + 0.7, ZERO),
    "by entry": LayerPenalty(RNG.uniform(size=ZERO.shape), ZERO),
    "l1": LayerPenalty(ZERO, 2.0 * FREE),
    "all": LayerPenalty(RNG.uniform(size=ZERO.shape), RNG.uniform(0, 3, ZERO.shape)),
}
each_penalty = pytest.mark.parametrize("penalty", PENALTIES.values(), ids=PENALTIES)


def value(V, penalty):
    fit = K / 2 * np.sum(S[:, None] * (P1 @ V - T) ** 2)
    return fit + np.sum(penalty.ridge * V**2) / 2 + np.sum(penalty.lasso * np.abs(V))


def subgradient(V, gradient, penalty):
    """Return the subgradient of smallest size, given the gradient of the smooth part but for the ridge."""
    g = gradient + penalty.ridge * V
    at_zero = np.sign(g) * np.maximum(np.abs(g) - penalty.lasso, 0)
    return np.where(V == 0, at_zero, g + penalty.lasso * np.sign(V))


@each_penalty
@pytest.mark.parametrize("kappa", [0.1, 1e-3])
def test_proximal_weights_are_optimal(penalty, kappa):
    new = proximal_weights(MOMENTS, V, K, kappa, penalty)
    m = kappa * K * np.trace(MOMENTS.S) / (IN + 1)
    gradient = K * (MOMENTS.S @ new - MOMENTS.C) + m * (new - V)
    exact = not penalty.lasso.any() and not np.ptp(penalty.ridge, axis=1).any()
    size = np.abs(K * MOMENTS.C).max()
    assert np.abs(subgradient(new, gradient, penalty)).max() <= (1e-13 if exact else 1e-2) * size
    assert value(new, penalty) + m / 2 * np.sum((new - V) ** 2) < value(V, penalty)


@each_penalty
@pytest.mark.parametrize("first", [None, 10.0])
def test_gradient_weights_descend_as_much_as_their_step_size_says(penalty, first):
    new = gradient_weights(MOMENTS, V, K, penalty, first)
    np.testing.assert_array_equal(new[-1], V[-1])
    D, smooth = (new - V)[:-1], not penalty.lasso.any()
    G = (K * (MOMENTS.S @ V - MOMENTS.C) + penalty.ridge * V)[:-1]
    assert value(new, penalty) < value(V, penalty)
    if not smooth:
        return
    theta = np.linalg.norm(G, axis=0) / np.linalg.norm(D, axis=0)
    np.testing.assert_allclose(D, -G / theta, atol=1e-14)
    if first is None:  # the exact line search of each unit: theta norm(d)^2 / 2 is the decrease
        decrease = value(V, penalty) - value(new, penalty)
        assert decrease == pytest.approx(np.sum(theta * np.sum(D**2, axis=0)) / 2, rel=1e-10)
        along = np.sum((K * MOMENTS.S[:-1, :-1] @ D + penalty.ridge[:-1] * D) * D, axis=0)
        np.testing.assert_allclose(theta, along / np.sum(D**2, axis=0), rtol=1e-12)
    else:
        assert np.ptp(theta) <= 1e-12 * theta[0]
        assert np.log2(theta[0] / 10) == pytest.approx(round(np.log2(theta[0] / 10)))


def test_weights_that_are_best_stay():
    V = np.linalg.solve(MOMENTS.S, MOMENTS.C)
    np.testing.assert_allclose(gradient_weights(MOMENTS, V, K, PENALTIES["none"]), V, atol=1e-12)
    moments = Moments(np.diag([4.0, 9.0]), np.array([[8.0], [0.0]]))
    best, none = np.array([[2.0], [0.0]]), LayerPenalty(np.zeros((2, 1)), np.zeros((2, 1)))
    np.testing.assert_array_equal(gradient_weights(moments, best, K, none), best)  # no gradient at all


@each_penalty
def test_biases_are_exact(penalty):
    new = exact_bias(MOMENTS, V, K, penalty)
    np.testing.assert_array_equal(new[:-1], V[:-1])
    for j in range(OUT):

        def of(b, j=j):
            moved = new.copy()
            moved[-1, j] = b
            return value(moved, penalty)

        best = scipy.optimize.minimize_scalar(of, bracket=(-3, 3), tol=1e-12).x
        assert new[-1, j] == pytest.approx(best, abs=1e-6)


def inputs(n_out):
    rng = np.random.default_rng(1)
    W, b = rng.normal(size=(IN, n_out)), rng.normal(size=n_out)
    return W, b, rng.normal(size=(N, IN)), rng.normal(size=(N, IN)), rng.normal(size=(N, n_out))


@pytest.mark.parametrize("n_out", [3, 6, 11])
@pytest.mark.parametrize("r", [1e-3, 2.0])
def test_exact_inputs_have_no_gradient(n_out, r):
    W, b, P, V, T = inputs(n_out)
    P = exact_inputs(V, T, W, b, gain(W, K, r))
    np.testing.assert_allclose(K * (P @ W + b - T) @ W.T + r * (P - V), 0, atol=1e-12)


@pytest.mark.parametrize("first", [None, 0.1, 10.0])
def test_gradient_inputs_are_an_exact_line_search_of_every_row(first):
    W, b, P, V, T = inputs(5)
    P[0] = V[0] = 0  # a row without gradient stays where it is
    T[0] = b
    new = gradient_inputs(P, P @ W + b, V, T, W, K, 0.2, first)
    G, D = K * (P @ W + b - T) @ W.T + 0.2 * (P - V), new - P
    np.testing.assert_array_equal(D[0], 0)
    tau = np.linalg.norm(G[1:], axis=1) / np.linalg.norm(D[1:], axis=1)
    exact = 0.2 + K * np.sum((G[1:] @ W) ** 2, axis=1) / np.sum(G[1:] ** 2, axis=1)
    if first is None:
        np.testing.assert_allclose(tau, exact, rtol=1e-12)
    else:
        assert np.all(tau >= exact * (1 - 1e-12)) and np.all(tau <= np.maximum(first, 2 * exact) * (1 + 1e-12))
        np.testing.assert_allclose(np.log2(tau / first), np.round(np.log2(tau / first)), atol=1e-9)
    np.testing.assert_allclose(D[1:], -G[1:] / tau[:, None], atol=1e-13)


def test_any_array_type_and_device_gives_the_same_numbers():
    W, b, P, V, T = inputs(5)
    B, device = gain(W, K, 0.2), strict.Device("device1")
    here = (W, b, P, V, T, B, P @ W + b)
    W2, b2, P2, V2, T2, B2, M2 = (strict.asarray(a, device=device) for a in here)
    np.testing.assert_allclose(to_host(exact_inputs(V2, T2, W2, b2, B2)), exact_inputs(V, T, W, b, B), rtol=1e-12)
    for first in (None, 0.1):
        found = gradient_inputs(P2, M2, V2, T2, W2, K, 0.2, first)
        assert found.device == device
        np.testing.assert_allclose(to_host(found), gradient_inputs(P, here[-1], V, T, W, K, 0.2, first), rtol=1e-12)
