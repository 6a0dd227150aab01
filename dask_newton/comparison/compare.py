"""Fit one model with several solvers, on rows that are read and split into blocks once."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from dask_newton.comparison.result import Comparison, Run
from dask_newton.containers.inputs import Rows, open_rows
from dask_newton.containers.placement import share_rows
from dask_newton.estimators.network import NetworkEstimator
from dask_newton.estimators.options import has_option, make_solver
from dask_newton.history import History
from dask_newton.minimize import BUDGETS
from dask_newton.solvers import SOLVERS, Solver, UnsupportedError
from dask_newton.solvers.named import solver_classes

__all__ = ["compare"]

logger = logging.getLogger(__name__)


def compare(
    estimator: Any,
    X: Any,
    y: Any = None,
    *,
    solvers: str | Sequence[str | Solver] | Mapping[str, Any] = "all",
    n_blocks: int | None = 8,
    X_test: Any = None,
    y_test: Any = None,
    sample_weight: Any = None,
    fit_params: dict[str, Any] | None = None,
    optimum: float | None = None,
    max_iter: int | None = None,
    tol: float | None = None,
    max_seconds: float | None = None,
    max_rounds: int | None = None,
    max_bytes: int | None = None,
) -> Comparison:
    """Fit an estimator with several solvers, and compare their results and costs.

    The rows are read, split into blocks and placed where Dask computes only once; all solvers run on these blocks. The
    rows keep their order, which matters for solvers that average over blocks.

    Parameters
    ----------
    estimator : estimator
        The model to fit: a prototype with the parameter ``solver``, cloned for every solver.
    X, y : array-like, Dask array, data frame, or path of a Zarr group
        As in ``fit``.
    solvers : 'all', or sequence of str or Solver, or dict
        Names, solver objects, or a dict from labels to either. ``'all'`` means those that can minimise the objective of
        the estimator.
    n_blocks : int or None, default=8
        Number of blocks: the m of the papers. None keeps the chunks of X.
    X_test, y_test : optional
        Rows for the score.
    sample_weight : array-like, optional
    fit_params : dict, optional
        Other arguments of ``fit``, such as ``{"coef_init": W}``, except those with one value per row.
    optimum : float, optional
        Objective that gaps refer to; by default the best certified value among the runs.
    max_iter, tol, max_seconds, max_rounds, max_bytes : optional
        Parameters of the estimator to set for every run.

    Returns
    -------
    Comparison
        Print it, show it in a notebook, or ``plot`` it. A solver that refuses the objective, fails or exhausts a budget
        is a row with the reason, and does not end the comparison.

    Raises
    ------
    ValueError
        If a solver is unknown, or if none could run.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from dask_newton import LogisticRegression, compare
    >>> X, y = load_digits(return_X_y=True)
    >>> found = compare(LogisticRegression(), X / 16, y, solvers=["giant", "newton-cg"], n_blocks=4)
    >>> found.to_pandas()["status"].tolist()
    ['converged', 'converged']

    Networks are trained from the same random weights by all solvers:

    >>> from dask_newton import MLPClassifier
    >>> network = MLPClassifier((20,), "tanh", max_iter=10, random_state=0)
    >>> found = compare(network, X / 16, y, solvers=["gn-cg", "adam"], n_blocks=4)
    >>> bool(found["gn-cg"].value < found["adam"].value)
    True
    """
    given = {
        "max_iter": max_iter,
        "tol": tol,
        "max_seconds": max_seconds,
        "max_rounds": max_rounds,
        "max_bytes": max_bytes,
    }
    prototype = clone(estimator).set_params(
        solver_options=None, **{name: value for name, value in given.items() if value is not None}
    )
    network = isinstance(prototype, NetworkEstimator)
    if network and prototype.random_state is None:
        prototype.set_params(random_state=int(check_random_state(None).randint(2**31 - 1)))  # one start for all
    chosen = _labelled(solvers, network)
    rows = open_rows(X, y, sample_weight, estimator=prototype, multi_output=True)
    rows = share_rows(rows, n_blocks, getattr(prototype, "persist", "auto"))
    test = None if X_test is None else open_rows(X_test, y_test, multi_output=True)
    runs, errors = [], []
    for i, (label, solver) in enumerate(chosen.items()):
        logger.info("Comparing: %s, solver %d of %d.", label, i + 1, len(chosen))
        try:
            runs.append(_run(label, _with_solver(prototype, solver), rows, test, fit_params or {}))
        except (ValueError, ArithmeticError, MemoryError) as error:
            errors.append(error)
            refused = isinstance(error, UnsupportedError)
            runs.append(Run.failed(label, "refused" if refused else "error", " ".join(str(error).split())))
    if len(errors) == len(runs):
        raise next((error for error in errors if not isinstance(error, UnsupportedError)), errors[0])
    if solvers == "all":
        runs = [run for run in runs if run.status != "refused"]
    return Comparison.of(runs, prototype, optimum)


def _with_solver(prototype: Any, solver: str | Solver) -> Any:
    """Return a clone with the solver; ``batch_size`` only goes to named solvers that use mini-batches."""
    model = clone(prototype).set_params(solver=solver)
    if isinstance(model, NetworkEstimator):
        made = make_solver(solver, None, network=True) if isinstance(solver, str) else None
        if made is None or not has_option(made, "batch_size"):
            model.set_params(batch_size="auto")
    return model


def _labelled(solvers: Any, network: bool) -> dict[str, str | Solver]:
    """Return the solvers by label."""
    if isinstance(solvers, str):
        solvers = list(solver_classes(network=True) if network else SOLVERS) if solvers == "all" else [solvers]
    if isinstance(solvers, Mapping):
        labelled = {str(label): solver for label, solver in solvers.items()}
    else:
        labelled = {}
        for solver in solvers:
            label = solver.name if isinstance(solver, Solver) else str(solver)
            if label in labelled:
                raise ValueError(f"Two solvers have the label {label!r}; give a dict with a label for each.")
            labelled[label] = solver
    if not labelled:
        raise ValueError("No solvers to compare were given; give names such as 'giant', or 'all'.")
    for solver in labelled.values():
        make_solver(solver, None, network=network)  # report a wrong name before the first run
    return labelled


def _run(label: str, model: Any, rows: Rows, test: Rows | None, params: dict[str, Any]) -> Run:
    """Fit and score."""
    columns = {name: getattr(rows, name) for name in ("sample_weight", "offset") if getattr(rows, name) is not None}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(rows.X, rows.y, **columns, **params)
        score = math.nan if test is None else float(model.score(test.X, test.y))
    result, history = model.result_, model.history_
    told = result.status in BUDGETS  # the status says as much as the warning
    heard = [
        " ".join(str(warning.message).split())
        for warning in caught
        if issubclass(warning.category, UserWarning | RuntimeWarning)
        and not (told and issubclass(warning.category, ConvergenceWarning))
    ]
    last = history[-1]
    return Run(
        label=label,
        status=result.status.value,
        certified=result.converged,
        value=result.value,
        gradient_norm=result.gradient_norm,
        n_iter=result.n_iter,
        passes=last["passes"],
        rounds=last["rounds"],
        bytes=last["bytes_up"] + last["bytes_down"],
        seconds=last["seconds"],
        score=score,
        convex=result.convex,
        notes=tuple(dict.fromkeys(heard)),
        history=History(label, history.records),
        model=model,
    )
