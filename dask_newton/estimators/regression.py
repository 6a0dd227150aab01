"""What all linear regressors share."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import _fit_context
from sklearn.callback import with_callbacks

from dask_newton.containers.inputs import Rows
from dask_newton.containers.placement import BlockMaker
from dask_newton.estimators.linear import LinearEstimator
from dask_newton.estimators.numeric import NumericEstimator

__all__ = ["Regressor"]


# What the docstrings of all regressors have in common.
_SHARED = {
    "parameters": """
    fit_intercept : bool, default=True
    regularizer : Penalty, optional
        A penalty of :mod:`dask_newton.penalties` in place of the one above, such as
        :class:`~dask_newton.penalties.GroupLasso` or an l1 penalty with a strength for each coefficient. It is added
        to the mean loss as it is.
    solver : str or Solver, default='auto'
        A name of :doc:`/solvers`, or ``'auto'``, which chooses by the sizes, the penalty and what the machine
        can do, see :meth:`explain`.
    solver_options : dict, optional
        Hyper-parameters of a named solver, see its class.
    tol : float, default=1e-6
        Stop when no entry of the gradient of the objective above (for l1, of its smallest subgradient) is larger than
        ``tol`` times its typical size, the root mean square of the column times that of the targets (for Tweedie
        losses, to the power 2 - p), so that units do not matter.
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
""",
    "attributes": """
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
    intercept_ : float or ndarray of shape (n_targets,)
    n_iter_ : int
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
""",
}


class Regressor(NumericEstimator, LinearEstimator):
    """A linear model of targets that are numbers."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name, text in _SHARED.items():
            cls.__doc__ = (cls.__doc__ or "").replace(f"    <shared {name}>", text.strip("\n"))

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
            A Zarr group may bring y, sample_weight and offset along.
        y : array-like or Dask array of shape (n_samples,) or (n_samples, n_targets), optional
            Several targets where the loss has several outputs, such as squared errors.
        sample_weight : array-like or Dask array of shape (n_samples,), optional
        offset : array-like or Dask array, optional
            Added to the margins, in the shape of y; give it to :meth:`predict` as well.
        coef_init, intercept_init : array-like, optional
            Where to start, in the shapes of ``coef_`` and ``intercept_``.
        X_val, y_val : array-like or Dask array, optional
            Rows that are held out. Their mean loss is recorded in ``history_`` at every iteration.
        checkpoint : Checkpoint or path, optional
            Save the fit there as it goes on, and go on from what was saved there, see :doc:`/checkpoints`.

        Returns
        -------
        estimator
            Itself.

        Warns
        -----
        ConvergenceWarning
            If the certificate did not reach ``tol``.
        """
        return self._fit(X, y, sample_weight, offset, coef_init, intercept_init, X_val, y_val, checkpoint)

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        offset: Any,
        coef_init: Any,
        intercept_init: Any,
        X_val: Any,
        y_val: Any,
        checkpoint: Any,
    ) -> Self:
        opened = self._check_run(checkpoint)
        rows, make = self._prepare(X, y, sample_weight, offset=offset)
        validation = self._open_validation(X_val, y_val, multi_output=self._several_targets, y_numeric=True)
        return self._fit_rows(
            rows,
            make,
            coef_init=coef_init,
            intercept_init=intercept_init,
            previous=self._previous(),
            validation=validation,
            checkpoint=opened,
            given=(X, y, None if sample_weight is None else {"sample_weight": sample_weight}),
        )

    def _prepare(self, X: Any, y: Any, sample_weight: Any, *, offset: Any = None) -> tuple[Rows, BlockMaker]:
        rows, make = super()._prepare(X, y, sample_weight, offset=offset)
        self._one_target = rows.y.ndim == make.loss.n_outputs == 1
        return rows, make

    @property
    def _predicts_column(self) -> bool:
        return np.ndim(self.coef_) == 2 and len(self.coef_) == 1

    def _attributes_of(self, W: np.ndarray) -> dict[str, Any]:
        if self._one_target:
            return {"coef_": W[:-1, 0].copy(), "intercept_": float(W[-1, 0])}
        return {"coef_": np.ascontiguousarray(W[:-1].T), "intercept_": W[-1].copy()}
