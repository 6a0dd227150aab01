"""ADMM with matrix-valued penalties: blocks that have nothing in common, its invariants, and what it cannot do."""

import dataclasses
import warnings

import array_api_strict as strict
import numpy as np
import pytest
import scipy.sparse
from problems import Dense, dense, known, objective, parts
from sklearn.exceptions import ConvergenceWarning

from dask_newton import make_problem, minimize
from dask_newton.losses import SquaredSoftplus
from dask_newton.penalties import L1, L2, Penalty
from dask_newton.solvers import NewtonADMM, ProxNewton, UnsupportedError

MATRIX = NewtonADMM(penalty="hessian", polish=False)


def by_label(name, rule="l2", m=4):
    """Return a problem with its rows sorted by label, in m blocks, each of which sees few of the labels."""
    return known(name, rule, m=m, order=np.argsort(dense(name, rule).y, kind="stable"))


def run(F, solver, n, tol=0.0):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is stopped on purpose
        return minimize(F, solver, max_iter=n, tol=tol)


@pytest.mark.parametrize(
    ("options", "iterations"),
    [pytest.param({}, 60, marks=pytest.mark.slow), ({"newton_steps": 3, "relaxation": 1.6}, 40)],
)
def test_digits_sorted_by_label(options, iterations):
    """A relative gap of 1e-6, by ADMM alone; measured were 50 and 29 iterations."""
    problem = by_label("digits")
    assert max(len(np.unique(block.y)) for block in problem.objective.data.parts) <= 4
    result = run(problem.objective, dataclasses.replace(MATRIX, **options), iterations)
    assert problem.gap(result.value) <= 1e-6
    assert not any("polish" in record["note"] for record in result.history)


def test_numbers_in_its_place_do_not_get_there():
    """That is what the matrices are for; the best schedule of numbers needs 197 iterations to a gap of 1e-6."""
    problem = by_label("digits")
    assert problem.gap(run(problem.objective, NewtonADMM(polish=False), 40).value) > 1e-4


def test_the_error_of_least_squares_is_halved():
    """With P_i the Hessian of a quadratic, blocks sorted by target; what remains is the floor, a thousandth."""
    problem = by_label("line", "none")
    F, errors = problem.objective, []
    state = MATRIX.init(F, np.zeros(F.shape))
    for _ in range(30):
        state, _ = MATRIX.step(F, state)
        errors.append(np.linalg.norm(state.z - problem.W))
    ratios = np.array(errors[6:26]) / np.array(errors[5:25])
    assert np.all(ratios < 0.51)
    assert errors[-1] < 1e-6 * errors[0]


@pytest.mark.parametrize("rule", ["l1", "group_lasso"])
def test_penalties_that_are_not_smooth(rule):
    problem = by_label("breast_cancer", rule)
    result = run(problem.objective, MATRIX, 60)
    assert problem.gap(result.value) <= 1e-6
    np.testing.assert_array_equal(result.W == 0, problem.W == 0)


@pytest.mark.parametrize("rule", ["l2", "none"])
def test_duals_add_up_to_the_gradient_of_the_penalty(rule):
    F = by_label("noisy", rule, m=3).objective
    state = MATRIX.init(F, np.zeros(F.shape))
    for k in range(12):
        state, _ = MATRIX.step(F, state)
        held = F.blocks.gather(state.blocks)
        expected = np.zeros(F.shape)
        F.penalised(expected)[...] = -F.smooth.hess_diag * F.penalised(held[0].z)
        if k:
            np.testing.assert_allclose(sum(block.y for block in held), expected, atol=1e-13)


