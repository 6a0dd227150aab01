"""Gradient descent with a fixed step.

W <- W - a g
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dask_newton.solvers.general.first_order import FirstOrder, Memory
from dask_newton.storage.registry import stored

__all__ = ["GD"]


@stored("solver/gd")
@dataclass(frozen=True)
class GD(FirstOrder):
    """Gradient descent.

    Parameters
    ----------
    learning_rate : float
        a.
    """

    learning_rate: float = 0.01
    name = "gd"
    summary = "gradient descent over all rows; one pass per iteration"
    suited_to = "baseline"

    def _move(self, g: np.ndarray, memory: Memory, k: int) -> tuple[np.ndarray, Memory]:
        return -self.learning_rate * g, ()
