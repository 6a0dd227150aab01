"""DANE, InexactDANE, AIDE and SGD: their recursions by hand, what is known of them, and how they fail."""

import dataclasses
import math

import array_api_strict as strict
import numpy as np
import pytest
from matrices import KINDS
from problems import Dense, Poisoned, known, objective, parts
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

from dask_newton import LogisticRegression, minimize
from dask_newton.losses import Logistic, SquaredSoftplus
from dask_newton.objectives.rows.block import RowBlock
from dask_newton.penalties import L2, NoPenalty
from dask_newton.solvers import AIDE, DANE, SGD, InexactDANE, NewtonCholesky, Status
from dask_newton.solvers.linear.aide import next_zeta
from dask_newton.solvers.linear.dane import accept

# Newton steps are few, as with data of 32 bits the relative gradient asked for cannot be reached.
ALL = {"dane": DANE(newton_steps=6), "inexact-dane": InexactDANE(steps=10), "aide": AIDE(steps=10), "sgd": SGD()}
each = pytest.mark.parametrize("solver", ALL.values(), ids=ALL)
averaging = pytest.mark.parametrize("solver", [ALL["dane"], ALL["inexact-dane"], ALL["aide"]], ids=lambda s: s.name)


def run(F, solver, n, start=None, **options):
    """Do at most n iterations, whatever comes of them."""
    with pytest.warns(ConvergenceWarning):
        return minimize(F, solver, start, max_iter=n, tol=0.0, **options)


def first_within(problem, result, gap):
    """Return the first iteration within a relative gap; infinity if there is none."""
    return next((r["iteration"] for r in result.history if problem.gap(r["objective"]) <= gap), math.inf)


def far(problem):
    return np.random.default_rng(4).normal(size=problem.objective.shape) / 2


# The recursions, by hand from dense formulas on every block


def blocks_of(problem, m=3):
    """Return the dense models of the mean objectives of unequal blocks, and their shares of the weight."""
    model = problem.dense
    pieces = parts(model, m, "unequal")
    models = [
        Dense(b.X, b.y, np.ones(b.n_rows) if b.weight is None else b.weight, 0.0, model.loss, True, model.penalty)
        for b in pieces
    ]
    weights = np.array([f.weight.sum() for f in models])
    return models, weights / weights.sum()


def descend(f, W, G, rho, rate, steps):
    """Return where gradient descent on a local problem gets from W."""
    V = W
    for _ in range(steps):
        V = V - rate * (f.gradient(V) - f.gradient(W) + rho * (V - W) + G)
    return V


def solve(f, W, G, rho):
    """Return the minimiser of a local problem, by Newton's method."""
    V = W
    for _ in range(30):
        gradient = f.gradient(V) - f.gradient(W) + rho * (V - W) + G
        V = V - np.linalg.pinv(f.hessian(V) + rho * np.eye(V.size)).dot(gradient.ravel()).reshape(V.shape)
    assert np.abs(f.gradient(V) - f.gradient(W) + rho * (V - W) + G).max() < 1e-12
    return V


@pytest.mark.parametrize("name", ["noisy", "line"])
def test_dane_averages_the_exact_local_minimisers(name):
    problem = known(name, "l2", m=3, layout="unequal", weighted=True)
    models, omega = blocks_of(problem)
    W = far(problem)
    result = run(problem.objective, DANE(eta=0.8, mu=0.1, rtol=1e-11), 2, W)
    for _ in range(2):
        G = 0.8 * problem.dense.gradient(W)
        W = sum(share * solve(f, W, G, 0.1) for share, f in zip(omega, models, strict=True))
    centre = problem.objective.centre  # DANE does that, the loss does not see it
    np.testing.assert_allclose(centre(result.W), centre(W), atol=1e-7 * np.abs(W).max())