def test_the_matrices_are_the_hessians_of_the_blocks_output_by_output():
    """Those of the start, but for the floor: a thousandth of the mean diagonal."""
    model = dense("noisy", "none", weighted=True)
    cut = len(model.y) // 2
    F = objective(parts(model, 2), model.penalty)
    state, _ = MATRIX.step(F, MATRIX.init(F, np.zeros(F.shape)))
    total = np.zeros_like(state.matrix)
    for block, rows in zip(F.blocks.gather(state.blocks), (slice(None, cut), slice(cut, None)), strict=True):
        part = Dense(model.X[rows], model.y[rows], model.weight[rows], 0.0, model.loss, True, model.penalty)
        full = part.hessian(np.zeros(F.shape)).reshape(6, 3, 6, 3) * part.weight.sum() / model.weight.sum()
        diagonal = np.stack([full[:, k, :, k] for k in range(3)])
        floor = 1e-3 * np.trace(diagonal.sum(axis=0)) / 18 * np.eye(6)
        P = block.factor @ block.factor.transpose(0, 2, 1)
        np.testing.assert_allclose(P, diagonal + floor, atol=1e-14)
        np.testing.assert_allclose(block.factor @ block.inverse, np.broadcast_to(np.eye(6), (3, 6, 6)), atol=1e-12)
        total += P
    np.testing.assert_allclose(state.matrix, total, atol=1e-14)


def test_one_pass_and_two_rounds_per_iteration():
    """Matrices go up when they are new, with the rest: after 2, 4, 8, 16 and 32 iterations."""
    F = by_label("breast_cancer").objective
    history = run(F, MATRIX, 36).history
    passes = [record["passes"] for record in history]
    assert np.all(np.diff(passes) == 1)
    assert [record["rounds"] for record in history] == [2 * n for n in passes]
    up = np.diff([record["bytes_up"] for record in history])
    q = F.shape[0]
    new = [k + 1 for k in range(36) if up[k] >= 4 * 8 * q * (q + 1) / 2]
    assert new == [1, 3, 5, 9, 17, 33]


def test_the_finish_takes_over():
    problem = by_label("digits")
    result = minimize(problem.objective, dataclasses.replace(MATRIX, polish=True, eps_rel=1e-2), tol=1e-9)
    assert result.converged and problem.error(result.W) < 1e-6
    assert "polish" in result.history[-1]["note"]


@pytest.mark.parametrize("move", [scipy.sparse.csr_array, lambda a: strict.asarray(a, device=strict.Device("device1"))])
def test_sparse_rows_and_other_arrays_give_the_same(move):
    """CSR for X alone; arrays of the strict namespace on a device of their own for all columns."""
    model = dense("noisy")
    here = run(objective(parts(model, 2), model.penalty), MATRIX, 8)
    if move is scipy.sparse.csr_array:
        blocks = [dataclasses.replace(block, X=move(block.X)) for block in parts(model, 2)]
    else:
        blocks = parts(model, 2, move=move)
    there = run(objective(blocks, model.penalty), MATRIX, 8)
    np.testing.assert_allclose(there.W, here.W, atol=1e-10)


def test_a_stopped_run_goes_on_to_the_same_bits():
    F = by_label("breast_cancer").objective
    whole = run(F, MATRIX, 12)
    again = run(F, MATRIX, 7)
    with pytest.warns(ConvergenceWarning):
        rest = minimize(F, MATRIX, state=again.state, max_iter=5, tol=0)
    np.testing.assert_array_equal(rest.W, whole.W)


class Opaque(Penalty):
    """An l1 penalty that does not say that it is a sum of norms."""

    def value(self, w):
        return L1(0.1).value(w)

    def prox(self, w, step):
        return L1(0.1).prox(w, step)

    def split(self):
        return L2(0.0), self


@pytest.mark.parametrize(
    ("problem", "solver", "message"),
    [
        (lambda X, y: make_problem(X, y, loss=SquaredSoftplus()), MATRIX, "needs a convex loss"),
        (
            lambda X, y: make_problem(X, y, loss=known().dense.loss, penalty=Opaque()),
            MATRIX,
            "smooth penalties and sums of norms",
        ),
        (
            lambda X, y: make_problem(X, y, loss=known().dense.loss),
            dataclasses.replace(MATRIX, sparse_polish=ProxNewton(max_features=30)),
            "matrices of 31 rows for each",
        ),
    ],
)
def test_what_has_no_such_matrices_is_refused(problem, solver, message):
    model = known().dense
    with pytest.raises(UnsupportedError, match=f"{message}.*use penalty='spectral'"):
        minimize(problem(model.X, model.y), solver)
