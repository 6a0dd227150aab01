"""A plan of several solvers: when the next one takes over, from where, and when it does not."""

import itertools

import dask.array as da
import numpy as np
import pytest
from problems import Dense, Poisoned, known, objective, parts
from sklearn.exceptions import ConvergenceWarning

from dask_newton import LogisticRegression, minimize
from dask_newton.losses import SquaredSoftplus
from dask_newton.penalties import L2
from dask_newton.solvers import (
    GIANT,
    LBFGS,
    NewtonADMM,
    NewtonCG,
    NewtonCholesky,
    SampledNewton,
    Status,
    UnsupportedError,
)
from dask_newton.solvers.parts.line_search import LineSearch
from dask_newton.solvers.relay import Relay, Stage


def notes(result):
    return [record["note"] for record in result.history if "goes on" in record["note"]]


def sorted_rows():
    """All blocks but one see one class only: what the blocks of GIANT know says little of the whole."""
    return known("breast_cancer", m=8, order=np.argsort(known("breast_cancer").dense.y, kind="stable"))


def not_convex():
    """Least squares of the digits themselves; at zero the Hessian has many negative eigenvalues."""
    digits = known("digits").dense
    dense = Dense(digits.X, digits.y, digits.weight, 0.0, SquaredSoftplus(), True, L2(1e-2))
    F = objective(parts(dense), dense.penalty)
    return F, np.zeros(F.shape)


def test_a_stalled_solver_hands_over_and_the_next_converges_in_fewer_passes():
    problem = sorted_rows()
    alone = minimize(problem.objective, GIANT(), tol=1e-9, max_iter=200)
    plan = Relay((Stage(GIANT(), 20, 2), Stage(NewtonCG(), 60, 10)), tol=1e-9)
    result = minimize(problem.objective, plan, tol=1e-9, max_iter=200)
    (note,) = notes(result)
    assert "giant stalled at a gradient of" in note and "newton-cg goes on" in note
    assert result.converged and plan.running(result.state) == NewtonCG()
    assert problem.error(result.W) < 1e-6
    assert result.history[-1]["passes"] < alone.history[-1]["passes"] / 2


def test_what_was_reached_is_kept():
    problem = sorted_rows()
    plan = Relay((Stage(GIANT(), 20, 2), Stage(NewtonCG(), 60, 10)), tol=1e-9)
    states = []
    minimize(problem.objective, plan, tol=1e-9, callbacks=[lambda record, state: states.append(state) and None])
    (k,) = [k for k, (a, b) in enumerate(itertools.pairwise(states)) if a.stage != b.stage]
    last, _ = GIANT().step(problem.objective, states[k].inner)
    np.testing.assert_array_equal(states[k + 1].W, last.W)
    assert states[k + 1].value == pytest.approx(last.value, rel=1e-14)


@pytest.mark.parametrize("passes", [5.0, 1e4])
def test_a_slow_solver_is_kept_while_the_next_would_take_longer(passes):
    """Of 100 iterations of L-BFGS few halve the gradient."""
    F = known("digits").objective
    result = minimize(F, Relay((Stage(LBFGS(), 100, 1), Stage(NewtonCG(), passes, 10)), tol=1e-4), tol=1e-4)
    assert result.converged
    assert [note.partition(" at")[0] for note in notes(result)] == (["lbfgs stalled"] if passes == 5 else [])


def test_progress_is_judged_over_the_patience_of_the_solver():
    """L-BFGS has iterations in which the gradient grows, even two in a row, and is none the worse for it."""
    problem = known("breast_cancer")
    plan = Relay((Stage(LBFGS(), 100, 1), Stage(NewtonCG(), 20, 10)), tol=1e-8)
    result = minimize(problem.objective, plan, tol=1e-8)
    norms = [record["gradient_norm"] for record in result.history]
    assert any(b > 0.5 * a and c > 0.5 * b for a, b, c in zip(norms, norms[1:], norms[2:], strict=False))
    assert result.converged and not notes(result)


def test_negative_curvature_on_a_block_hands_over():
    F, start = not_convex()
    with pytest.warns(ConvergenceWarning, match="npc"):
        assert minimize(F, GIANT(), start, tol=1e-8).status is Status.NEGATIVE_CURVATURE
    result = minimize(F, Relay((Stage(GIANT()), Stage(NewtonCG()))), start, tol=1e-8)
    assert result.converged
    assert notes(result) == ["npc on 4 blocks; giant met negative curvature; newton-cg goes on"]


