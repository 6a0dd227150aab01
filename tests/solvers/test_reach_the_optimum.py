"""Every solver, with every penalty that it supports, on blocks of every kind, finds the known optimum."""

import dataclasses
from itertools import product

import array_api_strict as strict
import catalogue
import numpy as np
import pytest
from catalogue import SOLVERS
from matrices import KINDS
from pairwise import cases
from problems import LAYOUTS, NUMBERS, Dense, known, objective, parts

from dask_newton import minimize
from dask_newton.penalties import L1, ElasticNet

ALL = [(name, penalty) for name, case in SOLVERS.items() if case.exact for penalty in case.penalties]
USUAL = ("none", "l2", "l1", "elastic_net")
EVERY = [(name, penalty) for name, penalty in ALL if penalty in USUAL]
SMOOTH = [name for name, penalty in ALL if penalty == "l2"]
CONVEX = [(name, penalty) for name, penalty in EVERY if penalty != "none"]
SPARSE = [(name, penalty) for name, penalty in EVERY if penalty in ("l1", "elastic_net")]


def times(pairs, *values):
    """Return (name, penalty, value, ...) for every pair and all values."""
    return [(*pair, *rest) for pair in pairs for rest in product(*values)]


def costly(name, penalty, *rest):
    """Tell which runs take seconds; other files of tests have some of them."""
    return (name == "giant" and penalty in catalogue.SPARSE) or (name in ("dingo", "dino") and penalty == "l2")


each_solver_and_penalty = cases("name, penalty", EVERY, together=1, costly=costly)


def usual(penalty):
    """Return the problem for a penalty: without one, only overlapping classes have an optimum."""
    return "noisy" if penalty == "none" else "breast_cancer"


def check(problem, name, result):
    case = SOLVERS[name]
    assert result.converged
    assert result.gradient_norm <= case.tol
    # From the residual r the error of W is at most r / (smallest curvature), about 1e-3 here.
    assert problem.error(result.W) <= case.error
    # F is flat at the optimum, so that its gap is of the order of r^2: rounding of a few units.
    assert problem.gap(result.value) <= 1e-9
    assert problem.dense.residual(result.W) <= case.tol * problem.objective.scale.max() * 1.01 + 1e-15
    if problem.dense.lam[0]:
        np.testing.assert_array_equal(result.W != 0, problem.W != 0)


@cases(
    "name, penalty, m, layout",
    times(EVERY, [1, 2, 4, 7], LAYOUTS),
    together=["name", "penalty, layout", "m, layout"],
    costly=costly,
)
def test_blocks_of_any_number_and_size(name, penalty, m, layout):
    if (name, penalty, layout) == ("giant", "none", "unequal"):
        m = min(m, 4)  # without a penalty GIANT needs blocks of more rows than coefficients
    problem = known(usual(penalty), penalty, m=m, layout=layout)
    result = minimize(problem.objective, SOLVERS[name].solver, tol=SOLVERS[name].tol, max_iter=300)
    check(problem, name, result)


@each_solver_and_penalty
def test_weights_offsets_and_any_start(name, penalty):
    problem = known(usual(penalty), penalty, weighted=True, offset=True)
    start = np.random.default_rng(0).normal(size=problem.objective.shape) / 3
    result = minimize(problem.objective, SOLVERS[name].solver, start, tol=SOLVERS[name].tol, max_iter=300)
    check(problem, name, result)


@each_solver_and_penalty
def test_without_intercept(name, penalty):
    problem = known(usual(penalty), penalty, fit_intercept=False)
    result = minimize(problem.objective, SOLVERS[name].solver, tol=SOLVERS[name].tol, max_iter=300)
    check(problem, name, result)


@cases(
    "name, penalty, rows",
    times([(name, penalty) for name, penalty in ALL if penalty not in USUAL], ["breast_cancer", "noisy"]),
    together=["name", "penalty, rows"],
    costly=costly,
)
def test_strengths_of_each_coefficient_and_groups(name, penalty, rows):
    problem = known(rows, penalty, m=3, weighted=True)
    result = minimize(problem.objective, SOLVERS[name].solver, tol=SOLVERS[name].tol, max_iter=300)
    check(problem, name, result)
    if problem.dense.lam[0]:
        zero = problem.W[:-1] == 0
        assert 0 < zero.sum() < zero.size  # the problem is one where the zeros mean something


@cases(
    "name, penalty, rows",
    times(CONVEX, ["noisy", "noisy_reference"]),
    together=["name", "penalty, rows"],
    costly=costly,
)
def test_several_outputs(name, penalty, rows):
    problem = known(rows, penalty, m=3)
    result = minimize(problem.objective, SOLVERS[name].solver, tol=SOLVERS[name].tol, max_iter=300)
    check(problem, name, result)


@cases("name, penalty, rows", times(EVERY, NUMBERS), together=["name", "penalty, rows"])
def test_targets_that_are_numbers(name, penalty, rows):
    problem = known(rows, penalty, m=3, layout="unequal", weighted=True, offset=penalty == "l2")
    result = minimize(problem.objective, SOLVERS[name].solver, tol=SOLVERS[name].tol, max_iter=300)
    check(problem, name, result)


