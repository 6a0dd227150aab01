"""The page of parity: what it is made with can fail, a part of it runs here, and it is that of this library."""

import re
from itertools import product

import numpy as np
import pytest
from catalogue import SOLVERS
from make_parity import PAGE
from pairwise import cases
from parity.containers import CONTAINERS
from parity.objective import Objective
from parity.page import page
from parity.problems import problems
from parity.runs import BOUND, LOOSE_BOUND, LOOSE_SOLVER, SOLVER_COLUMNS, Run, bound_of, run_all

import dask_newton.estimators

PROBLEMS = {problem.name: problem for problem in problems()}
# One of each loss, of each kind of penalty and of each source of references; those that take less than a second.
SMALL = [
    "LogisticRegression (2 classes), l1",
    "LogisticRegression (2 classes), l2, class and sample weights",
    "LogisticRegression (3 classes), none",
    "LinearRegression (3 targets), group lasso",
    "Ridge (1 target), l2, offset",
    "Ridge (3 targets), l2, one strength per target",
    "Lasso (1 target), l1",
    "ElasticNet (1 target), elastic net, sample weights",
    "PoissonRegressor (counts), none, exposure",
    "GammaRegressor (amounts), elastic net",
    "TweedieRegressor (totals), l2, sample weights",
]
IN_PROCESS = [name for name, container in CONTAINERS.items() if not (container.cluster or container.float32)]


def objective(loss, n_outputs, **penalty):
    rng = np.random.default_rng(8)
    X, weight, offset = rng.normal(size=(60, 4)), rng.uniform(0.5, 2, 60), rng.normal(size=60)
    y = rng.integers(0, max(2, n_outputs), 60) if loss in ("logistic", "softmax") else rng.gamma(2, size=60)
    return Objective(loss, X, y, weight, offset, **penalty), 0.3 * rng.normal(size=(5, n_outputs))


def value(problem, W):
    """The smooth part of the objective, from formulas other than those of its derivatives."""
    z = problem.X @ W[:-1] + W[-1] + problem.offset[:, None]
    if problem.loss == "squared":
        losses = 0.5 * (z[:, 0] - problem.y) ** 2
    elif problem.loss == "softmax":
        losses = np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(z)), problem.y]
    elif problem.loss == "logistic":
        losses = np.log1p(np.exp(np.where(problem.y == 1, -z[:, 0], z[:, 0])))
    else:
        mean, p = np.exp(z[:, 0]), problem.loss
        losses = (np.log(mean) if p == 2 else mean ** (2 - p) / (2 - p)) - problem.y * (
            np.log(mean) if p == 1 else mean ** (1 - p) / (1 - p)
        )
    return np.average(losses, weights=problem.weight) + 0.5 * problem.l2 * np.sum(W[:-1] ** 2)


@pytest.mark.parametrize(
    ("loss", "n_outputs"), [("squared", 1), ("logistic", 1), ("softmax", 3), (1.0, 1), (1.5, 1), (2.0, 1)]
)
def test_the_judge_of_references_is_right(loss, n_outputs):
    """Its gradient is that of the objective, and its residual is zero at the optimum and only there."""
    smooth, W = objective(loss, n_outputs, l2=0.2)
    h = 1e-6
    for i in np.ndindex(W.shape):
        d = np.zeros_like(W)
        d[i] = h
        difference = (value(smooth, W + d) - value(smooth, W - d)) / (2 * h)
        assert smooth.gradient(W)[i] == pytest.approx(difference, abs=1e-8)
    sparse, _ = objective(loss, n_outputs, l1=0.15, l2=0.05)
    optimum = sparse.polished(W)
    assert sparse.residual(optimum) <= 1e-12
    assert sparse.residual(optimum + 1e-5) > 1e-7
    assert 0 < np.sum(optimum == 0)
    total = value(sparse, optimum) + 0.15 * np.abs(optimum[:-1]).sum()
    for d in 1e-3 * np.random.default_rng(0).normal(size=(50, *W.shape)):
        assert value(sparse, optimum + d) + 0.15 * np.abs((optimum + d)[:-1]).sum() > total


def refuses(solver, problem):
    """Whether a solver is not for a problem with this penalty."""
    with_l2 = {"dingo", "dino", "disco", "lbfgs", "newton-cg", "newton-mr", "sampled-newton"}
    return solver in (with_l2 if np.any(problem.l1) else {"prox-newton", LOOSE_SOLVER})


@cases(
    "name, solver",
    [(name, solver) for name, solver in product(SMALL, SOLVER_COLUMNS) if not refuses(solver, PROBLEMS[name])],
    together=1,
)
def test_every_solver_finds_the_reference(name, solver):
    problem = PROBLEMS[name]
    assert problem.reference.residual <= 1e-13
    (run,) = run_all([problem], [solver], ["Dask array"])
    assert run.converged and run.error <= bound_of(run.solver)


@pytest.mark.parametrize("name", ["Lasso (1 target), l1", "Ridge (1 target), l2, offset"])
def test_solvers_for_other_penalties_are_left_out(name):
    refusing = [solver for solver in SOLVER_COLUMNS if refuses(solver, PROBLEMS[name])]
    assert refusing and not list(run_all([PROBLEMS[name]], refusing, ["Dask array"]))


@cases("name, container", product([SMALL[i] for i in (1, 2, 5, 7, 8)], IN_PROCESS), together=1)
def test_every_container_gives_the_reference(name, container):
    (run,) = run_all([PROBLEMS[name]], ["newton-cholesky"], [container])
    assert run.error <= BOUND


def test_a_wrong_coefficient_would_be_seen():
    problem = PROBLEMS["Lasso (1 target), l1"]
    model = problem.model.set_params(tol=1e-10).fit(**problem.columns)
    assert problem.error(model) < 1e-9
    model.coef_[3] += 1e-5
    assert problem.error(model) == pytest.approx(1e-5, rel=1e-3)
    text = page([Run(problem, "giant", "NumPy", 1e-5, True), Run(problem, "auto", "NumPy", 1e-7, False)], {})
    assert "Fits above their bound: 1" in text and "| **1e-05** |" in text and "| 1e-07† |" in text


def rows(heading):
    """Return the cells of the table under a heading of the page; the first row are its column names."""
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    table = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("|")]
    return [table[0], *table[2:]]


def test_the_page_is_that_of_these_estimators_solvers_and_containers():
    header, *lines = rows("Estimators, penalties and solvers")
    assert [name.strip("`") for name in header[3:]] == SOLVER_COLUMNS
    exact = {name for name, case in SOLVERS.items() if case.registered and case.exact}
    assert SOLVER_COLUMNS == ["auto", *sorted(exact), LOOSE_SOLVER]
    assert [tuple(line[:3]) for line in lines] == [(p.estimator, p.targets, p.penalty) for p in PROBLEMS.values()]
    # A network may end at another minimum than scikit-learn's.
    without_counterpart = {"LossRegressor", "MLPClassifier", "MLPRegressor"}
    assert {line[0] for line in lines} == set(dask_newton.estimators.__all__) - without_counterpart
    _, *lines = rows("Containers")
    assert [line[0] for line in lines] == [name for name, container in CONTAINERS.items() if not container.float32]


def test_nothing_on_the_page_is_above_its_bound():
    _, *lines = rows("Estimators, penalties and solvers")
    for line in lines:
        *errors, loose = [float(cell.rstrip("†")) if re.match(r"\d", cell) else 0.0 for cell in line[3:]]
        assert max(errors) <= BOUND and loose <= LOOSE_BOUND, line
        assert max(errors) > 0, line
