"""Rounds of communication per iteration, from the meter: the table of the papers (Crane and Roosta 2020, Table 2).

A round is one broadcast or one reduction. The papers' methods have a line search that evaluates values first and the
gradient at the accepted step after them, which is ``LineSearch(speculative=False)``.
"""

import numpy as np
import pytest
from problems import known
from sklearn.exceptions import ConvergenceWarning

from dask_newton import minimize
from dask_newton.solvers import AIDE, DANE, DINGO, DINO, GIANT, SGD, DiSCO, InexactDANE, NewtonADMM, NewtonMR
from dask_newton.solvers.parts.line_search import LineSearch

PAPERS = LineSearch(speculative=False)

# What an iteration takes, as a number or as a function of its record.
TABLE = {
    "GIANT": (GIANT(line_search=PAPERS), 6),
    "DINO": (DINO(line_search=PAPERS), 6),
    "DINGO": (DINGO(), lambda record: 2 + 2 * record["case"]),
    "DiSCO": (DiSCO(preconditioner="none"), lambda record: 2 + 2 * record["inner_iterations"]),
    "Newton-MR": (NewtonMR(line_search=PAPERS), lambda record: 4 + 2 * record["inner_iterations"]),
    "Newton-MR on norm(g)": (NewtonMR(merit="gradnorm"), lambda record: 4 + 2 * record["inner_iterations"]),
    "ADMM": (NewtonADMM(polish=False), 2),
    "ADMM that certifies": (NewtonADMM(polish=False, certify_every=2), 2),
    "InexactDANE": (InexactDANE(steps=5), 4),
    "DANE": (DANE(newton_steps=2), 4),
    "AIDE": (AIDE(steps=5), 4),
    "AIDE with 3 inner iterations": (AIDE(steps=5, inner_iterations=3), 12),
    "SGD": (SGD(), 2),
    "SGD that certifies": (SGD(certify_every=2), 2),
}


@pytest.mark.parametrize(("solver", "rounds"), TABLE.values(), ids=TABLE)
def test_rounds_of_an_iteration(solver, rounds):
    """The start takes two: its value and gradient. After it, every iteration takes what the table says."""
    F = known("noisy", "l2").objective
    with pytest.warns(ConvergenceWarning):
        history = minimize(F, solver, max_iter=5, tol=0.0).history
    assert history[0]["rounds"] == 2
    taken = np.diff([record["rounds"] for record in history])
    expected = [rounds(record) if callable(rounds) else rounds for record in history.records[1:]]
    assert len(taken) == 5
    np.testing.assert_array_equal(taken, expected)
    assert history[-1]["rounds"] == 2 * history[-1]["passes"]


COUNTS = [
    (DANE(newton_steps=2), lambda d: 2 * d + 3, lambda d: 2 * d + 2),
    (InexactDANE(steps=5), lambda d: 2 * d + 4, lambda d: 2 * d + 5),
    (AIDE(steps=5), lambda d: 2 * d + 4, lambda d: 2 * d + 5),
    (SGD(), lambda d: d + 1, lambda d: d + 1),
]


@pytest.mark.parametrize(("solver", "up", "down"), COUNTS, ids=lambda x: getattr(x, "name", ""))
def test_numbers_sent_are_those_of_the_page_of_solvers(solver, up, down):
    F = known("noisy", "l2").objective
    with pytest.warns(ConvergenceWarning):
        history = minimize(F, solver, max_iter=3, tol=0.0).history
    for key, count in (("bytes_up", up), ("bytes_down", down)):
        sent = np.diff([record[key] for record in history]) / (8 * F.blocks.n_blocks)
        np.testing.assert_array_equal(sent, count(F.size))


def test_epochs_are_passes_by_the_share_of_the_rows_that_they_look_at():
    """A tenth of the rows of a sample; what is remembered counts nothing."""
    F = known("noisy", "l2").objective
    meter, epochs = F.blocks.meter, []

    def spent(what):
        before = meter.epochs
        result = what()
        epochs.append(meter.epochs - before)
        return result

    point = spent(lambda: F.at(F.null))
    along = spent(lambda: F.along(point, point.gradient, (1.0,)))
    spent(lambda: F.more(point, along, (0.5,)))
    sample = spent(lambda: F.sample(0.1, 0))
    at_sample = spent(lambda: sample.at(F.null))
    spent(lambda: sample.hess_mul(at_sample, F.null))
    spent(lambda: sample.sample(0.5, 0))
    spent(lambda: F.sample_here(0.1, 0, only=[0]))
    assert epochs == pytest.approx([1, 1, 0, 0.1, 0.1, 0.1, 0.05, 0.1 / F.blocks.n_blocks])
    solver = SGD(fraction=0.25, certify_every=2)
    with pytest.warns(ConvergenceWarning):
        history = minimize(F, solver, max_iter=3, tol=0.0).history
    assert np.diff([record["epochs"] for record in history]) == pytest.approx([0.25, 0.25, 1.25])
