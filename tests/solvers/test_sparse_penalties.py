"""Penalties that make zeros: what they have in common with each other, what iterations cost, what is refused."""

import dataclasses
import warnings
from dataclasses import dataclass

import numpy as np
import pytest
from catalogue import SOLVERS
from problems import Dense, known, objective, parts
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import ElasticNet as SklearnElasticNet

from dask_newton import minimize
from dask_newton.losses import Squared, SquaredSoftplus
from dask_newton.objectives.rows.block import RowBlock
from dask_newton.penalties import L1, ElasticNet, GroupLasso, NoPenalty, Penalty
from dask_newton.solvers import GIANT, NewtonADMM, NewtonCholesky, ProxNewton, UnsupportedError
from dask_newton.solvers.base import PointState

SPARSE = [name for name, case in SOLVERS.items() if "l1" in case.penalties]
each_solver = pytest.mark.parametrize("name", SPARSE)


def model(penalty, X=None, fit_intercept=True, name="breast_cancer"):
    base = known(name).dense
    return Dense(base.X if X is None else X, base.y, base.weight, 0.0, base.loss, fit_intercept, penalty)


def optimum(name, dense, m=3):
    case = SOLVERS[name]
    F = objective(parts(dense, m), dense.penalty, fit_intercept=dense.fit_intercept)
    result = minimize(F, case.solver, tol=case.tol, max_iter=300)
    assert result.converged
    assert dense.residual(result.W) <= 1e-9 * F.scale.max()
    return result.W


# Equal penalties


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "giant" else name for name in SPARSE]
)
def test_a_strength_is_a_unit_of_the_feature(name):
    """lam_j abs(w_j) is lam abs(v_j) for the feature divided by lam_j / lam, with v_j = w_j lam_j / lam."""
    factor = np.geomspace(0.5, 3.0, 30)
    W = optimum(name, model(L1(0.01 * factor)))
    V = optimum(name, model(L1(0.01), known().dense.X / factor))
    # Both are at most 1e-9 over the smallest curvature, about 1e-3, from the optimum, in units up to 3.
    np.testing.assert_allclose(W[:-1] * factor[:, None], V[:-1], atol=1e-5)
    np.testing.assert_array_equal(W != 0, V != 0)


@each_solver
def test_a_column_of_ones_without_strength_is_the_intercept(name):
    X = np.column_stack([known().dense.X, np.ones(569)])
    lam = np.append(np.full(30, 0.01), 0.0)
    W = optimum(name, model(L1(lam), X, fit_intercept=False))
    np.testing.assert_allclose(W, known("breast_cancer", "l1").W, atol=1e-5)


@each_solver
def test_groups_of_one_are_l1(name):
    W = optimum(name, model(GroupLasso(np.arange(30)[::-1], 0.01)))
    np.testing.assert_allclose(W, known("breast_cancer", "l1").W, atol=1e-5)
    np.testing.assert_array_equal(W != 0, known("breast_cancer", "l1").W != 0)


@each_solver
@pytest.mark.parametrize("strength", [0.5, 1.02])
def test_one_group_is_all_or_nothing(name, strength):
    """Nothing, exactly where the norm of the gradient at the best intercept is at most the strength."""
    base = known().dense
    share = base.y.mean()
    best = np.zeros((31, 1))
    best[-1] = np.log(share / (1 - share))
    slope = np.linalg.norm(model(NoPenalty()).gradient(best)[:-1])
    W = optimum(name, model(GroupLasso(np.zeros(30, int), strength * slope, scale_by_size=False)))
    if strength > 1:
        np.testing.assert_array_equal(W[:-1], 0)
    else:
        assert np.all(W[:-1] != 0)


@each_solver
@pytest.mark.parametrize("ratio", [0.5, 1.0])
def test_squared_loss_agrees_with_coordinate_descent(name, ratio):
    rng = np.random.default_rng(4)
    X = rng.normal(size=(400, 12)) @ (np.eye(12) + 0.5)
    w = np.array([1.0, -2.0, 0.5, 0, 0, 0, 0, 0, 0, 0.1, 0, 3.0])
    y = X @ w + 2.0 + rng.normal(size=400)
    reference = SklearnElasticNet(alpha=0.3, l1_ratio=ratio, tol=1e-14, max_iter=100_000).fit(X, y)
    penalty = ElasticNet(0.3 * ratio, 0.3 * (1 - ratio))
    W = optimum(name, Dense(X, y, np.ones(400), 0.0, Squared(), True, penalty))
    np.testing.assert_allclose(W[:, 0], np.append(reference.coef_, reference.intercept_), atol=1e-7)
    np.testing.assert_array_equal(W[:-1, 0] != 0, reference.coef_ != 0)
    assert 0 < np.sum(reference.coef_ == 0) < 12


