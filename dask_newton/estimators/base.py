"""What all estimators share: validate, place, minimise, set attributes; and prediction on any container."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, is_classifier
from sklearn.callback import CallbackSupportMixin
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from dask_newton.checkpoint import OpenCheckpoint, open_checkpoint
from dask_newton.containers.inputs import Rows, open_rows
from dask_newton.containers.outputs import map_rows
from dask_newton.containers.placement import BlockMaker
from dask_newton.estimators.monitors import ScikitLearnCallbacks, Validation, log_iteration, shown_log
from dask_newton.estimators.prediction import Margins
from dask_newton.minimize import minimize
from dask_newton.objectives.base import Objective
from dask_newton.penalties import Penalty
from dask_newton.solvers import Solver
from dask_newton.solvers.relay import Switching

__all__ = ["Estimator"]


class Estimator(CallbackSupportMixin, BaseEstimator, ABC):
    """A model fitted over row blocks.

    Subclasses say what is minimised, and how their attributes hold the parameters W of the objective.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
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
    feature_names_in_: np.ndarray
    fit_intercept: bool

    def __init__(
        self,
        *,
        regularizer: Penalty | None,
        solver: str | Solver,
        solver_options: dict[str, Any] | None,
        tol: float,
        max_iter: int,
        max_rounds: int | None,
        max_bytes: float | None,
        max_seconds: float | None,
        warm_start: bool,
        early_stopping: bool,
        n_iter_no_change: int,
        persist: Any,
        random_state: Any,
        verbose: int,
    ) -> None:
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
    def _margins(self) -> Margins:
        """Return the function of (X, offset) that the fitted model is."""

    @property
    @abstractmethod
    def _n_outputs(self) -> int:
        """Margins per row of the fitted model."""

    @abstractmethod
    def _attributes(self, W: np.ndarray) -> dict[str, Any]:
        """Return the attributes that hold the parameters W of the objective."""

    @abstractmethod
    def _prepare(self, X: Any, y: Any, sample_weight: Any, *, offset: Any = None) -> tuple[Rows, BlockMaker]:
        """Validate what was given to fit, and say how blocks are made of it."""

    @abstractmethod
    def _chosen_solver(self) -> Solver[Any] | None:
        """Return the solver with its options, after a look at them; None for 'auto'."""

    def _check_run(self, checkpoint: Any) -> OpenCheckpoint | None:
        """Check solver and checkpoint before any pass over the data; return the checkpoint, opened."""
        self._chosen_solver()
        if checkpoint is not None and self.early_stopping:
            raise ValueError(
                "Held-out scores are not saved, so early_stopping=True cannot be combined with checkpoint; use one of "
                "the two."
            )
        return None if checkpoint is None else open_checkpoint(checkpoint)

    def _minimize(
        self,
        problem: Objective,
        solver: Solver[Any],
        start: np.ndarray | None,
        held_out: Validation | None,
        monitors: Sequence[Any],
        given: tuple[Any, Any, Any],
        checkpoint: OpenCheckpoint | None,
    ) -> ScikitLearnCallbacks:
        """Minimise, and set the attributes; what is returned is closed once no more are to come."""
        looking = [*([] if held_out is None else [held_out]), *monitors, *([log_iteration] if self.verbose else [])]
        bridge = ScikitLearnCallbacks(self, *given)
        with shown_log(self.verbose):
            result = minimize(
                problem,
                solver,
                start,
                max_iter=self.max_iter,
                tol=self.tol,
                max_rounds=self.max_rounds,
                max_bytes=self.max_bytes,
                max_seconds=self.max_seconds,
                callbacks=[*looking, bridge],
                checkpoint=checkpoint,
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
        return bridge

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
        self,
        fn: Callable[..., Any],
        X: Any,
        columns: Sequence[Any] | np.ndarray | None = None,
        dtype: Any = None,
        offset: Any = None,
    ) -> Any:
        """Return ``fn(X, offset)`` in the type of X; see :func:`map_rows`."""
        return map_rows(fn, self._rows_of(X, offset=offset), columns, dtype, self._output_dim)

    @property
    def _output_dim(self) -> str:
        return "class" if is_classifier(self) else "target"
