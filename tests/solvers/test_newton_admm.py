"""Consensus ADMM: its invariants, its penalties rho, its counts, and the finish."""

import dataclasses
import math
import warnings
from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest
from pairwise import cases
from problems import dense, known, objective, parts
from sklearn.exceptions import ConvergenceWarning

from dask_newton import minimize
from dask_newton.losses import Logistic, SquaredSoftplus
from dask_newton.objectives.linear.block import LinearBlock
from dask_newton.objectives.rows.block import RowBlock
from dask_newton.penalties import L1, L2, NoPenalty
from dask_newton.solvers import NewtonADMM, Status
from dask_newton.solvers.admm.scalar import Snapshot
from dask_newton.solvers.admm.spectral import spectral_penalty
from dask_newton.solvers.linear.support_newton import SupportNewton

PLAIN = NewtonADMM(polish=False)
PENALTIES = ["spectral", "residual_balancing", "fixed"]


def walk(F, solver, n, start=None):
    """Yield n states."""
    state = solver.init(F, np.zeros(F.shape) if start is None else start)
    for _ in range(n):
        state, info = solver.step(F, state)
        yield state, info


def run(F, solver, n):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is stopped on purpose
        return minimize(F, solver, max_iter=n, tol=1e-12)


# Iteration counts of the specification. The objective of an iterate is known one iteration later.


@pytest.mark.parametrize(
    ("name", "gap", "iterations", "spectral_every"),
    [
        ("digits", 1e-3, 80, 1),
        ("breast_cancer", 1e-6, 110, 2),
        pytest.param("breast_cancer", 1e-6, 110, 1, marks=pytest.mark.slow),
    ],
)
def test_few_iterations(name, gap, iterations, spectral_every):
    """Not so digits with other options: spectral trajectories are chaotic, and some find rho late."""
    problem = known(name)
    solver = dataclasses.replace(PLAIN, spectral_every=spectral_every)
    result = run(problem.objective, solver, iterations + 1)
    first = next(r["iteration"] for r in result.history if problem.gap(r["objective"]) <= gap)
    assert first - 1 <= iterations


@pytest.mark.parametrize(
    ("name", "gap", "iterations"),
    [pytest.param("digits", 1e-3, 80, marks=pytest.mark.slow), ("breast_cancer", 1e-6, 100)],
)
def test_few_iterations_with_minres(name, gap, iterations):
    """A prototype had 90 with another rhythm of spectral estimates, and 47."""
    problem = known(name)
    result = run(problem.objective, dataclasses.replace(PLAIN, local_solver="newton-mr"), iterations + 1)
    assert min(problem.gap(r["objective"]) for r in result.history) <= gap


@pytest.mark.parametrize("rho", [1e-3, *(pytest.param(rho, marks=pytest.mark.slow) for rho in (1.0, 1e3))])
def test_spectral_penalty_forgives_a_bad_first_rho(rho):
    problem = known()
    result = run(problem.objective, dataclasses.replace(PLAIN, rho=rho), 120)
    assert problem.gap(result.value) <= 1e-4


@cases("penalty, relaxation", product(PENALTIES, [1.0, 1.6]), together=1)
def test_every_schedule_converges(penalty, relaxation):
    problem = known()
    result = run(problem.objective, dataclasses.replace(PLAIN, penalty=penalty, relaxation=relaxation), 150)
    assert problem.gap(result.value) <= 1e-4
    last = result.history[-1]
    assert last["primal_residual"] < 1e-2
    assert last["dual_residual"] < 1e-3


# Invariants


@cases("penalty, m, rule", product(PENALTIES, [1, 4, 7], ["l2", "none"]))
def test_duals_add_up_to_the_gradient_of_the_penalty(penalty, m, rule):
    """sum_i y_i = -lam2 z after every update of y, without relaxation and l1."""
    F, scale = known("noisy", rule, m=m).objective, 0.0
    for state, _ in walk(F, dataclasses.replace(PLAIN, penalty=penalty), 12):
        # The blocks have updated y with the z of the iteration before, which they hold too.
        held = F.blocks.gather(state.blocks)
        z, total = held[0].z, sum(block.y for block in held)
        expected = np.zeros_like(z)
        F.penalised(expected)[...] = -F.smooth.hess_diag * F.penalised(z)
        # Rounding is relative to the summands of y; with one block and no penalty they cancel.
        scale = max(scale, sum(np.abs(block.y).max() + block.rho * np.abs(block.x).max() for block in held))
        if state.iteration > 1:
            np.testing.assert_allclose(total, expected, atol=1e-13 * scale)


