"""Regressors, linear or not: targets that are numbers, and their prediction."""

from __future__ import annotations

import functools
from abc import abstractmethod
from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_is_fitted

from dask_newton.arrays import host_dtype
from dask_newton.containers.inputs import Rows
from dask_newton.containers.outputs import sum_rows
from dask_newton.containers.placement import BlockMaker
from dask_newton.containers.targets import as_float, numeric_targets, require_outputs
from dask_newton.estimators import prediction
from dask_newton.estimators.base import Estimator
from dask_newton.losses import Loss

__all__ = ["NumericEstimator"]


class NumericEstimator(RegressorMixin, Estimator):
    """A model of targets that are numbers."""

    score_name = "R2"
    _several_targets = True

    @abstractmethod
    def _loss(self, n_targets: int) -> Loss:
        """Return l."""

    @property
    @abstractmethod
    def _predicts_column(self) -> bool:
        """Whether predictions of one target are a column, as the targets were."""

    @property
    def _target_checks(self) -> dict[str, bool]:  # type: ignore[override]
        return {"multi_output": self._several_targets, "y_numeric": True}

    def _encode(self, rows: Rows) -> BlockMaker:
        """Check the targets, and return what makes blocks of the rows."""
        rows = numeric_targets(rows)
        loss = require_outputs(rows, self._loss(1 if rows.y.ndim == 1 else rows.y.shape[1]))
        self._one_target = rows.y.ndim == loss.n_outputs == 1
        return BlockMaker(loss, functools.partial(as_float, dtype=host_dtype(rows.X.dtype)))

    def predict(self, X: Any, *, offset: Any = None) -> Any:
        """Return the expected targets, in the shape of y.

        Parameters
        ----------
        X : array-like or Dask array of shape (n_samples, n_features), or path of a Zarr group
        offset : array-like or Dask array, optional
            As in :meth:`fit`.

        Returns
        -------
        array
            Of the type and row chunks of X; lazy for a Dask array.
        """
        check_is_fitted(self)
        loss = self._loss(self._n_outputs)
        response = loss.inverse_link(np.zeros((1, self._n_outputs)))
        vector = response.ndim == 1 and not self._predicts_column
        fn = functools.partial(prediction.mean, margins=self._margins(), loss=loss, squeeze=vector)
        return self._map_rows(fn, X, None if vector else np.arange(response.size), offset=offset)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        r"""Return :math:`R^2 = 1 - \sum r^2 / \sum (y - \bar y)^2`, the mean over targets.

        Parameters
        ----------
        X, y, sample_weight
            As in :meth:`fit`.
        """
        check_is_fitted(self)
        loss = self._loss(self._n_outputs)
        return prediction.r2(self._sums(prediction.squares, X, y, sample_weight, loss=loss))

    def _sums(self, fn: Any, X: Any, y: Any, sample_weight: Any, **more: Any) -> np.ndarray:
        """Return the sum of ``fn(X, y, sample_weight, offset)`` over all row chunks."""
        fn = functools.partial(fn, margins=self._margins(), **more)
        return sum_rows(fn, self._open_scored(X, y, sample_weight))
