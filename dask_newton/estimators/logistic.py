"""Logistic regression, binary and multinomial."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import _fit_context
from sklearn.callback import with_callbacks
from sklearn.utils._param_validation import Interval

from dask_newton.estimators.classification import CLASS_WEIGHTS, Classifier
from dask_newton.estimators.linear import LinearEstimator
from dask_newton.estimators.options import elastic_net
from dask_newton.estimators.parameters import SHARE, parameters
from dask_newton.penalties import NoPenalty, Penalty

__all__ = ["LogisticRegression"]


@parameters()
class LogisticRegression(Classifier, LinearEstimator):
    r"""Regularised logistic regression, for data in memory or in chunks anywhere.

    Minimises, over coefficients :math:`w` and an intercept :math:`b` that is not penalised,

    .. math::

        \frac{1}{S} \sum_j s_j \, \ell(y_j, x_j^\top w + b)
        + \frac{1}{C S} \Bigl( r \lVert w \rVert_1 + \frac{1 - r}{2} \lVert w \rVert_2^2 \Bigr),
        \qquad S = \sum_j s_j,

    with sample weights :math:`s_j`, ``r = l1_ratio`` and :math:`\ell` the logistic loss for two classes, the softmax
    cross-entropy for more. It is scikit-learn's objective divided by :math:`C S`, so that coefficients agree.

    Parameters
    ----------
    C : float, default=1.0
        Inverse strength of the penalty; ``numpy.inf`` is no penalty.
    l1_ratio : float, default=0.0
        Share of the l1 penalty: 0 is l2, 1 is l1, between is elastic net.
    class_weight : dict, 'balanced' or None, default=None
        Factors for the weights of the samples of each class.
    fit_intercept : bool, default=True
    <shared solver>
    tol : float, default=1e-6
        Stop when no entry of the gradient of the objective above (for l1, of its smallest subgradient) is larger.
    <shared limits>

    Attributes
    ----------
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
    intercept_ : ndarray of shape (1,) or (n_classes,)
    classes_ : ndarray of shape (n_classes,)
    n_iter_ : ndarray of shape (1,)
    <shared results>

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from dask_newton import LogisticRegression
    >>> X, y = load_digits(return_X_y=True)
    >>> clf = LogisticRegression().fit(X / 16, y)
    >>> round(clf.score(X / 16, y), 2)
    0.98
    """

    C: float = 1.0
    l1_ratio: float = 0.0
    class_weight: dict[Any, float] | str | None = None

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **LinearEstimator._parameter_constraints,
        "C": [Interval(Real, 0, None, closed="right")],
        "l1_ratio": [SHARE],
        "class_weight": CLASS_WEIGHTS,
    }

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        offset: Any = None,
        classes: Any = None,
        coef_init: Any = None,
        intercept_init: Any = None,
        X_val: Any = None,
        y_val: Any = None,
        checkpoint: Any = None,
    ) -> LogisticRegression:
        """Fit the model.

        Parameters
        ----------
        X : array-like or Dask array of shape (n_samples, n_features), or path of a Zarr group
            A Zarr group may contain y, sample_weight and offset as well.
        y : array-like or Dask array of shape (n_samples,), optional
            Labels: numbers, strings or booleans.
        sample_weight : array-like or Dask array of shape (n_samples,), optional
        offset : array-like or Dask array of shape (n_samples,) or (n_samples, n_classes), optional
            Added to the margins; pass it to prediction as well.
        classes : array-like of shape (n_classes,), optional
            All labels, which saves a pass that looks for them. Some may be missing from y.
        coef_init, intercept_init : array-like, optional
            Initial values, in the shapes of ``coef_`` and ``intercept_``.
        X_val, y_val : array-like or Dask array, optional
            Held-out rows, whose mean loss is recorded in ``history_`` at every iteration.
        checkpoint : Checkpoint or path, optional
            Where to save the fit while it runs. A fit saved there is continued, see :doc:`/checkpoints`.

        Returns
        -------
        LogisticRegression
            The fitted estimator.

        Warns
        -----
        ConvergenceWarning
            If the certificate did not reach ``tol``.
        """
        self._fit(
            X,
            y,
            sample_weight,
            offset=offset,
            coef_init=coef_init,
            intercept_init=intercept_init,
            X_val=X_val,
            y_val=y_val,
            checkpoint=checkpoint,
            classes=classes,
        )
        self.n_iter_ = np.array([self.n_iter_], dtype=np.int32)
        return self

    def _penalty(self, total_weight: float) -> Penalty:
        if np.isinf(self.C):
            return NoPenalty()
        return elastic_net(1 / (self.C * total_weight), self.l1_ratio)

    def _attributes_of(self, W: np.ndarray) -> dict[str, Any]:
        intercept = W[-1].copy()
        if len(self.classes_) > 2 and self.fit_intercept:
            intercept -= intercept.mean()
        return {"coef_": np.ascontiguousarray(W[:-1].T), "intercept_": intercept}
