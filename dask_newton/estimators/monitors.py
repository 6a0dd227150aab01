"""Callbacks of a fit, which may end it: the log, held-out rows, and scikit-learn's callbacks (SLEP023)."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import numpy as np

from dask_newton.history import History
from dask_newton.solvers import State

__all__ = ["Plateau", "ScikitLearnCallbacks", "Validation", "log_iteration", "shown_log"]

logger = logging.getLogger(__name__)


class Validation:
    """Records the loss and the score on held-out rows, and ends the fit when they no longer improve.

    Parameters
    ----------
    evaluate : callable
        Returns the records of W: ``validation_loss``, and ``validation_score`` if the score is to be improved.
    patience : int or None
        Iterations without improvement after which the fit ends; None never ends it.
    tol : float
        Smallest improvement that counts.

    Attributes
    ----------
    best : float
        The largest score, or else the negative of the smallest loss.
    best_W : ndarray or None
        The W of ``best``; None before the first iteration.
    ended : bool
        Whether it has ended the fit.
    """

    def __init__(
        self, evaluate: Callable[[np.ndarray], dict[str, float]], patience: int | None, tol: float = 0.0
    ) -> None:
        self.evaluate, self.patience, self.tol = evaluate, patience, tol
        self.best, self.waited, self.ended = -np.inf, 0, False
        self.best_W: Any = None

    def __call__(self, record: dict[str, Any], state: State) -> bool:
        """Evaluate an iteration; True ends the fit."""
        found = self.evaluate(state.W)
        record.update(found)
        merit = found.get("validation_score", -found["validation_loss"])
        self.waited = 0 if merit > self.best + self.tol else self.waited + 1
        if self.best_W is None or merit > self.best:
            self.best, self.best_W = merit, state.W
        self.ended = self.patience is not None and self.waited >= self.patience
        return self.ended


class Plateau:
    """Ends the fit when the objective no longer decreases.

    Parameters
    ----------
    tol : float
        Smallest decrease that counts.
    patience : int
        Iterations without a decrease after which the fit ends.

    Attributes
    ----------
    ended : bool
        Whether it has ended the fit.
    """

    def __init__(self, tol: float, patience: int) -> None:
        self.tol, self.patience = tol, patience
        self.best, self.waited, self.ended = np.inf, 0, False

    def catch_up(self, history: History) -> None:
        """Count the iterations of an earlier run that this one continues."""
        for record in history:
            self._look(record)

    def __call__(self, record: dict[str, Any], state: State) -> bool:
        """Evaluate an iteration; True ends the fit."""
        self._look(record)
        return self.ended

    def _look(self, record: dict[str, Any]) -> None:
        value = record["objective"]
        if not np.isnan(value):  # some solvers do not compute it in every iteration
            self.waited = 0 if value < self.best - self.tol else self.waited + 1
            self.best = min(self.best, value)
        self.ended = self.waited >= self.patience


class ScikitLearnCallbacks:
    """Runs scikit-learn's callbacks, see ``set_callbacks``, for the duration of a fit; each iteration is a task.

    Parameters
    ----------
    estimator : Estimator
    X, y, sample_weight
        The arguments of fit.
    """

    def __init__(self, estimator: Any, X: Any, y: Any, sample_weight: Any) -> None:
        self.estimator = estimator
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self.given = {"X": X, "y": y, "metadata": metadata}
        # One task for the start, one for each iteration, and one that begins and never runs.
        self.root = estimator._init_callback_context(max_subtasks=estimator.max_iter + 2)
        self.root.call_on_fit_task_begin(estimator=estimator, **self.given)
        self.task = self._begin()

    def __call__(self, record: dict[str, Any], state: State) -> bool:
        """End the task of this iteration and begin the next one; True ends the fit."""
        stop = self.task.call_on_fit_task_end(
            estimator=self.estimator,
            **self.given,
            reconstruction_attributes=lambda: self.estimator._attributes(state.W),
        )
        self.task = self._begin()
        return bool(stop)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        """End the task that never ran, and the fit, unless it failed."""
        if error is None:
            self.task.call_on_fit_task_end(estimator=self.estimator)
            self.root.call_on_fit_task_end(estimator=self.estimator, **self.given, reconstruction_attributes={})

    def _begin(self) -> Any:
        task = self.root.subcontext(task_name="iteration")
        task.call_on_fit_task_begin(estimator=self.estimator, **self.given)
        return task


@contextmanager
def shown_log(verbose: int) -> Iterator[None]:
    """Send the library's log to standard error during a verbose fit."""
    root = logging.getLogger("dask_newton")
    if not verbose:
        yield
        return
    handler, level = logging.StreamHandler(sys.stderr), root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def log_iteration(record: dict[str, Any], state: State) -> None:
    """Log an iteration."""
    logger.info(
        "iteration %3d   objective %.10g   gradient %.2e   passes %d   %.2f s",
        record["iteration"],
        record["objective"],
        record["gradient_norm"],
        record["passes"],
        record["seconds"],
    )
