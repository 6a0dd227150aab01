"""First-order methods against their formulas, one entry at a time; learning of digits; what cannot work."""

import math

import numpy as np
import pytest
from networks import blobs, digits, error, network
from sklearn.exceptions import ConvergenceWarning

from dask_newton import minimize
from dask_newton.solvers import GD, Adadelta, Adagrad, Adam, Momentum, Status, UnsupportedError


def momentum(gs):
    v = 0.0
    for g in gs:
        v = 0.9 * v - 0.01 * g
    return v


def adagrad(gs):
    return -0.1 * gs[-1] / (math.sqrt(sum(g * g for g in gs)) + 1e-10)


def adadelta(gs):
    s = e = 0.0
    for g in gs:
        s = 0.9 * s + 0.1 * g * g
        d = -math.sqrt(e + 1e-6) / math.sqrt(s + 1e-6) * g
        e = 0.9 * e + 0.1 * d * d
    return d


def adam(gs):
    """With the means written out as sums."""
    n = len(gs)
    mean = sum(0.1 * 0.9 ** (n - 1 - i) * g for i, g in enumerate(gs)) / (1 - 0.9**n)
    square = sum(0.001 * 0.999 ** (n - 1 - i) * g * g for i, g in enumerate(gs)) / (1 - 0.999**n)
    return -0.001 * mean / (math.sqrt(square) + 1e-8)


RULES = [(GD(), lambda gs: -0.01 * gs[-1]), (Momentum(), momentum), (Adagrad(), adagrad), (Adadelta(), adadelta),
         (Adam(), adam)]


@pytest.mark.parametrize(("solver", "rule"), RULES, ids=[solver.name for solver, _ in RULES])
def test_steps_are_those_of_the_formula_and_cost_a_pass(solver, rule):
    F = network(blobs())
    state, gradients = solver.init(F, F.null), []
    for _ in range(5):
        gradients.append(state.point.gradient)
        before = F.blocks.meter.passes
        new, _ = solver.step(F, state)
        assert F.blocks.meter.passes == before + 1
        expected = [rule([g[i, 0] for g in gradients]) for i in range(F.size)]
        np.testing.assert_allclose((new.W - state.W)[:, 0], expected, rtol=1e-9, atol=1e-13)
        state = new


def test_adam_learns_digits():
    """Three hidden layers of 100, full batches: a prototype had 0.97 of the rows right after 50 iterations."""
    F = network(digits(), (100, 100, 100), m=1, activation="relu", ridge=1e-12, initialisation="he")
    result = minimize(F, Adam(), tol=0.0, callbacks=[lambda row, state: row["iteration"] == 50])
    assert error(F, result.W, digits()) < 0.05
    assert result.history[-1]["passes"] == 51


def test_a_learning_rate_that_is_too_large_diverges():
    with pytest.warns(ConvergenceWarning, match="diverge"):
        result = minimize(network(blobs(), ridge=1.0), GD(learning_rate=1e200))
    assert result.status is Status.DIVERGED
    assert np.all(np.isfinite(result.W)) and np.isfinite(result.value)


@pytest.mark.parametrize("solver", [
    GD(learning_rate=0.0), Momentum(momentum=1.0), Adagrad(epsilon=0.0), Adadelta(rho=-0.1), Adadelta(epsilon=0.0),
    Adam(beta1=1.0), Adam(beta2=1.5), Adam(epsilon=0.0), Adam(learning_rate=np.inf),
], ids=repr)
def test_bad_options_are_refused(solver):
    with pytest.raises(UnsupportedError, match=f"'{solver.name}' got .*; it must be"):
        minimize(network(blobs()), solver)
