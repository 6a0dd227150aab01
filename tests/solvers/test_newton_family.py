"""GIANT, Newton-CG and Newton-Cholesky: iteration counts, descent, what the blocks change, what a step costs."""

import dataclasses
from itertools import product

import numpy as np
import pytest
from pairwise import cases
from problems import Dense, Poisoned, known, nonconvex, objective, parts
from sklearn.exceptions import ConvergenceWarning

from dask_newton import minimize
from dask_newton.losses import SquaredSoftplus
from dask_newton.penalties import L2, NoPenalty
from dask_newton.solvers import GIANT, LBFGS, NewtonCG, NewtonCholesky, NewtonMR, Status
from dask_newton.solvers.linear.newton_cholesky import newton_direction
from dask_newton.solvers.parts.line_search import LineSearch

NEWTON = {
    "giant": GIANT(),
    "newton-cg": NewtonCG(),
    "newton-cg-jacobi": NewtonCG(preconditioner="jacobi"),
    "newton-cg-gram": NewtonCG(preconditioner="gram"),
    "newton-cholesky": NewtonCholesky(),
    "newton-mr": NewtonMR(),
}
PROBLEMS = ["digits", "breast_cancer"]


def iterations_to(problem, result, gap):
    """Return the first iteration whose recorded objective is within a relative gap."""
    return next(r["iteration"] for r in result.history if problem.gap(r["objective"]) <= gap)


# Iteration counts. The bounds leave some room above what a prototype of the same methods needed.


@pytest.mark.parametrize("name", [pytest.param("digits", marks=pytest.mark.slow), "breast_cancer"])
def test_giant_needs_few_iterations(name):
    problem = known(name)
    result = minimize(problem.objective, GIANT(), tol=1e-6)
    assert iterations_to(problem, result, 1e-6) <= 20


@pytest.mark.parametrize(("name", "products"), [("digits", 350), ("breast_cancer", 120)])
@pytest.mark.parametrize("rtol", [None, 0.1])
def test_newton_cg_needs_few_products(name, products, rtol):
    problem = known(name)
    result = minimize(problem.objective, NewtonCG(rtol=rtol), tol=1e-8)
    assert result.n_iter <= 14
    assert sum(r["inner_iterations"] for r in result.history) <= products


@pytest.mark.parametrize(
    ("name", "iterations"),
    [pytest.param("digits", 220, marks=pytest.mark.slow), ("breast_cancer", 40)],
)
def test_lbfgs_needs_one_pass_per_iteration_and_not_many(name, iterations):
    problem = known(name)
    result = minimize(problem.objective, LBFGS(), tol=1e-6, max_iter=400)
    assert iterations_to(problem, result, 1e-6) <= iterations
    # Now and then a step of 1 is too long, and takes two passes more.
    assert result.n_iter < result.history[-1]["passes"] <= 1.2 * result.n_iter + 2


@pytest.mark.parametrize("name", PROBLEMS)
def test_newton_cholesky_converges_quadratically(name):
    problem = known(name)
    result = minimize(problem.objective, NewtonCholesky(), tol=1e-11)
    assert result.n_iter <= 10
    norms = [r["gradient_norm"] for r in result.history][-3:]
    # From one small gradient to the next the exponent at least nearly doubles, until rounding.
    assert norms[1] <= max(norms[0] ** 1.5, 1e-11)


@pytest.mark.parametrize(
    ("name", "preconditioner"), [("breast_cancer", "jacobi"), ("breast_cancer", "gram"), ("digits", "gram")]
)
def test_preconditioners_save_products(name, preconditioner):
    """On columns in different units, or strongly correlated ones, such as grey values of neighbours."""
    model = known(name).dense
    units = np.geomspace(1, 1e3, model.X.shape[1]) if name == "breast_cancer" else 1.0
    scaled = Dense(model.X * units, model.y, model.weight, 0.0, model.loss, True, L2(1e-5))
    products, values = {}, {}
    for which in ("none", preconditioner):
        solver = NewtonCG(preconditioner=which, max_cg=1000)
        result = minimize(objective(parts(scaled), scaled.penalty), solver, tol=1e-6, max_iter=200)
        products[which] = sum(r["inner_iterations"] for r in result.history)
        values[which] = result.value
        assert result.converged
    assert products[preconditioner] < 0.7 * products["none"]
    assert values[preconditioner] == pytest.approx(values["none"], rel=1e-4)


