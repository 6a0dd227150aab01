"""Saves a run while it is in progress."""

from __future__ import annotations

import logging
import time
import warnings
from typing import Any

from dask_newton.checkpoint.checkpoint import OpenCheckpoint, SavedRun
from dask_newton.history import History
from dask_newton.objectives.base import Objective
from dask_newton.solvers import Solver, State, Status

__all__ = ["Keeper"]

logger = logging.getLogger(__name__)


class Keeper:
    """Saves a run after every iteration that is due; a callback.

    Parameters
    ----------
    opened : OpenCheckpoint
    problem : Objective
    solver : Solver
    history : History
        Of the run; :meth:`restore` puts the records of the saved run into it.

    Attributes
    ----------
    saved : SavedRun or None
        The run that is to be continued.
    """

    def __init__(self, opened: OpenCheckpoint, problem: Objective, solver: Solver[Any], history: History) -> None:
        self.checkpoint, self.saved = opened.checkpoint, opened.saved
        self.problem, self.solver, self.history = problem, solver, history
        self._written: int | None = None
        self._when = time.perf_counter()

    def restore(self, saved: SavedRun) -> State:
        """Return the state of the saved run, and take over its history."""
        state = saved.restore(self.problem, self.solver)
        self.history.records[:] = saved.history.records
        self._written = self.history[-1]["iteration"]
        logger.info("%s continues after iteration %d of %s.", self.solver.name, self._written, saved.where)
        return state

    def __call__(self, record: dict[str, Any], state: State) -> None:
        """Save the state after an iteration, if that is due."""
        due = record["iteration"] - (self._written or 0) >= self.checkpoint.every
        if due and time.perf_counter() - self._when >= self.checkpoint.seconds:
            self.save(state)

    def save(self, state: State) -> None:
        """Save the run, unless it failed or is saved already. If it cannot be written, warn and continue."""
        iteration = self.history[-1]["iteration"]
        if iteration == self._written or state.status not in (Status.RUNNING, Status.SETTLED):
            return
        try:
            self.checkpoint.save(self.problem, self.solver, state, self.history)
        except OSError as error:
            warnings.warn(
                f"The checkpoint {self.checkpoint.path} could not be written; the run continues without it: {error}",
                UserWarning,
                stacklevel=2,
            )
        self._written, self._when = iteration, time.perf_counter()
