"""A short run of every solver: linear models arrive at the known optimum, or come nearer; networks learn."""

import warnings

import numpy as np
import pytest
from catalogue import NETWORK_SOLVERS, SOLVERS
from networks import blobs, network
from problems import known
from sklearn.exceptions import ConvergenceWarning

from dask_newton import minimize

pytestmark = pytest.mark.smoke


def run(F, solver, n, tol=0.0):
    """Do up to n iterations, whatever comes of them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return minimize(F, solver, max_iter=n, tol=tol)


@pytest.mark.parametrize("name", SOLVERS)
def test_linear_models(name):
    case = SOLVERS[name]
    problem = known("counts", "l2" if "l2" in case.penalties else "l1", m=2)
    result = run(problem.objective, case.solver, 200 if case.exact else 3, 1e-7)
    start = problem.dense.value(problem.objective.null)
    if case.exact:
        assert result.converged
        # F is flat at the optimum: its gap is of the order of the squared residual over the smallest curvature.
        assert abs(problem.gap(result.value)) <= 1e-9
        assert result.value == pytest.approx(problem.dense.value(result.W), rel=1e-12)
    else:
        assert problem.optimum < problem.dense.value(result.W) < start


@pytest.mark.parametrize("name", NETWORK_SOLVERS)
def test_networks(name):
    F = network(blobs())
    result = run(F, NETWORK_SOLVERS[name], 6)
    assert np.all(np.isfinite(result.W))
    assert F.value(result.W) < F.value(F.null)
