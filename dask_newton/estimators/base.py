"""What all linear estimators share: validate, place, minimise, set attributes; and prediction on any container."""

from __future__ import annotations

import dataclasses
import difflib
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, is_classifier
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from dask_newton.blocks import Blocks, PerBlock
from dask_newton.estimators.auto import choose_solver
from dask_newton.estimators.inputs import Rows, open_rows
from dask_newton.estimators.outputs import map_rows
from dask_newton.estimators.placement import BlockMaker, place_rows
from dask_newton.losses import Loss
from dask_newton.minimize import Result, minimize
from dask_newton.objectives.linear import LinearObjective
from dask_newton.objectives.linear_block import LinearBlock
from dask_newton.penalties import Penalty
from dask_newton.solvers import SOLVERS, Solver

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["LinearEstimator", "make_solver"]

logger = logging.getLogger(__name__)


def make_solver(name: str | Solver, options: dict[str, Any] | None) -> Solver | None:
    """Return the solver of a name with its options set; None for 'auto'.

    Raises
    ------
    ValueError
        If the name or an option is not known; the message has the nearest one that is.
    """
    if isinstance(name, Solver):
        return _with_options(name, options or {})
    if name == "auto":
        if options:
            raise ValueError("solver_options need a named solver; solver='auto' chooses its own.")
        return None
    if name not in SOLVERS:
        raise ValueError(f"solver={name!r} is not known; {_nearest(str(name), ['auto', *sorted(SOLVERS)])}")
    return _with_options(SOLVERS[name](), options or {})


def _with_options(solver: Any, options: dict[str, Any]) -> Solver:
    known = [field.name for field in dataclasses.fields(solver)]
    for option in options:
        if option not in known:
            raise ValueError(f"solver {solver.name!r} has no option {option!r}; {_nearest(option, known)}")
    return dataclasses.replace(solver, **options)


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, 1, 0.4)
    return (f"did you mean {close[0]!r}? " if close else "") + f"Known are {', '.join(known)}."


class LinearEstimator(BaseEstimator):
    """A regularised linear model fitted over row blocks."""

    # Set by the subclasses' __init__, as scikit-learn wants it.
    fit_intercept: bool
    solver: str | Solver
    solver_options: dict[str, Any] | None
    tol: float
    max_iter: int
    warm_start: bool
    persist: Any
    random_state: Any
    verbose: int
    coef_: np.ndarray
    feature_names_in_: np.ndarray

    def _open(self, X: Any, y: Any, sample_weight: Any, offset: Any = None, **check: Any) -> Rows:
        """Validate what was given to fit; ``check`` is for :func:`open_rows`."""
        rows = open_rows(X, y, sample_weight, offset, estimator=self, **check)
        if rows.y is None:
            name = type(self).__name__
            raise ValueError(f"This {name} estimator requires y to be passed, but the target y is None.")
        self._check_features(rows, reset=True)
        return rows

    def _place(
        self, rows: Rows, loss: Loss, encode: Callable[[Any], Any], reweigh: Callable[[Any, Any], Any] | None
    ) -> tuple[Blocks, PerBlock[LinearBlock]]:
        """Put the rows into blocks."""
        return place_rows(rows, BlockMaker(loss, self.fit_intercept, encode, reweigh), self.persist)

    def _minimize(
        self,
        blocks: Blocks,
        data: PerBlock[LinearBlock],
        penalty: Callable[[float], Penalty],
        start: Callable[[tuple[int, int]], np.ndarray | None],
    ) -> Result:
        """Minimise and set the attributes that say how it went."""
        solver = make_solver(self.solver, self.solver_options)  # before any work: a wrong name must not cost a pass
        problem = LinearObjective.from_blocks(blocks, data, penalty)
        if solver is None:
            solver, reason = choose_solver(problem)
            logger.info("solver='auto' chose %r: %s.", solver.name, reason)
        draws = "seed" in {field.name for field in dataclasses.fields(solver)}  # type: ignore[arg-type]
        if draws and self.random_state is not None:
            solver = _with_options(solver, {"seed": int(check_random_state(self.random_state).randint(2**31 - 1))})
        with _logging(self.verbose):
            result = minimize(
                problem, solver, start(problem.shape), max_iter=self.max_iter, tol=self.tol,
                callbacks=[_log] if self.verbose else (),
            )
        self.n_iter_ = np.array([result.n_iter], dtype=np.int32)
        self.converged_ = result.converged
        self.history_ = result.history
        self.n_passes_ = result.history[-1]["passes"]
        self.n_rounds_ = result.history[-1]["rounds"]
        self.solver_ = solver
        self.result_ = dataclasses.replace(result, state=None)  # states may hold blocks of the cluster
        return result

    def _rows_of(self, X: Any, y: Any = None, sample_weight: Any = None, offset: Any = None, **check: Any) -> Rows:
        """Validate what was given to predict or score."""
        check_is_fitted(self)
        rows = open_rows(X, y, sample_weight, offset, estimator=self, ensure_all_finite=True, **check)
        self._check_features(rows, reset=False)
        return rows

    def _check_features(self, rows: Rows, *, reset: bool) -> None:
        """Set the number and the names of the features, or compare them with those seen in fit."""
        names = rows.feature_names
        seen = rows.X if names is None else pd.DataFrame(columns=names)
        validate_data(self, seen, reset=reset, skip_check_array=True)

    def _map_rows(
        self, fn: Callable[..., Any], X: Any, columns: Sequence[Any] | np.ndarray | None = None,
        dtype: Any = None, offset: Any = None,
    ) -> Any:
        """Return ``fn(X, offset)`` in the type of X; see :func:`map_rows`."""
        return map_rows(fn, self._rows_of(X, offset=offset), columns, dtype, self._output_dim)

    @property
    def _output_dim(self) -> str:
        return "class" if is_classifier(self) else "target"

    def coef_xarray(self) -> xr.DataArray:
        """Return ``coef_`` with names.

        Returns
        -------
        xarray.DataArray
            Dimensions (class, feature), for regression (target, feature) or (feature,). The coordinate ``feature`` has
            the names seen in fit, if there were any; ``class`` the classes, for two of them the second.
        """
        import xarray as xr

        check_is_fitted(self)
        coords: dict[str, Any] = {}
        if "feature_names_in_" in vars(self):
            coords["feature"] = self.feature_names_in_
        if is_classifier(self):
            classes = self.classes_
            coords["class"] = classes if len(classes) > 2 else classes[1:]
        dims = ("feature",) if self.coef_.ndim == 1 else (self._output_dim, "feature")
        return xr.DataArray(self.coef_, dims=dims, coords=coords, name="coef")


@contextmanager
def _logging(verbose: int) -> Iterator[None]:
    """Show the library's log on standard error while a verbose fit runs."""
    root = logging.getLogger("dask_newton")
    if not verbose:
        yield
        return
    handler, level = logging.StreamHandler(sys.stderr), root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def _log(record: dict[str, Any]) -> None:
    logger.info(
        "iteration %3d   objective %.10g   gradient %.2e   passes %d   %.2f s",
        record["iteration"], record["objective"], record["gradient_norm"], record["passes"], record["seconds"],
    )
