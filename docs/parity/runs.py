"""Fits of every problem, by every solver, from every container, and how far they are from the reference."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from distributed import Client, LocalCluster
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from dask_newton.solvers import SOLVERS, UnsupportedError
from parity.containers import CONTAINERS
from parity.problems import Problem

__all__ = ["BOUND", "LOOSE_BOUND", "LOOSE_CONTAINERS", "LOOSE_SOLVER", "SOLVER_COLUMNS", "Run", "bound_of", "run_all"]

LOOSE_SOLVER = "newton-admm, no polish"
LOOSE_CONTAINERS = ("NumPy", "Dask array")  # it does the same in all others, and takes long
# Those that are not sure to reach the optimum, or take very long to come as close to it as is asked here.
_NO_PARITY = {"aide", "dane", "inexact-dane", "sgd"}
SOLVER_COLUMNS = ["auto", *sorted(set(SOLVERS) - _NO_PARITY), LOOSE_SOLVER]
BOUND, LOOSE_BOUND = 1e-6, 1e-4
TOL, LOOSE_TOL, FLOAT32_TOL = 1e-12, 1e-8, 1e-6


@dataclass(frozen=True)
class Run:
    """One fit.

    Attributes
    ----------
    problem : Problem
    solver : str
        One of :data:`SOLVER_COLUMNS`.
    container : str
    error : float
        Largest difference of a coefficient or intercept from the reference.
    converged : bool
    """

    problem: Problem
    solver: str
    container: str
    error: float
    converged: bool


def bound_of(solver: str) -> float:
    """Return the largest error that is right."""
    return LOOSE_BOUND if solver == LOOSE_SOLVER else BOUND


def run_all(problems: Iterable[Problem], solvers: Iterable[str], containers: Iterable[str]) -> Iterator[Run]:
    """Yield all runs, container by container; a pair of penalty and solver that the solver refuses is left out."""
    problems, solvers = list(problems), list(solvers)
    for name in containers:
        container = CONTAINERS[name]
        with _two_processes() if container.cluster else nullcontext():
            for problem in problems:
                if container.float32:
                    problem = problem.in_float32()
                with tempfile.TemporaryDirectory() as folder:
                    given = container.convert(problem.columns, Path(folder))
                    for solver in solvers:
                        run = _run(problem, solver, name, given)
                        if run is not None:
                            yield run


def _run(problem: Problem, solver: str, container: str, given: dict[str, Any]) -> Run | None:
    model = clone(problem.model)
    if solver == LOOSE_SOLVER:
        if not np.any(problem.l1) or container not in LOOSE_CONTAINERS:
            return None
        model.set_params(solver="newton-admm", solver_options={"polish": False}, tol=LOOSE_TOL, max_iter=5000)
    else:
        model.set_params(solver=solver, tol=FLOAT32_TOL if CONTAINERS[container].float32 else TOL, max_iter=1000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is in the table
        try:
            model.fit(**given)
        except UnsupportedError:
            return None
    return Run(problem, solver, container, problem.error(model), model.converged_)


@contextmanager
def _two_processes() -> Iterator[Client]:
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=None,
            scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client
