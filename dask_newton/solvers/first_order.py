"""What the synchronous first-order methods share: one pass per iteration, for the gradient over all rows.

    W <- W + d(g_0, ..., g_k),      g_k = grad F(W_k)

Every method is a rule for d with a memory of vectors. Nothing is searched, so that F may rise and, where the learning
rate is too large, does for ever; the run ends where F is not finite. The gradient contains that of the penalty.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from dask_newton.objectives.base import Objective
from dask_newton.solvers.base import Info, PointState, Solver, Status, require_option, require_smooth

__all__ = ["FirstOrder", "FirstOrderState", "Memory"]

Memory = tuple[np.ndarray, ...]


@dataclass(frozen=True, eq=False)
class FirstOrderState(PointState):
    """W, the steps done, and the vectors that the method remembers."""

    iteration: int
    memory: Memory


@dataclass(frozen=True)
class FirstOrder(Solver[FirstOrderState]):
    """A rule that makes a step of gradients.

    Parameters
    ----------
    learning_rate : float
        How long the steps are.
    """

    learning_rate: float

    def check(self, problem: Objective) -> None:
        """Refuse penalties that are not smooth, and a learning rate that is not positive."""
        require_smooth(problem, self.name)
        require_option(self, "learning_rate", 0 < self.learning_rate < np.inf, "positive")

    def init(self, problem: Objective, start: np.ndarray) -> FirstOrderState:
        """Linearise at the start."""
        return FirstOrderState.at(problem, problem.at(start), iteration=0, memory=())

    def step(self, problem: Objective, state: FirstOrderState) -> tuple[FirstOrderState, Info]:
        """Move, and linearise where that leads."""
        point, k = state.point, state.iteration + 1
        move, memory = self._move(point.gradient, state.memory or self._memory(point.gradient), k)
        info = Info(step_size=self.learning_rate)
        new = problem.at(point.W + move)
        if not (np.isfinite(new.value) and np.all(np.isfinite(new.gradient))):
            return FirstOrderState.at(problem, point, Status.DIVERGED, iteration=k, memory=memory), info
        return FirstOrderState.at(problem, new, iteration=k, memory=memory), info

    def _memory(self, g: np.ndarray) -> Memory:
        """Return what is remembered before the first step."""
        return (np.zeros_like(g),)

    @abstractmethod
    def _move(self, g: np.ndarray, memory: Memory, k: int) -> tuple[np.ndarray, Memory]:
        """Return d and the new memory from the gradient and the memory, in iteration k = 1, 2, ..."""