def test_nan_in_the_hessian_hands_over_to_a_solver_that_needs_none():
    usual = known("breast_cancer").dense
    marked = usual.y.copy()
    marked[0] += 2
    dense = Dense(usual.X, marked, usual.weight, 0.0, Poisoned(only_curvature=True), True, usual.penalty)
    F = objective(parts(dense), dense.penalty)
    result = minimize(F, Relay((Stage(NewtonCholesky()), Stage(LBFGS()))), tol=1e-8, max_iter=300)
    assert result.converged
    assert notes(result) == ["nan; newton-cholesky met NaN; lbfgs goes on"]
    assert known("breast_cancer").error(result.W) < 1e-4


def test_a_failed_line_search_hands_over():
    """Only the full step is tried, which is far too long for the first iterations of this problem."""
    counts = known("counts")
    start = np.full(counts.objective.shape, 3.0)
    hasty = NewtonCG(line_search=LineSearch(max_halvings=0, armijo=0.9))
    plan = Relay((Stage(hasty), Stage(NewtonCholesky())))
    result = minimize(counts.objective, plan, start, tol=1e-9)
    (note,) = notes(result)
    assert note.endswith("newton-cg found no step that decreases the objective; newton-cholesky goes on")
    assert result.converged and counts.error(result.W) < 1e-7


def test_the_end_of_the_arithmetic_is_no_reason():
    F = known("digits", dtype="float32").objective
    with pytest.warns(ConvergenceWarning, match=r"auto stopped without converging \((max_iter|ls_fail)\)"):
        result = minimize(F, Relay((Stage(SampledNewton()), Stage(NewtonCG(), 1, 1)), tol=1e-14), tol=1e-14)
    assert not notes(result) and result.gradient_norm < 1e-7


def test_the_failure_of_the_last_solver_is_that_of_the_plan():
    F, start = not_convex()
    with pytest.warns(ConvergenceWarning, match="npc"):
        result = minimize(F, Relay((Stage(GIANT()), Stage(GIANT(cg_max_iter=20)))), start)
    assert result.status is Status.NEGATIVE_CURVATURE and len(notes(result)) == 1


def test_certificates_that_are_not_evaluated_do_not_count():
    """ADMM knows its gradient every tenth iteration only."""
    problem = known("breast_cancer")
    plan = Relay((Stage(NewtonADMM()), Stage(NewtonCG())), tol=1e-9)
    result = minimize(problem.objective, plan, tol=1e-9)
    assert result.converged and not notes(result)
    assert result.W == pytest.approx(minimize(problem.objective, NewtonADMM(), tol=1e-9).W, abs=0)


def test_a_run_can_be_stopped_and_go_on():
    F = sorted_rows().objective
    plan = Relay((Stage(GIANT(), 20, 2), Stage(NewtonCG(), 60, 10)), tol=1e-9)
    whole = minimize(F, plan, tol=1e-9)
    with pytest.warns(ConvergenceWarning):
        half = minimize(F, plan, tol=1e-9, max_iter=3)
    rest = minimize(F, plan, tol=1e-9, state=half.state)
    np.testing.assert_array_equal(rest.W, whole.W)
    assert half.n_iter + rest.n_iter == whole.n_iter


def test_the_estimator_names_the_solver_that_finished():
    dense = sorted_rows().dense
    plan = Relay((Stage(GIANT(), 20, 2), Stage(NewtonCG(), 60, 10)), tol=1e-9)
    X, y = da.from_array(dense.X, chunks=(72, -1)), da.from_array(dense.y, chunks=72)
    clf = LogisticRegression(solver=plan, tol=1e-9).fit(X, y)
    assert clf.solver_ == NewtonCG() and clf.history_.solver == "newton-cg" and clf.converged_


def test_every_stage_must_support_the_objective():
    F = known("breast_cancer", "l1").objective
    with pytest.raises(UnsupportedError, match="'newton-cg' needs a differentiable penalty"):
        minimize(F, Relay((Stage(NewtonCholesky()), Stage(NewtonCG()))))
    with pytest.raises(UnsupportedError, match="at least one stage"):
        minimize(F, Relay(()))
