"""LSMR and CG on the square of a matrix: damped solutions of systems that need not have one without."""

import numpy as np
import pytest
import scipy.sparse.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from systems import singular, spectrum

from dask_newton.inner import CG, LSMR, SquaredCG


def damped(A, damping):
    return A @ A + damping**2 * np.eye(len(A))


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6))
def test_lsmr_equals_the_direct_solution(seed):
    A, b, _ = singular(seed)
    found = LSMR(rtol=1e-12, max_iter=500, damping=0.1).solve(lambda v: A @ v, b)
    assert found.status == "ok"
    exact = np.linalg.solve(damped(A, 0.1), A @ b)
    np.testing.assert_allclose(found.x, exact, atol=1e-9 * np.linalg.norm(exact))


@pytest.mark.parametrize("damping", [0.0, 0.3])
def test_lsmr_has_the_iterates_of_scipy(damping):
    A, b, _ = singular()
    for k in (1, 2, 5, 12):
        found = LSMR(rtol=0.0, max_iter=k, damping=damping).solve(lambda v: A @ v, b)
        theirs = scipy.sparse.linalg.lsmr(A, b, damp=damping, atol=0, btol=0, conlim=0, maxiter=k)[0]
        assert (found.n_iter, found.n_products) == (k, 2 * k + 1)
        np.testing.assert_allclose(found.x, theirs, rtol=1e-10)


@pytest.mark.parametrize("rtol", [0.3, 1e-2, 1e-4])
@pytest.mark.parametrize("damping", [0.0, 1e-6, 0.1])
def test_lsmr_stops_as_soon_as_the_normal_equations_are_solved(rtol, damping):
    """Condition (4a): the residual of least squares stays large here, so that it could not say when."""
    A, b, _ = singular()

    def ratio(x):
        return np.linalg.norm(A @ (A @ x - b) + damping**2 * x) / np.linalg.norm(A @ b)

    found = LSMR(rtol, 500, damping).solve(lambda v: A @ v, b)
    assert found.status == "ok"
    assert found.relative_residual == pytest.approx(ratio(found.x), rel=1e-6)
    assert ratio(found.x) <= rtol * (1 + 1e-6)
    assert ratio(LSMR(0.0, found.n_iter - 1, damping).solve(lambda v: A @ v, b).x) > rtol
    assert np.linalg.norm(A @ found.x - b) > 0.1 * np.linalg.norm(b)


def test_lsmr_without_damping_finds_the_pseudo_inverse():
    A, b, x = singular()
    found = LSMR(1e-12, 500).solve(lambda v: A @ v, b)
    np.testing.assert_allclose(found.x, x, atol=1e-9 * np.linalg.norm(x))


def test_lsmr_with_hardly_any_damping():
    """Entries in null(A) are known to rounding over damping^2 only."""
    A, b, x = singular()
    found = LSMR(1e-10, 500, 1e-6).solve(lambda v: A @ v, b)
    np.testing.assert_allclose(found.x, x, atol=1e-2 * np.linalg.norm(x))


def test_lsmr_knows_a_right_side_in_the_null_space():
    found = LSMR(damping=0.1).solve(lambda v: np.zeros(3), np.ones(3))
    assert found.status == "zero"
    np.testing.assert_array_equal(found.x, 0)


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6))
def test_the_square_is_never_indefinite(seed):
    A, b, _ = singular(seed)
    found = SquaredCG(CG(1e-12, 500), 0.1).solve(lambda v: A @ v, b)
    assert (found.status, found.n_products) == ("ok", 2 * found.n_iter)
    assert found.curvature >= 0.01
    exact = np.linalg.solve(damped(A, 0.1), b)
    np.testing.assert_allclose(found.x, exact, atol=1e-9 * np.linalg.norm(exact))


@pytest.mark.parametrize("k", [1, 2, 5])
def test_truncated_solutions_of_the_square_descend(k):
    A, b = spectrum(np.linspace(-1, 2, 20))
    assert SquaredCG(CG(0.0, k), 1e-6).solve(lambda v: A @ v, b).x @ b > 0