def test_with_l1_the_duals_add_up_to_a_subgradient():
    problem = known("breast_cancer", "l1")
    F, lam = problem.objective, 0.01
    *_, (state, _) = walk(F, PLAIN, 40)
    held = F.blocks.gather(state.blocks)
    z, total = held[0].z[:-1], sum(block.y for block in held)
    np.testing.assert_allclose(total[:-1][z != 0], -lam * np.sign(z[z != 0]), atol=1e-12)
    assert np.all(np.abs(total[:-1][z == 0]) <= lam * (1 + 1e-10))
    assert abs(total[-1, 0]) < 1e-12  # the intercept has no penalty
    assert np.any(z == 0)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_rho_stays_positive_and_only_fixed_stays(penalty):
    F = known("noisy", m=4).objective
    seen = set()
    for state, info in walk(F, dataclasses.replace(PLAIN, penalty=penalty), 30):
        rho = [block.rho for block in F.blocks.gather(state.blocks)]
        assert min(rho) > 0
        assert np.all(np.isfinite(rho))
        assert info.extra["rho"] == pytest.approx(np.mean(rho), rel=1e-12)
        seen.update(rho)
    assert (len(seen) == 1) == (penalty == "fixed")


def test_optimum_is_a_fixed_point():
    """x_i = z = W*, y_i = grad phi_i(W*): from there one iteration changes nothing."""
    problem = known("noisy", m=3)
    F, solver = problem.objective, dataclasses.replace(PLAIN, penalty="fixed")
    state = solver.init(F, problem.W)
    S = F.total_weight
    held = [
        dataclasses.replace(block, y=LinearBlock(rows, True).ray(problem.W).gradient / S)
        for block, rows in zip(F.blocks.gather(state.blocks), F.data.parts, strict=True)
    ]
    state = dataclasses.replace(state, blocks=F.blocks.place(held))
    for _ in range(2):
        state, _ = solver.step(F, state)
        # The reference has a gradient of 1e-12; over the curvature rho = 1 / 600 and lam2 that is 1e-9.
        np.testing.assert_allclose(state.z, problem.W, atol=1e-8)


@dataclass(frozen=True)
class Scaled(Logistic):
    """A multiple of the logistic loss."""

    factor: float = 1.0

    def value(self, y, z):
        return self.factor * super().value(y, z)

    def linearize(self, y, z):
        return tuple(self.factor * a for a in super().linearize(y, z))


def test_spectral_penalty_is_equivariant():
    """All of F and rho times 128 (a power of two, so exactly): the same z to the bit, and 128 times the rho and y.

    Other factors change the rounding, and trajectories with it: the method is chaotic.
    """
    model, results = dense("breast_cancer"), []
    for factor in (1.0, 128.0):
        blocks = [dataclasses.replace(b, loss=Scaled(factor)) for b in parts(model, 4)]
        F = objective(blocks, L2(factor * model.penalty.lam))
        *_, (state, _) = walk(F, dataclasses.replace(PLAIN, rho=factor), 15)
        results.append((state, F.blocks.gather(state.blocks)))
    (a, held_a), (b, held_b) = results
    np.testing.assert_array_equal(a.z, b.z)
    assert b.value == 128 * a.value
    for one, other in zip(held_a, held_b, strict=True):
        assert other.rho == 128 * one.rho
        np.testing.assert_array_equal(other.y, 128 * one.y)
        np.testing.assert_array_equal(other.x, one.x)


