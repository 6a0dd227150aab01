"""DINO and DINGO: what every step promises, their cases and what they cost, plateaus, and how they fail."""

import dataclasses
from dataclasses import dataclass

import array_api_strict as strict
import numpy as np
import pytest
from catalogue import LOSSES
from problems import Poisoned, known, nonconvex, objective, parts
from sklearn.exceptions import ConvergenceWarning

from dask_newton import make_problem, minimize
from dask_newton.losses import Logistic
from dask_newton.objectives.rows.block import RowBlock
from dask_newton.penalties import L2, NoPenalty
from dask_newton.solvers import DINGO, DINO, GIANT, DiSCO, NewtonCG, NewtonMR, Status, UnsupportedError
from dask_newton.solvers.parts.gradient_search import GradientSearch
from dask_newton.solvers.parts.least_squares import LeastSquares

ON_THE_NORM = pytest.mark.parametrize("solver", [DINGO(), NewtonMR(merit="gradnorm")], ids=lambda s: s.name)
BOTH = pytest.mark.parametrize("solver", [DINO(), DINGO()], ids=lambda s: s.name)
PLATEAU = 28.372843600037  # mean(t^2): all predictions are 0


def quietly(F, solver, n, start=None, **options):
    """Minimise for n iterations, which are not enough."""
    with pytest.warns(ConvergenceWarning):
        return minimize(F, solver, start, max_iter=n, tol=0.0, **options)


def iterations_to(problem, result, gap):
    return next(r["iteration"] for r in result.history if problem.gap(r["objective"]) <= gap)


@pytest.mark.parametrize(
    ("rows", "penalty"),
    [("noisy", "none"), ("noisy", "l2"), ("noisy_reference", "weighted_l2"), ("line", "l2"), ("counts", "weighted_l2")],
)
@BOTH
def test_blocks_of_unequal_sizes_and_weights_reach_the_optimum(solver, rows, penalty):
    problem = known(rows, penalty, m=2, layout="unequal", weighted=True)
    result = minimize(problem.objective, solver, tol=1e-8, max_iter=200)
    assert result.converged
    # The residual over the smallest curvature.
    assert problem.error(result.W) <= 1e-5
    assert problem.gap(result.value) <= 1e-9


@pytest.mark.parametrize("loss", [name for name, case in LOSSES.items() if case.loss.convex])
@BOTH
def test_every_loss(solver, loss):
    """The optimum is Newton's, with the whole Hessian."""
    rng = np.random.default_rng(4)
    X, y = rng.normal(size=(160, 3)), LOSSES[loss].targets(rng, 160)
    problem = make_problem(X, y, loss=LOSSES[loss].loss, penalty=L2(0.1), n_blocks=2)
    exact = minimize(problem, "newton-cholesky", tol=1e-10)
    result = minimize(problem, solver, tol=1e-8, max_iter=20)
    np.testing.assert_allclose(result.W, exact.W, rtol=0, atol=1e-6)


@pytest.mark.parametrize("solver", [DINO(max_iter=50), DINGO()], ids=lambda s: s.name)
def test_few_iterations_on_breast_cancer(solver):
    """Specification: 14 to a gap of 1e-6 with DINO. DINGO, with exact pseudo-inverses, is like it."""
    problem = known()
    result = minimize(problem.objective, solver, tol=1e-8)
    assert result.converged
    assert iterations_to(problem, result, 1e-6) <= 18
    assert result.n_iter <= 36


def test_few_iterations_of_dingo_on_digits():
    """Specification: 6 to a gap of 1e-3."""
    problem = known("digits")
    assert iterations_to(problem, quietly(problem.objective, DINGO(), 8), 1e-3) <= 8


@pytest.mark.slow
@pytest.mark.parametrize("solver", [DINO(max_iter=300, rtol=1e-6), DINGO()], ids=lambda s: s.name)
def test_digits(solver):
    """Specification: 14 to a gap of 1e-6, 36 and 37 to a gradient of 1e-8."""
    problem = known("digits")
    result = minimize(problem.objective, solver, tol=1e-8)
    assert result.converged
    assert iterations_to(problem, result, 1e-6) <= 18
    assert result.n_iter <= 40


