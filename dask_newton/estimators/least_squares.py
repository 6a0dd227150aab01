r"""Least squares: linear models with the objectives of scikit-learn's classes of the same names.

With targets Y, sample weights s and S = sum s:

    LinearRegression    sum_j s_j norm(y_j - x_j W - b)^2
    Ridge               sum_j s_j norm(y_j - x_j W - b)^2 + alpha norm(W)^2
    Lasso               1 / (2 S) sum_j s_j norm(y_j - x_j W - b)^2 + alpha norm1(W)
    ElasticNet          1 / (2 S) sum_j s_j norm(y_j - x_j W - b)^2 + alpha (r norm1(W) + (1 - r) / 2 norm(W)^2)
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from dask_newton.estimators.parameters import NON_NEGATIVE, parameters
from dask_newton.estimators.regression import PenalisedRegressor, Regressor
from dask_newton.losses import Loss, Squared
from dask_newton.penalties import L1, L2, NoPenalty, Penalty

__all__ = ["ElasticNet", "Lasso", "LinearRegression", "Ridge"]


class _LeastSquares(Regressor):
    def _loss(self, n_targets: int) -> Loss:
        return Squared(n_targets)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


class LinearRegression(_LeastSquares):
    r"""Ordinary least squares, for data in memory or in chunks anywhere.

    Minimises, over coefficients :math:`W` and intercepts :math:`b`,

    .. math::

        \frac{1}{2 S} \sum_j s_j \lVert y_j - x_j W - b \rVert_2^2, \qquad S = \sum_j s_j.

    If columns of X are linearly dependent, there are many solutions, and the result is one of them.

    Parameters
    ----------
    fit_intercept : bool, default=True
    <shared solver>
    <shared tol of numbers>
    <shared limits>

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
    intercept_ : float or ndarray of shape (n_targets,)
    n_iter_ : int
    <shared results>

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from dask_newton import LinearRegression
    >>> X, y = load_diabetes(return_X_y=True)
    >>> round(LinearRegression().fit(X, y).score(X, y), 4)
    0.5177
    """

    def _penalty(self, total_weight: float) -> Penalty:
        return NoPenalty()


@parameters("alpha")
class Ridge(_LeastSquares):
    r"""Least squares with an l2 penalty, for data in memory or in chunks anywhere.

    Minimises, over coefficients :math:`W` and intercepts :math:`b` that are not penalised,

    .. math::

        \frac{1}{2 S} \sum_j s_j \lVert y_j - x_j W - b \rVert_2^2 + \frac{\alpha}{2 S} \lVert W \rVert_2^2,
        \qquad S = \sum_j s_j,

    which is scikit-learn's objective divided by :math:`2 S`.

    Parameters
    ----------
    alpha : float or array-like of shape (n_targets,), default=1.0
        Strength of the penalty; an array has one strength per target.
    fit_intercept : bool, default=True
    <shared solver>
    <shared tol of numbers>
    <shared limits>

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
    intercept_ : float or ndarray of shape (n_targets,)
    n_iter_ : int
    <shared results>

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from dask_newton import Ridge
    >>> X, y = load_diabetes(return_X_y=True)
    >>> round(Ridge(alpha=0.1).fit(X, y).score(X, y), 4)
    0.5126
    """

    alpha: Any = 1.0

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **Regressor._parameter_constraints,
        "alpha": [NON_NEGATIVE, np.ndarray, list],
    }

    def _penalty(self, total_weight: float) -> Penalty:
        alpha = np.asarray(self.alpha, dtype=np.float64)
        if alpha.ndim == 0:
            return L2(float(alpha) / total_weight)
        return L2(np.tile(alpha / total_weight, (self.n_features_in_, 1)))


@parameters("alpha")
class Lasso(_LeastSquares):
    r"""Least squares with an l1 penalty, for data in memory or in chunks anywhere.

    Minimises, over coefficients :math:`W` and intercepts :math:`b` that are not penalised,

    .. math::

        \frac{1}{2 S} \sum_j s_j \lVert y_j - x_j W - b \rVert_2^2 + \alpha \lVert W \rVert_1,
        \qquad S = \sum_j s_j,

    scikit-learn's objective.

    Parameters
    ----------
    alpha : float, default=1.0
        Strength of the penalty.
    fit_intercept : bool, default=True
    <shared solver>
    <shared tol of numbers>
    <shared limits>

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
    intercept_ : float or ndarray of shape (n_targets,)
    n_iter_ : int
    <shared results>

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from dask_newton import Lasso
    >>> X, y = load_diabetes(return_X_y=True)
    >>> int((Lasso(alpha=0.5).fit(X, y).coef_ != 0).sum())
    4
    """

    alpha: float = 1.0

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **Regressor._parameter_constraints,
        "alpha": [NON_NEGATIVE],
    }

    def _penalty(self, total_weight: float) -> Penalty:
        return NoPenalty() if self.alpha == 0 else L1(self.alpha)


@parameters("alpha")
class ElasticNet(_LeastSquares, PenalisedRegressor):
    r"""Least squares with a mixed l1 and l2 penalty, for data in memory or in chunks anywhere.

    Minimises, over coefficients :math:`W` and intercepts :math:`b` that are not penalised,

    .. math::

        \frac{1}{2 S} \sum_j s_j \lVert y_j - x_j W - b \rVert_2^2
        + \alpha \Bigl( r \lVert W \rVert_1 + \frac{1 - r}{2} \lVert W \rVert_2^2 \Bigr), \qquad S = \sum_j s_j,

    with ``r = l1_ratio``: scikit-learn's objective.

    Parameters
    ----------
    alpha : float, default=1.0
        Strength of the penalty.
    l1_ratio : float, default=0.5
        Share of the l1 penalty.
    fit_intercept : bool, default=True
    <shared solver>
    <shared tol of numbers>
    <shared limits>

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
    intercept_ : float or ndarray of shape (n_targets,)
    n_iter_ : int
    <shared results>

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from dask_newton import ElasticNet
    >>> X, y = load_diabetes(return_X_y=True)
    >>> round(ElasticNet(alpha=0.001).fit(X, y).score(X, y), 4)
    0.5064
    """

    l1_ratio: float = 0.5
