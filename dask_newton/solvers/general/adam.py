"""Adam (Kingma and Ba 2015), entry by entry.

m <- beta1 m + (1 - beta1) g,   v <- beta2 v + (1 - beta2) g^2,   m = v = 0 at first
W <- W - a (m / (1 - beta1^k)) / (sqrt(v / (1 - beta2^k)) + eps)      in iteration k = 1, 2, ...
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dask_newton.objectives.base import Objective
from dask_newton.solvers.base import require_option
from dask_newton.solvers.general.first_order import FirstOrder, Memory
from dask_newton.storage.registry import stored

__all__ = ["Adam"]


@stored("solver/adam")
@dataclass(frozen=True)
class Adam(FirstOrder):
    """Adam.

    Parameters
    ----------
    learning_rate : float
        a.
    beta1, beta2 : float
        Decay rates of the means of the gradients and of their squares.
    epsilon : float
        eps, against division by zero.
    """

    learning_rate: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    name = "adam"
    summary = "Adam, over all rows or mini-batches"
    suited_to = "baseline"

    def check(self, problem: Objective) -> None:
        """Refuse penalties that are not smooth, and options out of range."""
        super().check(problem)
        require_option(self, "beta1", 0 <= self.beta1 < 1, "in [0, 1)")
        require_option(self, "beta2", 0 <= self.beta2 < 1, "in [0, 1)")
        require_option(self, "epsilon", self.epsilon > 0, "positive")

    def _memory(self, g: np.ndarray) -> Memory:
        return np.zeros_like(g), np.zeros_like(g)

    def _move(self, g: np.ndarray, memory: Memory, k: int) -> tuple[np.ndarray, Memory]:
        m, v = memory
        m = self.beta1 * m + (1 - self.beta1) * g
        v = self.beta2 * v + (1 - self.beta2) * g * g
        mean, square = m / (1 - self.beta1**k), v / (1 - self.beta2**k)
        return -self.learning_rate * mean / (np.sqrt(square) + self.epsilon), (m, v)
