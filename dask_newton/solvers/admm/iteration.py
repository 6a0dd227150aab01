"""One iteration of consensus ADMM on a block, and the contract of the penalty in it.

With the penalty P_i of block i, a number rho_i or a matrix, and relaxation a, iteration k is

    y_i <- y_i + P_i (z - xr_i),   xr_i = a x_i + (1 - a) z_old      (end of iteration k - 1, at the z just received)
    P_i <- what the rule makes of it
    x_i <- argmin phi_i(x) - <y_i, x> + norm(x - z)_{P_i}^2 / 2      (some Newton steps)

and the block sends P_i xr_i - y_i, of which the driver makes the next z. A rule says what P_i is at the start, how it
changes, in which variables the x-update is done, and what the z-update is.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Self, TypeVar

import numpy as np

from dask_newton.arrays import to_host
from dask_newton.blocks import named
from dask_newton.inner import LocalNewton, NewtonResult
from dask_newton.inner.base import dot
from dask_newton.objectives.base import Objective
from dask_newton.objectives.linear.objective import LinearObjective
from dask_newton.objectives.local import LocalObjective
from dask_newton.objectives.rows.block import RowBlock

__all__ = ["AtConsensus", "BlockState", "PenaltyRule", "SubProblem", "Summary", "XUpdate", "update_block"]

Array = Any


@dataclass(frozen=True, eq=False)
class BlockState(ABC):
    """One block's part of the consensus.

    Attributes
    ----------
    x, y, z : Array, shape (q, K)
        Local solution, dual, and the consensus that x was computed with; on the block's device.
    rho : float
        The penalty P_i, or what it is a multiple of; the history shows the mean over blocks.
    """

    x: Array
    y: Array
    z: Array
    rho: float

    @abstractmethod
    def penalise(self, v: Array) -> Array:
        """Return ``P_i v``."""

    @abstractmethod
    def penalised_norm_squared(self, v: Array) -> float:
        """Return ``norm(P_i v)^2``."""


S = TypeVar("S", bound=BlockState)


@dataclass(frozen=True, eq=False)
class AtConsensus:
    """What a block computes at the z it received.

    Attributes
    ----------
    loss : float
        Sum of losses.
    gradient : Array or None
        That of the sum of losses, on request.
    matrix : ndarray or None
        The packed matrix P_i, if it is new.
    """

    loss: float
    gradient: Array | None
    matrix: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class SubProblem:
    """The x-update of a block, in variables that suit its penalty.

    Attributes
    ----------
    objective : local objective
        See :class:`~dask_newton.inner.LocalNewton`.
    start : Array
    to_x : callable
        From the variables of the objective to x.
    """

    objective: Any
    start: Array
    to_x: Callable[[Array], Array]


@dataclass(frozen=True)
class XUpdate:
    """How every block computes x_i: by which Newton method, and with which relaxation of its result."""

    newton: LocalNewton
    relaxation: float

    def relaxed(self, x: Array, z: Array) -> Array:
        """Return xr."""
        return self.relaxation * x + (1 - self.relaxation) * z


@dataclass(frozen=True, eq=False)
class Summary:
    """What blocks send, and the sum of it over the blocks.

    Attributes
    ----------
    consensus : ndarray, shape (q, K)
        ``P_i xr - y_i``.
    gradient : ndarray of shape (q, K), or None
        That of the sum of losses at z, on request.
    matrix : ndarray of shape (K, q (q + 1) / 2), or None
        The upper triangles of P_i, if they are new.
    rho : float
    dual_squared, primal_squared : float
        Squared norms of P_i (z - z_old) and x - z, with the x of the iteration before.
    x_squared, y_squared : float
        Squared norms of x of the iteration before, and of y.
    loss : float
        Sum of losses at z.
    n_products : float
        Hessian products of the x-update.
    n_failed, n_nan : float
        Blocks that kept their x, and those of them that did for numbers that are not finite.
    """

    consensus: np.ndarray
    gradient: np.ndarray | None
    matrix: np.ndarray | None
    rho: float
    dual_squared: float
    primal_squared: float
    x_squared: float
    y_squared: float
    loss: float
    n_products: float
    n_failed: float
    n_nan: float

    @classmethod
    def of(cls, total: dict[str, Any]) -> Self:
        """Return the summary with these entries, which is what ``vars`` undoes."""
        return cls(**total)


@dataclass(frozen=True)
class PenaltyRule(ABC, Generic[S]):
    """What the penalty P_i of every block is, and how it changes.

    Parameters
    ----------
    rho : float
        For the rho_i of the start.
    """

    rho: float

    def check(self, problem: Objective) -> None:
        """Raise :class:`~dask_newton.solvers.UnsupportedError` if the rule is not for this objective."""

    @abstractmethod
    def start(self, W: np.ndarray, weights: Sequence[float], total_weight: float) -> list[S]:
        """Return the state of each block before the first iteration, for which blocks count by these weights."""

    @abstractmethod
    def changed(self, state: S, y: Array, z: Array, k: int, scaling: float) -> S:
        """Return the state with the penalty that follows iteration k, which gave ``y`` and ``z``."""

    @abstractmethod
    def at_consensus(self, local: Any, state: S, z: Array, k: int, certify: bool) -> tuple[S, AtConsensus]:
        """Evaluate phi_i, ``local``, at the z that iteration k begins with, and renew penalties that depend on z."""

    @abstractmethod
    def sub_problem(self, local: Any, state: S, z: Array) -> SubProblem:
        """Return the problem of the x-update of phi_i, ``local``."""

    def met(self, state: S, found: NewtonResult) -> S:
        """Return the state after an x-update, which may have met negative curvature."""
        return state

    @abstractmethod
    def consensus(
        self, problem: LinearObjective, summary: Summary, z: np.ndarray, P: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the z-update from the old z, and the sum of matrices P_i from the old one."""

    def scaling(self, primal: float, dual: float) -> float:
        """Return the factor for every P_i, given the normalised primal and dual residual."""
        return 1.0


