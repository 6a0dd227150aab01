"""The loop: it stops when it should, goes on where it stopped, tells what happened."""

import logging
import warnings
from itertools import product

import numpy as np
import pytest
from catalogue import SOLVERS
from pairwise import cases
from problems import known
from sklearn.exceptions import ConvergenceWarning

from dask_newton import Result, minimize
from dask_newton.solvers import NewtonADMM, NewtonCG, NewtonCholesky, Status

USUAL = ("none", "l2", "l1", "elastic_net")
EVERY = [(name, penalty) for name, case in SOLVERS.items() for penalty in case.penalties if penalty in USUAL]


def usual(penalty):
    return known("noisy" if penalty == "none" else "breast_cancer", penalty)


@cases(
    "name, penalty, first",
    [(*pair, first) for pair in EVERY for first in (1, 10)],
    together=["name", "penalty, first"],
)
def test_a_run_goes_on_bit_for_bit(name, penalty, first):
    """Also on other blocks of the engine, which hold the same data."""
    solver = SOLVERS[name].solver
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # some come to the end of the arithmetic, at exactly zero
        whole = minimize(usual(penalty).objective, solver, max_iter=first + 10, tol=0.0)
        start = minimize(usual(penalty).objective, solver, max_iter=first, tol=0.0)
        rest = minimize(usual(penalty).objective, solver, max_iter=10, tol=0.0, state=start.state)
    np.testing.assert_array_equal(rest.W, whole.W)
    assert rest.value == whole.value
    joined = [r["objective"] for r in start.history] + [r["objective"] for r in rest.history][1:]
    np.testing.assert_array_equal(joined, [r["objective"] for r in whole.history])
    assert rest.status == whole.status


def test_admm_goes_on_across_the_hand_over():
    solver = NewtonADMM(polish_after=6)
    with pytest.warns(ConvergenceWarning):
        whole = minimize(known().objective, solver, max_iter=9, tol=0.0)
        for cut in (5, 6, 7):
            start = minimize(known().objective, solver, max_iter=cut, tol=0.0)
            rest = minimize(known().objective, solver, max_iter=9 - cut, tol=0.0, state=start.state)
            np.testing.assert_array_equal(rest.W, whole.W)


def test_going_on_from_a_converged_run_with_a_smaller_tolerance():
    problem = known()
    coarse = minimize(problem.objective, NewtonCG(), tol=1e-3)
    fine = minimize(problem.objective, NewtonCG(), tol=1e-9, state=coarse.state)
    assert fine.converged
    assert fine.n_iter > 0
    assert problem.error(fine.W) < 1e-5
    again = minimize(problem.objective, NewtonCG(), tol=1e-3, state=fine.state)
    assert again.n_iter == 0


def keep(records):
    return lambda record, state: records.append(record)


def test_callbacks_get_every_record():
    first, second = [], []
    result = minimize(known().objective, NewtonCholesky(), callbacks=[keep(first), keep(second)])
    assert first == second == list(result.history)
    assert [record["iteration"] for record in first] == list(range(result.n_iter + 1))


def test_callbacks_get_the_state_and_may_end_the_run():
    states = []

    def stop(record, state):
        states.append(state)
        record["mine"] = 7
        return record["iteration"] == 2

    result = minimize(known().objective, NewtonCG(), callbacks=[stop])
    assert result.status is Status.STOPPED and not result.converged
    assert result.n_iter == 2 and len(states) == 3
    assert result.W is states[-1].W
    assert [record["mine"] for record in result.history] == [7, 7, 7]


