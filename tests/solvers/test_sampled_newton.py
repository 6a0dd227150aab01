"""Sampled Newton: every metric leads to the optimum of all rows, in few passes."""

import dataclasses

import numpy as np
import pytest
from problems import Dense, known, objective, parts

from dask_newton import minimize
from dask_newton.losses import Logistic
from dask_newton.penalties import L2
from dask_newton.solvers import SampledNewton


def many_rows(n=8000):
    """Enough rows for the number of coefficients that their Hessian is taken from a tenth of them."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 4))
    y = (rng.random(n) < 1 / (1 + np.exp(-X @ [1.0, -2.0, 0.5, 0.0] - 0.3))).astype(float)
    return Dense(X, y, np.ones(n), 0.0, Logistic(), True, L2(1 / n))


def test_with_many_rows_it_starts_near_the_optimum():
    model = many_rows()
    F = objective(parts(model, 4), model.penalty)
    assert F.n_rows >= 1000 * F.size
    result = minimize(F, SampledNewton(), tol=1e-8)
    assert result.state.kind == "joint"
    # The optimum of a sample of 800 rows is d / (2 * 800) from that of all of them, ln 2 - F is far more.
    assert result.history[0]["objective"] - result.value < 3 * F.size / (2 * 0.1 * F.n_rows)
    assert result.n_iter <= 8
    np.testing.assert_allclose(result.W, model.minimum(), atol=1e-6)


@pytest.mark.parametrize("name", ["digits", "breast_cancer"])
def test_with_few_rows_one_gram_matrix_serves_all_outputs(name):
    problem = known(name)
    result = minimize(problem.objective, SampledNewton(), tol=1e-7, max_iter=200)
    assert result.converged
    assert result.state.kind in ("shared", "outputs")
    assert problem.gap(result.value) <= 1e-9
    # An iteration is a pass, a better metric another, a rejected step one more.
    assert problem.objective.blocks.meter.passes <= 1.5 * result.n_iter + 10


def test_a_step_is_one_pass():
    problem = known()
    result = minimize(problem.objective, SampledNewton(), tol=1e-7)
    for before, after in zip(list(result.history)[:-1], list(result.history)[1:], strict=True):
        if after["step_size"] == 1 and not after["note"]:
            assert after["passes"] - before["passes"] == 1


@pytest.mark.parametrize("seed", [0, 1])
def test_samples_depend_on_the_seed_alone(seed):
    model = many_rows()
    solver = dataclasses.replace(SampledNewton(), seed=seed)
    runs = [minimize(objective(parts(model, 4), model.penalty), solver, tol=1e-8) for _ in range(2)]
    np.testing.assert_array_equal(runs[0].W, runs[1].W)
    # Another sample, the same optimum.
    np.testing.assert_allclose(runs[0].W, model.minimum(), atol=1e-6)


def test_objective_never_rises():
    problem = known("noisy")
    start = 3 * np.random.default_rng(0).normal(size=problem.objective.shape)
    result = minimize(problem.objective, SampledNewton(), start, tol=1e-8, max_iter=200)
    values = np.array([r["objective"] for r in result.history])
    # Steps at the end of the arithmetic may move the last digits: 4 units of rounding are allowed for.
    assert np.all(np.diff(values) <= 1e-15 * values[:-1])
    assert result.converged
