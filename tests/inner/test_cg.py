"""Conjugate gradients: exact in d steps, useful after any number of them, honest about what went wrong."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from systems import Counted, system

from dask_newton.inner import CG, preconditioners
from dask_newton.inner.preconditioners import Factor


@pytest.mark.parametrize("n_distinct", [1, 2, 5])
def test_as_many_steps_as_distinct_eigenvalues(n_distinct):
    Q, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(30, 30)))
    A = (Q * np.resize(np.linspace(1, 3, n_distinct), 30)) @ Q.T
    # Five steps at condition 3 leave rounding errors of about n eps = 1e-14 in the residual.
    found = CG(rtol=1e-10, max_iter=100).solve(lambda v: A @ v, np.ones(30))
    assert (found.status, found.n_iter) == ("ok", n_distinct)


def test_iterations_are_products():
    A, b = system()
    counted = Counted(A)
    assert CG(1e-6, 100).solve(counted, b).n_iter == counted.count


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6))
def test_every_truncated_iterate_is_a_direction_of_descent(seed):
    """<x, b> > 0, the quadratic falls and norm(x) grows with every iteration, however few are done."""
    A, b = system(seed=seed)
    last, size = 0.0, 0.0
    for k in range(1, 12):
        found = CG(rtol=1e-14, max_iter=k).solve(lambda v: A @ v, b)
        assert (found.status, found.n_iter) == ("max_iter", k)
        value = 0.5 * found.x @ A @ found.x - b @ found.x
        assert found.x @ b > 0
        assert value < last
        assert np.linalg.norm(found.x) > size
        last, size = value, np.linalg.norm(found.x)


def test_curvature_lies_between_the_extreme_eigenvalues():
    A, b = system()
    found = CG(1e-12, 100).solve(lambda v: A @ v, b)
    assert 0.01 * (1 - 1e-9) <= found.curvature <= b @ A @ b / (b @ b) * (1 + 1e-12)


def test_no_tolerance_at_all_ends_well():
    """Down to where squares of residuals underflow."""
    A, b = system(6, condition=2.0)
    found = CG(rtol=0.0, max_iter=2000).solve(lambda v: A @ v, b)
    np.testing.assert_allclose(found.x, np.linalg.solve(A, b), rtol=1e-13)
    assert found.status in ("ok", "max_iter")


@pytest.mark.parametrize(
    "A", [-np.eye(4), np.zeros((4, 4)), np.diag([1.0, -1.0, 0.0, 0.0])], ids=["negative", "zero", "mixed"]
)
def test_negative_curvature_at_once_gives_the_right_side(A):
    b = np.array([1.0, 2.0, 3.0, 4.0])
    found = CG().solve(lambda v: A @ v, b)
    assert (found.status, found.n_iter) == ("npc", 1)
    np.testing.assert_array_equal(found.x, b)
    assert found.curvature == pytest.approx(b @ A @ b / (b @ b))


def test_negative_curvature_later_gives_the_last_iterate():
    A, b = np.diag([5.0, 3.0, -0.1]), np.array([1.0, 1.0, 0.3])
    found = CG(rtol=1e-12).solve(lambda v: A @ v, b)
    assert found.status == "npc"
    before = CG(rtol=1e-12, max_iter=found.n_iter - 1).solve(lambda v: A @ v, b)
    assert found.n_iter > 1
    np.testing.assert_array_equal(found.x, before.x)
    assert found.x @ b > 0
    assert found.curvature < 0


def test_a_small_positive_curvature_is_no_negative_one():
    """Ten orders of magnitude are an ill-conditioned matrix, not an indefinite one."""
    A = np.diag([1.0, 1e-10])
    found = CG(rtol=1e-12).solve(lambda v: A @ v, np.ones(2))
    assert found.status == "ok"
    np.testing.assert_allclose(found.x, [1.0, 1e10], rtol=1e-4)


@pytest.mark.parametrize("at", [1, 3])
def test_nan_gives_the_last_good_iterate(at):
    A, b = system()
    found = CG(rtol=1e-12).solve(Counted(A, nan_at=at), b)
    assert (found.status, found.n_iter) == ("nan", at)
    good = b if at == 1 else CG(rtol=1e-12, max_iter=at - 1).solve(lambda v: A @ v, b).x
    np.testing.assert_array_equal(found.x, good)


def test_float32_stays_float32():
    A, b = system()
    A, b = A.astype("float32"), b.astype("float32")
    found = CG(rtol=1e-4, max_iter=100).solve(lambda v: A @ v, b)
    assert found.x.dtype == np.float32
    assert found.status == "ok"


# Preconditioners: for right sides of shape (q, K)


def badly_scaled(q=20, K=3, seed=2):
    """Return a matrix, the same for every output, over features in units 1 to 1e3, and a right side (q, K)."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(200, q)) * np.geomspace(1, 1e3, q)
    block = X.T @ X / 200
    return block, rng.normal(size=(q, K)) * np.geomspace(1, 1e3, q)[:, None]


