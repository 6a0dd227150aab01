r"""Linear models with squared errors, with the objectives of scikit-learn's classes of the same names.

With targets Y, sample weights s and S = sum s:

    LinearRegression    sum_j s_j norm(y_j - x_j W - b)^2
    Ridge               sum_j s_j norm(y_j - x_j W - b)^2 + alpha norm(W)^2
    Lasso               1 / (2 S) sum_j s_j norm(y_j - x_j W - b)^2 + alpha norm1(W)
    ElasticNet          1 / (2 S) sum_j s_j norm(y_j - x_j W - b)^2 + alpha (r norm1(W) + (1 - r) / 2 norm(W)^2)
"""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval

from dask_newton.estimators.options import elastic_net
from dask_newton.estimators.regression import Regressor
from dask_newton.losses import Loss, Squared
from dask_newton.penalties import L2, NoPenalty, Penalty
from dask_newton.solvers import Solver

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

    Where columns of X depend on each other, there are many solutions; it is one of them.

    Parameters
    ----------
    <shared parameters>

    Attributes
    ----------
    <shared attributes>

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


class _OneStrength(_LeastSquares):
    def __init__(
        self,
        alpha: Any = 1.0,
        *,
        fit_intercept: bool = True,
        regularizer: Penalty | None = None,
        solver: str | Solver = "auto",
        solver_options: dict[str, Any] | None = None,
        tol: float = 1e-6,
        max_iter: int = 100,
        max_rounds: int | None = None,
        max_bytes: float | None = None,
        max_seconds: float | None = None,
        warm_start: bool = False,
        early_stopping: bool = False,
        n_iter_no_change: int = 5,
        persist: bool | str = "auto",
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(
            fit_intercept=fit_intercept,
            regularizer=regularizer,
            solver=solver,
            solver_options=solver_options,
            tol=tol,
            max_iter=max_iter,
            max_rounds=max_rounds,
            max_bytes=max_bytes,
            max_seconds=max_seconds,
            warm_start=warm_start,
            early_stopping=early_stopping,
            n_iter_no_change=n_iter_no_change,
            persist=persist,
            random_state=random_state,
            verbose=verbose,
        )
        self.alpha = alpha


class Ridge(_OneStrength):
    r"""Least squares with an l2 penalty, for data in memory or in chunks anywhere.

    Minimises, over coefficients :math:`W` and intercepts :math:`b` that are not penalised,

    .. math::

        \frac{1}{2 S} \sum_j s_j \lVert y_j - x_j W - b \rVert_2^2 + \frac{\alpha}{2 S} \lVert W \rVert_2^2,
        \qquad S = \sum_j s_j,

    which is scikit-learn's objective divided by :math:`2 S`.

    Parameters
    ----------
    alpha : float or array-like of shape (n_targets,), default=1.0
        Strength of the penalty, for each target if it is an array.
    <shared parameters>

    Attributes
    ----------
    <shared attributes>

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from dask_newton import Ridge
    >>> X, y = load_diabetes(return_X_y=True)
    >>> round(Ridge(alpha=0.1).fit(X, y).score(X, y), 4)
    0.5126
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **Regressor._parameter_constraints,
        "alpha": [Interval(Real, 0, None, closed="left"), np.ndarray, list],
    }

    def _penalty(self, total_weight: float) -> Penalty:
        alpha = np.asarray(self.alpha, dtype=np.float64)
        if alpha.ndim == 0:
            return L2(float(alpha) / total_weight)
        return L2(np.tile(alpha / total_weight, (self.n_features_in_, 1)))


class Lasso(_OneStrength):
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
    <shared parameters>

    Attributes
    ----------
    <shared attributes>

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from dask_newton import Lasso
    >>> X, y = load_diabetes(return_X_y=True)
    >>> int((Lasso(alpha=0.5).fit(X, y).coef_ != 0).sum())
    4
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **Regressor._parameter_constraints,
        "alpha": [Interval(Real, 0, None, closed="left")],
    }

    def _penalty(self, total_weight: float) -> Penalty:
        return elastic_net(self.alpha, 1.0)


class ElasticNet(_LeastSquares):
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
    <shared parameters>

    Attributes
    ----------
    <shared attributes>

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from dask_newton import ElasticNet
    >>> X, y = load_diabetes(return_X_y=True)
    >>> round(ElasticNet(alpha=0.001).fit(X, y).score(X, y), 4)
    0.5064
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **Regressor._parameter_constraints,
        "alpha": [Interval(Real, 0, None, closed="left")],
        "l1_ratio": [Interval(Real, 0, 1, closed="both")],
    }

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        l1_ratio: float = 0.5,
        fit_intercept: bool = True,
        regularizer: Penalty | None = None,
        solver: str | Solver = "auto",
        solver_options: dict[str, Any] | None = None,
        tol: float = 1e-6,
        max_iter: int = 100,
        max_rounds: int | None = None,
        max_bytes: float | None = None,
        max_seconds: float | None = None,
        warm_start: bool = False,
        early_stopping: bool = False,
        n_iter_no_change: int = 5,
        persist: bool | str = "auto",
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(
            fit_intercept=fit_intercept,
            regularizer=regularizer,
            solver=solver,
            solver_options=solver_options,
            tol=tol,
            max_iter=max_iter,
            max_rounds=max_rounds,
            max_bytes=max_bytes,
            max_seconds=max_seconds,
            warm_start=warm_start,
            early_stopping=early_stopping,
            n_iter_no_change=n_iter_no_change,
            persist=persist,
            random_state=random_state,
            verbose=verbose,
        )
        self.alpha = alpha
        self.l1_ratio = l1_ratio

    def _penalty(self, total_weight: float) -> Penalty:
        return elastic_net(self.alpha, self.l1_ratio)