@each_solver
def test_units_of_features_do_not_hide_a_gradient(name):
    """A feature of size 1e6 has a coefficient of size 1e-6: the certificate is that of the feature of size 1."""
    rng = np.random.default_rng(5)
    X = rng.normal(size=(300, 4))
    y = X @ [1.0, -1.0, 0.5, 0.0] + rng.normal(size=300)
    units, lam = np.array([1e6, 1.0, 1e-6, 1.0]), np.array([0.1, 0.1, 0.1, 0.5])
    plain, scaled = (Dense(X * u, y, np.ones(300), 0.0, Squared(), True, L1(lam * u)) for u in (np.ones(4), units))
    F, G = (objective(parts(d, 2), d.penalty) for d in (plain, scaled))
    W = rng.normal(size=(5, 1)) / 3
    V = W / np.append(units, 1.0)[:, None]
    assert G.residual(V, G.at(V).gradient) == pytest.approx(F.residual(W, F.at(W).gradient), rel=1e-9)
    result = minimize(G, SOLVERS[name].solver, tol=1e-9, max_iter=300)
    best = minimize(F, NewtonCholesky(), tol=1e-12).W
    np.testing.assert_allclose(result.W[:-1] * units[:, None], best[:-1], atol=1e-6)


# What it costs


def gaps(problem, result):
    values = [problem.gap(r["objective"]) for r in result.history]
    return [next(i for i, gap in enumerate(values) if gap <= target) for target in (1e-3, 1e-6, 1e-9)]


def test_giant_needs_few_iterations():
    """4, 7 and 14 in the specification, for the elastic net; one more where rounding decides."""
    problem = known("breast_cancer", "elastic_net", m=4)
    result = minimize(problem.objective, GIANT(), tol=1e-9)
    assert np.all(np.array(gaps(problem, result)) <= [5, 8, 15])
    assert result.n_iter <= 40
    np.testing.assert_array_equal(result.W != 0, problem.W != 0)
    values = [r["objective"] for r in result.history]
    # The line search takes values for equal that differ by four units of rounding.
    assert np.all(np.diff(values) <= 4 * np.finfo(float).eps * np.array(values[:-1]))


def test_giant_needs_two_passes_once_the_blocks_agree_about_the_zeros():
    problem = known("breast_cancer", "elastic_net", m=4)
    history = minimize(problem.objective, GIANT(), tol=1e-9).history
    passes = np.diff([r["passes"] for r in history])
    assert set(passes) == {2, 3}
    assert np.all(passes[-10:] == 2)


@pytest.mark.parametrize("rule", ["elastic_net", "group_lasso"])
def test_giant_by_products_does_the_same(rule):
    solver = GIANT(cg_rtol=1e-8, cg_max_iter=2000)
    runs = [
        minimize(known("breast_cancer", rule).objective, dataclasses.replace(solver, max_dim=dim), tol=1e-2)
        for dim in (0, 1000)
    ]
    np.testing.assert_allclose(runs[0].W, runs[1].W, atol=1e-5)
    assert runs[0].history[-1]["inner_iterations"] > 0
    assert runs[1].history[-1]["inner_iterations"] == 0


@pytest.mark.parametrize("rule", ["l1", "group_lasso"])
@pytest.mark.parametrize("name", ["breast_cancer", "noisy"])
def test_newton_cholesky_converges_quadratically_in_one_pass_per_iteration(name, rule):
    problem = known(name, rule)
    result = minimize(problem.objective, NewtonCholesky(), tol=1e-11)
    assert result.converged
    assert result.n_iter <= 10
    residuals = [r["gradient_norm"] for r in result.history]
    assert residuals[-1] <= 30 * residuals[-2] ** 2 + 1e-13
    assert result.history[-1]["passes"] <= result.n_iter + 3


@pytest.mark.parametrize("rule", ["l1", "elastic_net"])
def test_prox_newton_leaves_directions_that_a_softmax_does_not_see(rule):
    """All outputs of a row shifted alike change the penalty alone: without that, 300 passes."""
    problem = known("noisy", rule, m=3)
    result = minimize(problem.objective, ProxNewton(), tol=1e-9)
    assert result.history[-1]["passes"] <= 60
    np.testing.assert_array_equal(result.W != 0, problem.W != 0)


