"""Logistic regression, binary and multinomial."""

from __future__ import annotations

import functools
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from dask_newton.estimators import prediction
from dask_newton.estimators.base import LinearEstimator, make_solver
from dask_newton.estimators.labels import encode, find_classes, reweighing
from dask_newton.estimators.outputs import sum_rows
from dask_newton.losses import Logistic, Loss, Softmax
from dask_newton.penalties import L1, L2, ElasticNet, NoPenalty, Penalty
from dask_newton.solvers import Solver

__all__ = ["LogisticRegression"]


class LogisticRegression(ClassifierMixin, LinearEstimator):
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
    solver : str or Solver, default='auto'
        For any penalty ``'newton-cholesky'``, ``'giant'``, ``'newton-admm'``; without l1 ``'sampled-newton'``,
        ``'newton-cg'``, ``'lbfgs'``; with l1 ``'prox-newton'``; or ``'auto'``, which chooses by the sizes and the
        penalty, and logs why.
    solver_options : dict, optional
        Hyper-parameters of a named solver, see its class.
    tol : float, default=1e-6
        Stop when no entry of the gradient of the objective above (for l1, of its proximal form) is larger.
    max_iter : int, default=100
    warm_start : bool, default=False
        Start from the coefficients of the previous fit.
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

    _parameter_constraints: dict[str, Any] = {
        "C": [Interval(Real, 0, None, closed="right")],
        "l1_ratio": [Interval(Real, 0, 1, closed="both")],
        "fit_intercept": ["boolean"],
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "solver": [str, Solver],
        "solver_options": [dict, None],
        "tol": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "warm_start": ["boolean"],
        "persist": ["boolean", StrOptions({"auto"})],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        *,
        C: float = 1.0,
        l1_ratio: float = 0.0,
        fit_intercept: bool = True,
        class_weight: dict[Any, float] | str | None = None,
        solver: str | Solver = "auto",
        solver_options: dict[str, Any] | None = None,
        tol: float = 1e-6,
        max_iter: int = 100,
        warm_start: bool = False,
        persist: bool | str = "auto",
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.C = C
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.solver = solver
        self.solver_options = solver_options
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.persist = persist
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> LogisticRegression:
        """Fit the model.

        Parameters
        ----------
        X : array-like or Dask array of shape (n_samples, n_features), or path of a Zarr group
            A Zarr group may bring y and sample_weight along.
        y : array-like or Dask array of shape (n_samples,), optional
            Labels of any kind.
        sample_weight : array-like or Dask array of shape (n_samples,), optional

        Returns
        -------
        LogisticRegression
            The estimator itself.

        Warns
        -----
        ConvergenceWarning
            If the certificate did not reach ``tol``.
        """
        make_solver(self.solver, self.solver_options)  # a wrong name must not cost a look at the data
        rows = self._open(X, y, sample_weight)
        classes, counts = find_classes(rows, self.class_weight)
        loss: Loss = Logistic() if len(classes) == 2 else Softmax(len(classes))
        dtype = rows.X.dtype
        blocks, data = self._place(
            rows, loss,
            functools.partial(encode, classes=classes, dtype=dtype if len(classes) == 2 else np.dtype(np.int64)),
            reweighing(self.class_weight, classes, counts, dtype),
        )
        start = self._start(classes)
        self.classes_ = classes
        result = self._minimize(blocks, data, self._penalty, start)
        W = result.W
        self.coef_ = np.ascontiguousarray((W[:-1] if self.fit_intercept else W).T)
        self.intercept_ = W[-1].copy() if self.fit_intercept else np.zeros(W.shape[1])
        if self.fit_intercept and loss.shift_invariant:
            self.intercept_ -= self.intercept_.mean()
        return self

    def decision_function(self, X: Any) -> Any:
        """Return the margins, of shape (n_samples,) for two classes, else (n_samples, n_classes).

        Parameters
        ----------
        X : array-like or Dask array of shape (n_samples, n_features), or path of a Zarr group

        Returns
        -------
        array
            Of the type and row chunks of X; lazy for a Dask array.
        """
        coef = self._coef()
        binary = len(self.classes_) == 2
        fn = functools.partial(prediction.decision, coef=coef, squeeze=binary)
        return self._map_rows(fn, X, None if binary else self.classes_)

    def predict(self, X: Any) -> Any:
        """Return the most probable class of each sample; see :meth:`decision_function`."""
        fn = functools.partial(prediction.predict, coef=self._coef(), classes=self.classes_)
        return self._map_rows(fn, X, dtype=self.classes_.dtype)

    def predict_proba(self, X: Any) -> Any:
        """Return the probabilities, of shape (n_samples, n_classes); see :meth:`decision_function`."""
        fn = functools.partial(prediction.probabilities, coef=self._coef(), loss=self._loss())
        return self._map_rows(fn, X, self.classes_)

    def predict_log_proba(self, X: Any) -> Any:
        """Return the logarithms of the probabilities; see :meth:`decision_function`."""
        fn = functools.partial(prediction.log_probabilities, coef=self._coef(), loss=self._loss())
        return self._map_rows(fn, X, self.classes_)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return the accuracy on data with known labels.

        Parameters
        ----------
        X, y, sample_weight
            As in :meth:`fit`.
        """
        rows = self._rows_of(X, y, sample_weight)
        if rows.y is None:
            raise ValueError("score needs y: give it, or a container that holds it.")
        fn = functools.partial(prediction.hits, coef=self._coef(), classes=self.classes_)
        hits, total = sum_rows(fn, rows)
        return float(hits / total)

    def _penalty(self, total_weight: float) -> Penalty:
        if np.isinf(self.C):
            return NoPenalty()
        lam1, lam2 = self.l1_ratio / (self.C * total_weight), (1 - self.l1_ratio) / (self.C * total_weight)
        if self.l1_ratio == 0:
            return L2(lam2)
        return L1(lam1) if self.l1_ratio == 1 else ElasticNet(lam1, lam2)

    def _start(self, classes: np.ndarray) -> Any:
        previous = None
        if self.warm_start and hasattr(self, "coef_") and np.array_equal(self.classes_, classes):
            rows = [self.coef_.T, self.intercept_[None, :]] if self.fit_intercept else [self.coef_.T]
            previous = np.concatenate(rows)
        return lambda shape: previous if previous is not None and previous.shape == shape else None

    def _loss(self) -> Loss:
        return Logistic() if len(self.classes_) == 2 else Softmax(len(self.classes_))

    def _coef(self) -> np.ndarray:
        """Return the coefficients with the intercept as last row."""
        check_is_fitted(self)
        return np.concatenate([self.coef_.T, self.intercept_[None, :]])

