"""What saves a run while it goes on."""

from __future__ import annotations

import logging
import time
import warnings
from typing import Any

from dask_newton.checkpoint.checkpoint import Checkpoint, Saved
from dask_newton.history import History
from dask_newton.objectives.base import Objective
from dask_newton.solvers import Solver, State, Status

__all__ = ["Keeper"]

logger = logging.getLogger(__name__)


class Keeper:
    """Saves a run after every iteration that is due; a callback.

    Parameters
    ----------
    checkpoint : Checkpoint
    problem : Objective
    solver : Solver
    history : History
        Of the run; :meth:`restore` puts the records of the earlier one into it.

    Attributes
    ----------
    saved : Saved or None
        The run that was saved there before.
    """

    def __init__(self, checkpoint: Checkpoint, problem: Objective, solver: Solver[Any], history: History) -> None:
        self.checkpoint, self.problem, self.solver, self.history = checkpoint, problem, solver, history
        self.saved = checkpoint.load()
        self._written: int | None = None
        self._when = time.perf_counter()

    def restore(self, saved: Saved) -> State:
        """Return the state of the run that was saved, and take over its history."""
        state = saved.restore(self.problem, self.solver)
        self.history.records[:] = saved.history.records
        self._written = self.history[-1]["iteration"]
        logger.info("%s goes on after iteration %d of %s.", self.solver.name, self._written, saved.where)
        return state

    def __call__(self, record: dict[str, Any], state: State) -> None:
        """Look at an iteration."""
        due = record["iteration"] - (self._written or 0) >= self.checkpoint.every
        if due and time.perf_counter() - self._when >= self.checkpoint.seconds:
            self.save(state)

    def save(self, state: State) -> None:
        """Save the run as it is, unless it failed, or is saved already. A full disk does not end it."""
        iteration = self.history[-1]["iteration"]
        if iteration == self._written or state.status not in (Status.RUNNING, Status.SETTLED):
            return
        try:
            self.checkpoint.save(self.problem, self.solver, state, self.history)
        except OSError as error:
            warnings.warn(
                f"The checkpoint {self.checkpoint.path} could not be written, and the run goes on without: {error}",
                UserWarning,
                stacklevel=2,
            )
        self._written, self._when = iteration, time.perf_counter()
