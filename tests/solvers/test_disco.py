"""DiSCO: what it shares with Newton-CG, what its preconditioner saves and costs, and what it refuses."""

import dataclasses

import numpy as np
import pytest
from problems import Poisoned, known, objective, parts
from sklearn.exceptions import ConvergenceWarning

from dask_newton import minimize
from dask_newton.losses import Logistic, SquaredSoftplus
from dask_newton.objectives.rows.block import RowBlock
from dask_newton.penalties import L2
from dask_newton.solvers import DiSCO, NewtonCG, Status, UnsupportedError


def products(result):
    return sum(r["inner_iterations"] for r in result.history)


@pytest.mark.parametrize(
    ("name", "most"), [pytest.param("digits", 700, marks=pytest.mark.slow), ("breast_cancer", 250)]
)
def test_the_preconditioner_saves_products(name, most):
    """Specification: 629 and 208 without, 282 and 126 with H_1 + 0.01 I, in 10 and 11 iterations."""
    runs = [
        minimize(known(name).objective, solver, tol=1e-7)
        for solver in (DiSCO(preconditioner="none"), DiSCO(mu=1e-2), DiSCO())
    ]
    assert all(run.converged and run.n_iter <= 14 for run in runs)
    plain, given, default = map(products, runs)
    assert plain <= most
    assert given < 0.7 * plain
    assert default < 0.7 * plain


def test_without_preconditioner_the_direction_is_that_of_newton_cg():
    F = known().objective
    start = 0.1 * np.random.default_rng(0).normal(size=F.shape)
    disco, newton = DiSCO(rtol=1e-4, preconditioner="none"), NewtonCG(rtol=1e-4)
    damped, info = disco.step(F, disco.init(F, start))
    full, other = newton.step(F, newton.init(F, start))
    assert (info.inner_iterations, other.step_size) == (other.inner_iterations, 1.0)
    np.testing.assert_allclose((damped.W - start) / info.step_size, full.W - start, rtol=1e-10)


@pytest.mark.parametrize("preconditioner", ["none", "first-block"])
@pytest.mark.parametrize("max_cg", [3, 200])
def test_steps_are_damped_by_the_length_of_the_direction_in_the_metric_of_the_hessian(preconditioner, max_cg):
    """Also where conjugate gradients are stopped early. Their orthogonality is lost in the digits beyond rtol."""
    F = known().objective
    solver = DiSCO(preconditioner=preconditioner, max_cg=max_cg)
    state = solver.init(F, np.zeros(F.shape))
    new, info = solver.step(F, state)
    v = (state.W - new.W) / info.step_size
    delta = np.sqrt(np.vdot(v, F.hess_mul(state.point, v)))
    assert info.step_size == pytest.approx(1 / (1 + delta), rel=1e-4)


@pytest.mark.parametrize("preconditioner", ["none", "first-block"])
def test_a_step_of_k_products_has_two_and_two_k_rounds(preconditioner):
    """The rows of the preconditioner come once, from one block alone."""
    F = known(m=4, layout="unequal").objective
    d, before = F.size, F.blocks.meter.snapshot()
    solver = DiSCO(preconditioner=preconditioner)
    with pytest.warns(ConvergenceWarning):
        result = minimize(F, solver, max_iter=4, tol=0.0)
    first, *rest = result.history
    extra = preconditioner == "first-block"
    assert (first["passes"], first["rounds"]) == (1 + extra, 2 + 2 * extra)
    largest = F.data.parts[-1]
    assert first["bytes_up"] == 8 * F.blocks.n_blocks * (d + 1) + extra * (largest.X.nbytes + largest.y.nbytes)
    for old, new in zip(result.history, rest, strict=False):
        k = new["inner_iterations"]
        assert new["passes"] - old["passes"] == 1 + k
        assert new["rounds"] - old["rounds"] == 2 + 2 * k
        assert new["bytes_up"] - old["bytes_up"] == 8 * F.blocks.n_blocks * (d + 1 + k * d)
    assert before["passes"] == 1


def test_products_in_place_of_a_factor_make_the_same_steps():
    factored, by_products = (
        minimize(known("noisy", m=3).objective, DiSCO(max_dim=max_dim), tol=1e-6) for max_dim in (2000, 0)
    )
    assert [r["inner_iterations"] for r in factored.history] == [r["inner_iterations"] for r in by_products.history]
    np.testing.assert_allclose(by_products.W, factored.W, atol=1e-6)


def test_one_block_is_its_own_preconditioner():
    """With H_1 = H and a small mu conjugate gradients need one product, and near the optimum the step is Newton's."""
    problem = known("noisy", "l2", m=1)
    solver = DiSCO(mu=1e-12)
    F = problem.objective
    state = solver.init(F, problem.W + 1e-4)
    new, info = solver.step(F, state)
    assert info.inner_iterations == 1
    assert problem.error(new.W) <= 0.01 * problem.error(state.W)


def test_blocks_sorted_by_class_cost_products_and_not_the_optimum():
    """The block that preconditions holds one class, and its Hessian says little of that of all rows."""
    order = np.argsort(known().dense.y, kind="stable")
    problem = known(m=4, order=order)
    result = minimize(problem.objective, DiSCO(), tol=1e-9)
    assert result.converged
    assert problem.error(result.W) <= 1e-6


def test_an_empty_first_block_leaves_the_choice_to_the_others():
    model = known().dense
    blocks = parts(model, 3)
    empty = dataclasses.replace(blocks[0], X=blocks[0].X[:0], y=blocks[0].y[:0])
    with_empty, without = (minimize(objective(b, model.penalty), DiSCO(), tol=1e-8) for b in ([empty, *blocks], blocks))
    np.testing.assert_array_equal(with_empty.W, without.W)


def test_losses_that_are_not_convex_are_refused():
    block = RowBlock(np.ones((3, 2)), np.arange(3.0), None, None, SquaredSoftplus())
    with pytest.raises(UnsupportedError, match="'disco' needs a convex loss.*use solver='newton-cg'"):
        minimize(objective([block], L2(0.1), fit_intercept=False), DiSCO())


def test_nan_from_a_block_ends_the_run_at_the_last_point():
    """At the first step already: the margins of the marked row leave the allowed range."""
    model = known().dense
    blocks = [dataclasses.replace(b, loss=Poisoned(1e-300)) for b in parts(model)]
    y = blocks[2].y.copy()
    y[5] += 2
    blocks[2] = dataclasses.replace(blocks[2], y=y)
    with pytest.warns(ConvergenceWarning, match=r"disco stopped without converging \(nan\) after 1 iter"):
        result = minimize(objective(blocks, model.penalty), DiSCO())
    assert result.status is Status.NAN
    assert result.value == pytest.approx(np.log(2))
    np.testing.assert_array_equal(result.W, 0)


def test_curvature_zero_is_no_negative_curvature():
    """Rows of one direction only, without a penalty: the Hessian is singular, and its null space is not entered."""
    rng = np.random.default_rng(0)
    t = rng.normal(size=100)
    y = (t + rng.logistic(size=100) > 0).astype(float)
    X = np.column_stack([t, 2 * t, -t])
    block = RowBlock(X, y, None, None, Logistic())
    for preconditioner in ("none", "first-block"):
        result = minimize(objective([block] * 2, L2(0.0)), DiSCO(preconditioner=preconditioner), tol=1e-9)
        assert result.converged
        np.testing.assert_allclose(result.W[:3, 0] / result.W[0, 0], [1, 2, -1], rtol=1e-4)
