"""Spectral penalties of consensus ADMM (Xu et al., ACADMM, ICML 2017): rho_i follows the curvature of its block.

Against a snapshot (x0, yh0, z0, y0) taken a few iterations ago, with the dual yh = y + rho (z_old - x), which is the
gradient of phi_i at x where the x-update is exact:

    alpha from (x - x0, yh - yh0),  beta from (-(z - z0), y - y0);   for a pair (d, e):
        sd = <e,e> / <d,e>,  mg = <d,e> / <d,d>,   estimate = mg if 2 mg > sd else sd - mg / 2
        trusted if <d,e> / (norm(d) norm(e)) > correlation
    rho <- sqrt(alpha beta), or the one that is trusted, or unchanged; at most a factor 1 + C / k^2 away
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from dask_newton.inner.base import dot
from dask_newton.solvers.admm.iteration import Array
from dask_newton.solvers.admm.scalar import ScalarRule, ScalarState, Snapshot

__all__ = ["Spectral", "spectral_penalty"]

_SAFEGUARD = 1e10  # C; in the paper, and no different from the reference code's 1e5 beyond k = 100


@dataclass(frozen=True)
class Spectral(ScalarRule):
    """Every rho_i follows spectral estimates of the curvature of its block.

    Parameters
    ----------
    rho, curvature_floor : float
        See :class:`~dask_newton.solvers.admm.scalar.ScalarRule`.
    every : int
        Iterations between estimates.
    correlation : float
        The correlation below which an estimate is not trusted.
    """

    every: int
    correlation: float

    def proposed(self, state: ScalarState, now: Snapshot, k: int, scaling: float) -> tuple[float, Snapshot | None]:
        """Return the estimate in iterations that make one."""
        if (k - 1) % self.every:
            return state.rho, state.snapshot
        if state.snapshot is None:
            return state.rho, now
        return spectral_penalty(state.snapshot, now, state.rho, k, self.correlation), now


def spectral_penalty(old: Snapshot, new: Snapshot, rho: float, k: int, correlation: float) -> float:
    """Return the spectral penalty; ``rho`` itself where no estimate can be trusted."""
    alpha, trust_alpha = _estimate(new.x - old.x, new.dual - old.dual, correlation)
    beta, trust_beta = _estimate(old.z - new.z, new.y - old.y, correlation)
    if trust_alpha and trust_beta:
        proposed = math.sqrt(alpha * beta)
    elif trust_alpha or trust_beta:
        proposed = alpha if trust_alpha else beta
    else:
        return rho
    if not (math.isfinite(proposed) and proposed > 0):
        return rho
    reach = 1 + _SAFEGUARD / k**2
    return max(min(proposed, reach * rho), rho / reach)


def _estimate(d: Array, e: Array, correlation: float) -> tuple[float, bool]:
    de, dd, ee = dot(d, e), dot(d, d), dot(e, e)
    if not (de > 0 and math.isfinite(dd * ee)):
        return math.nan, False
    steepest, gradient = ee / de, de / dd
    return gradient if 2 * gradient > steepest else steepest - gradient / 2, de > correlation * math.sqrt(dd * ee)
