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

from dataclasses import dataclass

import numpy as np

from dask_newton.inner.base import Array, LocalResult, LocalSolver, Operator
from dask_newton.inner.device_loop import DeviceLoop
from dask_newton.storage.registry import stored

__all__ = ["CG"]


@stored("inner-solver/cg")
@dataclass(frozen=True)
class CG(LocalSolver):
    """Preconditioned conjugate gradients.

    Parameters
    ----------
    rtol : float
        Stop at ``norm(residual) <= rtol norm(b)``.
    max_iter : int
        At most so many products with A.
    check_every : int, optional
        Iterations between two looks of the host at a device; by default 8, and 1 on the host. It may cost products
        without effect, and changes nothing else.
    """

    rtol: float = 1e-4
    max_iter: int = 50
    check_every: int | None = None

    @np.errstate(over="ignore", invalid="ignore")
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
        loop = DeviceLoop(b, self.check_every)
        xp, norm_b = loop.xp, loop.norm(b)
        x, r, p = xp.zeros_like(b), b, xp.zeros_like(b)
        rz, largest, smallest = loop.number(0), loop.number(0), loop.infinity
        relative = loop.divide(norm_b, norm_b)
        loop.stop(norm_b == 0, "zero")
        for k in loop.iterations(self.max_iter):
            z = preconditioner(r) if preconditioner else r
            rz_new = loop.dot(r, z)
            p, rz = loop.keep((z + loop.times(loop.divide(rz_new, rz), p), p), (rz_new, rz))
            q = matvec(p)
            c, pp = loop.dot(p, q), loop.dot(p, p)
            loop.stop_unless_finite(c)
            curvature = loop.divide(c, pp)
            largest, smallest = loop.keep(
                (xp.maximum(largest, curvature), largest), (xp.minimum(smallest, curvature), smallest)
            )
            loop.stop(c <= 1e-14 * largest * pp, "npc")
            if k == 1:
                (x,) = loop.keep((x, b))
            a = loop.divide(rz, c)
            x, r = loop.keep((x + loop.times(a, p), x), (r - loop.times(a, q), r))
            relative = loop.divide(loop.norm(r), norm_b)
            loop.stop(relative <= self.rtol, "ok")
        n_iter, status, (relative, smallest) = loop.end(relative, smallest)
        return LocalResult(x, n_iter, n_iter, status, relative, smallest, status == "npc" and n_iter == 1)
