"""What a block does in one iteration of consensus ADMM, and its penalty rho_i.

Spectral penalty (Xu et al., ACADMM, ICML 2017), against a snapshot (x0, yh0, z0, y0) taken a few iterations ago, with
the dual yh = y + rho (z_old - x), which is the gradient of phi_i at x where the x-update is exact:

    alpha from (x - x0, yh - yh0),  beta from (-(z - z0), y - y0);   for a pair (d, e):
        sd = <e,e> / <d,e>,  mg = <d,e> / <d,d>,   estimate = mg if 2 mg > sd else sd - mg / 2
        trusted if <d,e> / (norm(d) norm(e)) > correlation
    rho <- sqrt(alpha beta), or the one that is trusted, or unchanged; at most a factor 1 + C / k^2 away
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_newton.arrays import to_host
from dask_newton.blocks import named
from dask_newton.inner import NewtonResult
from dask_newton.inner.base import dot
from dask_newton.objectives.local import LocalObjective
from dask_newton.objectives.rows.block import RowBlock

if TYPE_CHECKING:
    from dask_newton.solvers.admm.newton_admm import NewtonADMM

__all__ = ["BlockState", "MakeLocal", "Summary", "attempt", "spectral_penalty", "update_block"]

Array = Any
MakeLocal = Callable[[Any], LocalObjective]
_SAFEGUARD = 1e10  # C; in the paper, and no different from the reference code's 1e5 beyond k = 100


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What the spectral estimate compares with."""

    x: Array
    dual: Array
    z: Array
    y: Array


@dataclass(frozen=True, eq=False)
class BlockState:
    """One block's part of the consensus.

    Attributes
    ----------
    x, y, z : Array, shape (q, K)
        Local solution, dual, and the consensus that x was computed with; on the block's device.
    rho : float
        Penalty, positive.
    floor : float
        Lower bound of rho, raised where the block met negative curvature.
    first : float
        The first rho; rho stays within a factor 1e8 of it.
    snapshot : Snapshot or None
    """

    x: Array
    y: Array
    z: Array
    rho: float
    floor: float
    first: float
    snapshot: Snapshot | None

    @classmethod
    def start(cls, x: np.ndarray, rho: float) -> BlockState:
        """Return the state before the first iteration."""
        return cls(x, np.zeros_like(x), x, rho, 0.0, rho, None)


@dataclass(frozen=True)
class Summary:
    """Sums over the blocks; see :func:`update_block`."""

    consensus: np.ndarray
    gradient: Any
    numbers: np.ndarray
    matrix: Any = None

    _NAMES = (
        "rho",
        "dual_squared",
        "x_squared",
        "y_squared",
        "primal_squared",
        "loss",
        "n_products",
        "n_failed",
        "n_nan",
    )

    @classmethod
    def of(cls, total: tuple[Any, ...]) -> Summary:
        """Name the entries of a total."""
        return cls(*total)

    def __getattr__(self, name: str) -> float:
        if name in Summary._NAMES:
            return float(self.numbers[Summary._NAMES.index(name)])
        raise AttributeError(name)


@named("admm-update")
def update_block(
    rows: RowBlock,
    state: BlockState,
    *,
    z: np.ndarray,
    k: int,
    scaling: float,
    certify: bool,
    options: NewtonADMM,
    make_local: MakeLocal,
) -> tuple[BlockState, tuple[Any, ...]]:
    """Finish iteration k - 1 with the z just received, then do the x-update of iteration k.

    ``make_local(rows)`` is the block's phi_i.

    Returns
    -------
    state : BlockState
    total : tuple
        ``rho xr - y``; the gradient of the loss at z if ``certify``; and the numbers named in :class:`Summary`.
    """
    local = make_local(rows)
    z, dual_squared = local.device(z), 0.0
    if k == 1:
        state = replace(state, x=z, y=local.device(state.y), z=z)
    else:
        dual_squared = state.rho**2 * dot(z - state.z, z - state.z)
        state = _finish(state, z, k - 1, scaling, options)
    loss, gradient = local.loss(z, gradient=certify)
    local = local.proximal(state.rho, z + state.y / state.rho)
    x, found, numbers = attempt(options, local, state.x, lambda x: x, state.x)
    floor = state.floor
    if found.curvature < 0:
        floor = max(floor, options.curvature_floor * (state.rho - found.curvature))  # of phi_i alone
    relaxed = options.relaxation * x + (1 - options.relaxation) * z
    first = [
        state.rho,
        dual_squared,
        dot(state.x, state.x),
        dot(state.y, state.y),
        dot(state.x - z, state.x - z),
        loss,
    ]
    consensus, gradient = to_host((state.rho * relaxed - state.y, gradient))
    return replace(state, x=x, z=z, floor=floor), (consensus, gradient, np.array([*first, *numbers], dtype=np.float64))


def attempt(
    options: NewtonADMM, local: Any, start: Array, to_x: Callable[[Array], Array], x: Array
) -> tuple[Array, NewtonResult, list[float]]:
    """Minimise a local objective, and keep the last good x where that comes to nothing.

    Parameters
    ----------
    options : NewtonADMM
    local : local objective
    start : Array
        Where to start, in the variables of the objective.
    to_x : callable
        From those variables to x.
    x : Array
        The last good x.

    Returns
    -------
    x : Array
    found : NewtonResult
    numbers : list of float
        Hessian products, whether x was kept, and whether that was for numbers that are not finite; the driver counts.
    """
    found = options.local_newton.minimize(local, start)
    new = to_x(found.x)
    n_nan = found.status == "nan" or not math.isfinite(dot(new, new))
    return x if n_nan else new, found, [found.n_products, found.status == "ls_fail" or n_nan, n_nan]


def _finish(state: BlockState, z: Array, k: int, scaling: float, options: NewtonADMM) -> BlockState:
    """Update y and rho at the end of iteration k."""
    relaxed = options.relaxation * state.x + (1 - options.relaxation) * state.z
    y = state.y + state.rho * (z - relaxed)
    dual = state.y + state.rho * (state.z - state.x)
    rho, snapshot = state.rho * scaling, state.snapshot
    if options.penalty == "spectral" and (k - 1) % options.spectral_every == 0:
        now = Snapshot(state.x, dual, z, y)
        if snapshot is not None:
            rho = spectral_penalty(snapshot, now, rho, k, options.correlation)
        snapshot = now
    rho = max(min(max(rho, 1e-8 * state.first), 1e8 * state.first), state.floor)
    return replace(state, y=y, rho=rho, snapshot=snapshot)


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
