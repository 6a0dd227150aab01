"""Linear models, which have one matrix of coefficients: the fit from beginning to end, and ``explain``."""

from __future__ import annotations

import dataclasses
import logging
import time
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from dask_newton.auto.explanation import Explanation
from dask_newton.auto.linear import choose_solver, explain
from dask_newton.containers.inputs import Rows
from dask_newton.containers.placement import BlockMaker, place_rows
from dask_newton.estimators.base import Estimator
from dask_newton.estimators.exchange import ExchangeMixin
from dask_newton.estimators.monitors import ScikitLearnCallbacks, Validation, log_iteration, shown_log
from dask_newton.estimators.options import make_solver, seeded
from dask_newton.estimators.parameters import LinearParameters
from dask_newton.estimators.prediction import LinearMargins, Margins
from dask_newton.minimize import minimize
from dask_newton.objectives.linear.objective import LinearObjective
from dask_newton.penalties import NoPenalty, Penalty

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["LinearEstimator"]

logger = logging.getLogger(__name__)


class LinearEstimator(ExchangeMixin, LinearParameters, Estimator):
    """A regularised linear model fitted over blocks of rows.

    Subclasses define the penalty, the loss (in ``_encode``), and how ``coef_`` and ``intercept_`` hold the coefficients
    W, of shape (n_features + 1, n_outputs), with the intercept as last row.
    """

    coef_: np.ndarray
    intercept_: np.ndarray

    @abstractmethod
    def _penalty(self, total_weight: float) -> Penalty:
        """Return R, on the scale of the mean loss, for a total weight of the samples."""

    @abstractmethod
    def _attributes_of(self, W: np.ndarray) -> dict[str, Any]:
        """Return ``coef_`` and ``intercept_`` for W."""

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        *,
        offset: Any,
        coef_init: Any,
        intercept_init: Any,
        X_val: Any,
        y_val: Any,
        checkpoint: Any,
        **encoding: Any,
    ) -> Self:
        """Open the rows, encode the targets, place the blocks, minimise the objective, set the attributes."""
        # A wrong name or a damaged checkpoint is reported before the data are read.
        solver = make_solver(self.solver, self.solver_options)
        opened = self._open_checkpoint(checkpoint)
        saved = None if opened is None else opened.saved
        if self.early_stopping and X_val is None and y_val is None:
            raise ValueError("early_stopping=True needs X_val and y_val in fit.")
        before = self._before()

        rows = self._open(X, y, sample_weight, offset)
        make = self._encode(rows, **encoding)
        validation = self._open_validation(X_val, y_val)
        problem, first_pass = self._objective(rows, make)
        start = self._warm_start(problem, *before)
        if coef_init is not None:
            start = self._start(problem, _joined(coef_init, intercept_init))

        self.__dict__.pop("explanation_", None)
        if solver is None and saved is not None:
            solver = saved.solver()
        else:
            if solver is None:
                solver, self.explanation_ = choose_solver(problem, first_pass, self.tol)
                logger.info("solver='auto' chose %r: %s.", self.explanation_.choice, self.explanation_.reason)
            if self.random_state is not None:
                solver = seeded(solver, int(check_random_state(self.random_state).randint(2**31 - 1)))

        held_out = None
        if validation is not None:
            placed = place_rows(validation, dataclasses.replace(make, reweigh=None), self.persist)
            loss = LinearObjective.from_blocks(*placed, NoPenalty(), fit_intercept=self.fit_intercept)
            patience = self.n_iter_no_change if self.early_stopping else None
            held_out = Validation(lambda W: {"validation_loss": loss.value(W)}, patience)
        with ScikitLearnCallbacks(self, X, y, sample_weight) as user, shown_log(self.verbose):
            result = minimize(
                problem,
                solver,
                start,
                max_iter=self.max_iter,
                tol=self.tol,
                max_rounds=self.max_rounds,
                max_bytes=self.max_bytes,
                max_seconds=self.max_seconds,
                callbacks=[*([held_out] if held_out else []), *([log_iteration] if self.verbose else []), user],
                checkpoint=opened,
            )
            if held_out is not None and self.early_stopping:
                result = dataclasses.replace(result, W=held_out.best_W)
            self._set_result(result, solver)
        return self

    def _objective(self, rows: Rows, make: BlockMaker) -> tuple[LinearObjective, float]:
        """Place the rows in blocks and make the objective; return the seconds of its first pass as well."""
        blocks, data = place_rows(rows, make, self.persist)
        began = time.perf_counter()
        penalty = self._penalty if self.regularizer is None else self.regularizer
        problem = LinearObjective.from_blocks(blocks, data, penalty, fit_intercept=self.fit_intercept)
        return problem, time.perf_counter() - began

    def _before(self) -> tuple[Any, Any]:
        """Return W and the classes of the previous fit, for a warm start; Nones without one."""
        if not (self.warm_start and hasattr(self, "coef_")):
            return None, None
        return self._coefficients(), getattr(self, "classes_", None)

    def _warm_start(self, problem: LinearObjective, W: np.ndarray | None, classes: Any) -> np.ndarray | None:
        """Return W in the shape of the objective, if it is for the same features and outputs."""
        classes_now: Any = getattr(self, "classes_", None)
        if W is None or not np.array_equal(classes_now, classes):
            return None
        start = W if self.fit_intercept else W[:-1]
        return start if start.shape == problem.shape else None

    def _start(self, problem: LinearObjective, W: np.ndarray) -> np.ndarray:
        """Return W in the shape of the objective, which has no row for an intercept that is not fitted."""
        start = W if self.fit_intercept else W[:-1]
        if start.shape != problem.shape:
            raise ValueError(
                f"coef_init is for {start.shape[1]} outputs and {len(W) - 1} features; the data have "
                f"{problem.shape[1]} and {problem.shape[0] - self.fit_intercept}."
            )
        return start

    def explain(
        self, X: Any, y: Any = None, sample_weight: Any = None, *, offset: Any = None, **options: Any
    ) -> Explanation:
        """Say which solver ``solver="auto"`` chooses for these data on this machine or cluster, and why.

        It examines the data, measures latency and arithmetic in a few short passes, and estimates the cost of every
        solver. Nothing is fitted, and the estimator does not change.

        Parameters
        ----------
        X, y, sample_weight, offset
            As in :meth:`fit`.
        **options
            Other arguments of ``fit`` that are part of the model: ``exposure`` or ``classes``.

        Returns
        -------
        Explanation
            A table with a row for each solver: print it, or see it in a notebook.
        """
        twin = clone(self)
        twin._validate_params()
        rows = twin._open(X, y, sample_weight, offset)
        return explain(*twin._objective(rows, twin._encode(rows, **options)))

    def coef_xarray(self) -> xr.DataArray:
        """Return ``coef_`` with names.

        Returns
        -------
        xarray.DataArray
            Dimensions (class, feature), for regression (target, feature) or (feature,). The coordinate ``feature`` has
            the feature names seen in fit, if any; ``class`` has the classes, of two classes the second.
        """
        import xarray as xr

        check_is_fitted(self)
        coords: dict[str, Any] = {}
        if "feature_names_in_" in vars(self):
            coords["feature"] = self.feature_names_in_
        if is_classifier(self):
            classes = self.classes_
            coords["class"] = classes if len(classes) > 2 else classes[1:]
        dims = ("feature",) if self.coef_.ndim == 1 else (self._output_dim, "feature")
        return xr.DataArray(self.coef_, dims=dims, coords=coords, name="coef")

    def _attributes(self, W: np.ndarray) -> dict[str, Any]:
        return self._attributes_of(W if self.fit_intercept else np.vstack([W, 0 * W[:1]]))

    def _coefficients(self) -> np.ndarray:
        """Return W of the fitted model."""
        check_is_fitted(self)
        return _joined(self.coef_, self.intercept_)

    def _margins(self) -> Margins:
        return LinearMargins(self._coefficients())

    @property
    def _n_outputs(self) -> int:
        return len(np.atleast_2d(self.coef_))


def _joined(coef: Any, intercept: Any) -> np.ndarray:
    """Return W from arrays of the shapes of ``coef_`` and ``intercept_``; None is an intercept of zero."""
    coef = np.atleast_2d(np.asarray(coef, dtype=np.float64))
    intercept = np.zeros(len(coef)) if intercept is None else np.asarray(intercept, dtype=np.float64).reshape(-1)
    if len(intercept) != len(coef):
        raise ValueError(
            f"coef_init has {len(coef)} rows and intercept_init {len(intercept)} entries; the numbers must be equal."
        )
    return np.concatenate([coef.T, intercept[None, :]])
