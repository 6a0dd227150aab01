"""GN-CG: Hessian-free optimisation with the Gauss-Newton matrix (Martens 2010).

    (G + lam I) d = -g  by CG,      G = (1/S) sum_j s_j J_j' l''_j J_j + hess R      (Schraudolph 2002)

G is positive semidefinite, so that CG meets no negative curvature. The rest of a step is in
:mod:`~dask_newton.solvers.hessian_free`, and when CG ends in :mod:`~dask_newton.solvers.truncated_cg`.
"""

from __future__ import annotations

from dataclasses import dataclass

from dask_newton.solvers.truncated_cg import TruncatedCG

__all__ = ["GNCG"]


@dataclass(frozen=True)
class GNCG(TruncatedCG):
    """Gauss-Newton steps by conjugate gradients; its parameters are those of all Hessian-free solvers."""

    name = "gn-cg"
    starts_exact = False
