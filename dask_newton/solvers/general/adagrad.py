"""Adagrad (Duchi, Hazan, Singer 2011), entry by entry.

s <- s + g^2,   W <- W - a g / (sqrt(s) + eps),   s = 0 at first
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dask_newton.objectives.base import Objective
from dask_newton.solvers.base import require_option
from dask_newton.solvers.general.first_order import FirstOrder, Memory
from dask_newton.storage.registry import stored

__all__ = ["Adagrad"]


@stored("solver/adagrad")
@dataclass(frozen=True)
class Adagrad(FirstOrder):
    """Adagrad.

    Parameters
    ----------
    learning_rate : float
        a.
    epsilon : float
        eps, against division by zero.
    """

    learning_rate: float = 0.1
    epsilon: float = 1e-10
    name = "adagrad"
    summary = "Adagrad, over all rows or mini-batches"
    suited_to = "baseline"

    def check(self, problem: Objective) -> None:
        """Refuse penalties that are not smooth, and options out of range."""
        super().check(problem)
        require_option(self, "epsilon", self.epsilon > 0, "positive")

    def _move(self, g: np.ndarray, memory: Memory, k: int) -> tuple[np.ndarray, Memory]:
        (s,) = memory
        s = s + g * g
        return -self.learning_rate * g / (np.sqrt(s) + self.epsilon), (s,)
