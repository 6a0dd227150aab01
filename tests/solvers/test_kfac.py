"""K-FAC: the factors, the direction, the length of the step, what it costs, and how few passes learn digits."""

import dataclasses

import array_api_strict as strict
import numpy as np
import pytest
import scipy.sparse
from networks import blobs, digits, error, network
from sklearn.exceptions import ConvergenceWarning

from dask_newton import minimize
from dask_newton.objectives.network.objective import NetworkObjective
from dask_newton.solvers import KFAC, Status, UnsupportedError
from dask_newton.solvers.network.kfac import _direction

WEIGHT = np.random.default_rng(1).uniform(0.5, 2, size=60) * (np.arange(60) % 7 > 0)


def on_device(a):
    return strict.asarray(a, device=strict.Device("device1"))


def dense_factors(F, theta, X, y, s):
    """Return the factors of a network of two layers and hyperbolic tangents, by their definition."""
    (W, b), (V, c) = F.layers.of(theta)
    H = np.tanh(X @ W + b)
    P = np.exp(H @ V + c)
    D2 = P / P.sum(axis=1, keepdims=True) - np.eye(P.shape[1])[y.astype(int)]
    D1 = (D2 @ V.T) * (1 - H**2)
    inputs = [np.column_stack([A, np.ones(len(A))]) for A in (X, H)]
    return [((A.T * s) @ A / s.sum(), (D.T * s) @ D / s.sum()) for A, D in zip(inputs, (D1, D2), strict=True)]


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("kind", [np.asarray, scipy.sparse.csr_array, on_device])
def test_factors_are_weighted_means_of_outer_products(kind, keep):
    X, y = blobs()
    F = network((X, y), m=3, weight=WEIGHT)
    move = kind if kind is on_device else np.asarray
    parts = [
        dataclasses.replace(part, X=kind(part.X), y=move(part.y), weight=move(part.weight)) for part in F.data.parts
    ]
    F = dataclasses.replace(F, data=F.blocks.place(parts), keep=keep)
    assert isinstance(F, NetworkObjective)
    point, factors = F.at_with_factors(F.null)
    expected = F.at(F.null)
    assert point.value == pytest.approx(expected.value, rel=1e-14)
    np.testing.assert_allclose(point.gradient, expected.gradient, atol=1e-14)
    V = np.random.default_rng(0).normal(size=(F.size, 2))
    products = [F.gauss_newton_mul(expected, V[:, [j]]) for j in (0, 1)]
    np.testing.assert_allclose(F.gauss_newton_mul(point, V), np.concatenate(products, axis=1), atol=1e-14)
    for pair, known in zip(factors, dense_factors(F, F.null, X, y, WEIGHT), strict=True):
        for factor, matrix in zip(pair, known, strict=True):
            np.testing.assert_allclose(factor, matrix, atol=1e-14)


def test_the_direction_solves_with_the_kronecker_product():
    F, lam = network(blobs(), ridge=1e-2), 0.3
    point, factors = F.at_with_factors(F.null)
    direction, gamma = _direction(F, point.gradient, factors, lam), np.sqrt(lam + 1e-2)
    layers = zip(F.layers.of(point.gradient), F.layers.of(direction), factors, strict=True)
    for (G, g), (V, v), (A, D) in layers:
        pi = np.sqrt((np.trace(A) / len(A)) / (np.trace(D) / len(D)))
        whole = np.kron(A + pi * gamma * np.eye(len(A)), D + gamma / pi * np.eye(len(D)))
        np.testing.assert_allclose(whole @ np.vstack([V, v]).ravel(), -np.vstack([G, g]).ravel(), atol=1e-14)