# Descent


@cases(
    "name, solver, far",
    product(["breast_cancer", "noisy"], NEWTON, [0.0, 5.0]),
    together=["solver, far", "name, far"],
)
def test_objective_never_rises(name, solver, far):
    problem = known(name)
    start = far * np.random.default_rng(0).normal(size=problem.objective.shape)
    result = minimize(problem.objective, NEWTON[solver], start, tol=1e-9, max_iter=300)
    values = np.array([r["objective"] for r in result.history])
    # The line search takes values for equal that differ by four units of rounding.
    assert np.all(np.diff(values) <= 4 * np.finfo(float).eps * values[:-1])
    assert result.converged


@pytest.mark.parametrize("solver", [GIANT(), NewtonCG(), NewtonCholesky(), NewtonMR()], ids=lambda s: s.name)
def test_one_step_solves_a_quadratic(solver):
    """Near the optimum and with little curvature left to change, F is one: the second step is all rounding."""
    problem = known("noisy", "l2", m=1)
    exact = {
        "giant": {"cg_rtol": 1e-13, "cg_max_iter": 200},
        "newton-cg": {"rtol": 1e-13},
        "newton-mr": {"rtol": 1e-12},
    }.get(solver.name, {})
    start = problem.W + 1e-6
    result = minimize(problem.objective, dataclasses.replace(solver, **exact), start, tol=1e-11)
    assert result.n_iter == 1


# Blocks


@pytest.mark.parametrize(
    "solver", [NewtonCG(), NewtonCholesky(), NewtonMR(1e-10), NewtonCG(preconditioner="gram")], ids=str
)
def test_iterates_do_not_depend_on_blocks_or_order(solver):
    n = len(known().dense.y)
    one = minimize(known(m=1).objective, solver, tol=1e-11)
    shuffled = np.random.default_rng(8).permutation(n)
    by_class = np.argsort(known().dense.y, kind="stable")
    for options in ({"m": 7, "layout": "unequal"}, {"m": 3, "order": shuffled}, {"m": 2, "order": by_class}):
        other = minimize(known(**options).objective, solver, tol=1e-11)
        # Sums in another order have other rounding errors, which CG amplifies: one run may stop a step earlier.
        assert abs(other.n_iter - one.n_iter) <= 1
        common = min(other.n_iter, one.n_iter) + 1
        values = [[r["objective"] for r in run.history.records[:common]] for run in (one, other)]
        np.testing.assert_allclose(*values, rtol=1e-8)
        # Each is at most 1e-11 over the smallest curvature, 1 / 569, from the optimum, in every direction.
        np.testing.assert_allclose(other.W, one.W, rtol=0, atol=2 * 1e-11 * 569 * np.sqrt(31))


def walk_from_zero(F, solver, n):
    state = solver.init(F, np.zeros(F.shape))
    for _ in range(n):
        state, _ = solver.step(F, state)
    return state.W


def test_giant_with_equal_blocks_is_newton():
    """Blocks that hold the same rows have the same Hessian, so that the mean direction is Newton's."""
    model = known().dense
    block = parts(model, 1)[0]
    giant = GIANT(cg_rtol=1e-12, cg_max_iter=500)
    for n in (1, 3):  # iterations: far from the optimum, so that the two have not just both arrived
        one, four = (
            walk_from_zero(objective(blocks, model.penalty), solver, n)
            for blocks, solver in (([block], NewtonCholesky()), ([block] * 4, giant))
        )
        # The relative residual of CG over the smallest curvature, 1 / 569, of entries of size 1.
        np.testing.assert_allclose(four, one, atol=1e-8)


def test_giant_weighs_blocks_by_their_weights():
    """A block of half the rows with twice the weights counts the same, in the direction as well."""
    model = known().dense
    (block,) = parts(model, 1)
    double = dataclasses.replace(block, weight=np.full(block.n_rows, 3.0))
    giant = GIANT(cg_rtol=1e-12, cg_max_iter=500)
    F = objective([block, double], model.penalty)
    G = objective([block], model.penalty)
    a, b = giant.step(F, giant.init(F, np.zeros(F.shape)))[0], giant.step(G, giant.init(G, np.zeros(G.shape)))[0]
    np.testing.assert_allclose(a.W, b.W, atol=1e-10)


