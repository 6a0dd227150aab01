"""What the benchmarks of solvers share: problems on disk with certified optima, and fits."""

from __future__ import annotations

import warnings
from typing import Any

import dask.array as da
import numpy as np
from sklearn.exceptions import ConvergenceWarning

from dask_newton import LogisticRegression

from . import problems

N_BLOCKS = 8
TOL = 1e-6


def prepare(names: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Make problems, save them in the current folder, and find their optima. For ``setup_cache``."""
    return {name: _prepare(problems.make(name)) for name in names}


def _prepare(problem: problems.Problem) -> dict[str, Any]:
    np.save(f"{problem.name}_X.npy", problem.X)
    np.save(f"{problem.name}_y.npy", problem.y)
    X = problem.X.astype(np.float64)
    with warnings.catch_warnings():
        # The gradient may end at the rounding of F, above tol; the bound below says whether that is good enough.
        warnings.simplefilter("ignore", ConvergenceWarning)
        clf = LogisticRegression(C=problem.C, fit_intercept=False, tol=1e-10, max_iter=300).fit(X, problem.y)
    optimum, ridge = problem.objective(clf.coef_), 1 / (problem.C * len(problem.y))
    # F - F* <= norm(grad F)^2 / (2 ridge), and norm(g)^2 <= d max|g|^2.
    bound = problem.n_coefficients * clf.result_.gradient_norm**2 / (2 * ridge)
    if bound > 1e-8 * optimum:
        raise RuntimeError(f"The optimum of {problem.name} is known to {bound / optimum:.0e} only; lower its tol.")
    return {"optimum": optimum}


def load(name: str) -> problems.Problem:
    """Load a problem that was saved in the current folder."""
    return problems.Problem(name, np.load(f"{name}_X.npy"), np.load(f"{name}_y.npy"))


def refuses(solver: str, problem: problems.Problem) -> bool:
    """Whether a solver would have to factor a matrix that is too large for it."""
    return solver == "newton-cholesky" and problem.n_coefficients > 2000


def fit(problem: problems.Problem, solver: str, *, tol: float = TOL, blocks: int = N_BLOCKS) -> LogisticRegression:
    """Fit in blocks, with the current Dask scheduler."""
    rows = -(-len(problem.y) // blocks)
    X = da.from_array(problem.X, chunks=(rows, -1), name=False)
    y = da.from_array(problem.y, chunks=rows, name=False)
    clf = LogisticRegression(C=problem.C, fit_intercept=False, solver=solver, tol=tol, max_iter=300, random_state=0)
    with warnings.catch_warnings():
        # Where float32 cannot reach tol the tracked gap shows what was reached.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return clf.fit(X, y)