def test_inexact_dane_averages_the_ends_of_local_descents():
    """Batches of all rows make SVRG gradient descent."""
    problem = known("noisy", "l2", m=3, layout="unequal", weighted=True)
    models, omega = blocks_of(problem)
    W = far(problem)
    solver = InexactDANE(eta=0.7, mu=0.2, steps=6, batch_size=1000, learning_rate=0.3)
    result = run(problem.objective, solver, 3, W)
    for _ in range(3):
        G = 0.7 * problem.dense.gradient(W)
        W = sum(share * descend(f, W, G, 0.2, 0.3, 6) for share, f in zip(omega, models, strict=True))
    np.testing.assert_allclose(result.W, W, atol=1e-12)


@pytest.mark.parametrize("inner", [1, 2])
def test_aide_is_inexact_dane_on_the_proximal_objective_with_momentum(inner):
    problem = known("noisy", "l2", m=3, layout="unequal", weighted=True)
    models, omega = blocks_of(problem)
    lam, tau, mu, eta, zeta = float(problem.dense.lam[1]), 0.5, 0.1, 0.9, 0.4
    solver = AIDE(
        tau=tau, zeta=zeta, inner_iterations=inner, eta=eta, mu=mu, steps=5, batch_size=1000, learning_rate=0.3
    )
    W = Y = far(problem)
    result = run(problem.objective, solver, 3, W)
    q = lam / (lam + tau)
    for _ in range(3):
        old = W
        for _ in range(inner):
            G = eta * (problem.dense.gradient(W) + tau * (W - Y))
            W = sum(share * descend(f, W, G, mu + tau, 0.3, 5) for share, f in zip(omega, models, strict=True))
        b = zeta**2 - q
        new = (-b + math.sqrt(b * b + 4 * zeta**2)) / 2
        Y = W + zeta * (1 - zeta) / (zeta**2 + new) * (W - old)
        zeta = new
    np.testing.assert_allclose(result.W, W, atol=1e-12)


@pytest.mark.parametrize("zeta", [1e-3, 0.5, 0.999])
@pytest.mark.parametrize("q", [0.0, 0.1, 1.0])
def test_the_sequence_of_aide_is_a_root_between_zero_and_one(zeta, q):
    new = next_zeta(zeta, q)
    assert 0 < new <= 1
    assert new**2 == pytest.approx((1 - new) * zeta**2 + q * new, rel=1e-12)


def test_sgd_on_all_rows_is_gradient_descent():
    problem = known("noisy", "l2", m=3, layout="unequal", weighted=True)
    W = far(problem)
    result = run(problem.objective, SGD(learning_rate=0.3, fraction=1.0), 4, W)
    for _ in range(3):  # the fourth pass is given the third iterate, which is W then
        W = W - 0.3 * problem.dense.gradient(W)
    np.testing.assert_allclose(result.W, W, atol=1e-13)


def test_batches_of_sgd_are_right_in_the_mean():
    """One step from the start, for many seeds: its mean is the step of gradient descent, to three deviations."""
    problem = known("noisy", "l2", weighted=True)
    start = far(problem)
    moves = []
    for seed in range(100):
        solver = SGD(learning_rate=1.0, seed=seed)
        state = solver.step(problem.objective, solver.init(problem.objective, start))[0]
        moves.append(state.next - start)
    error = np.mean(moves, axis=0) + problem.dense.gradient(start)
    deviation = np.std(moves, axis=0) / np.sqrt(len(moves))
    assert np.all(deviation > 0)
    assert np.all(np.abs(error) <= 4 * deviation)
    assert np.mean(np.abs(error) <= 1.5 * deviation) > 0.7


# What is known of them


@pytest.mark.parametrize("mu", [0.0, 0.3])
def test_dane_on_equal_blocks_is_a_newton_step_of_least_squares(mu):
    """Blocks that hold the same rows solve the whole problem; with mu = 0 at once."""
    model = known("line", "l2").dense
    (block,) = parts(model, 1)
    F = objective([block] * 4, model.penalty)
    result = run(F, DANE(mu=mu, rtol=1e-12, cg_rtol=1e-12), 1)
    start = F.null
    H = model.hessian(start)
    expected = start - np.linalg.solve(H + mu * np.eye(len(H)), model.gradient(start).ravel()).reshape(start.shape)
    np.testing.assert_allclose(result.W, expected, atol=1e-10)
    assert (np.abs(result.W - model.minimum()).max() < 1e-10) == (mu == 0)