@pytest.mark.parametrize("problem", ["breast_cancer", "nonconvex"])
@BOTH
def test_every_direction_keeps_its_promise(solver, problem):
    """DINO: <P, g> <= -theta norm(g)^2 and F decreases. DINGO: <P, H g> <= -theta norm(g)^2 and norm(g) decreases."""
    F = known().objective if problem == "breast_cancer" else nonconvex()
    solver = dataclasses.replace(solver, max_iter=30, theta=1e-2 if problem == "nonconvex" else solver.theta)
    state = solver.init(F, 0.1 * np.random.default_rng(0).normal(size=F.shape))
    for _ in range(8):
        new, info = solver.step(F, state)
        assert new.status is Status.RUNNING
        P, g = (new.W - state.W) / info.step_size, state.point.gradient
        target = g if solver.name == "dino" else F.hess_mul(state.point, g)
        assert np.vdot(P, target) <= -solver.theta * np.vdot(g, g) * (1 - 1e-8)
        if solver.name == "dino":
            assert new.value < state.value
        else:
            assert np.linalg.norm(new.point.gradient) < np.linalg.norm(g)
        state = new


@pytest.mark.parametrize("solver", [DINO(rtol=1e-13), DINGO(minres_rtol=1e-13)], ids=lambda s: s.name)
def test_one_step_solves_a_quadratic_over_blocks_with_the_same_rows(solver):
    model = known("line", "l2").dense
    (block,) = parts(model, 1)
    F = objective([block, dataclasses.replace(block, weight=np.full(block.n_rows, 3.0))], model.penalty)
    state, info = solver.step(F, solver.init(F, np.zeros(F.shape)))
    assert info.step_size == 1
    assert state.residual <= 1e-10


@pytest.mark.parametrize("solver", [DINO(rtol=1e-13), DINGO(minres_rtol=1e-13)], ids=lambda s: s.name)
def test_directions_are_weighted_by_the_weights_of_blocks(solver):
    """A block of a third of the rows that count three times, or an empty one, changes nothing."""
    model = known("line", "l2").dense
    blocks, penalty = parts(model, 2), model.penalty
    once = objective([*blocks, blocks[1], blocks[1]], penalty)
    thrice = objective([blocks[0], dataclasses.replace(blocks[1], weight=np.full(blocks[1].n_rows, 3.0))], penalty)
    start = np.full(once.shape, 0.05)
    one, other = (solver.step(F, solver.init(F, start))[0] for F in (once, thrice))
    np.testing.assert_allclose(one.W, other.W, atol=1e-8)
    empty = dataclasses.replace(blocks[0], X=blocks[0].X[:0], y=blocks[0].y[:0])
    with_empty = objective([blocks[0], empty, blocks[1]], penalty)
    without = objective(blocks, penalty)
    one, other = (solver.step(F, solver.init(F, start))[0] for F in (with_empty, without))
    np.testing.assert_array_equal(one.W, other.W)


@BOTH
def test_blocks_sorted_by_class(solver):
    """Specification: DINO needs 25 iterations to a gap of 1e-6, instead of 14."""
    order = np.argsort(known().dense.y, kind="stable")
    problem = known(order=np.roll(order, 100))
    result = minimize(problem.objective, solver, tol=1e-6)
    assert result.converged
    assert problem.gap(result.value) <= 1e-6


@BOTH
def test_on_another_device(solver):
    device = strict.Device("device1")
    there = known("noisy", "l2", m=2, move=lambda a: strict.asarray(a, device=device))
    here = known("noisy", "l2", m=2)
    one, other = (minimize(problem.objective, solver, tol=1e-4) for problem in (there, here))
    np.testing.assert_allclose(one.W, other.W, atol=1e-3)
    assert one.converged and other.converged


# Losses that are not convex


