"""The base of all estimators: how rows are opened for fit, prediction and scoring, and what a run leaves behind."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, is_classifier
from sklearn.callback import CallbackSupportMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from dask_newton.checkpoint import OpenCheckpoint, open_checkpoint
from dask_newton.containers.inputs import Rows, open_rows
from dask_newton.containers.outputs import map_rows
from dask_newton.containers.placement import BlockMaker
from dask_newton.estimators.parameters import with_shared_text
from dask_newton.estimators.prediction import Margins
from dask_newton.minimize import Result
from dask_newton.solvers import Solver
from dask_newton.solvers.relay import Relay

__all__ = ["Estimator"]


class Estimator(CallbackSupportMixin, BaseEstimator, ABC):
    """A model fitted over blocks of rows.

    Attributes
    ----------
    score_name : str
        Name of the quantity that ``score`` returns: 'accuracy', 'R2' or 'D2'.
    """

    score_name: str
    _target_checks: ClassVar[dict[str, bool]] = {}  # options of open_rows
    n_features_in_: int
    feature_names_in_: np.ndarray
    early_stopping: bool
    _encode: Callable[..., BlockMaker]  # (rows, **options): looks at the targets, returns what makes blocks

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.__doc__ = with_shared_text(cls.__doc__ or "")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    @abstractmethod
    def _attributes(self, W: np.ndarray) -> dict[str, Any]:
        """Return the attributes that hold the parameters W of the objective."""

    @abstractmethod
    def _margins(self) -> Margins:
        """Return the function of (X, offset) that the fitted model computes."""

    @property
    @abstractmethod
    def _n_outputs(self) -> int:
        """Number of margins per row of the fitted model."""

    def _open_checkpoint(self, checkpoint: Any) -> OpenCheckpoint | None:
        """Read the checkpoint; None if none was given."""
        if checkpoint is not None and self.early_stopping:
            raise ValueError(
                "Held-out scores are not saved, so early_stopping cannot be combined with checkpoint. Use one of them."
            )
        return None if checkpoint is None else open_checkpoint(checkpoint)

    def _open(self, X: Any, y: Any, sample_weight: Any, offset: Any) -> Rows:
        """Open and validate the arguments of fit."""
        rows = open_rows(X, y, sample_weight, offset, estimator=self, **self._target_checks)
        if rows.y is None:
            name = type(self).__name__
            raise ValueError(f"This {name} estimator requires y to be passed, but the target y is None.")
        self._check_features(rows, reset=True)
        return rows

    def _open_validation(self, X_val: Any, y_val: Any) -> Rows | None:
        """Open and validate held-out rows; None if there are none."""
        if X_val is None and y_val is None:
            return None
        rows = None if X_val is None else self._open_fitted(X_val, y_val)
        if rows is None or rows.y is None:
            raise ValueError("X_val and y_val go together; one of them is None.")
        return rows

    def _open_fitted(self, X: Any, y: Any = None, sample_weight: Any = None, offset: Any = None) -> Rows:
        """Open and validate rows whose features must be those of fit."""
        check_is_fitted(self)
        rows = open_rows(X, y, sample_weight, offset, estimator=self, ensure_all_finite=True, **self._target_checks)
        self._check_features(rows, reset=False)
        return rows

    def _open_scored(self, X: Any, y: Any, sample_weight: Any) -> Rows:
        """Open and validate the arguments of score."""
        rows = self._open_fitted(X, y, sample_weight)
        if rows.y is None:
            raise ValueError("score needs y: pass it, or pass a container that holds it.")
        return rows

    def _check_features(self, rows: Rows, *, reset: bool) -> None:
        """Set the number and the names of the features, or compare them with those of fit."""
        names = rows.feature_names
        seen = rows.X if names is None else pd.DataFrame(columns=names)
        validate_data(self, seen, reset=reset, skip_check_array=True)

    def _set_result(self, result: Result, solver: Solver[Any]) -> None:
        """Set the fitted attributes."""
        last, state = result.history[-1], result.state
        self.n_iter_: Any = result.n_iter
        self.converged_ = result.converged
        self.history_ = result.history
        self.n_passes_, self.n_rounds_ = last["passes"], last["rounds"]
        self.solver_ = solver.running(state) if isinstance(solver, Relay) else solver  # type: ignore[arg-type]
        self.history_.solver = self.solver_.name
        self.result_ = dataclasses.replace(result, state=None)  # a state may hold blocks of the cluster
        self.__dict__.update(self._attributes(result.W))

    def _map_rows(
        self,
        fn: Callable[..., Any],
        X: Any,
        columns: Sequence[Any] | np.ndarray | None = None,
        dtype: Any = None,
        offset: Any = None,
    ) -> Any:
        """Return ``fn(X, offset)`` in the type of X; see :func:`map_rows`."""
        return map_rows(fn, self._open_fitted(X, offset=offset), columns, dtype, self._output_dim)

    @property
    def _output_dim(self) -> str:
        return "class" if is_classifier(self) else "target"
