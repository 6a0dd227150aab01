"""What all linear estimators share: one matrix of coefficients."""

from __future__ import annotations

import dataclasses
import logging
import time
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from dask_newton.auto.explanation import Explanation
from dask_newton.auto.linear import choose_solver, explain
from dask_newton.checkpoint import OpenCheckpoint
from dask_newton.containers.inputs import Rows
from dask_newton.containers.placement import BlockMaker, place_rows
from dask_newton.estimators.base import Estimator
from dask_newton.estimators.exchange import ExchangeMixin
from dask_newton.estimators.monitors import Validation
from dask_newton.estimators.options import make_solver, seeded
from dask_newton.estimators.prediction import LinearMargins, Margins
from dask_newton.objectives.linear.objective import LinearObjective
from dask_newton.penalties import NoPenalty, Penalty
from dask_newton.solvers import Solver

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["LinearEstimator"]

logger = logging.getLogger(__name__)


class LinearEstimator(ExchangeMixin, Estimator):
    """A regularised linear model fitted over row blocks.

    Subclasses say what is minimised: :meth:`_penalty`, and in ``fit`` the loss; and how ``coef_`` and ``intercept_``
    hold the coefficients W, of shape (n_features + 1, n_outputs), with the intercept as last row.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **Estimator._parameter_constraints,
        "fit_intercept": ["boolean"],
    }
    coef_: np.ndarray
    intercept_: np.ndarray

    def __init__(
        self,
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
        persist: Any = "auto",
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(
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
        self.fit_intercept = fit_intercept

    @abstractmethod
    def _penalty(self, total_weight: float) -> Penalty:
        """Return R, on the scale of the mean loss, for a total weight of the samples."""

    @abstractmethod
    def _attributes_of(self, W: np.ndarray) -> dict[str, Any]:
        """Return ``coef_`` and ``intercept_`` for W."""

    def _coefficients(self) -> np.ndarray:
        """Return W."""
        check_is_fitted(self)
        return _joined(self.coef_, self.intercept_)

    def _margins(self) -> Margins:
        return LinearMargins(self._coefficients())

    @property
    def _n_outputs(self) -> int:
        return len(np.atleast_2d(self.coef_))

    def _previous(self) -> np.ndarray | None:
        """Return W of the previous fit, for a warm start; None if there is none, or of other features."""
        if not (self.warm_start and hasattr(self, "coef_")):
            return None
        W = self._coefficients()
        return W if len(W) == self.n_features_in_ + 1 else None

    def _chosen_solver(self) -> Solver[Any] | None:
        return make_solver(self.solver, self.solver_options)

    def _objective(self, rows: Rows, make: BlockMaker) -> tuple[LinearObjective, float]:
        """Put the rows into blocks and look at them; return the seconds of that look as well."""
        blocks, data = place_rows(rows, make, self.persist)
        began = time.perf_counter()
        penalty = self._penalty if self.regularizer is None else self.regularizer
        return LinearObjective.from_blocks(
            blocks, data, penalty, fit_intercept=self.fit_intercept
        ), time.perf_counter() - began

    def explain(self, X: Any, y: Any = None, sample_weight: Any = None, **options: Any) -> Explanation:
        """Say which solver ``solver="auto"`` chooses for these data on this machine or cluster, and why.

        It looks at the data, measures latency and arithmetic in a few short passes, and estimates what every solver
        costs. The estimator stays as it is; nothing is fitted.

        Parameters
        ----------
        X, y, sample_weight
            As in :meth:`fit`.
        **options
            What else ``fit`` takes that is part of the model: ``offset``, and ``exposure`` or ``classes``.

        Returns
        -------
        Explanation
            A table with a row for each solver: print it, or see it in a notebook.
        """
        twin = clone(self)
        twin._validate_params()
        return explain(*twin._objective(*twin._prepare(X, y, sample_weight, **options)))

    def _fit_rows(
        self,
        rows: Rows,
        make: BlockMaker,
        *,
        coef_init: Any = None,
        intercept_init: Any = None,
        previous: np.ndarray | None = None,
        validation: Rows | None = None,
        given: tuple[Any, Any, Any] = (None, None, None),
        checkpoint: OpenCheckpoint | None = None,
    ) -> Self:
        """Minimise over rows and set the attributes."""
        if self.early_stopping and validation is None:
            raise ValueError("early_stopping=True needs X_val and y_val in fit: rows that are held out.")
        if coef_init is not None:
            previous = _joined(coef_init, intercept_init)
        solver = self._chosen_solver()
        saved = checkpoint.saved if checkpoint is not None and solver is None else None
        problem, first_pass = self._objective(rows, make)
        start = self._start(problem, previous)
        self.__dict__.pop("explanation_", None)
        if saved is not None:
            solver = saved.solver()
        else:
            if solver is None:
                solver, self.explanation_ = choose_solver(problem, first_pass, self.tol)
                logger.info("solver='auto' chose %r: %s.", self.explanation_.choice, self.explanation_.reason)
            if self.random_state is not None:
                solver = seeded(solver, int(check_random_state(self.random_state).randint(2**31 - 1)))
        held_out = None
        if validation is not None:
            blocks, data = place_rows(validation, dataclasses.replace(make, reweigh=None), self.persist)
            objective = LinearObjective.from_blocks(blocks, data, NoPenalty(), fit_intercept=self.fit_intercept)
            held_out = Validation(
                lambda W: {"validation_loss": objective.value(W)},
                self.n_iter_no_change if self.early_stopping else None,
            )
        self._minimize(problem, solver, start, held_out, (), given, checkpoint).close()
        return self

    def _attributes(self, W: np.ndarray) -> dict[str, Any]:
        """Return ``coef_`` and ``intercept_`` for the W of the objective, which may have no row for the intercept."""
        return self._attributes_of(W if self.fit_intercept else np.vstack([W, 0 * W[:1]]))

    def _start(self, problem: LinearObjective, previous: np.ndarray | None) -> np.ndarray | None:
        """Return the coefficients to start from; None for the solver's own."""
        if previous is None:
            return None
        start = previous if self.fit_intercept else previous[:-1]
        if start.shape != problem.shape:
            raise ValueError(
                f"coef_init is for {start.shape[1]} outputs and {len(previous) - 1} features; the data have "
                f"{problem.shape[1]} and {problem.shape[0] - self.fit_intercept}."
            )
        return start

    def coef_xarray(self) -> xr.DataArray:
        """Return ``coef_`` with names.

        Returns
        -------
        xarray.DataArray
            Dimensions (class, feature), for regression (target, feature) or (feature,). The coordinate ``feature`` has
            the names seen in fit, if there were any; ``class`` the classes, for two of them the second.
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


def _joined(coef: Any, intercept: Any) -> np.ndarray:
    """Return W from arrays of the shapes of ``coef_`` and ``intercept_``; None is an intercept of zero."""
    coef = np.atleast_2d(np.asarray(coef, dtype=np.float64))
    intercept = np.zeros(len(coef)) if intercept is None else np.asarray(intercept, dtype=np.float64).reshape(-1)
    if len(intercept) != len(coef):
        raise ValueError(f"coef_init has {len(coef)} rows and intercept_init {len(intercept)} entries; give as many.")
    return np.concatenate([coef.T, intercept[None, :]])