@averaging
def test_they_stay_at_the_optimum(solver):
    """g is zero there, and with it the gradient of every local problem, whatever the blocks and the batches are."""
    problem = known("noisy", "l2", m=5, layout="unequal")
    result = run(problem.objective, solver, 2, problem.W)
    # The optimum is known to 1e-9 or so; Newton steps repeat that error.
    np.testing.assert_allclose(result.W, problem.W, atol=1e-8)


@averaging
def test_they_converge_where_blocks_are_alike(solver):
    """Many more rows than coefficients, in random order. SGD with a fixed learning rate has no such limit."""
    problem = known("noisy", "l2")
    if solver.name != "dane":
        solver = dataclasses.replace(solver, steps=25)
    result = run(problem.objective, solver, 9)
    assert first_within(problem, result, 1e-3) <= 5
    assert problem.gap(result.value) < 1e-5


def test_sgd_comes_near_the_optimum():
    problem = known("noisy", "l2")
    result = run(problem.objective, SGD(), 101)
    assert problem.gap(result.value) < 1e-2
    assert result.gradient_norm > 1e-6


@pytest.mark.slow
def test_dane_on_digits_needs_a_proximal_term_and_few_iterations():
    """2 iterations to a gap of 1e-1 and 13 to 1e-3 in the specification, with mu = 3 lam2."""
    problem = known("digits")
    gaps = []

    def near(record, state):
        gaps.append(problem.gap(record["objective"]))
        return gaps[-1] <= 1e-3

    minimize(problem.objective, DANE(mu=3 / 1797, rtol=1e-3, cg_rtol=1e-2), max_iter=20, callbacks=[near])
    assert min(gaps[:4]) <= 1e-1
    assert gaps[-1] <= 1e-3


def test_dane_on_breast_cancer_fails_without_more_of_it_or_a_line_search():
    """No gap of 1e-1 with mu = 0, and no 1e-2 with mu = 3 lam2, as in the specification."""
    problem = known("breast_cancer")
    bare = run(problem.objective, DANE(rtol=1e-3), 4)
    assert first_within(problem, bare, 1e-1) == math.inf
    little = run(problem.objective, DANE(mu=3 / 569, rtol=1e-3), 8)
    assert first_within(problem, little, 1e-1) <= 8
    assert first_within(problem, little, 1e-2) == math.inf
    searched = run(problem.objective, DANE(line_search=True, rtol=1e-3), 8)
    values = [r["objective"] for r in searched.history]
    assert np.all(np.diff(values) < 0)
    assert problem.gap(values[-1]) <= 1e-1


def test_svrg_on_breast_cancer():
    """A gap of 1e-1 at 14 iterations in the specification, with a learning rate of 0.1 and batches of one row."""
    problem = known("breast_cancer")
    result = run(problem.objective, InexactDANE(), 12)
    assert problem.gap(result.value) <= 1e-1
    assert result.history[-1]["inner_iterations"] == 50


# The learning rate


def test_the_learning_rate_that_is_chosen():
    """Over the largest curvature of the loss times the mean squared norm of a row, and the ridge and proximal terms."""
    problem = known("breast_cancer")
    bound = 0.25 * 31 + 1 / 569  # standardised columns, and the ones of the intercept
    assert run(problem.objective, InexactDANE(steps=1), 1).history[1]["learning_rate"] == pytest.approx(1 / bound)
    assert run(problem.objective, SGD(), 1).history[1]["step_size"] == pytest.approx(1 / bound)
    with_mu = run(problem.objective, InexactDANE(steps=1, mu=2.0), 1)
    assert with_mu.history[1]["learning_rate"] == pytest.approx(1 / (bound + 2))
    accelerated = run(problem.objective, AIDE(steps=1, tau=3.0), 1)
    assert accelerated.history[1]["learning_rate"] == pytest.approx(1 / (bound + 3))


