"""Base class of the synchronous first-order methods.

    W <- W + d(g_0, ..., g_k),      g_k = grad F(W_k), over all rows or over a mini-batch of those of every block

Every method is a rule for d with a memory of vectors. There is no line search, so F may increase; if the
learning rate is too large, it keeps increasing. The run ends when F is not finite. The gradient
includes that of the penalty.

With all rows an iteration is one step and one pass. With mini-batches it is an epoch: the rows of every block are dealt
into T batches, anew for each epoch; T steps, each with a pass over its batch; and one pass over all rows, for F.
"""

from __future__ import annotations

import functools
import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from dask_newton.objectives.base import Objective
from dask_newton.solvers.base import Info, PointState, Solver, Status, require_network, require_option, require_smooth
from dask_newton.storage.registry import stored

__all__ = ["FirstOrder", "FirstOrderState", "Memory"]

Memory = tuple[np.ndarray, ...]


@stored("solver-state/first-order")
@dataclass(frozen=True, eq=False)
class FirstOrderState(PointState):
    """W, the iterations done, and the vectors that the method remembers."""

    iteration: int
    memory: Memory


@dataclass(frozen=True)
class FirstOrder(Solver[FirstOrderState]):
    """A rule that makes a step of gradients.

    Parameters
    ----------
    learning_rate : float
        Step size.
    batch_size : int or None
        Rows of a mini-batch, of all blocks together; for networks. Batches have about that size, as every block
        contributes the same fraction of its rows. None is all rows.
    seed : int
        Seed of the mini-batches.
    """

    learning_rate: float
    batch_size: int | None = field(default=None, kw_only=True)
    seed: int = field(default=0, kw_only=True)

    def check(self, problem: Objective) -> None:
        """Refuse penalties that are not smooth, options out of range, and mini-batches of other models."""
        require_smooth(problem, self.name)
        require_option(self, "learning_rate", 0 < self.learning_rate < np.inf, "positive")
        if self.batch_size is not None:
            require_option(self, "batch_size", self.batch_size >= 1, "at least 1, or None")
            require_network(problem, f"{self.name}(batch_size={self.batch_size})")

    def init(self, problem: Objective, start: np.ndarray) -> FirstOrderState:
        """Linearise at the start."""
        return FirstOrderState.at(problem, problem.at(start), iteration=0, memory=())

    def step(self, problem: Objective, state: FirstOrderState) -> tuple[FirstOrderState, Info]:
        """Do one step or one epoch, and linearise at the new point."""
        point, W, k = state.point, state.W, state.iteration
        memory = state.memory or self._memory(W)
        gradients = self._gradients(problem, k) or [lambda W: point.gradient]
        n_steps = len(gradients)
        for i, gradient in enumerate(gradients, 1):
            move, memory = self._move(gradient(W), memory, k * n_steps + i)
            W = W + move
        info, new = Info(step_size=self.learning_rate, inner_iterations=n_steps), problem.at(W)
        if not (np.isfinite(new.value) and np.all(np.isfinite(new.gradient))):
            return FirstOrderState.at(problem, point, Status.DIVERGED, iteration=k + 1, memory=memory), info
        return FirstOrderState.at(problem, new, iteration=k + 1, memory=memory), info

    def _gradients(self, problem: Objective, epoch: int) -> list[Callable[[np.ndarray], np.ndarray]]:
        """Return the gradients over the mini-batches of an epoch, as functions of W; nothing if one has all rows."""
        if self.batch_size is None:
            return []
        network = require_network(problem, self.name)
        n = math.ceil(sum(network.n_rows) / self.batch_size)
        batch = functools.partial(network.batch_gradient, n_batches=n, seed=(self.seed, epoch))
        return [functools.partial(batch, batch=i) for i in range(n)] if n > 1 else []

    def _memory(self, g: np.ndarray) -> Memory:
        """Return what is remembered before the first step."""
        return (np.zeros_like(g),)

    @abstractmethod
    def _move(self, g: np.ndarray, memory: Memory, k: int) -> tuple[np.ndarray, Memory]:
        """Return d and the new memory from the gradient and the memory, in step k = 1, 2, ..."""
