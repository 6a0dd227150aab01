"""MINRES: the identities it relies on, negative curvature, and the pseudo-inverse where A is singular."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from systems import singular, spectrum, system

from dask_newton.inner import MINRES

ALL = MINRES(rtol=1e-12, max_iter=1000, detect_npc=False)


def solve(A, b, **options):
    return MINRES(**options).solve(lambda v: A @ v, b)


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6))
def test_without_negative_curvature_iterates_and_residuals_descend(seed):
    """<x, b> >= <x, A x> > 0, <r, b> = norm(r)^2, norm(x) grows and norm(r) falls, however few iterations are done."""
    A, b = system(condition=10.0, seed=seed)  # further on Lanczos vectors lose their orthogonality
    size, rest = 0.0, np.linalg.norm(b)
    for k in range(1, 8):
        found = solve(A, b, rtol=0.0, max_iter=k)
        assert (found.status, found.n_iter) == ("max_iter", k)
        x, r = found.x, b - A @ found.x
        assert x @ b >= x @ A @ x * (1 - 1e-10) > 0
        assert r @ b == pytest.approx(r @ r, rel=1e-8)
        assert found.relative_residual == pytest.approx(np.linalg.norm(r) / np.linalg.norm(b), rel=1e-8)
        assert np.linalg.norm(x) > size
        assert np.linalg.norm(r) < rest
        size, rest = np.linalg.norm(x), np.linalg.norm(r)


@pytest.mark.parametrize("k", [1, 4, 8])
def test_iterates_minimise_the_residual_over_the_krylov_space(k):
    A, b = spectrum(np.linspace(-2, 3, 15))
    found = solve(A, b, rtol=0.0, max_iter=k, detect_npc=False)
    basis = np.column_stack([np.linalg.matrix_power(A, j) @ b for j in range(k)])
    best = basis @ np.linalg.lstsq(A @ basis, b, rcond=None)[0]
    np.testing.assert_allclose(found.x, best, rtol=1e-6)


@pytest.mark.parametrize("rtol", [0.3, 1e-2, 1e-4, 1e-8])
def test_it_stops_as_soon_as_the_inexactness_condition_holds(rtol):
    """norm(A r) <= eta norm(A x), recomputed; not yet so an iteration earlier."""
    A, b = system(30)
    found = solve(A, b, rtol=rtol)
    assert found.status == "ok"

    def ratio(x):
        return np.linalg.norm(A @ (b - A @ x)) / np.linalg.norm(A @ x)

    # The product of the last iteration has told that the iterate before was good enough.
    assert ratio(found.x) <= rtol * (1 + 1e-6)
    np.testing.assert_array_equal(found.x, solve(A, b, rtol=0.0, max_iter=found.n_iter - 1).x)
    if found.n_iter > 2:
        assert ratio(solve(A, b, rtol=0.0, max_iter=found.n_iter - 2).x) > rtol


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), negative=st.integers(1, 10))
def test_negative_curvature_is_found(seed, negative):
    A, b = spectrum(np.concatenate([-np.linspace(0.1, 2, negative), np.linspace(0.5, 4, 20 - negative)]), seed)
    found = solve(A, b, rtol=1e-10)
    assert found.status == "npc"
    assert found.npc_direction
    r = found.x
    curvature = r @ A @ r / (r @ r)
    assert curvature <= 1e-10
    assert found.curvature == pytest.approx(curvature, abs=1e-10)
    assert r @ b == pytest.approx(r @ r, rel=1e-8)
    # It is the residual of the last iterate, the first that has no positive curvature.
    before = b - A @ solve(A, b, rtol=0.0, max_iter=found.n_iter - 1).x if found.n_iter > 1 else b
    np.testing.assert_allclose(r, before, atol=1e-10)


@pytest.mark.parametrize(
    "A", [-np.eye(4), np.zeros((4, 4)), np.diag([1.0, -1.0, 0.0, 0.0])], ids=["negative", "zero", "mixed"]
)
def test_negative_curvature_at_once_gives_the_right_side(A):
    b = np.array([1.0, 2.0, 3.0, 4.0])
    found = solve(A, b)
    assert (found.status, found.n_iter) == ("npc", 1)
    np.testing.assert_array_equal(found.x, b)
    assert found.curvature == pytest.approx(b @ A @ b / (b @ b))


def test_a_positive_definite_matrix_has_none():
    A, b = system(20, condition=1e5)
    found = solve(A, b, rtol=1e-9)
    assert found.status == "ok"
    assert 1e-5 * (1 - 1e-6) <= found.curvature <= 1


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6))
def test_indefinite_systems_are_solved_where_curvature_does_not_matter(seed):
    A, b = spectrum(np.concatenate([-np.linspace(0.2, 2, 7), np.linspace(0.5, 4, 8)]), seed)
    found = ALL.solve(lambda v: A @ v, b)
    assert found.status == "ok"
    np.testing.assert_allclose(found.x, np.linalg.solve(A, b), atol=1e-8)


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6))
def test_lifting_gives_the_pseudo_inverse(seed):
    A, b, x = singular(seed)
    lifted = solve(A, b, rtol=1e-8, detect_npc=False, lift=True)
    np.testing.assert_allclose(lifted.x, x, atol=1e-7 * np.linalg.norm(x))
    plain = solve(A, b, rtol=1e-8, detect_npc=False)
    assert plain.status == lifted.status
    if lifted.status == "singular":  # rounding grew before the residual was as small; then x is always lifted
        np.testing.assert_array_equal(plain.x, lifted.x)
        return
    assert lifted.status == "ok"
    assert np.linalg.norm(plain.x - x) > 1e-2 * np.linalg.norm(x)  # it solves least squares, with a part in null(A)
    np.testing.assert_allclose(A @ plain.x, A @ x, atol=1e-6)


def test_lifting_changes_nothing_where_the_system_is_solved():
    A, b = system(8, condition=3.0)
    np.testing.assert_array_equal(solve(A, b, rtol=1e-14, lift=True).x, solve(A, b, rtol=1e-14).x)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rtol", [1e-10, 1e-14, 0.0])
def test_more_than_the_arithmetic_allows_does_no_harm(seed, rtol):
    """Beyond the solution rounding errors in null(A) take over and x would grow to 1e15."""
    A, b, x = singular(seed)
    found = solve(A, b, rtol=rtol, max_iter=1000, detect_npc=False, lift=True)
    assert found.status in ("ok", "singular")
    assert found.n_iter < 60
    np.testing.assert_allclose(found.x, x, atol=1e-7 * np.linalg.norm(x))


def test_a_right_side_in_the_null_space_has_the_solution_zero():
    A, b = np.diag([0.0, 0.0, 1.0]), np.array([1.0, 2.0, 0.0])
    found = solve(A, b, detect_npc=False, lift=True)
    assert found.status == "ok"
    np.testing.assert_array_equal(found.x, 0)


def test_an_exhausted_krylov_space_is_the_end():
    found = solve(np.eye(5), np.ones(5), rtol=0.0)
    assert (found.status, found.n_iter) == ("ok", 1)
    np.testing.assert_allclose(found.x, 1, rtol=1e-14)
