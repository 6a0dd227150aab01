"""The contract of a local solver: a pure function of arrays that solves a linear system with products by A alone.

Local solvers run on one block, on its device, and also on the driver, where a product is a pass over all blocks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dask_newton.arrays import namespace

Array = Any
Operator = Callable[[Array], Array]

__all__ = ["Array", "LocalResult", "LocalSolver", "Operator", "dot"]


def dot(u: Array, v: Array) -> float:
    """Return ``<u, v>`` in double precision, on the host."""
    return float(namespace(u).sum(u * v, dtype=namespace(u).float64))


@dataclass(frozen=True)
class LocalResult:
    """What a local solver found.

    Attributes
    ----------
    x : Array
        The solution, or the best that can be said.
    n_iter, n_products : int
        Iterations done, and products with A that they needed.
    status : str
        'ok', 'max_iter', 'zero' (nothing to solve: x = 0), 'npc' (non-positive curvature met), 'singular' (the solution
        grows without bound) or 'nan'.
    relative_residual : float
        Norm of the residual of the system that is solved, relative to its right side.
    curvature : float
        The smallest ``<p, A p> / <p, p>`` met along the directions p of the method; inf if it meets none.
    npc_direction : bool
        Whether x itself is a direction of non-positive curvature, along which no step has a natural length.
    """

    x: Array
    n_iter: int
    n_products: int
    status: str
    relative_residual: float
    curvature: float = float("inf")
    npc_direction: bool = False


class LocalSolver(ABC):
    """Solves a linear system on one block."""

    @abstractmethod
    def solve(self, matvec: Operator, b: Array) -> LocalResult:
        """Solve the system of A, symmetric, and b given ``matvec(v) = A v``; b may have any shape."""
