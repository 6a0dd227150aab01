"""The contract of a local solver: a pure function of arrays that solves ``A x = b`` with products by A alone.

Local solvers run on one block, on its device, and also on the driver, where a product is a pass over all blocks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Array = Any
Operator = Callable[[Array], Array]

__all__ = ["Array", "LocalResult", "LocalSolver", "Operator"]


@dataclass(frozen=True)
class LocalResult:
    """What a local solver found.

    Attributes
    ----------
    x : Array
        The solution, or the best that can be said.
    n_iter : int
        Iterations done; for CG, products with A.
    status : str
        'ok', 'max_iter', 'zero' (b = 0), 'npc' (non-positive curvature met) or 'nan'.
    relative_residual : float
        ``norm(b - A x) / norm(b)``.
    curvature : float
        The smallest ``<p, A p> / <p, p>`` met along the directions p of the method.
    """

    x: Array
    n_iter: int
    status: str
    relative_residual: float
    curvature: float = float("inf")


class LocalSolver(ABC):
    """Solves a linear system on one block."""

    @abstractmethod
    def solve(self, matvec: Operator, b: Array) -> LocalResult:
        """Solve ``A x = b`` given ``matvec(v) = A v``."""
