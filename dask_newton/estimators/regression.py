"""Linear regressors: ``fit``, and the shapes of ``coef_`` and ``intercept_``."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import _fit_context
from sklearn.callback import with_callbacks

from dask_newton.estimators.linear import LinearEstimator
from dask_newton.estimators.numeric import NumericEstimator
from dask_newton.estimators.options import elastic_net
from dask_newton.estimators.parameters import NON_NEGATIVE, SHARE, parameters
from dask_newton.penalties import Penalty

__all__ = ["PenalisedRegressor", "Regressor"]


class Regressor(NumericEstimator, LinearEstimator):
    """A linear model of targets that are numbers."""

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        offset: Any = None,
        coef_init: Any = None,
        intercept_init: Any = None,
        X_val: Any = None,
        y_val: Any = None,
        checkpoint: Any = None,
    ) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : array-like or Dask array of shape (n_samples, n_features), or path of a Zarr group
            A Zarr group may contain y, sample_weight and offset as well.
        y : array-like or Dask array of shape (n_samples,) or (n_samples, n_targets), optional
            Several targets are possible for losses with several outputs, such as squared errors.
        sample_weight : array-like or Dask array of shape (n_samples,), optional
        offset : array-like or Dask array, optional
            Added to the margins, in the shape of y; pass it to :meth:`predict` as well.
        coef_init, intercept_init : array-like, optional
            Initial values, in the shapes of ``coef_`` and ``intercept_``.
        X_val, y_val : array-like or Dask array, optional
            Held-out rows, whose mean loss is recorded in ``history_`` at every iteration.
        checkpoint : Checkpoint or path, optional
            Where to save the fit while it runs. A fit saved there is continued, see :doc:`/checkpoints`.

        Returns
        -------
        estimator
            The fitted estimator.

        Warns
        -----
        ConvergenceWarning
            If the certificate did not reach ``tol``.
        """
        return self._fit(
            X,
            y,
            sample_weight,
            offset=offset,
            coef_init=coef_init,
            intercept_init=intercept_init,
            X_val=X_val,
            y_val=y_val,
            checkpoint=checkpoint,
        )

    @property
    def _predicts_column(self) -> bool:
        return np.ndim(self.coef_) == 2 and len(self.coef_) == 1

    def _attributes_of(self, W: np.ndarray) -> dict[str, Any]:
        if self._one_target:
            return {"coef_": W[:-1, 0].copy(), "intercept_": float(W[-1, 0])}
        return {"coef_": np.ascontiguousarray(W[:-1].T), "intercept_": W[-1].copy()}


@parameters()
class PenalisedRegressor(Regressor):
    """A linear regressor with the elastic net penalty ``alpha (r norm1(w) + (1 - r) / 2 norm(w)^2)``."""

    alpha: float = 1.0
    l1_ratio: float = 0.0

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **Regressor._parameter_constraints,
        "alpha": [NON_NEGATIVE],
        "l1_ratio": [SHARE],
    }

    def _penalty(self, total_weight: float) -> Penalty:
        return elastic_net(self.alpha, self.l1_ratio)