@pytest.mark.parametrize("lam", [0.01, 0.1, 1.0])
def test_prox_newton_needs_few_passes_with_correlated_features(lam):
    """Of condition 1e6, where a Newton step on the support takes some coefficients through zero, and others far."""
    rng = np.random.default_rng(6)
    X = rng.normal(size=(5000, 9)) @ (np.linalg.qr(rng.normal(size=(9, 9)))[0] * np.geomspace(1, 1e-3, 9))
    X *= np.geomspace(1e3, 1e-2, 9)
    y = X @ (rng.normal(size=9) / X.std(axis=0)) + 3 * rng.normal(size=5000)
    F = objective(parts(Dense(X, y, np.ones(5000), 0.0, Squared(), True, L1(lam))), L1(lam))
    result = minimize(F, ProxNewton(), tol=1e-8)
    exact = minimize(F, NewtonCholesky(), tol=1e-8)
    assert result.history[-1]["passes"] <= 60
    assert exact.history[-1]["passes"] <= 5
    assert result.value == pytest.approx(exact.value, rel=1e-12)
    np.testing.assert_array_equal(result.W != 0, exact.W != 0)


def test_admm_finishes_on_the_support_where_matrices_are_too_large():
    problem = known("breast_cancer", "l1")
    solver = NewtonADMM(sparse_polish=ProxNewton(max_features=30), polish_after=20)
    result = minimize(problem.objective, solver, tol=1e-9)
    assert result.converged
    assert type(result.state.polish) is PointState
    np.testing.assert_array_equal(result.W != 0, problem.W != 0)


def test_admm_duals_add_up_to_a_subgradient_of_the_group_penalty():
    problem = known("breast_cancer", "group_lasso")
    F, solver = problem.objective, NewtonADMM(polish=False)
    state = solver.init(F, np.zeros(F.shape))
    for _ in range(40):
        state, _ = solver.step(F, state)
    held = F.blocks.gather(state.blocks)
    z, total = held[0].z[:-1, 0], sum(block.y for block in held)[:-1, 0]
    zeros = 0
    for g in np.unique(F.penalty.groups):
        rows = F.penalty.groups == g
        lam = F.penalty.lam * np.sqrt(rows.sum())
        size = np.linalg.norm(z[rows])
        zeros += size == 0
        if size:
            np.testing.assert_allclose(total[rows], -lam * z[rows] / size, atol=1e-12)
        else:
            assert np.linalg.norm(total[rows]) <= lam * (1 + 1e-10)
    assert 0 < zeros < len(np.unique(F.penalty.groups))


# Refusals


@dataclass(frozen=True)
class NotNegative(Penalty):
    """0 for w >= 0, else infinite: a penalty that is no sum of norms."""

    def value(self, w):
        return 0.0 if np.all(w >= 0) else np.inf

    def prox(self, w, step):
        return np.maximum(w, 0)

    def split(self):
        return NoPenalty(), self


@pytest.mark.parametrize("name", [name for name in SOLVERS if name != "newton-admm"])
def test_other_penalties_are_refused_and_admm_named(name):
    F = objective(parts(known().dense), NotNegative())
    advice = "newton-cg" if name == "support-newton" else "newton-admm"
    who = "newton-cholesky" if name == "auto" else name  # a plan speaks through the solver that it begins with
    with pytest.raises(UnsupportedError, match=f"'{who}'.*NotNegative.*use solver='{advice}'"):
        minimize(F, SOLVERS[name].solver)


def test_admm_takes_any_penalty_with_a_prox():
    F = objective(parts(known().dense), NotNegative())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        result = minimize(F, NewtonADMM(), tol=1e-7, max_iter=300)
    gradient = known("breast_cancer", "none").dense.gradient(result.W)[:-1]
    assert np.all(result.W[:-1] >= 0)
    assert np.any(result.W[:-1] == 0)
    assert np.all(gradient >= -1e-4)
    assert np.abs(gradient * result.W[:-1]).max() <= 1e-4


def test_giant_needs_a_convex_loss_for_a_sparse_penalty():
    X = np.random.default_rng(0).random((60, 3))
    F = objective([RowBlock(X, np.ones(60), None, None, SquaredSoftplus())], L1(0.1), fit_intercept=False)
    with pytest.raises(UnsupportedError, match="convex loss.*use solver='newton-admm'"):
        minimize(F, GIANT())


@each_solver
def test_strengths_that_do_not_fit_are_refused_before_any_step(name):
    with pytest.raises(ValueError, match=r"lam has the shape \(29,\), but the model has 30 features"):
        objective(parts(known().dense), L1(np.ones(29)))


def test_too_many_coefficients_for_a_hessian_name_a_solver_for_the_penalty():
    problem = known("breast_cancer", "l1").objective
    with pytest.raises(UnsupportedError, match="31 rows.*max_dim=30.*solver='prox-newton'"):
        minimize(problem, dataclasses.replace(NewtonCholesky(), max_dim=30))
