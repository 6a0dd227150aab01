"""Conjugate gradients with a test for negative curvature (Nocedal and Wright, Numerical Optimization, Alg. 7.1).

    x = 0,  r = b,  z = M r,  p = z
    repeat  c = <p, A p>;          stop if c <= 0, up to rounding
            a = <r, z> / c;        x += a p,  r -= a A p
            stop if norm(r) <= rtol norm(b)
            z = M r;               p = z + (<r, z>_new / <r, z>_old) p

Every iterate has <x, b> > 0 and minimises the quadratic over a Krylov space, so a truncated solution of H x = -g is a
direction of descent after any number of iterations. Met at the first iteration, negative curvature gives x = b.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from dask_newton.arrays import namespace
from dask_newton.local.base import Array, LocalResult, LocalSolver, Operator

__all__ = ["CG"]


@dataclass(frozen=True)
class CG(LocalSolver):
    """Preconditioned conjugate gradients.

    Parameters
    ----------
    rtol : float
        Stop at ``norm(residual) <= rtol norm(b)``.
    max_iter : int
        At most so many products with A.
    """

    rtol: float = 1e-4
    max_iter: int = 50

    def solve(self, matvec: Operator, b: Array, preconditioner: Operator | None = None) -> LocalResult:
        """Solve ``A x = b``.

        Parameters
        ----------
        matvec : callable
            ``matvec(v) = A v`` with A symmetric.
        b : Array
            Right side, of any shape; all arrays are elements of one Euclidean space.
        preconditioner : callable, optional
            ``r -> M r`` with M symmetric positive definite.

        Returns
        -------
        LocalResult
            With status 'npc', x is the last iterate, or b if there was none.
        """
        xp = namespace(b)

        def dot(u: Array, v: Array) -> float:
            u, v = (xp.reshape(xp.astype(a, xp.float64, copy=False), (-1,)) for a in (u, v))
            return float(xp.vecdot(u, v))

        norm_b = math.sqrt(dot(b, b))
        x = xp.zeros_like(b)
        if norm_b == 0:
            return LocalResult(x, 0, "zero", 0.0)
        r = b
        z = preconditioner(r) if preconditioner else r
        p, rz = z, dot(r, z)
        relative, largest, smallest = 1.0, 0.0, math.inf
        for k in range(1, self.max_iter + 1):
            q = matvec(p)
            c, pp = dot(p, q), dot(p, p)
            if not math.isfinite(c):
                return LocalResult(x if k > 1 else b, k, "nan", relative, smallest)
            largest, smallest = max(largest, c / pp), min(smallest, c / pp)
            if c <= 1e-14 * largest * pp:
                return LocalResult(x if k > 1 else b, k, "npc", relative, smallest)
            a = rz / c
            x += a * p
            r = r - a * q
            relative = math.sqrt(dot(r, r)) / norm_b
            if relative <= self.rtol:
                return LocalResult(x, k, "ok", relative, smallest)
            z = preconditioner(r) if preconditioner else r
            rz_new = dot(r, z)
            p = z + (rz_new / rz) * p
            rz = rz_new
        return LocalResult(x, self.max_iter, "max_iter", relative, smallest)
