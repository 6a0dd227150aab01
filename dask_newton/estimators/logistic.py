"""Logistic regression, binary and multinomial."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import _fit_context
from sklearn.callback import with_callbacks
from sklearn.utils._param_validation import Interval

from dask_newton.estimators.classification import Classifier
from dask_newton.estimators.linear import LinearEstimator
from dask_newton.estimators.options import elastic_net
from dask_newton.penalties import NoPenalty, Penalty
from dask_newton.solvers import Solver

__all__ = ["LogisticRegression"]


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
    fit_intercept : bool, default=True
    class_weight : dict, 'balanced' or None, default=None
        Factors for the weights of the samples of each class.
    regularizer : Penalty, optional
        A penalty of :mod:`dask_newton.penalties` in place of the one above, such as
        :class:`~dask_newton.penalties.GroupLasso` or an l1 penalty with a strength for each coefficient. It is added
        to the mean loss as it is.
    solver : str or Solver, default='auto'
        For any penalty ``'newton-cholesky'``, ``'giant'``, ``'newton-admm'``; without l1 ``'sampled-newton'``,
        ``'newton-cg'``, ``'newton-mr'``, ``'disco'``, ``'lbfgs'``, ``'dino'``, ``'dingo'``; with l1 ``'prox-newton'``;
        or ``'auto'``, which chooses by the sizes, the penalty and what the machine can do (:meth:`explain`). To compare
        with, and without l1: ``'dane'``, ``'inexact-dane'``, ``'aide'``, ``'sgd'``, which are not sure to reach the
        optimum.
    solver_options : dict, optional
        Hyper-parameters of a named solver, see its class.
    tol : float, default=1e-6
        Stop when no entry of the gradient of the objective above (for l1, of its smallest subgradient) is larger.
    max_iter : int, default=100
    max_rounds, max_bytes, max_seconds : float, default=None
        Further budgets: communication rounds, bytes sent up and down, and seconds. They are looked at between
        iterations. A fit that ends on one warns, and ``result_.status`` says which.
    warm_start : bool, default=False
        Start from the coefficients of the previous fit.
    early_stopping : bool, default=False
        Stop once the mean loss on ``X_val, y_val``, given to fit, has not become smaller for ``n_iter_no_change``
        iterations, and keep the best coefficients.
    n_iter_no_change : int, default=5
    persist : bool or 'auto', default='auto'
        Whether chunks stay in memory between passes (True), or every pass reads them again, a few at a time (False).
        ``'auto'`` keeps them if they take at most half of the memory of the workers, or of this machine
        (``dask-newton.persist.share``). What is in memory already stays there.
    random_state : int, RandomState instance or None, default=None
        Seed of solvers that draw samples.
    verbose : int, default=0
        1 shows the log of every iteration on standard error.

    Attributes
    ----------
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
    intercept_ : ndarray of shape (1,) or (n_classes,)
    classes_ : ndarray of shape (n_classes,)
    n_iter_ : ndarray of shape (1,)
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only if X has feature names.
    converged_ : bool
        Whether the certificate reached ``tol``.
    history_ : History
        A record of every iteration; ``history_.plot(x="rounds")``.
    n_passes_, n_rounds_ : int
        Passes over the data, and communication rounds, that the solver used.
    solver_ : Solver
        The solver used, with all hyper-parameters.
    explanation_ : Explanation
        Only with ``solver="auto"``: the table of what every solver should cost, see :meth:`explain`.
    result_ : Result
        The certificate and the final status.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from dask_newton import LogisticRegression
    >>> X, y = load_digits(return_X_y=True)
    >>> clf = LogisticRegression().fit(X / 16, y)
    >>> round(clf.score(X / 16, y), 2)
    0.98
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **LinearEstimator._parameter_constraints,
        **Classifier._parameter_constraints,
        "C": [Interval(Real, 0, None, closed="right")],
        "l1_ratio": [Interval(Real, 0, 1, closed="both")],
    }

    def __init__(
        self,
        *,
        C: float = 1.0,
        l1_ratio: float = 0.0,
        fit_intercept: bool = True,
        class_weight: dict[Any, float] | str | None = None,
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
        self.C = C
        self.l1_ratio = l1_ratio
        self.class_weight = class_weight

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
            A Zarr group may bring y, sample_weight and offset along.
        y : array-like or Dask array of shape (n_samples,), optional
            Labels of any kind.
        sample_weight : array-like or Dask array of shape (n_samples,), optional
        offset : array-like or Dask array of shape (n_samples,) or (n_samples, n_classes), optional
            Added to the margins; give it to prediction as well.
        classes : array-like of shape (n_classes,), optional
            All labels that there are, to save the search for them. One of them may be missing from y.
        coef_init, intercept_init : array-like, optional
            Where to start, in the shapes of ``coef_`` and ``intercept_``.
        X_val, y_val : array-like or Dask array, optional
            Rows that are held out. Their mean loss is recorded in ``history_`` at every iteration.
        checkpoint : Checkpoint or path, optional
            Save the fit there as it goes on, and go on from what was saved there, see :doc:`/checkpoints`.

        Returns
        -------
        LogisticRegression
            The estimator itself.

        Warns
        -----
        ConvergenceWarning
            If the certificate did not reach ``tol``.
        """
        opened = self._check_run(checkpoint)
        before: Any = getattr(self, "classes_", None)
        rows, make = self._prepare(X, y, sample_weight, offset=offset, classes=classes)
        self._fit_rows(
            rows,
            make,
            coef_init=coef_init,
            intercept_init=intercept_init,
            previous=self._previous() if np.array_equal(self.classes_, before) else None,
            validation=self._open_validation(X_val, y_val),
            checkpoint=opened,
            given=(X, y, None if sample_weight is None else {"sample_weight": sample_weight}),
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
