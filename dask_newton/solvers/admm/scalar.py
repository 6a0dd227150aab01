"""Consensus ADMM with a number rho_i for each block: one for all iterations, or one that balances the residuals.

    x_i <- argmin phi_i(x) + (rho_i / 2) norm(x - z - y_i / rho_i)^2
    z   <- prox_R( sum_i (rho_i xr_i - y_i) / sum_i rho_i,  1 / sum_i rho_i )

Balanced (Wohlberg 2017):  rho_i <- 2 rho_i where the normalised primal residual is more than twice the dual one,
                           rho_i / 2 where it is less than half of it
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dask_newton.inner import NewtonResult
from dask_newton.inner.base import dot
from dask_newton.objectives.linear.objective import LinearObjective
from dask_newton.objectives.local import LocalObjective
from dask_newton.solvers.admm.iteration import Array, AtConsensus, BlockState, PenaltyRule, SubProblem, Summary
from dask_newton.storage.registry import stored

__all__ = ["Balanced", "Fixed", "ScalarRule", "ScalarState", "Snapshot"]


@stored("solver-part/admm-snapshot")
@dataclass(frozen=True, eq=False)
class Snapshot:
    """The variables of a block at the end of an iteration.

    Attributes
    ----------
    x, z, y : Array, shape (q, K)
    dual : Array, shape (q, K)
        ``y + rho (z_old - x)`` with the y before the iteration: the gradient of phi_i at x where the x-update is exact.
    """

    x: Array
    dual: Array
    z: Array
    y: Array


@stored("solver-part/admm-scalar")
@dataclass(frozen=True, eq=False)
class ScalarState(BlockState):
    """One block's part of the consensus, with a number rho_i.

    Attributes
    ----------
    x, y, z, rho
        See :class:`~dask_newton.solvers.admm.iteration.BlockState`; rho is positive.
    floor : float
        Lower bound of rho, raised where the block met negative curvature.
    first : float
        The first rho; rho stays within a factor 1e8 of it.
    snapshot : Snapshot or None
        What a rule compares later iterations with.
    """

    floor: float
    first: float
    snapshot: Snapshot | None

    def penalise(self, v: Array) -> Array:
        """Return ``rho_i v``."""
        return self.rho * v

    def penalised_norm_squared(self, v: Array) -> float:
        """Return ``norm(rho_i v)^2``."""
        return self.rho**2 * dot(v, v)


@dataclass(frozen=True)
class ScalarRule(PenaltyRule[ScalarState], ABC):
    """A number rho_i for each block.

    Parameters
    ----------
    rho : float
        The first rho_i is rho times the weight of the block over that of all.
    curvature_floor : float
        rho_i is kept above this multiple of the most negative curvature that its block has met.
    """

    curvature_floor: float

    def start(self, W: np.ndarray, weights: Sequence[float], total_weight: float) -> list[ScalarState]:
        """Return x_i = z = W, y_i = 0."""
        rhos = [float(self.rho * weight / total_weight) for weight in weights]
        return [ScalarState(W, np.zeros_like(W), W, rho, 0.0, rho, None) for rho in rhos]

    def changed(self, state: ScalarState, y: Array, z: Array, k: int, scaling: float) -> ScalarState:
        """Return the state with the next rho_i, which no rule lets leave its bounds."""
        dual = state.y + state.rho * (state.z - state.x)
        rho, snapshot = self.proposed(state, Snapshot(state.x, dual, z, y), k, scaling)
        rho = max(min(max(rho, 1e-8 * state.first), 1e8 * state.first), state.floor)
        return replace(state, rho=rho, snapshot=snapshot)

    def proposed(self, state: ScalarState, now: Snapshot, k: int, scaling: float) -> tuple[float, Snapshot | None]:
        """Return the rho_i that should follow iteration k, and what later ones are compared with."""
        return state.rho, None

    def at_consensus(
        self, local: LocalObjective, state: ScalarState, z: Array, k: int, certify: bool
    ) -> tuple[ScalarState, AtConsensus]:
        """Evaluate the losses."""
        return state, AtConsensus(*local.loss(z, gradient=certify))

    def sub_problem(self, local: LocalObjective, state: ScalarState, z: Array) -> SubProblem:
        """Return phi_i with its proximal term."""
        return SubProblem(local.proximal(state.rho, z + state.y / state.rho), state.x, lambda x: x)

    def met(self, state: ScalarState, found: NewtonResult) -> ScalarState:
        """Raise the floor of rho_i where the curvature of phi_i alone was negative."""
        if not found.curvature < 0:
            return state
        return replace(state, floor=max(state.floor, self.curvature_floor * (state.rho - found.curvature)))

    def consensus(
        self, problem: LinearObjective, summary: Summary, z: np.ndarray, P: np.ndarray | None
    ) -> tuple[np.ndarray, None]:
        """Return the proximal point of the mean."""
        z = summary.consensus / summary.rho
        problem.penalised(z)[...] = problem.penalty.prox(problem.penalised(z), 1 / summary.rho)
        return z, None


@dataclass(frozen=True)
class Fixed(ScalarRule):
    """Every rho_i stays what it is at the start."""


@dataclass(frozen=True)
class Balanced(ScalarRule):
    """Primal and dual residuals, each normalised, are kept within a factor of two of each other."""

    def proposed(self, state: ScalarState, now: Snapshot, k: int, scaling: float) -> tuple[float, None]:
        """Return the scaled rho_i."""
        return state.rho * scaling, None

    def scaling(self, primal: float, dual: float) -> float:
        """Return 2, 1/2 or 1."""
        return 2.0 if primal > 2 * dual else 0.5 if dual > 2 * primal else 1.0