def test_giant_with_blocks_smaller_than_the_number_of_coefficients():
    """Their Hessians are singular without a penalty: CG meets curvature zero, which is not negative."""
    whole = known("noisy", "none").dense
    few = Dense(whole.X[:60], whole.y[:60], np.ones(60), 0.0, whole.loss, True, NoPenalty())
    F = objective(parts(few, 5), NoPenalty())
    assert all(block.n_rows < F.size for block in F.data.parts)
    result = minimize(F, GIANT(), tol=1e-5, max_iter=100)
    assert result.converged
    exact = minimize(F, NewtonCholesky(), tol=1e-10)
    assert result.value == pytest.approx(exact.value, rel=1e-6)


# What a step costs


def counted(problem, solver, n=3):
    """Return the passes and rounds of each step, and its record."""
    F = problem.objective
    result = []

    def look(record):
        result.append(record)

    minimize_quietly(F, solver, n, look)
    passes = np.diff([r["passes"] for r in result])
    rounds = np.diff([r["rounds"] for r in result])
    return result[0], list(zip(passes, rounds, result[1:], strict=True))


def minimize_quietly(F, solver, n, callback):
    with pytest.warns(ConvergenceWarning):
        minimize(F, solver, max_iter=n, tol=0.0, callbacks=[lambda record, state: callback(record)])


def test_newton_cholesky_needs_one_pass_per_iteration():
    first, steps = counted(known(), NewtonCholesky(), 5)
    assert (first["passes"], first["rounds"]) == (1, 2)
    assert all(record["step_size"] == 1 for *_, record in steps)
    assert all((passes, rounds) == (1, 2) for passes, rounds, _ in steps)


