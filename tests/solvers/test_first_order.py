"""First-order methods against their formulas, one entry at a time; learning of digits; what cannot work."""

import dataclasses
import math

import numpy as np
import pytest
from networks import blobs, digits, error, network
from sklearn.exceptions import ConvergenceWarning

from dask_newton import minimize
from dask_newton.objectives.rows.sampling import batch_rows
from dask_newton.solvers import GD, SGD, Adadelta, Adagrad, Adam, MiniBatchSGD, Momentum, Status, UnsupportedError
from dask_newton.solvers.named import named_solver


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


RULES = [
    (GD(), lambda gs: -0.01 * gs[-1]),
    (Momentum(), momentum),
    (Adagrad(), adagrad),
    (Adadelta(), adadelta),
    (Adam(), adam),
]


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


# Mini-batches


@pytest.mark.parametrize(("solver", "rule"), RULES, ids=[solver.name for solver, _ in RULES])
def test_an_epoch_is_a_step_for_every_batch_and_a_look_at_all_rows(solver, rule):
    F = network(blobs(), m=3)
    solver = dataclasses.replace(solver, batch_size=11, seed=4)
    state, gradients = solver.init(F, F.null), []
    for epoch in range(2):
        before, W = F.blocks.meter.snapshot(), state.W
        new, info = solver.step(F, state)
        spent = {key: count - before[key] for key, count in F.blocks.meter.snapshot().items()}
        for batch in range(6):
            gradients.append(F.batch_gradient(W, batch, 6, (4, epoch)))
            W = W + np.array([[rule([g[i, 0] for g in gradients])] for i in range(F.size)])
        np.testing.assert_allclose(new.W, W, rtol=1e-9, atol=1e-12)
        assert (spent["passes"], spent["rounds"], info.inner_iterations) == (7, 14, 6)
        assert spent["epochs"] == pytest.approx(2)
        P = 8 * F.size
        assert spent["bytes_up"] == 3 * (7 * P + 8)
        state = new


def test_batches_add_up_to_the_gradient():
    """With weights, and blocks of which one has fewer rows than there are batches."""
    X, y = blobs()
    weight = np.random.default_rng(0).uniform(0.5, 2, size=60)
    F = network((X, y), weight=weight, cuts=(0, 4, 37, 60))
    W, grad = F.null, F.at(F.null).gradient
    estimates = [F.batch_gradient(W, batch, 7, (0, 3)) for batch in range(7)]
    np.testing.assert_allclose(np.mean(estimates, axis=0), grad, atol=1e-15)
    assert np.ptp(estimates, axis=0).max() > 0.1 * np.abs(grad).max()
    # Other epochs and other seeds have other batches.
    for seed in ((0, 4), (1, 3)):
        assert np.abs(F.batch_gradient(W, 0, 7, seed) - estimates[0]).max() > 1e-3 * np.abs(grad).max()


@pytest.mark.parametrize(("n_rows", "n_batches"), [(100, 7), (7, 7), (3, 7), (50, 1)])
def test_every_row_is_in_one_batch(n_rows, n_batches):
    batches = [batch_rows(n_rows, i, n_batches, np.random.default_rng(5)) for i in range(n_batches)]
    np.testing.assert_array_equal(np.sort(np.concatenate(batches)), np.arange(n_rows))
    assert {len(rows) for rows in batches} <= {n_rows // n_batches, -(-n_rows // n_batches)}


def test_a_row_has_the_same_chance_in_every_batch():
    """To four deviations; also the rows of the last run, which is not complete."""
    n = 4000
    count = np.zeros(11)
    for seed in range(n):
        count[batch_rows(11, 2, 4, np.random.default_rng(seed))] += 1
    assert np.all(np.abs(count / n - 0.25) < 4 * math.sqrt(0.25 * 0.75 / n))


def test_sgd_and_adam_with_batches_learn_digits_in_few_epochs():
    """Over all rows, the same number of iterations leaves most of them wrong."""
    F, ends = network(digits(), (40,), m=4, activation="relu", ridge=1e-4), {}
    for solver in (MiniBatchSGD(batch_size=50), Adam(batch_size=50), GD(learning_rate=0.1)):
        result = minimize(F, solver, tol=0.0, max_iter=99, callbacks=[lambda row, state: row["iteration"] == 5])
        ends[solver.name] = error(F, result.W, digits())
    assert ends["sgd"] < 0.2 and ends["adam"] < 0.2
    assert ends["gd"] > 0.4


def test_names_of_both_tables_are_told_apart_by_the_problem():
    with pytest.warns(ConvergenceWarning):
        assert minimize(network(blobs()), "sgd", max_iter=1).history[1]["passes"] == 2  # a batch of all 60 rows
    assert isinstance(named_solver("sgd"), SGD)


def test_adam_learns_digits():
    """Three hidden layers of 100, full batches: a prototype had 0.97 of the rows right after 50 iterations."""
    F = network(digits(), (100, 100, 100), m=1, activation="relu", ridge=1e-12, initialisation="he")
    result = minimize(F, Adam(), tol=0.0, callbacks=[lambda row, state: row["iteration"] == 50])
    assert error(F, result.W, digits()) < 0.05
    assert result.history[-1]["passes"] == 51


def test_gradient_descent_learns_digits_as_fast_as_a_prototype():
    """Which had 0.55 of the rows right after 50 iterations and 0.74 after 100, from this start; others
    are up to 0.1 away."""
    F = network(digits(), (100, 100, 100), m=1, activation="relu", ridge=1e-12)
    rng, right = np.random.default_rng(0), []
    for W, b in F.layers.of(F.null):
        W[...], b[...] = np.sqrt(2 / len(W)) * rng.normal(size=W.shape), 0.0
    state = GD().init(F, F.null)
    for _ in range(2):
        for _ in range(50):
            state, _ = GD().step(F, state)
        right.append(1 - error(F, state.W, digits()))
    assert right == pytest.approx([0.551, 0.738], abs=2e-3)


def test_a_learning_rate_that_is_too_large_diverges():
    with pytest.warns(ConvergenceWarning, match="diverge"):
        result = minimize(network(blobs(), ridge=1.0), GD(learning_rate=1e200))
    assert result.status is Status.DIVERGED
    assert np.all(np.isfinite(result.W)) and np.isfinite(result.value)


@pytest.mark.parametrize(
    "solver",
    [
        GD(learning_rate=0.0),
        Momentum(momentum=1.0),
        Adagrad(epsilon=0.0),
        Adadelta(rho=-0.1),
        Adadelta(epsilon=0.0),
        GD(batch_size=0),
        Adam(beta1=1.0),
        Adam(beta2=1.5),
        Adam(epsilon=0.0),
        Adam(learning_rate=np.inf),
    ],
    ids=repr,
)
def test_bad_options_are_refused(solver):
    with pytest.raises(UnsupportedError, match=f"'{solver.name}' got .*; it must be"):
        minimize(network(blobs()), solver)
