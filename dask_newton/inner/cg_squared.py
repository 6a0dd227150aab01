"""Conjugate gradients on the square of a symmetric matrix, which is never indefinite.

    (A^2 + damping^2 I) x = b

Two products with A per iteration. The condition number is squared too, so that it needs many.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from dask_newton.inner.base import Array, LocalResult, LocalSolver, Operator
from dask_newton.inner.cg import CG
from dask_newton.storage.registry import stored

__all__ = ["SquaredCG"]


@stored("inner-solver/cg-squared")
@dataclass(frozen=True)
class SquaredCG(LocalSolver):
    """CG on ``A^2 + damping^2 I``.

    Parameters
    ----------
    cg : CG
        Its ``max_iter`` counts iterations, of two products each.
    damping : float
        phi of DINGO and DINO.
    """

    cg: CG = field(default=CG())
    damping: float = 0.0

    def solve(self, matvec: Operator, b: Array) -> LocalResult:
        """Solve ``(A^2 + damping^2 I) x = b`` given ``matvec(v) = A v`` with A symmetric."""
        found = self.cg.solve(lambda v: matvec(matvec(v)) + self.damping**2 * v, b)
        return replace(found, n_products=2 * found.n_iter)
