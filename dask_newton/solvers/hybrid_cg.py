"""Hybrid-CG: Hessian-free optimisation that leaves the Hessian for one step after negative curvature (He et al. 2016).

    C_{k+1} = G  if CG met negative curvature of C_k = H,  else H

with the Gauss-Newton matrix G, see :mod:`~dask_newton.solvers.gn_cg`. The rest of a step is in
:mod:`~dask_newton.solvers.hessian_free`, and when CG ends in :mod:`~dask_newton.solvers.truncated_cg`.
"""

from __future__ import annotations

from dataclasses import dataclass

from dask_newton.solvers.truncated_cg import TruncatedCG

__all__ = ["HybridCG"]


@dataclass(frozen=True)
class HybridCG(TruncatedCG):
    """Newton or Gauss-Newton steps by conjugate gradients; its parameters are those of all Hessian-free solvers."""

    name = "hybrid-cg"
    starts_exact = True

    def _exact(self, exact: bool, negative: bool) -> bool:
        return not (exact and negative)
