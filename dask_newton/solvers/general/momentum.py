"""Gradient descent with momentum (Polyak 1964).

v <- m v - a g,   W <- W + v,   v = 0 at first
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dask_newton.objectives.base import Objective
from dask_newton.solvers.base import require_option
from dask_newton.solvers.general.first_order import FirstOrder, Memory
from dask_newton.storage.registry import stored

__all__ = ["Momentum"]


@stored("solver/momentum")
@dataclass(frozen=True)
class Momentum(FirstOrder):
    """Gradient descent with momentum.

    Parameters
    ----------
    learning_rate : float
        a.
    momentum : float
        m, the fraction of a step that carries over to the next.
    """

    learning_rate: float = 0.01
    momentum: float = 0.9
    name = "momentum"
    summary = "gradient descent with momentum, over all rows or mini-batches"
    suited_to = "baseline"

    def check(self, problem: Objective) -> None:
        """Refuse penalties that are not smooth, and options out of range."""
        super().check(problem)
        require_option(self, "momentum", 0 <= self.momentum < 1, "in [0, 1)")

    def _move(self, g: np.ndarray, memory: Memory, k: int) -> tuple[np.ndarray, Memory]:
        (v,) = memory
        v = self.momentum * v - self.learning_rate * g
        return v, (v,)