@pytest.mark.parametrize("name", ["line", "plane", "counts", "durations", "claims"])
def test_it_is_safe_for_other_losses(name):
    """Also those whose curvature has no bound."""
    problem = known(name, "l2")
    start, best = problem.objective.null, problem.dense.value(problem.W)
    for solver in (InexactDANE(steps=25), SGD()):
        result = run(problem.objective, solver, 4 if solver.name != "sgd" else 41, start)
        assert result.status is Status.MAX_ITER
        left = (result.value - best) / (problem.dense.value(start) - best)
        assert left < 0.2


# Failure


@pytest.mark.parametrize("rate", [1e3, 1e30])
@pytest.mark.parametrize("solver", [InexactDANE(), AIDE()], ids=lambda s: s.name)
def test_svrg_with_steps_too_long_is_told(solver, rate):
    problem = known()
    with pytest.warns(ConvergenceWarning, match="diverged.*lower the learning rate"):
        result = minimize(problem.objective, dataclasses.replace(solver, learning_rate=rate))
    assert result.status is Status.DIVERGED
    assert result.n_iter == 1
    assert result.history[-1]["note"] == "diverged on 4 blocks"
    np.testing.assert_array_equal(result.W, 0)
    assert result.value == pytest.approx(np.log(2))


def test_sgd_with_steps_too_long_goes_back_to_what_it_knew():
    problem = known("line", "l2")
    with pytest.warns(ConvergenceWarning, match="diverged"):
        result = minimize(problem.objective, SGD(learning_rate=1.0))
    assert result.status is Status.DIVERGED
    np.testing.assert_array_equal(result.W, problem.objective.null)
    assert result.value == pytest.approx(problem.dense.value(result.W))
    assert result.gradient_norm == pytest.approx(
        np.max(np.abs(problem.dense.gradient(result.W)) / problem.objective.scale)
    )


def test_a_move_that_doubles_the_objective_is_not_accepted():
    problem = known()
    F = problem.objective
    point = F.at(problem.W)
    down = np.zeros_like(problem.W)
    assert accept(F, point, down).value == point.value
    sizes = [1e-3, 1e-2, 0.1, 1.0, 10.0, 1e300, np.inf, np.nan]
    for size in sizes:
        moved = accept(F, point, np.full_like(problem.W, size))
        value = problem.dense.value(problem.W + size) if size < 1e300 else np.inf
        assert (moved is not None) == (value <= 2 * point.value)
    assert accept(F, point, np.full_like(problem.W, 1e-3)) is not None
    assert accept(F, point, np.full_like(problem.W, 10.0)) is None


@averaging
def test_nan_from_one_block_ends_the_run_where_it_was(solver):
    """The second block turns to NaN in one row beyond a margin of 0.3."""
    model = known().dense
    blocks = [dataclasses.replace(b, loss=Poisoned(0.3)) for b in parts(model)]
    y = blocks[1].y.copy()
    y[0] += 2
    blocks[1] = dataclasses.replace(blocks[1], y=y)
    F = objective(blocks, L2(1 / 569))
    with pytest.warns(ConvergenceWarning, match="diverged"):
        result = minimize(F, solver, max_iter=30)
    assert result.status is Status.DIVERGED
    assert np.all(np.isfinite(result.W))
    assert result.value <= np.log(2) * (1 + 1e-14)


def test_sgd_reports_nan_too():
    model = known().dense
    blocks = [dataclasses.replace(b, loss=Poisoned(0.3)) for b in parts(model)]
    blocks[1] = dataclasses.replace(blocks[1], y=blocks[1].y + 2)
    result = run(objective(blocks, L2(1 / 569)), SGD(), 30)
    assert result.status is Status.DIVERGED
    assert np.isfinite(result.value) and np.all(np.isfinite(result.W))


