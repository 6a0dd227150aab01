"""Regression with any loss."""

from __future__ import annotations

from typing import Any, ClassVar

from dask_newton.estimators.parameters import parameters
from dask_newton.estimators.regression import PenalisedRegressor
from dask_newton.losses import Loss, Squared

__all__ = ["LossRegressor"]


@parameters("loss")
class LossRegressor(PenalisedRegressor):
    r"""Regression with any loss, built-in or custom, for data in memory or in chunks anywhere.

    Minimises, over coefficients :math:`w` and an intercept :math:`b` that is not penalised,

    .. math::

        \frac{1}{S} \sum_j s_j \, \ell \bigl( y_j, x_j^\top w + b \bigr)
        + \alpha \Bigl( r \lVert w \rVert_1 + \frac{1 - r}{2} \lVert w \rVert_2^2 \Bigr), \qquad S = \sum_j s_j,

    with ``r = l1_ratio``. Predictions are ``loss.inverse_link`` of the margins.

    If the loss is not convex (``loss.convex`` is False), a fit finds a stationary point: the certificate says that the
    gradient is zero there, but there may be a better point elsewhere. ``result_.convex`` tells which case it is. Start
    from several points, with ``coef_init`` and ``intercept_init``, and compare ``result_.value``.

    Parameters
    ----------
    loss : Loss, default=None
        A loss of :mod:`dask_newton.losses` for numeric targets, or a subclass of
        :class:`dask_newton.losses.CustomLoss`. None is squared errors.
    alpha : float, default=1.0
        Strength of the penalty.
    l1_ratio : float, default=0.0
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
    >>> from dask_newton import LossRegressor
    >>> from dask_newton.losses import SquaredSoftplus
    >>> X, y = [[1, 2], [2, 3], [3, 4], [4, 3]], [0.2, 0.5, 1.1, 2.0]
    >>> model = LossRegressor(SquaredSoftplus(), alpha=1e-3).fit(X, y)
    >>> round(model.score(X, y), 2), model.result_.convex
    (1.0, False)
    """

    loss: Loss | None = None

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **PenalisedRegressor._parameter_constraints,
        "loss": [Loss, None],
    }

    @property
    def _several_targets(self) -> bool:  # type: ignore[override]
        return self._loss(1).n_outputs > 1

    def _loss(self, n_targets: int) -> Loss:
        loss = Squared() if self.loss is None else self.loss
        if not loss.numeric:
            raise ValueError(
                f"LossRegressor needs a loss for numbers, and {loss} is for classes; use LogisticRegression."
            )
        return loss

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = self._several_targets
        return tags