QUICK = ["newton-cholesky"]  # on digits; the others take a second or more


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in SMOOTH])
def test_digits(name):
    problem = known("digits")
    result = minimize(problem.objective, SOLVERS[name].solver, tol=SOLVERS[name].tol, max_iter=500)
    # The smallest curvature is lam2 = 1 / 1797, and there are 650 coefficients.
    assert result.converged
    assert problem.error(result.W) <= 10 * SOLVERS[name].error
    assert problem.gap(result.value) <= 1e-9


@each_solver_and_penalty
def test_rows_sorted_by_class(name, penalty):
    """Blocks of one class only: the columns of W come from all classes, and averages of local models are poor."""
    rows = usual(penalty)
    order = np.argsort(known(rows, penalty).dense.y, kind="stable")
    problem = known(rows, penalty, m=2, order=order)
    if name == "giant":
        # The Hessians of the blocks differ too much for their directions to be worth much more than the gradient.
        problem = known(rows, penalty, m=2, order=np.roll(order, 100))
    result = minimize(problem.objective, SOLVERS[name].solver, tol=1e-6, max_iter=500)
    assert result.converged
    assert problem.gap(result.value) <= 1e-6


@each_solver_and_penalty
def test_float32_data(name, penalty):
    problem = known(usual(penalty), penalty, dtype="float32")
    result = minimize(problem.objective, SOLVERS[name].solver, tol=1e-5, max_iter=300)
    # The data have lost everything beyond 1e-7, the optimum moves by that over the smallest curvature.
    assert problem.error(result.W) <= 2e-2
    assert abs(problem.gap(problem.dense.value(result.W))) <= 1e-5
    assert result.W.dtype == np.float64


def sooner(name):
    """Return a solver; ADMM hands over early where the way there is of no interest."""
    solver = SOLVERS[name].solver
    return dataclasses.replace(solver, polish_after=15) if name == "newton-admm" else solver


@each_solver_and_penalty
def test_any_array_type_and_device(name, penalty):
    device = strict.Device("device1")
    problem = known(usual(penalty), penalty, m=2, move=lambda a: strict.asarray(a, device=device))
    result = minimize(problem.objective, sooner(name), tol=1e-7, max_iter=300)
    assert result.converged
    assert problem.gap(result.value) <= 1e-9
    assert isinstance(result.W, np.ndarray)


@cases(
    "name, penalty, kind",
    times(EVERY, ["csr_array", "messy"]),
    together=["name", "penalty, kind"],
    costly=costly,
)
def test_sparse_matrices(name, penalty, kind):
    problem = known(usual(penalty), penalty, m=2, move=lambda a: KINDS[kind](a) if a.ndim == 2 else a)
    result = minimize(problem.objective, sooner(name), tol=SOLVERS[name].tol, max_iter=300)
    check(problem, name, result)


@cases("name, penalty", CONVEX, together=1)
def test_more_blocks_than_rows(name, penalty):
    if name in ("dingo", "dino", "giant"):
        pytest.skip(f"one row says next to nothing about the Hessian, which {name} averages over the blocks")
    whole = known(usual(penalty), penalty).dense
    few = Dense(whole.X[:40, :4], whole.y[:40], np.ones(40), 0.0, whole.loss, True, whole.penalty)
    F = objective(parts(few, 50), few.penalty)
    assert F.blocks.n_blocks == 40
    result = minimize(F, sooner(name), tol=1e-7, max_iter=300)
    assert result.converged
    # An error of W of 1e-7 over the smallest curvature, 1 / 569.
    np.testing.assert_allclose(result.W, few.minimum(), atol=1e-4)


@cases("name, penalty", SPARSE, together=1)
def test_a_strong_l1_penalty_leaves_the_intercept_alone(name, penalty):
    """Above max|gradient at the best intercept|, no coefficient is worth its price."""
    model = known("breast_cancer").dense
    lam = 0.5
    rule = L1(lam) if penalty == "l1" else ElasticNet(lam, 0.1)
    only = Dense(model.X, model.y, model.weight, 0.0, model.loss, True, rule)
    share = model.y.mean()
    best = np.zeros((31, 1))
    best[-1] = np.log(share / (1 - share))
    assert np.abs(only.gradient(best)[:-1]).max() < lam
    result = minimize(objective(parts(only), rule), SOLVERS[name].solver, tol=1e-9)
    np.testing.assert_array_equal(result.W[:-1], 0)
    assert result.W[-1, 0] == pytest.approx(best[-1, 0], abs=1e-7)
    assert result.converged


@each_solver_and_penalty
def test_a_constant_column_gets_no_coefficient(name, penalty):
    """Of zeros: nothing depends on it, and a penalty keeps it at zero."""
    whole = known(usual(penalty), penalty).dense
    X = np.insert(whole.X, 2, 0.0, axis=1)
    model = Dense(X, whole.y, whole.weight, 0.0, whole.loss, True, whole.penalty)
    result = minimize(objective(parts(model), model.penalty), SOLVERS[name].solver, tol=1e-8, max_iter=300)
    assert result.converged
    np.testing.assert_allclose(result.W[2], 0.0, atol=1e-12)
    assert np.delete(result.W, 2, axis=0).shape == known(usual(penalty), penalty).W.shape
    assert known(usual(penalty), penalty).gap(result.value) <= 1e-9
