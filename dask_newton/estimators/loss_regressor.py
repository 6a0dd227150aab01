"""A regressor for any loss of targets that are numbers."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

from sklearn.utils._param_validation import Interval

from dask_newton.estimators.options import elastic_net
from dask_newton.estimators.regression import Regressor
from dask_newton.losses import Loss, Squared
from dask_newton.penalties import Penalty
from dask_newton.solvers import Solver

__all__ = ["LossRegressor"]


class LossRegressor(Regressor):
    r"""Regression with any loss, also one of your own, for data in memory or in chunks anywhere.

    Minimises, over coefficients :math:`w` and an intercept :math:`b` that is not penalised,

    .. math::

        \frac{1}{S} \sum_j s_j \, \ell \bigl( y_j, x_j^\top w + b \bigr)
        + \alpha \Bigl( r \lVert w \rVert_1 + \frac{1 - r}{2} \lVert w \rVert_2^2 \Bigr), \qquad S = \sum_j s_j,

    with ``r = l1_ratio``. Predictions are what ``loss.inverse_link`` makes of the margins.

    Where the loss is not convex (``loss.convex`` is False), what a fit finds is a stationary point: the certificate
    says that the gradient is zero there, and nothing says that there is no better point elsewhere. ``result_.convex``
    tells which it is. Start from several points, with ``coef_init`` and ``intercept_init``, and compare
    ``result_.value``.

    Parameters
    ----------
    loss : Loss, default=None
        One of :mod:`dask_newton.losses` whose targets are numbers, or a subclass of
        :class:`dask_newton.losses.CustomLoss`. None is squared errors.
    alpha : float, default=1.0
        Strength of the penalty.
    l1_ratio : float, default=0.0
        Share of the l1 penalty.
    <shared parameters>

    Attributes
    ----------
    <shared attributes>

    Examples
    --------
    >>> from dask_newton import LossRegressor
    >>> from dask_newton.losses import SquaredSoftplus
    >>> X, y = [[1, 2], [2, 3], [3, 4], [4, 3]], [0.2, 0.5, 1.1, 2.0]
    >>> model = LossRegressor(SquaredSoftplus(), alpha=1e-3).fit(X, y)
    >>> round(model.score(X, y), 2), model.result_.convex
    (1.0, False)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **Regressor._parameter_constraints,
        "loss": [Loss, None],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "l1_ratio": [Interval(Real, 0, 1, closed="both")],
    }

    def __init__(
        self,
        loss: Loss | None = None,
        *,
        alpha: float = 1.0,
        l1_ratio: float = 0.0,
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
        self.loss = loss
        self.alpha = alpha
        self.l1_ratio = l1_ratio

    @property
    def _several_targets(self) -> bool:  # type: ignore[override]
        return self._loss(1).n_outputs > 1

    def _loss(self, n_targets: int) -> Loss:
        loss = Squared() if self.loss is None else self.loss
        if not loss.numeric:
            raise ValueError(
                f"LossRegressor is for losses of numbers, and {loss} is one of classes; use LogisticRegression."
            )
        return loss

    def _penalty(self, total_weight: float) -> Penalty:
        return elastic_net(self.alpha, self.l1_ratio)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = self._several_targets
        return tags