def test_the_step_is_the_best_of_its_plane():
    """The gradient of the damped model is orthogonal to the direction and to the last step."""
    F, solver = network(blobs(), m=2), KFAC(damping=0.5)
    state = solver.init(F, F.null)
    for k in range(4):
        new, info = solver.step(F, state)
        step, g = new.W - state.W, state.point.gradient
        assert info.step_size == 1.0 and info.inner_iterations == 1 + (k > 0)
        Gs = F.gauss_newton_mul(state.point, step)
        rest = g + Gs + state.damping * step
        plane = [_direction(F, g, state.factors, state.damping)] + ([state.previous] if k else [])
        for v in plane:
            assert abs(np.vdot(rest, v)) < 1e-10 * np.linalg.norm(g) * np.linalg.norm(v)
        model = np.vdot(g, step) + 0.5 * np.vdot(step, Gs)
        assert info.extra["ratio"] == pytest.approx((new.value - state.value) / model, rel=1e-6)
        state = new


@pytest.mark.parametrize(
    "options",
    [
        {"hidden": (40, 15)},
        {"hidden": (100,), "activation": "relu", "initialisation": "he"},
    ],
    ids=["deep", "wide"],
)
def test_digits_are_learnt_in_few_passes(options):
    """To an error of 0.02 gn-cg needs about a hundred, and Adam on mini-batches more."""
    F = network(digits(), m=4, ridge=1e-4, **options)
    result = minimize(
        F, KFAC(), tol=0.0, max_iter=8, callbacks=[lambda row, state: error(F, state.W, digits()) <= 0.02]
    )
    assert result.status is Status.STOPPED
    assert result.history[-1]["passes"] <= 15
    assert np.all(np.diff([r["objective"] for r in result.history]) < 0)


def test_local_minima_are_reached():
    result = minimize(network(blobs()), KFAC(), tol=1e-5, max_iter=400)
    assert result.converged
    values = np.array([r["objective"] for r in result.history])
    assert np.all(np.diff(values) <= 4 * np.finfo(float).eps * values[:-1])  # what the line search takes for equal


def test_iterates_do_not_depend_on_blocks():
    ends = []
    for m in (1, 4, 16):
        F = network(blobs(), m=m)
        state = KFAC().init(F, F.null)
        for _ in range(6):
            state, _ = KFAC().step(F, state)
        ends.append(state)
    for end in ends[1:]:
        np.testing.assert_allclose(end.W, ends[0].W, atol=1e-9)


def test_an_iteration_is_two_passes():
    F = network(blobs(), m=3)  # 4, 5 and 3 units
    with pytest.warns(ConvergenceWarning):
        history = minimize(F, KFAC(), tol=0.0, max_iter=3).history
    for count, expected in (("passes", 2), ("rounds", 4), ("epochs", 2)):
        assert list(np.diff([r[count] for r in history])) == [expected] * 3
    P, triangles = F.size, 5 * 6 // 2 + 5 * 6 // 2 + 6 * 7 // 2 + 3 * 4 // 2
    up = np.diff([r["bytes_up"] for r in history]) / (3 * 8)
    np.testing.assert_array_equal(up, [P + P + 1 + triangles, 2 * P + P + 1 + triangles, 2 * P + P + 1 + triangles])


def test_steps_that_do_not_descend_raise_the_damping_until_the_run_ends():
    """A gradient of the wrong sign: no step decreases F."""
    F = network(blobs())
    solver = KFAC(max_failures=3, damping=1e-6)
    state = solver.init(F, F.null)
    state = dataclasses.replace(state, point=dataclasses.replace(state.point, gradient=-state.point.gradient))
    for k in range(3):
        assert state.status is Status.RUNNING
        state, info = solver.step(F, state)
        assert info.note == "no step"
        assert state.damping == 1e-6 * 2 ** (k + 1)
        np.testing.assert_array_equal(state.W, F.null)
    assert state.status is Status.LINE_SEARCH_FAILED


@pytest.mark.parametrize(
    "options", [{"damping": 0.0}, {"damping": np.inf}, {"damping_rule": "none"}, {"max_failures": 0}], ids=str
)
def test_bad_options_are_refused(options):
    ((name, value),) = options.items()
    with pytest.raises(UnsupportedError, match=f"'kfac' got {name}={value}; it must be"):
        minimize(network(blobs()), KFAC(**options))