@pytest.mark.parametrize("name", ["line", "plane"])
def test_the_hessian_of_squared_errors_is_sent_once_and_for_one_output(name):
    """One step to the optimum, whose pass sends the gradient alone."""
    problem = known(name, "l2")
    F = problem.objective
    q, K = F.shape
    result = minimize(F, NewtonCholesky(), tol=1e-10)
    first, second = result.history
    assert first["bytes_up"] == 8 * F.blocks.n_blocks * (q * (q + 1) // 2 + q * K + 1)
    assert second["bytes_up"] - first["bytes_up"] == 8 * F.blocks.n_blocks * (q * K + 1)
    assert problem.error(result.W) <= 1e-9


def test_giant_needs_two_passes_per_iteration():
    first, steps = counted(known("noisy", "none"), GIANT(), 5)
    assert first["passes"] == 1
    assert all(record["step_size"] == 1 for *_, record in steps)
    assert all((passes, rounds) == (2, 4) for passes, rounds, _ in steps)


def test_giant_without_speculation_has_the_six_rounds_of_the_papers():
    _, steps = counted(known("noisy", "none"), GIANT(line_search=LineSearch(speculative=False)), 5)
    assert all((passes, rounds) == (3, 6) for passes, rounds, _ in steps)


def test_newton_cg_needs_a_pass_per_product_and_one():
    _, steps = counted(known("noisy", "none"), NewtonCG(), 4)
    for passes, rounds, record in steps:
        assert record["step_size"] == 1
        assert passes == record["inner_iterations"] + 1
        assert rounds == 2 * passes


def test_newton_cg_with_sampled_hessian_reads_few_rows_and_finds_the_same_optimum():
    problem = known("noisy", "l2")
    result = minimize(problem.objective, NewtonCG(hessian_sample=0.3), tol=1e-8, max_iter=200)
    assert result.converged
    assert problem.error(result.W) < 1e-5
    again = minimize(known("noisy", "l2").objective, NewtonCG(hessian_sample=0.3), tol=1e-8, max_iter=200)
    np.testing.assert_array_equal(result.W, again.W)


# Losses that are not convex: the least squares of the DINO paper, on the grey values of digits


def test_giant_stops_at_negative_curvature():
    with pytest.warns(ConvergenceWarning, match=r"giant stopped without converging \(npc\)"):
        result = minimize(nonconvex(), GIANT())
    assert result.status is Status.NEGATIVE_CURVATURE
    assert "npc on 4 blocks" in result.history[-1]["note"]
    np.testing.assert_array_equal(result.W, 0)


@pytest.mark.parametrize("npc", ["skip", "steepest"])
def test_giant_goes_on_if_asked(npc):
    F = nonconvex()
    with pytest.warns(ConvergenceWarning):
        result = minimize(F, GIANT(npc=npc), max_iter=20)
    values = [r["objective"] for r in result.history]
    assert np.all(np.diff(values) <= 0)
    # All blocks meet it at the start: without them nothing is left to go along.
    assert (values[-1] < 0.9 * values[0]) == (npc == "steepest")


def test_giant_leaves_out_the_blocks_that_fail():
    model = known().dense
    blocks = [dataclasses.replace(block, loss=SquaredSoftplus()) for block in parts(model, 4)]
    bad = dataclasses.replace(blocks[0], y=blocks[0].y + 9)  # the curvature of a row is negative if y is above log(4)
    F = objective([*blocks[1:], bad], model.penalty)
    giant = GIANT(npc="skip")
    state, info = giant.step(F, giant.init(F, np.zeros(F.shape)))
    assert "npc on 1 blocks" in info.note
    assert state.value < F.at(np.zeros(F.shape)).value


@pytest.mark.parametrize("m", [pytest.param(1, marks=pytest.mark.slow), 4])
def test_newton_cg_leaves_the_saddle_behind(m):
    """14 iterations with one of negative curvature in the specification; F = 3.3065734739."""
    result = minimize(nonconvex(m), NewtonCG(), tol=1e-8, max_iter=60)
    assert result.converged
    assert result.value == pytest.approx(3.3065734739, rel=1e-9)
    assert [r["note"] for r in result.history].count("npc") >= 1
    assert np.all(np.diff([r["objective"] for r in result.history]) <= 0)


def test_newton_cholesky_turns_negative_eigenvalues_around():
    result = minimize(nonconvex(), NewtonCholesky(), tol=1e-8, max_iter=100)
    assert result.value == pytest.approx(3.3065734739, rel=1e-9)
    assert "indefinite" in {r["note"] for r in result.history}


def test_newton_direction_with_absolute_eigenvalues():
    """Solves with V |D| V' of the Hessian scaled to a unit diagonal, so that it descends."""
    F = known("breast_cancer", "none").objective
    rng = np.random.default_rng(0)
    Q, _ = np.linalg.qr(rng.normal(size=(31, 31)))
    H = (Q * np.linspace(-1.1, 5, 31)) @ Q.T  # none is near zero
    g = rng.normal(size=(31, 1))
    P, note = newton_direction(F, H, g)
    assert note == "indefinite"
    assert np.vdot(P, g) < 0
    D = np.diag(1 / np.sqrt(np.where(np.diag(H) > 0, np.diag(H), 1)))
    values, V = np.linalg.eigh(D @ H @ D)
    np.testing.assert_allclose(P, -D @ V @ ((V.T @ D @ g) / np.abs(values)[:, None]), rtol=1e-8)


def test_newton_direction_is_invariant_to_units():
    F = known("breast_cancer", "none").objective
    point = F.at(np.full(F.shape, 0.01), hessian=True)
    units = np.geomspace(1e-6, 1e6, 31)
    P, _ = newton_direction(F, point.hessian, point.gradient)
    scaled, note = newton_direction(F, point.hessian * units[:, None] * units, point.gradient * units[:, None])
    assert note == ""
    np.testing.assert_allclose(scaled * units[:, None], P, rtol=1e-6)


@pytest.mark.parametrize("solver", [GIANT(), NewtonCG(), NewtonCholesky(), NewtonMR()], ids=lambda s: s.name)
def test_a_failed_line_search_is_told_and_leaves_the_last_point(solver):
    """Poisoned from the first step on: every step size is rejected."""
    model = known().dense
    blocks = [dataclasses.replace(b, loss=Poisoned(1e-300)) for b in parts(model)]
    y = blocks[2].y.copy()
    y[5] += 2
    blocks[2] = dataclasses.replace(blocks[2], y=y)
    with pytest.warns(ConvergenceWarning, match=r"\(ls_fail\)"):
        result = minimize(objective(blocks, model.penalty), solver)
    assert result.status is Status.LINE_SEARCH_FAILED
    assert result.value == pytest.approx(np.log(2))
    np.testing.assert_array_equal(result.W, 0)