def test_dingo_walks_to_the_plateau_and_says_so():
    """The gradient vanishes where all predictions are 0, at a larger F than at the start."""
    F = nonconvex()
    with pytest.warns(ConvergenceWarning, match=r"dingo ended at a larger objective .*, 28\.37.* instead of 22\.62"):
        result = minimize(F, DINGO(minres_rtol=1e-4), tol=1e-8)
    assert result.status is Status.CONVERGED
    assert not result.convex
    assert result.value == pytest.approx(PLATEAU, rel=1e-9)
    assert {r["case"] for r in result.history.records[1:]} == {1}


def test_dino_descends_where_giant_stops_and_dingo_rises():
    F = nonconvex()
    with pytest.warns(ConvergenceWarning, match=r"giant stopped without converging \(npc\)"):
        assert minimize(F, GIANT()).history[-1]["step_size"] == 0
    result = quietly(F, DINO(theta=1.0, phi=0.1), 40)
    values = np.array([r["objective"] for r in result.history])
    assert np.all(np.diff(values) < 0)
    assert values[-1] < 4.0  # the minimum is 3.307, the start 22.63
    assert {r["corrected"] for r in result.history.records[1:]} <= {0, 1, 2, 3, 4}
    assert result.history[1]["corrected"] == 4


def test_solvers_that_descend_do_not_warn_of_a_rise():
    minimize(nonconvex(1), NewtonCG(), tol=1e-4)


# Cases and costs


