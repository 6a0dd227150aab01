"""The same problems for dask-ml, where it has them.

Its objectives are the sum of the losses, for squared errors without the usual half, plus lambda = 1 / C times the
penalty; C is chosen here so that its documented objective is the one of the problem.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterable
from typing import Any

import dask
import dask.array as da
import numpy as np

from parity.problems import Problem

__all__ = ["INSTALLED", "SOLVERS", "applies", "errors"]

INSTALLED = importlib.util.find_spec("dask_ml") is not None
SOLVERS = ["admm", "gradient_descent", "lbfgs", "newton", "proximal_grad"]
# Tolerances far below the defaults, so that what is seen is not a fit that stopped early by its own rule.
_OPTIONS: dict[str, dict[str, Any]] = {"admm": {"abstol": 1e-10, "reltol": 1e-10}}
_NAMES = {"logistic": "LogisticRegression", "squared": "LinearRegression", 1.0: "PoissonRegression"}


def applies(problem: Problem) -> bool:
    """Whether dask-ml has a class for the problem: one output, no weights, no offsets, one strength."""
    return (
        problem.loss in _NAMES
        and set(problem.columns) == {"X", "y"}
        and problem.columns["y"].ndim == 1
        and problem.class_weight is None
        and np.ndim(problem.l1) == 0
        and problem.estimator != "TweedieRegressor"
    )


def errors(problem: Problem, solvers: Iterable[str] = SOLVERS) -> dict[tuple[str, bool], float | str]:
    """Return (solver, normalize) -> largest difference from the reference, or the name of the exception."""
    with warnings.catch_warnings(), np.errstate(all="ignore"), dask.config.set(scheduler="synchronous"):
        warnings.simplefilter("ignore")
        return {(s, normalize): _error(problem, s, normalize) for s in solvers for normalize in (True, False)}


def _error(problem: Problem, solver: str, normalize: bool) -> float | str:
    import dask_ml.linear_model
    from dask_glm.regularizers import ElasticNet

    X, y = problem.columns["X"], problem.columns["y"]
    total = problem.l1 + problem.l2
    factor = 2 if problem.loss == "squared" else 1
    share = problem.l1 / total if total else 0.0
    model = getattr(dask_ml.linear_model, _NAMES[problem.loss])(
        penalty={0.0: "l2", 1.0: "l1"}.get(share) or ElasticNet(share),
        C=1 / (factor * len(X) * total) if total else np.inf,
        solver=solver,
        tol=1e-12,
        max_iter=100,
        solver_kwargs={**_OPTIONS.get(solver, {}), "normalize": normalize},
    )
    chunk = -(-len(X) // 2)
    try:
        model.fit(da.from_array(X, chunks=(chunk, -1)), da.from_array(y, chunks=chunk))
    except Exception as error:  # whatever it raises is the result
        return type(error).__name__
    return problem.error(model)