def test_sum_and_mean_scale_are_the_same():
    """rho counts for the sum over samples: rows all twice are a problem of twice the sum and the same mean."""
    model = dense("breast_cancer")
    blocks = parts(model, 3)
    double = [dataclasses.replace(b, weight=np.full(b.n_rows, 2.0)) for b in blocks]
    F, G = objective(blocks, model.penalty), objective(double, model.penalty)
    *_, (a, _) = walk(F, dataclasses.replace(PLAIN, rho=1.0), 6)
    *_, (b, _) = walk(G, dataclasses.replace(PLAIN, rho=2.0), 6)
    np.testing.assert_allclose(a.z, b.z, rtol=1e-9)


def test_the_dual_of_a_snapshot_is_the_gradient_of_the_block():
    """y + rho (z_old - x) is grad phi_i(x) if x minimises the part of its block, as the estimate assumes."""
    F = known("noisy", m=3).objective
    solver = dataclasses.replace(PLAIN, newton_steps=20, cg_max_iter=100, cg_rtol=1e-10)
    for state, _ in walk(F, solver, 6):
        if state.iteration == 1:
            continue
        for rows, held in zip(F.data.parts, F.blocks.gather(state.blocks), strict=True):
            gradient = LinearBlock(rows, True).ray(held.snapshot.x).gradient / F.total_weight
            np.testing.assert_allclose(held.snapshot.dual, gradient, atol=1e-7 * np.abs(gradient).max())


# The spectral estimate


def snapshots(curvature, angle=0.0, seed=0):
    """Return two snapshots whose duals change by ``curvature`` times the change of x and of -z, turned by an angle."""
    rng = np.random.default_rng(seed)
    d = rng.normal(size=(6, 1))
    o = rng.normal(size=(6, 1))
    o -= d * np.vdot(d, o) / np.vdot(d, d)
    o *= np.linalg.norm(d) / np.linalg.norm(o)
    e = curvature * (math.cos(angle) * d + math.sin(angle) * o)
    zero = np.zeros((6, 1))
    return Snapshot(zero, zero, zero, zero), Snapshot(d, e, -d, e)


def test_spectral_penalty_is_the_curvature():
    old, new = snapshots(curvature=3.5)
    assert spectral_penalty(old, new, 1.0, 1, 0.2) == pytest.approx(3.5)


def test_spectral_penalty_is_the_geometric_mean_of_both_curvatures():
    old, new = snapshots(curvature=2.0)
    new = dataclasses.replace(new, y=4 * new.y)
    assert spectral_penalty(old, new, 1.0, 1, 0.2) == pytest.approx(math.sqrt(2.0 * 8.0))


def test_one_trusted_estimate_is_taken_as_it_is():
    """Not its root, as in the reference code of Newton-ADMM, which has the wrong unit."""
    old, new = snapshots(curvature=9.0)
    useless = dataclasses.replace(new, y=-new.y)
    assert spectral_penalty(old, useless, 1.0, 1, 0.2) == pytest.approx(9.0)
    useless = dataclasses.replace(new, dual=-new.dual)
    assert spectral_penalty(old, useless, 1.0, 1, 0.2) == pytest.approx(9.0)


@pytest.mark.parametrize("angle", [math.pi / 2, math.pi, 1.4])
def test_estimates_that_correlate_too_little_change_nothing(angle):
    assert math.cos(1.4) < 0.2
    old, new = snapshots(3.5, angle)
    assert spectral_penalty(old, new, 0.7, 1, 0.2) == 0.7


def test_no_change_and_no_number_change_nothing():
    old, new = snapshots(3.5)
    no_number = dataclasses.replace(new, dual=np.nan * new.dual, y=new.y * 0)
    for useless in (old, dataclasses.replace(old, x=new.x), no_number):
        assert spectral_penalty(old, useless, 0.7, 1, 0.2) == 0.7


def test_late_changes_are_bounded():
    """By 1 + 1e10 / k^2."""
    old, new = snapshots(1e9)
    reach = 1 + 1e10 / 1e12
    assert spectral_penalty(old, new, 1.0, 10**6, 0.2) == pytest.approx(reach)
    old, new = snapshots(1e-9)
    assert spectral_penalty(old, new, 1.0, 10**6, 0.2) == pytest.approx(1 / reach)