def test_dingo_pays_for_the_cases_that_it_needs():
    """Four rounds, two more for b, two more for case 3; two more for a step that is too long."""
    seen = set()
    for theta in (1e-4, 1.0, 100.0):
        result = quietly(nonconvex(), DINGO(theta=theta, max_iter=60), 4)
        rounds = np.diff([r["rounds"] for r in result.history])
        for taken, record in zip(rounds, result.history.records[1:], strict=True):
            k = round(-np.log2(record["step_size"]))
            assert taken == 2 + 2 * record["case"] + 2 * (k // 4) + 2 * (k % 4 > 0)
            seen.add(record["case"])
    assert {1, 3} <= seen


def test_dingo_sends_the_gradients_of_a_batch_and_what_its_case_needs():
    F = known("noisy", "none").objective
    result = quietly(F, DINGO(), 2)
    first, second = result.history.records[:2]
    assert (second["case"], second["step_size"]) == (1, 1.0)
    d, m = F.size, F.blocks.n_blocks
    # Up: H g, a and a norm, two counts; four values and gradients. Down: g and the strength of the penalty; P, steps.
    assert second["bytes_up"] - first["bytes_up"] == 8 * m * (2 * d + 3 + 4 * d + 4)
    assert second["bytes_down"] - first["bytes_down"] == 8 * m * (d + 1 + d + 4)


def test_dino_sends_what_giant_sends():
    F = known("noisy", "none").objective
    result = quietly(F, DINO(), 2)
    first, second = result.history.records[:2]
    assert second["step_size"] == 1.0
    d, m = F.size, F.blocks.n_blocks
    assert second["bytes_up"] - first["bytes_up"] == 8 * m * (2 * d + 4)
    assert second["bytes_down"] - first["bytes_down"] == 8 * m * (2 * d + 2)
    assert (second["passes"] - first["passes"], second["rounds"] - first["rounds"]) == (2, 4)


@pytest.mark.parametrize("batch", [1, 3, 51])
def test_the_search_takes_the_largest_step_whatever_the_batch(batch):
    F = known("line", "l2").objective
    point = F.at(np.zeros(F.shape))
    Hg = F.hess_mul(point, point.gradient)
    D, g = -30 * point.gradient, point.gradient
    slope = float(np.vdot(D, Hg))
    new, size = GradientSearch(batch=batch).search(F, point, D, slope)

    def decrease(a):
        moved = F.at(point.W + a * D).gradient
        return np.vdot(moved, moved) - np.vdot(g, g) - 2 * a * 1e-4 * slope

    assert size < 0.25
    assert decrease(size) <= 0 < min(decrease(2.0**-k) for k in range(round(-np.log2(size))))
    np.testing.assert_allclose(new.gradient, F.at(point.W + size * D).gradient, atol=1e-14)
    np.testing.assert_allclose(new.W, point.W + size * D)
    assert new.value == pytest.approx(F.value(new.W), rel=1e-14)
    # The point can be gone on from: its curvature and margins are those of the accepted step.
    np.testing.assert_allclose(F.hess_mul(new, g), F.hess_mul(F.at(new.W), g), atol=1e-14)


def test_corrections_add_what_is_missing_and_no_more():
    rng = np.random.default_rng(0)
    A = rng.normal(size=(12, 12))
    A = A + A.T
    v, target = rng.normal(size=(2, 12, 1))
    problems = LeastSquares.of(phi=0.1, rtol=1e-12, max_iter=200)
    least = float(np.vdot(v, target)) + 5.0
    corrected, n_iter = problems.correct(lambda u: A @ u, v, target, least)
    assert np.vdot(corrected, target) == pytest.approx(least, rel=1e-12)
    u = np.linalg.solve(A @ A + 0.01 * np.eye(12), target)
    np.testing.assert_allclose(corrected - v, 5.0 / np.vdot(u, target) * u, rtol=1e-8)
    assert n_iter > 0
    assert problems.correct(lambda u: np.nan * u, v, target, least)[0] is None


# Failure


@dataclass(frozen=True)
class Straight(Logistic):
    """A loss without curvature, ``l(y, z) = z``: its gradient is the same everywhere."""

    def value(self, y, z):
        """Return z."""
        return z[:, 0]

    def linearize(self, y, z):
        """Return z, 1 and 0."""
        return z[:, 0], 0 * z + 1, 0 * z


@ON_THE_NORM
def test_a_stationary_point_of_the_norm_of_the_gradient_is_told(solver):
    block = RowBlock(np.arange(1.0, 9.0).reshape(4, 2), np.zeros(4), None, None, Straight())
    with pytest.warns(ConvergenceWarning, match=r"\(stationary_of_surrogate\).*such as 'dino'"):
        result = minimize(objective([block, block], NoPenalty(), fit_intercept=False), solver)
    assert result.status is Status.STATIONARY
    np.testing.assert_array_equal(result.W, 0)


@pytest.mark.parametrize(
    "solver", [DINO(), DINGO(), GIANT(), NewtonCG(), NewtonMR(merit="gradnorm")], ids=lambda s: s.name
)
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
    np.testing.assert_array_equal(result.W, 0)


@pytest.mark.parametrize("solver", [DINO(), DINGO(), GIANT(npc="steepest"), GIANT(npc="skip")], ids=str)
def test_a_block_without_curvature_takes_part_with_its_gradient_or_not_at_all(solver):
    """NaN in its products alone: the others go on, and the record tells."""
    model = known().dense
    blocks = [dataclasses.replace(b, loss=Poisoned(0.0, only_curvature=True)) for b in parts(model)]
    y = blocks[1].y.copy()
    y[0] += 2
    blocks[1] = dataclasses.replace(blocks[1], y=y)
    result = quietly(objective(blocks, model.penalty), solver, 5)
    assert "1 blocks" in result.history[1]["note"]
    assert result.value < 0.5 * np.log(2)
    assert np.all(np.isfinite(result.W))


@pytest.mark.parametrize(
    ("solver", "status"), [(DiSCO(), Status.NAN), (NewtonCG(), Status.MAX_ITER)], ids=["disco", "newton-cg"]
)
def test_nan_in_products_of_all_rows(solver, status):
    """No block can be left out: DiSCO stops, and Newton-CG goes on along the gradient."""
    model = known().dense
    blocks = [dataclasses.replace(b, loss=Poisoned(0.0, only_curvature=True)) for b in parts(model)]
    y = blocks[1].y.copy()
    y[0] += 2
    blocks[1] = dataclasses.replace(blocks[1], y=y)
    result = quietly(objective(blocks, model.penalty), solver, 3)
    assert result.status is status
    assert (result.value < np.log(2)) == (solver.name == "newton-cg")


@pytest.mark.parametrize("option", [{"theta": 0.0}, {"phi": 0.0}])
@BOTH
def test_bad_options_are_refused(solver, option):
    with pytest.raises(UnsupportedError, match=rf"{solver.name}' got {next(iter(option))}=0.0; it must be positive"):
        minimize(known().objective, dataclasses.replace(solver, **option))
