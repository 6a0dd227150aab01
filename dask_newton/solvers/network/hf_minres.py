"""HF-MINRES: Hessian-free optimisation with MINRES, which is for matrices that need not be definite.

    (H + lam I) d = -g  by MINRES, from x_0;   r = -g - (H + lam I) x

The norm of r falls with every product, whatever the curvature is. Candidates for the step are iterates on the way and
the last one, as with CG, see :mod:`~dask_newton.solvers.network.truncated_cg`, which also says when they make little
progress.
Where <r, (H + lam I) r> <= 0, which the recursion knows (Liu and Roosta, arXiv 2208.07095), MINRES ends, and r, turned
so that it descends, is a candidate too, with the lengths 1, 4, ..., 4^6, as no length is natural to it: that is
tracking forward without a pass of its own.

The rest of a step is in :mod:`~dask_newton.solvers.network.hessian_free`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dask_newton.inner import MINRES
from dask_newton.solvers.network.hessian_free import Candidates, HessianFree
from dask_newton.solvers.network.truncated_cg import Iterates
from dask_newton.storage.registry import stored

__all__ = ["HFMINRES"]

_RTOL = 1e-10
_LENGTHS = tuple(4.0**k for k in range(7))


@stored("solver/hf-minres")
@dataclass(frozen=True)
class HFMINRES(HessianFree):
    """Damped Newton steps by MINRES; its parameters are those of all Hessian-free solvers."""

    name = "hf-minres"
    summary = "hf-cg with MINRES, which stops at negative curvature and follows it"
    suited_to = "saddle points"
    starts_exact = True

    def _solve(self, matvec: Callable[[np.ndarray], np.ndarray], b: np.ndarray, start: np.ndarray | None) -> Candidates:
        iterates = Iterates(b)
        x, r, done = (np.zeros_like(b), b, 0) if start is None else (start, b - matvec(start), 1)
        minres = MINRES(_RTOL, self.max_products - done)
        found = minres.solve(matvec, r, lambda y, r: iterates(x + y, r))
        directions, n_products = iterates.all(), done + found.n_products
        if not found.npc_direction:
            return Candidates(directions, n_products, 0)
        r = found.x if float(np.vdot(b, found.x)) >= 0 else -found.x
        curvature = found.curvature * float(np.vdot(r, r))
        directions += [(length * r, length**2 * curvature) for length in _LENGTHS]
        return Candidates(directions, n_products, 1)