# Cost


@pytest.mark.parametrize("certify_every", [1, 10])
def test_one_pass_and_two_rounds_per_iteration(certify_every):
    F = known("noisy", m=4).objective
    result = run(F, dataclasses.replace(PLAIN, certify_every=certify_every), 12)
    assert set(np.diff([r["passes"] for r in result.history])) == {1}
    assert set(np.diff([r["rounds"] for r in result.history])) == {2}
    certified = [r["iteration"] for r in result.history if np.isfinite(r["gradient_norm"])]
    assert certified == ([0, *range(2, 13)] if certify_every == 1 else [0, 11])


def test_a_block_sends_one_vector_and_some_numbers():
    F = known("noisy", m=4).objective
    result = run(F, PLAIN, 6)
    vector = 8 * F.size
    up = np.diff([r["bytes_up"] for r in result.history]) / 4
    down = np.diff([r["bytes_down"] for r in result.history]) / 4
    assert np.all(up <= vector + 100)
    assert np.all(down <= vector + 50)


def test_blocks_work_as_much_as_they_are_told():
    F = known("noisy", m=4).objective
    result = run(F, dataclasses.replace(PLAIN, cg_max_iter=3, cg_rtol=0.0, newton_steps=2), 5)
    assert all(r["inner_iterations"] == 6.0 for r in list(result.history)[1:])


# The finish


@pytest.mark.parametrize(("rule", "finish"), [("l2", "NewtonCGState"), ("l1", "ProxNewtonState")])
def test_polish_takes_over_once_the_residuals_are_small(rule, finish):
    problem = known("breast_cancer", rule)
    result = minimize(problem.objective, NewtonADMM(), tol=1e-9, max_iter=100)
    notes = [r["note"] for r in result.history]
    started = next(k for k, note in enumerate(notes) if note.startswith("polish"))
    assert not any(note.startswith("polish") for note in notes[:started])
    assert all(note.startswith("polish") for note in notes[started:])
    assert type(result.state.polish).__name__ == finish
    before = result.history[started - 1]
    assert before["primal_residual"] < 0.1 or started >= 60


def test_without_polish_there_is_none():
    result = run(known().objective, PLAIN, 80)
    assert result.state.polish is None
    assert not any(r["note"].startswith("polish") for r in result.history)


def test_polish_comes_in_time():
    problem = known()
    result = minimize(problem.objective, NewtonADMM(polish_after=5, eps_rel=0.0), tol=1e-9)
    notes = [r["note"] for r in result.history]
    assert notes[6].startswith("polish")
    assert not notes[5].startswith("polish")
    assert result.converged


@pytest.mark.parametrize("rule", ["l1", "group_lasso"])
@pytest.mark.parametrize("start", ["zero", "dense", "wrong signs"])
def test_support_newton_finds_the_support_from_anywhere(start, rule):
    problem = known("breast_cancer", rule)
    first = {
        "zero": np.zeros((31, 1)),
        "dense": np.full((31, 1), 0.3),
        "wrong signs": -3 * problem.W + 0.1,
    }[start]
    result = minimize(problem.objective, SupportNewton(), first, tol=1e-10, max_iter=200)
    assert result.converged
    np.testing.assert_array_equal(result.W != 0, problem.W != 0)
    values = np.array([r["objective"] for r in result.history])
    assert np.all(np.diff(values) <= 4 * np.finfo(float).eps * values[:-1])  # what its line search takes for equal


def test_support_newton_stops_at_zero():
    """Where the full step would change the sign of a coefficient, and there alone."""
    problem = known("breast_cancer", "l1")
    F, solver, crossed = problem.objective, SupportNewton(), 0
    state = solver.init(F, -3 * problem.W + 0.1)
    for _ in range(15):
        before = F.penalised(state.W)
        state, info = solver.step(F, state)
        after = F.penalised(state.W)
        if info.note != "proximal gradient":
            assert np.all(before * after >= 0)
            crossed += np.any((before != 0) & (after == 0))
        if state.residual < 1e-10:
            break
    assert crossed > 0  # the test has seen what it is for


