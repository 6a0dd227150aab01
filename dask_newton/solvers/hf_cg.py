"""HF-CG: Hessian-free optimisation with the Hessian itself (Martens 2010; He et al. 2016).

    (H + lam I) d = -g  by CG,      H = hess F

Where CG meets negative curvature it ends, with the iterate that it has. The rest of a step is in
:mod:`~dask_newton.solvers.hessian_free`, and when else CG ends in :mod:`~dask_newton.solvers.truncated_cg`.
"""

from __future__ import annotations

from dataclasses import dataclass

from dask_newton.solvers.truncated_cg import TruncatedCG

__all__ = ["HFCG"]


@dataclass(frozen=True)
class HFCG(TruncatedCG):
    """Damped Newton steps by conjugate gradients; its parameters are those of all Hessian-free solvers."""

    name = "hf-cg"
    starts_exact = True