def test_a_callback_that_raises_ends_the_run():
    seen = []

    def stop(record, state):
        seen.append(record)
        if record["iteration"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        minimize(known().objective, NewtonCG(), callbacks=[stop])
    assert len(seen) == 3


def test_records_have_what_the_history_promises():
    result = minimize(known().objective, NewtonCG())
    expected = {
        "iteration",
        "objective",
        "gradient_norm",
        "step_size",
        "inner_iterations",
        "passes",
        "rounds",
        "bytes_up",
        "bytes_down",
        "seconds",
        "note",
    }
    for record in result.history:
        assert expected <= set(record)
    for key in ("passes", "rounds", "bytes_up", "bytes_down", "seconds"):
        assert np.all(np.diff([record[key] for record in result.history]) >= 0)
    assert result.history[0]["passes"] == 1  # of this run: looking at the data has been counted before it


def test_warning_tells_the_gradient_and_what_to_do():
    with pytest.warns(ConvergenceWarning) as warnings:
        result = minimize(known().objective, NewtonCG(), max_iter=3, tol=1e-9)
    (warning,) = warnings
    text = str(warning.message)
    assert text.startswith("newton-cg stopped without converging (max_iter) after 3 iterations")
    assert f"{result.gradient_norm:.3g}" in text
    assert "tol is 1e-09" in text
    assert "raise max_iter" in text
    assert warning.filename == __file__
    assert result.status is Status.MAX_ITER
    assert not result.converged


@pytest.mark.parametrize("budget", ["max_rounds", "max_bytes", "max_seconds"])
def test_budgets_end_a_run_between_iterations(budget):
    """The run ends with the first iteration whose record reaches the budget."""

    def used(record):
        return {
            "max_rounds": record["rounds"],
            "max_bytes": record["bytes_up"] + record["bytes_down"],
            "max_seconds": record["seconds"],
        }[budget]

    # Half a pass more than what the third iteration leaves, in rounds; the clock tells anything.
    whole = minimize(known().objective, NewtonCG(), tol=1e-9)
    limit = used(whole.history[3]) - 1 if budget != "max_seconds" else 0.0
    with pytest.warns(ConvergenceWarning, match=rf"\({budget}\).* raise {budget},") as warnings:
        result = minimize(known().objective, NewtonCG(), tol=1e-9, **{budget: limit})
    assert len(warnings) == 1
    assert result.status == budget and result.status is Status[budget.upper()]
    assert used(result.history[-1]) >= limit
    assert all(used(record) < limit for record in result.history.records[:-1])
    assert result.n_iter == (0 if budget == "max_seconds" else 3)
    np.testing.assert_array_equal(result.W, result.state.W)


def test_budgets_that_suffice_change_nothing():
    whole = minimize(known().objective, NewtonCG(), tol=1e-9)
    last = whole.history[-1]
    enough = {"max_rounds": last["rounds"], "max_bytes": last["bytes_up"] + last["bytes_down"], "max_seconds": 1e9}
    again = minimize(known().objective, NewtonCG(), tol=1e-9, **enough)
    assert again.status is Status.CONVERGED
    np.testing.assert_array_equal(again.W, whole.W)


def test_a_budget_is_of_the_run_and_not_of_the_data():
    """What was spent before, on looking at the data or in an earlier run, does not count."""
    problem = known().objective
    with pytest.warns(ConvergenceWarning, match="max_rounds"):
        first = minimize(problem, NewtonCholesky(), tol=1e-9, max_rounds=6)
        second = minimize(problem, NewtonCholesky(), tol=1e-9, max_rounds=6, state=first.state)
    assert first.history[-1]["rounds"] == second.history[-1]["rounds"] == 6
    assert first.n_iter == 2 and second.n_iter == 3


def test_the_warning_knows_the_gradient_of_solvers_that_do_not():
    """ADMM certifies every ten iterations; the last iterate is looked at in any case."""
    problem = known()
    with pytest.warns(ConvergenceWarning) as warnings:
        result = minimize(problem.objective, NewtonADMM(), max_iter=5, tol=1e-9)
    assert np.isnan(result.history[-1]["gradient_norm"])
    assert result.gradient_norm == pytest.approx(problem.dense.residual(result.W), rel=1e-9)
    assert f"{result.gradient_norm:.3g}" in str(warnings[0].message)


def test_the_last_look_may_find_convergence():
    problem = known()
    with pytest.warns(ConvergenceWarning):
        looked = minimize(problem.objective, NewtonADMM(), max_iter=18, tol=1e-9)
    result = minimize(problem.objective, NewtonADMM(), max_iter=18, tol=looked.gradient_norm * 1.1)
    assert result.converged


def test_a_converged_run_is_silent_and_says_so():
    result = minimize(known().objective, NewtonCholesky(), tol=1e-9)
    assert isinstance(result, Result)
    assert result.status is Status.CONVERGED
    assert result.status == "converged"
    assert result.gradient_norm == result.history[-1]["gradient_norm"] <= 1e-9
    assert result.value == result.history[-1]["objective"]


@pytest.mark.parametrize("name", SOLVERS)
def test_no_iterations_evaluate_the_start(name):
    problem = usual(SOLVERS[name].penalties[-1])
    start = 0.05 * np.random.default_rng(0).normal(size=problem.objective.shape)
    if problem.objective.loss.shift_invariant:
        start -= start.mean(axis=1, keepdims=True)  # some solvers centre what the loss is blind to
    with pytest.warns(ConvergenceWarning, match="after 0 iterations"):
        result = minimize(problem.objective, SOLVERS[name].solver, start, max_iter=0)
    np.testing.assert_allclose(result.W, start, atol=1e-16)
    assert result.n_iter == 0
    assert len(result.history) == 1
    assert result.value == pytest.approx(problem.dense.value(start), rel=1e-12)
    assert result.gradient_norm == pytest.approx(problem.dense.residual(start), rel=1e-9)


def test_the_start_counts():
    problem = known()
    cold = minimize(problem.objective, NewtonCG(), tol=1e-9)
    warm = minimize(problem.objective, NewtonCG(), problem.W + 1e-4, tol=1e-9)
    assert warm.n_iter < cold.n_iter
    assert warm.history[0]["objective"] < cold.history[0]["objective"]


@cases(
    "name, bad",
    product([name for name, case in SOLVERS.items() if "l2" in case.penalties], [np.nan, np.inf, 1e308]),
    together=1,
)
def test_a_start_without_a_finite_value_is_an_error(name, bad):
    problem = known()
    start = np.zeros(problem.objective.shape)
    start[3] = bad
    with pytest.raises(ValueError, match="not finite at the starting point"):
        minimize(problem.objective, SOLVERS[name].solver, start)


def test_a_start_may_have_any_dtype():
    problem = known()
    ints = minimize(problem.objective, NewtonCG(), np.zeros(problem.objective.shape, int))
    lists = minimize(problem.objective, NewtonCG(), np.zeros(problem.objective.shape).tolist())
    np.testing.assert_array_equal(ints.W, lists.W)


def test_a_start_of_another_shape_is_an_error():
    problem = known()
    with pytest.raises(ValueError, match="shape"):
        minimize(problem.objective, NewtonCG(), np.zeros((5, 1)))


def test_iterations_are_logged(caplog):
    with caplog.at_level(logging.DEBUG, "dask_newton"):
        result = minimize(known().objective, NewtonCholesky())
    lines = [r.getMessage() for r in caplog.records if r.name == "dask_newton.minimize"]
    assert len(lines) == result.n_iter + 1
    assert all(line.startswith("newton-cholesky {") for line in lines)


def test_nothing_is_printed(capfd):
    minimize(known().objective, NewtonCG())
    assert capfd.readouterr() == ("", "")
