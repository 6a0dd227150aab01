"""What the benchmarks of solvers share: problems on disk with certified optima, and fits."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import scipy.sparse
from sklearn.exceptions import ConvergenceWarning

from dask_newton import LogisticRegression
from dask_newton.solvers import SOLVERS, UnsupportedError

from . import problems

N_BLOCKS = 8
TOL = 1e-6
MAX_SECONDS = 60.0 if problems.FULL else 15.0  # of a fit; what came of it is tracked as its gap
# Without those that need not come near an optimum: `dask-newton compare` shows what they do.
COMPARED = ("auto", *(name for name in SOLVERS if name not in ("aide", "dane", "inexact-dane", "sgd")))


def prepare(names: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Make problems, save them in the current folder, and find their optima. For ``setup_cache``."""
    return {name: _prepare(problems.make(name)) for name in names}


def _prepare(problem: problems.Problem) -> dict[str, Any]:
    if scipy.sparse.issparse(problem.X):
        scipy.sparse.save_npz(f"{problem.name}_X.npz", problem.X, compressed=False)
    else:
        np.save(f"{problem.name}_X.npy", problem.X)
    np.save(f"{problem.name}_y.npy", problem.y)
    exact = problems.Problem(problem.name, problem.X.astype(np.float64), problem.y)
    # tol may be below the rounding of F; the bound says whether the optimum is known well enough.
    coef = fit(exact, "auto", tol=1e-10, blocks=1, max_seconds=None).coef_
    optimum, bound = problem.objective(coef), problem.gap_bound(coef)
    if bound > 1e-8 * optimum:
        raise RuntimeError(f"The optimum of {problem.name} is known to {bound / optimum:.0e} only; lower its tol.")
    return {"optimum": optimum}


def load(name: str) -> problems.Problem:
    """Load a problem that was saved in the current folder."""
    sparse = Path(f"{name}_X.npz")
    X = scipy.sparse.load_npz(sparse) if sparse.exists() else np.load(f"{name}_X.npy")
    return problems.Problem(name, X, np.load(f"{name}_y.npy"))


def outcome(problem: problems.Problem, solver: str) -> dict[str, float]:
    """Fit, and return what was counted; fitted once for all that ask, as counts are the same every time."""
    path = Path(f"{problem.name}-{solver}.json")
    if not path.exists():
        clf = fit(problem, solver)
        last = clf.history_[-1]
        counts = {
            "passes": clf.n_passes_,
            "rounds": clf.n_rounds_,
            "megabytes": (last["bytes_up"] + last["bytes_down"]) / 1e6,
            "objective": problem.objective(clf.coef_),
        }
        path.write_text(json.dumps(counts))
    return json.loads(path.read_text())


def refusal(problem: problems.Problem, solver: str) -> str | None:
    """Return why a solver does not take the problem, told by its check of a few rows; None if it does."""
    try:
        fit(problems.Problem(problem.name, problem.X[:500], problem.y[:500]), solver, blocks=1, max_iter=0)
    except UnsupportedError as error:
        return str(error)
    return None


def fit(
    problem: problems.Problem,
    solver: str,
    *,
    tol: float = TOL,
    blocks: int = N_BLOCKS,
    max_iter: int = 300,
    max_seconds: float | None = MAX_SECONDS,
) -> LogisticRegression:
    """Fit in blocks, with the current Dask scheduler."""
    clf = LogisticRegression(
        C=problem.C,
        l1_ratio=problem.l1_ratio,
        fit_intercept=False,
        solver=solver,
        tol=tol,
        max_iter=max_iter,
        max_seconds=max_seconds,
        random_state=0,
    )
    with warnings.catch_warnings():
        # Where float32 cannot reach tol the tracked gap shows what was reached.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return clf.fit(*chunked(problem, blocks))


def chunked(problem: problems.Problem, blocks: int) -> tuple[da.Array, da.Array]:
    """Return X and y as Dask arrays of so many blocks."""
    rows = -(-len(problem.y) // blocks)
    parts = [problem.X[start : start + rows] for start in range(0, len(problem.y), rows)]
    X = da.concatenate(
        [da.from_delayed(dask.delayed(part, traverse=False), part.shape, meta=part[:0]) for part in parts]
    )
    return X, da.from_array(problem.y, chunks=rows, name=False)