# Trouble


@pytest.mark.parametrize("local_solver", ["newton-cg", "newton-mr"])
def test_negative_curvature_raises_the_floor_of_rho(local_solver):
    rng = np.random.default_rng(0)
    X, y = rng.random((200, 6)), rng.integers(0, 10, 200).astype(float)
    rows = zip(np.split(X, 4), np.split(y, 4), strict=True)
    F = objective([RowBlock(a, b, None, None, SquaredSoftplus()) for a, b in rows], NoPenalty(), fit_intercept=False)
    at_zero = F.at(np.zeros(F.shape)).value
    solver = dataclasses.replace(PLAIN, rho=1e-6, local_solver=local_solver)
    floors = [0.0] * 4
    for state, _ in walk(F, solver, 25):
        held = F.blocks.gather(state.blocks)
        # Curvature met in one iteration counts from the next.
        assert all(block.rho >= floor for block, floor in zip(held, floors, strict=True))
        floors = [block.floor for block in held]
    assert min(floors) > 0
    assert state.value < at_zero


def test_one_block_without_penalty_is_no_divergence():
    """z is x then, and primal residuals are rounding errors of any size relative to the first."""
    problem = known("noisy", "none", m=1)
    result = minimize(problem.objective, NewtonADMM(polish=False), tol=1e-8, max_iter=100)
    assert result.converged
    assert problem.error(result.W) <= 1e-6


@dataclass(frozen=True)
class Cliff(Logistic):
    """A loss whose value is only finite at margins zero, or grows along its own slope: no step is acceptable."""

    def value(self, y, z):
        return super().value(y, z) + np.where(np.abs(z[:, 0]) > 1e-12, np.inf, 0.0)


def test_blocks_that_find_no_step_keep_their_x_and_end_the_run():
    model = dense("breast_cancer")
    F = objective([dataclasses.replace(b, loss=Cliff()) for b in parts(model, 3)], L2(1e-3))
    with pytest.warns(ConvergenceWarning):
        result = minimize(F, PLAIN, max_iter=20)
    assert result.status is Status.DIVERGED
    assert result.n_iter <= 4
    assert all("3 of 3 blocks kept their x" in r["note"] for r in list(result.history)[1:])
    np.testing.assert_array_equal(result.W, 0)


@dataclass(frozen=True)
class NoGradient(Logistic):
    """A loss whose gradient is NaN at margins larger than 0.1 in rows marked by targets of 2 and more."""

    def valid(self, y):
        return y == y

    def value(self, y, z):
        return super().value(y % 2, z)

    def linearize(self, y, z):
        value, gradient, curvature = super().linearize(y % 2, z)
        return value, np.where((y[:, None] >= 2) & (np.abs(z) > 0.1), np.nan, gradient), curvature


def test_a_block_without_gradient_is_left_out_and_ends_the_run_at_the_third_time():
    """It keeps its x, the others go on."""
    blocks = [dataclasses.replace(b, loss=NoGradient()) for b in parts(dense("breast_cancer"), 3)]
    y = blocks[1].y.copy()
    y[0] += 2
    blocks[1] = dataclasses.replace(blocks[1], y=y)
    F = objective(blocks, L2(1e-3))
    with pytest.warns(ConvergenceWarning, match=r"\(nan\)"):
        result = minimize(F, PLAIN, max_iter=20)
    assert result.status is Status.NAN
    notes = [r["note"] for r in result.history]
    assert notes == ["", "", *["1 of 3 blocks kept their x"] * 3]
    assert np.all(np.isfinite(result.W))
    assert result.value < 0.5 * np.log(2)


def test_certificate_counts_the_l1_penalty():
    problem = known("breast_cancer", "l1")
    F = problem.objective
    solver = dataclasses.replace(PLAIN, certify_every=1)
    for state, _ in walk(F, solver, 20):
        if state.iteration > 1:
            assert state.residual == pytest.approx(problem.dense.residual(state.W), rel=1e-9)
    assert isinstance(F.nonsmooth, L1)