def test_preconditioners_change_the_iterations_and_not_the_solution():
    block, b = badly_scaled()
    exact = np.linalg.solve(block, b)
    diagonal = np.repeat(np.diag(block)[:, None], 3, axis=1)
    whole = np.kron(block, np.eye(3))  # rows as b.ravel()
    maps = {
        "none": None,
        "jacobi": preconditioners.jacobi(diagonal),
        "shared": preconditioners.shared(Factor.of(block)),
        "outputs": preconditioners.outputs([Factor.of(block)] * 3),
        "joint": preconditioners.joint(Factor.of(whole)),
    }
    found = {}
    for name, preconditioner in maps.items():
        found[name] = CG(rtol=1e-10, max_iter=2000).solve(lambda v: block @ v, b, preconditioner)
        assert found[name].status == "ok"
        scaled = np.diag(block)[:, None] ** 0.5  # the error in the units of the features
        np.testing.assert_allclose(found[name].x * scaled, exact * scaled, atol=1e-4 * np.abs(exact * scaled).max())
    assert found["jacobi"].n_iter < found["none"].n_iter / 2
    # With the inverse itself one step would do; rounding (a shift of 1e-12) may ask for another.
    assert max(found[name].n_iter for name in ("shared", "outputs", "joint")) <= 2


def test_factor_inverts_and_is_symmetric():
    block, b = badly_scaled()
    factor = Factor.of(block, ridge=0.5)
    exact = np.linalg.solve(block + 0.5 * np.eye(20), b)
    np.testing.assert_allclose(factor.solve(b), exact, rtol=1e-7)
    np.testing.assert_allclose(factor.solve(b[:, 0]), exact[:, 0], rtol=1e-7)
    u, v = np.random.default_rng(3).normal(size=(2, 20))
    assert u @ factor.solve(v) == pytest.approx(v @ factor.solve(u), rel=1e-10)
    assert u @ factor.solve(u) > 0


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_factor_of_a_singular_matrix_is_positive_definite(dtype):
    """A constant column, twice the same column: both happen in data."""
    X = np.random.default_rng(4).normal(size=(50, 5))
    X[:, 1], X[:, 3] = 0.0, X[:, 2]
    factor = Factor.of((X.T @ X / 50).astype(dtype))
    for r in np.eye(5):
        solved = factor.solve(r)
        assert np.all(np.isfinite(solved))
        assert r @ solved > 0


def test_factor_takes_a_better_diagonal():
    """Where a sample has seen nothing, the diagonal given counts."""
    matrix = np.diag([1.0, 0.0])
    factor = Factor.of(matrix, 0.5, np.array([0.2, 4.0]))
    np.testing.assert_allclose(factor.solve(np.ones(2)), [1 / 1.5, 1 / 4.5], rtol=1e-9)