@each
def test_classes_that_can_be_separated_are_no_quiet_success(solver):
    X = np.random.default_rng(0).normal(size=(200, 3))
    model = Dense(X, (X[:, 0] > 0).astype(float), np.ones(200), 0.0, Logistic(), True, NoPenalty())
    result = run(objective(parts(model), NoPenalty()), solver, 12)
    assert result.status in (Status.MAX_ITER, Status.DIVERGED)
    assert np.all(np.isfinite(result.W))
    assert result.value < np.log(2) or solver.name == "dane"  # exact minimisers do not exist, and end it at once


@each
def test_empty_blocks_are_left_out(solver):
    problem, gaps = known("noisy", "l2"), known("noisy", "l2", layout="empty")
    assert gaps.objective.blocks.n_blocks == problem.objective.blocks.n_blocks
    if solver.name == "sgd":
        solver = SGD(fraction=1.0)  # batches of a block depend on its number
    elif solver.name != "dane":
        solver = dataclasses.replace(solver, batch_size=1000)
    one, other = (run(p.objective, solver, 3) for p in (problem, gaps))
    np.testing.assert_allclose(other.W, one.W, atol=1e-12)


@pytest.mark.parametrize(
    "solver",
    [DANE(line_search=True, newton_steps=2, cg_max_iter=10), InexactDANE(steps=20), AIDE(steps=20), SGD()],
    ids=lambda s: s.name,
)
def test_negative_curvature_does_not_stop_them(solver):
    """The least squares of the DINO paper, which are not convex. F(0) = 22.6; the minimum is 3.3."""
    X, y = load_digits(return_X_y=True)
    cuts = np.array_split(np.random.default_rng(0).permutation(len(y)), 4)
    blocks = [RowBlock(X[i] / 16, y[i].astype(float), None, None, SquaredSoftplus()) for i in cuts]
    F = objective(blocks, NoPenalty(), fit_intercept=False)
    result = run(F, solver, 4 if solver.name != "sgd" else 21)
    assert result.status is Status.MAX_ITER
    assert result.value < 0.9 * F.at(np.zeros(F.shape)).value


# Arrays


@pytest.mark.parametrize("kind", ["csr_array", "messy", "strict", "float32"])
@each
def test_containers_give_the_same(solver, kind):
    device = strict.Device("device1")
    options = {
        "strict": {"move": lambda a: strict.asarray(a, device=device)},
        "float32": {"dtype": "float32"},
    }.get(kind) or {"move": lambda a: KINDS[kind](a) if a.ndim == 2 else a}
    n = 3 if solver.name != "sgd" else 12
    one, other = (run(known("noisy", "l2", m=2, **o).objective, solver, n) for o in ({}, options))
    # With data of 32 bits the local line searches cannot see changes of F of 1e-7, that is of W of some 1e-4.
    np.testing.assert_allclose(other.W, one.W, atol=1e-3 if kind == "float32" else 1e-10)
    assert other.W.dtype == np.float64
    assert other.history[-1]["bytes_up"] == one.history[-1]["bytes_up"]


def test_random_state_of_an_estimator_seeds_the_batches():
    X, y = load_digits(n_class=2, return_X_y=True)

    def fit(seed):
        with pytest.warns(ConvergenceWarning):
            model = LogisticRegression(solver="inexact-dane", random_state=seed, max_iter=1)
            return model.fit(X[:300] / 16, y[:300]).coef_

    np.testing.assert_array_equal(fit(3), fit(3))
    assert not np.array_equal(fit(3), fit(4))


def test_line_search_makes_dane_a_method_that_converges():
    """To the optimum that Newton's method finds."""
    problem = known("noisy", "none", m=6)
    result = minimize(problem.objective, DANE(line_search=True), tol=1e-9)
    exact = minimize(problem.objective, NewtonCholesky(), tol=1e-11)
    assert result.converged
    np.testing.assert_allclose(problem.objective.centre(result.W), problem.objective.centre(exact.W), atol=1e-6)
