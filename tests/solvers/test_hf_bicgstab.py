"""Bi-CG-STAB as an inner solver: systems, breakdowns, directions of negative curvature; networks near a saddle."""

import dataclasses

import numpy as np
import pytest
from networks import blobs, digits, error, network

from dask_newton import minimize
from dask_newton.solvers import HFBiCGSTAB, Status
from dask_newton.solvers.network.hf_bicgstab import _Run


def system(n=50, symmetric=True, indefinite=0):
    rng = np.random.default_rng(0)
    Q, _ = np.linalg.qr(rng.normal(size=(n, n)))
    A = (Q * np.linspace(0.1, 1, n) * np.where(np.arange(n) < indefinite, -1, 1)) @ Q.T
    return A if symmetric else A + 0.3 * rng.normal(size=(n, n)) / n, rng.normal(size=(n, 1))


@pytest.mark.parametrize("symmetric", [True, False])
def test_definite_and_nonsymmetric_systems_are_solved(symmetric):
    A, b = system(symmetric=symmetric)
    run = _Run(lambda v: A @ v, b, None, 200)
    assert run.converge(b)
    assert np.linalg.norm(b - A @ run.x) <= 1.01e-8 * np.linalg.norm(b)
    assert run.products <= 200


@pytest.mark.parametrize("start", [False, True])
def test_candidates_descend_and_know_their_curvature(start):
    A, b = system(indefinite=5)
    found = HFBiCGSTAB(max_products=40)._solve(lambda v: A @ v, b, 0.1 * np.roll(b, 1) if start else None)
    assert found.negative > 0
    assert found.n_products <= 40
    *known, (last, unknown) = found.directions
    for d, curvature in known:
        assert np.vdot(b, d) > -1e-12  # the first s has no slope, as <s, r*> = 0; the solver leaves it out
        assert curvature == pytest.approx(np.vdot(d, A @ d), rel=1e-8, abs=1e-12 * np.vdot(d, d))
    np.testing.assert_array_equal(last, b)
    assert np.isnan(unknown)
    # The minimiser of the model with the curvature turned positive: half its slope is its curvature's size.
    # Zero, both of them, where the first s has no slope to the last bit.
    negative = [(d, c) for d, c in known if c <= 0 and np.vdot(b, d) == pytest.approx(-c)]
    assert len(negative) >= found.negative


@pytest.mark.parametrize("diagonal", [[1.0, -1.0], [1.0, 2.0, -3.0]])
def test_breakdown_at_the_first_step_is_got_over(diagonal):
    """(A b, b) = 0 with r* = b, whatever one does with it; a random r* solves the system."""
    A, b = np.diag(diagonal), np.ones((len(diagonal), 1))
    run = _Run(lambda v: A @ v, b, None, 100)
    assert not run.converge(b)
    found = HFBiCGSTAB(max_products=100)._solve(lambda v: A @ v, b, None)
    finite = [d for d, _ in found.directions if np.all(np.isfinite(d)) and np.vdot(b, d) > 0]
    assert finite
    solution = np.linalg.solve(A, b)
    # The solution has no slope for diag(1, -1), as b x = 0; so it is looked for among all candidates.
    assert min(np.abs(s * d - solution).max() for d, _ in found.directions for s in (1, -1)) < 1e-6


def test_breakdown_without_end_is_given_up():
    A, b = np.zeros((3, 3)), np.ones((3, 1))
    found = HFBiCGSTAB()._solve(lambda v: A @ v, b, None)
    np.testing.assert_array_equal(found.directions[-1][0], b)
    assert found.n_products <= 4


def test_digits_are_learnt_in_few_iterations():
    """A prototype needed 10 to 18 iterations to an error of 0.02, and 397 to 742 products."""
    F, solver = network(digits(), (40, 15), m=4, ridge=1e-4), HFBiCGSTAB(curvature_fraction=0.0, curvature_rows=64)
    result = minimize(
        F, solver, tol=0.0, callbacks=[lambda row, state: error(F, state.W, digits()) <= 0.02], max_iter=19
    )
    assert error(F, result.W, digits()) <= 0.02
    assert np.all(np.diff([r["objective"] for r in result.history]) < 0)
    assert sum(r["inner_iterations"] for r in result.history) <= 742


def test_negative_curvature_leads_away_from_a_saddle():
    """Near zero, where all units are alike, the Hessian is indefinite, and steepest descent hardly moves."""
    F = network(blobs(), (5, 5))
    F = dataclasses.replace(F, null=0.05 * F.null)
    solver = HFBiCGSTAB(damping=1e-3)
    state, negative = solver.init(F, F.null), 0
    for _ in range(15):
        state, info = solver.step(F, state)
        negative += info.extra["negative"]
    assert negative > 0
    assert state.value < 0.8 * F.value(F.null)


def test_steepest_descent_does_not_spoil_the_damping():
    """Its curvature is not known beforehand; near a saddle it is often the best candidate.

    A ratio that is not a number would double the damping every time, and steps would become shorter and shorter: the
    run takes about 16 iterations, and more or fewer with other rounding.
    """
    F = network(blobs(), (5, 5), ridge=1e-4)
    F = dataclasses.replace(F, null=0.05 * np.random.default_rng(0).normal(size=F.shape))
    result = minimize(F, HFBiCGSTAB(), tol=0.0, callbacks=[lambda row, state: row["objective"] < 0.5], max_iter=32)
    assert result.status is Status.STOPPED
    assert max(r["damping"] for r in result.history.records[1:]) <= 4
    assert np.all(np.isfinite([r["ratio"] for r in result.history.records[1:] if r["step_size"] > 0]))
