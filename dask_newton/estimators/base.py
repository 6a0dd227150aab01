"""What all linear estimators share: validate, place, minimise, set attributes; and prediction on any container."""

from __future__ import annotations

import dataclasses
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.callback import CallbackSupportMixin
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from dask_newton.estimators.auto import choose_solver, explain
from dask_newton.estimators.exchange import ExchangeMixin
from dask_newton.estimators.explanation import Explanation
from dask_newton.estimators.inputs import Rows, open_rows
from dask_newton.estimators.monitors import ScikitLearnCallbacks, Validation, log_iteration, shown_log
from dask_newton.estimators.options import make_solver, seeded
from dask_newton.estimators.outputs import map_rows
from dask_newton.estimators.placement import BlockMaker, place_rows
from dask_newton.minimize import minimize
from dask_newton.objectives.linear import LinearObjective
from dask_newton.penalties import Penalty
from dask_newton.solvers import Solver
from dask_newton.solvers.switching import Switching

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["LinearEstimator"]

logger = logging.getLogger(__name__)


class LinearEstimator(ExchangeMixin, CallbackSupportMixin, BaseEstimator, ABC):
    """A regularised linear model fitted over row blocks.

    Subclasses say what is minimised: :meth:`_penalty`, and in ``fit`` the loss; and how ``coef_`` and ``intercept_``
    hold the coefficients W, of shape (n_features + 1, n_outputs), with the intercept as last row.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "fit_intercept": ["boolean"],
        "regularizer": [Penalty, None],
        "solver": [str, Solver],
        "solver_options": [dict, None],
        "tol": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "max_rounds": [Interval(Integral, 0, None, closed="left"), None],
        "max_bytes": [Interval(Real, 0, None, closed="left"), None],
        "max_seconds": [Interval(Real, 0, None, closed="left"), None],
        "warm_start": ["boolean"],
        "early_stopping": ["boolean"],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "persist": ["boolean", StrOptions({"auto"})],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }
    coef_: np.ndarray
    intercept_: np.ndarray
    feature_names_in_: np.ndarray

    def __init__(
        self, *, fit_intercept: bool = True, regularizer: Penalty | None = None, solver: str | Solver = "auto",
        solver_options: dict[str, Any] | None = None, tol: float = 1e-6, max_iter: int = 100,
        max_rounds: int | None = None, max_bytes: float | None = None, max_seconds: float | None = None,
        warm_start: bool = False, early_stopping: bool = False, n_iter_no_change: int = 5, persist: Any = "auto",
        random_state: Any = None, verbose: int = 0,
    ) -> None:
        self.fit_intercept = fit_intercept
        self.regularizer = regularizer
        self.solver = solver
        self.solver_options = solver_options
        self.tol = tol
        self.max_iter = max_iter
        self.max_rounds = max_rounds
        self.max_bytes = max_bytes
        self.max_seconds = max_seconds
        self.warm_start = warm_start
        self.early_stopping = early_stopping
        self.n_iter_no_change = n_iter_no_change
        self.persist = persist
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    @abstractmethod
    def _penalty(self, total_weight: float) -> Penalty:
        """Return R, on the scale of the mean loss, for a total weight of the samples."""

    @abstractmethod
    def _attributes_of(self, W: np.ndarray) -> dict[str, Any]:
        """Return ``coef_`` and ``intercept_`` for W."""

    def _coefficients(self) -> np.ndarray:
        """Return W."""
        check_is_fitted(self)
        return _joined(self.coef_, self.intercept_)

    def _previous(self) -> np.ndarray | None:
        """Return W of the previous fit, for a warm start; None if there is none, or of other features."""
        if not (self.warm_start and hasattr(self, "coef_")):
            return None
        W = self._coefficients()
        return W if len(W) == self.n_features_in_ + 1 else None

    @abstractmethod
    def _prepare(self, X: Any, y: Any, sample_weight: Any, *, offset: Any = None) -> tuple[Rows, BlockMaker]:
        """Validate what was given to fit, and say how blocks are made of it."""

    def _objective(self, rows: Rows, make: BlockMaker) -> tuple[LinearObjective, float]:
        """Put the rows into blocks and look at them; return the seconds of that look as well."""
        blocks, data = place_rows(rows, make, self.persist)
        began = time.perf_counter()
        penalty = self._penalty if self.regularizer is None else self.regularizer
        return LinearObjective.from_blocks(blocks, data, penalty), time.perf_counter() - began

    def explain(self, X: Any, y: Any = None, sample_weight: Any = None, **options: Any) -> Explanation:
        """Say which solver ``solver="auto"`` chooses for these data on this machine or cluster, and why.

        It looks at the data, measures latency and arithmetic in a few short passes, and estimates what every solver
        costs. The estimator stays as it is; nothing is fitted.

        Parameters
        ----------
        X, y, sample_weight
            As in :meth:`fit`.
        **options
            What else ``fit`` takes that is part of the model: ``offset``, and ``exposure`` or ``classes``.

        Returns
        -------
        Explanation
            A table with a row for each solver: print it, or see it in a notebook.
        """
        twin = clone(self)
        twin._validate_params()
        return explain(*twin._objective(*twin._prepare(X, y, sample_weight, **options)))

    def _fit_rows(
        self, rows: Rows, make: BlockMaker, *, coef_init: Any = None, intercept_init: Any = None,
        previous: np.ndarray | None = None, validation: Rows | None = None,
        given: tuple[Any, Any, Any] = (None, None, None),
    ) -> Self:
        """Minimise over rows and set the attributes."""
        if self.early_stopping and validation is None:
            raise ValueError("early_stopping=True needs X_val and y_val in fit: rows that are held out.")
        if coef_init is not None:
            previous = _joined(coef_init, intercept_init)
        solver = make_solver(self.solver, self.solver_options)
        problem, first_pass = self._objective(rows, make)
        start = self._start(problem, previous)
        self.__dict__.pop("explanation_", None)
        if solver is None:
            solver, self.explanation_ = choose_solver(problem, first_pass, self.tol)
            logger.info("solver='auto' chose %r: %s.", self.explanation_.choice, self.explanation_.reason)
        if self.random_state is not None:
            solver = seeded(solver, int(check_random_state(self.random_state).randint(2**31 - 1)))
        callbacks: list[Any] = [log_iteration] if self.verbose else []
        held_out = None
        if validation is not None:
            held_out = Validation(
                *place_rows(validation, dataclasses.replace(make, reweigh=None), self.persist),
                self.n_iter_no_change if self.early_stopping else None,
            )
            callbacks.insert(0, held_out)
        bridge = ScikitLearnCallbacks(self, *given)
        callbacks.append(bridge)
        with shown_log(self.verbose):
            result = minimize(
                problem, solver, start, max_iter=self.max_iter, tol=self.tol, max_rounds=self.max_rounds,
                max_bytes=self.max_bytes, max_seconds=self.max_seconds, callbacks=callbacks,
            )
        if held_out is not None and self.early_stopping:
            result = dataclasses.replace(result, W=held_out.best_W)
        self.n_iter_: Any = result.n_iter
        self.converged_ = result.converged
        self.history_ = result.history
        self.n_passes_ = result.history[-1]["passes"]
        self.n_rounds_ = result.history[-1]["rounds"]
        state: Any = result.state
        self.solver_ = solver.running(state) if isinstance(solver, Switching) else solver
        self.history_.solver = self.solver_.name
        self.result_ = dataclasses.replace(result, state=None)  # states may hold blocks of the cluster
        self.__dict__.update(self._attributes(result.W))
        bridge.close()
        return self

    def _attributes(self, W: np.ndarray) -> dict[str, Any]:
        """Return ``coef_`` and ``intercept_`` for the W of the objective, which may have no row for the intercept."""
        return self._attributes_of(W if self.fit_intercept else np.vstack([W, 0 * W[:1]]))

    def _start(self, problem: LinearObjective, previous: np.ndarray | None) -> np.ndarray | None:
        """Return the coefficients to start from; None for the solver's own."""
        if previous is None:
            return None
        start = previous if self.fit_intercept else previous[:-1]
        if start.shape != problem.shape:
            raise ValueError(
                f"coef_init is for {start.shape[1]} outputs and {len(previous) - 1} features; the data have "
                f"{problem.shape[1]} and {problem.shape[0] - self.fit_intercept}."
            )
        return start

    def _open(self, X: Any, y: Any, sample_weight: Any, offset: Any = None, **check: Any) -> Rows:
        """Validate what was given to fit; ``check`` is for :func:`open_rows`."""
        rows = open_rows(X, y, sample_weight, offset, estimator=self, **check)
        if rows.y is None:
            name = type(self).__name__
            raise ValueError(f"This {name} estimator requires y to be passed, but the target y is None.")
        self._check_features(rows, reset=True)
        return rows

    def _open_validation(self, X_val: Any, y_val: Any, **check: Any) -> Rows | None:
        """Validate rows that are held out; None if there are none."""
        if X_val is None and y_val is None:
            return None
        rows = self._rows_of(X_val, y_val, **check) if X_val is not None else None
        if rows is None or rows.y is None:
            raise ValueError("X_val and y_val go together; one of them is None.")
        return rows

    def _rows_of(self, X: Any, y: Any = None, sample_weight: Any = None, offset: Any = None, **check: Any) -> Rows:
        """Validate what was given to predict or score."""
        check_is_fitted(self)
        rows = open_rows(X, y, sample_weight, offset, estimator=self, ensure_all_finite=True, **check)
        self._check_features(rows, reset=False)
        return rows

    def _rows_with_targets(self, X: Any, y: Any, sample_weight: Any, **check: Any) -> Rows:
        """Validate what was given to score."""
        rows = self._rows_of(X, y, sample_weight, **check)
        if rows.y is None:
            raise ValueError("score needs y: give it, or a container that holds it.")
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


def _joined(coef: Any, intercept: Any) -> np.ndarray:
    """Return W from arrays of the shapes of ``coef_`` and ``intercept_``; None is an intercept of zero."""
    coef = np.atleast_2d(np.asarray(coef, dtype=np.float64))
    intercept = np.zeros(len(coef)) if intercept is None else np.asarray(intercept, dtype=np.float64).reshape(-1)
    if len(intercept) != len(coef):
        raise ValueError(f"coef_init has {len(coef)} rows and intercept_init {len(intercept)} entries; give as many.")
    return np.concatenate([coef.T, intercept[None, :]])