@named("admm-update")
def update_block(
    rows: RowBlock,
    state: S,
    *,
    z: np.ndarray,
    k: int,
    scaling: float,
    certify: bool,
    rule: PenaltyRule[S],
    x_update: XUpdate,
    make_local: Callable[[Any], LocalObjective],
) -> tuple[S, dict[str, Any]]:
    """Finish iteration k - 1 with the z just received, then do the x-update of iteration k.

    ``make_local(rows)`` is the block's phi_i.

    Returns
    -------
    state : BlockState
    total : dict
        The entries of :class:`Summary`.
    """
    local = make_local(rows)
    z, dual_squared = local.device(z), 0.0
    if k == 1:
        state = replace(state, x=z, y=local.device(state.y), z=z)
    else:
        dual_squared = state.penalised_norm_squared(z - state.z)
        y = state.y + state.penalise(z - x_update.relaxed(state.x, state.z))
        state = replace(rule.changed(state, y, z, k - 1, scaling), y=y)
    state, at_z = rule.at_consensus(local, state, z, k, certify)
    problem = rule.sub_problem(local, state, z)
    found = x_update.newton.minimize(problem.objective, problem.start)
    x = problem.to_x(found.x)
    no_number = found.status == "nan" or not math.isfinite(dot(x, x))
    x = state.x if no_number else x
    consensus = state.penalise(x_update.relaxed(x, z)) - state.y
    consensus, gradient = to_host((consensus, at_z.gradient if certify else None))
    summary = Summary(
        consensus=consensus,
        gradient=gradient,
        matrix=at_z.matrix,
        rho=state.rho,
        dual_squared=dual_squared,
        primal_squared=dot(state.x - z, state.x - z),
        x_squared=dot(state.x, state.x),
        y_squared=dot(state.y, state.y),
        loss=at_z.loss,
        n_products=float(found.n_products),
        n_failed=float(found.status == "ls_fail" or no_number),
        n_nan=float(no_number),
    )
    return replace(rule.met(state, found), x=x, z=z), vars(summary)
