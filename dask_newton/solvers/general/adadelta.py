"""Adadelta (Zeiler 2012), entry by entry.

s <- rho s + (1 - rho) g^2
d = -sqrt(e + eps) / sqrt(s + eps) g
e <- rho e + (1 - rho) d^2,   W <- W + a d,   s = e = 0 at first
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dask_newton.objectives.base import Objective
from dask_newton.solvers.base import require_option
from dask_newton.solvers.general.first_order import FirstOrder, Memory
from dask_newton.storage.registry import stored

__all__ = ["Adadelta"]


@stored("solver/adadelta")
@dataclass(frozen=True)
class Adadelta(FirstOrder):
    """Adadelta.

    Parameters
    ----------
    learning_rate : float
        a; 1 in the paper.
    rho : float
        Decay rate of the means of squares.
    epsilon : float
        eps, which sets the length of the first steps.
    """

    learning_rate: float = 1.0
    rho: float = 0.9
    epsilon: float = 1e-6
    name = "adadelta"
    summary = "Adadelta, over all rows or mini-batches"
    suited_to = "baseline"

    def check(self, problem: Objective) -> None:
        """Refuse penalties that are not smooth, and options out of range."""
        super().check(problem)
        require_option(self, "rho", 0 <= self.rho < 1, "in [0, 1)")
        require_option(self, "epsilon", self.epsilon > 0, "positive")

    def _memory(self, g: np.ndarray) -> Memory:
        return np.zeros_like(g), np.zeros_like(g)

    def _move(self, g: np.ndarray, memory: Memory, k: int) -> tuple[np.ndarray, Memory]:
        s, e = memory
        s = self.rho * s + (1 - self.rho) * g * g
        d = -np.sqrt(e + self.epsilon) / np.sqrt(s + self.epsilon) * g
        e = self.rho * e + (1 - self.rho) * d * d
        return self.learning_rate * d, (s, e)
