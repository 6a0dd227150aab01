"""DANE: distributed approximate Newton (Shamir, Srebro, Zhang, ICML 2014).

    g   = grad F(W)                                                                     (pass 1)
    V_i = argmin_V  f_i(V) - <grad f_i(W) - eta g, V> + (mu / 2) norm(V - W)^2          (pass 2, on every block)
    W  <- sum_i omega_i V_i,    omega_i = S_i / S

f_i is the mean objective of block i. The blocks find V_i - W, from remembered margins, so that g is all they are sent.
F decreases only if the blocks are similar or mu is large. A step that more than doubles F ends the run.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from dask_newton.arrays import to_host
from dask_newton.blocks import named
from dask_newton.inner import CG, LocalNewton
from dask_newton.objectives.linear.block import LinearBlock
from dask_newton.objectives.linear.local import LocalLinear
from dask_newton.objectives.linear.objective import LinearObjective, Point
from dask_newton.objectives.rows.block import RowBlock
from dask_newton.penalties.strengths import Strength
from dask_newton.solvers.base import Info, PointState, Solver, Status, require_linear, require_option, require_smooth
from dask_newton.solvers.parts.line_search import LineSearch
from dask_newton.storage.registry import stored

__all__ = ["DANE", "AveragingSolver", "DANEState", "Move", "accept", "require_weights"]


@stored("solver-state/dane")
@dataclass(frozen=True, eq=False)
class DANEState(PointState):
    """W and the number of steps done, which seeds the mini-batches of the blocks.

    Attributes
    ----------
    iteration : int
    """

    iteration: int


@dataclass(frozen=True)
class Move:
    """The average of what the blocks found.

    Attributes
    ----------
    P : ndarray, shape (q, K)
        ``sum_i omega_i (V_i - W)``.
    info : Info
        What the blocks did.
    failed : bool
        Whether a block diverged.
    """

    P: np.ndarray
    info: Info
    failed: bool


def require_weights(solver: Any) -> None:
    """Refuse weights out of range."""
    require_option(solver, "eta", solver.eta > 0, "positive")
    require_option(solver, "mu", solver.mu >= 0, "zero or positive")


def accept(problem: LinearObjective, point: Point, P: np.ndarray) -> Point | None:
    """Return the point W + P; None if it is not finite, or F there is larger than at W by more than abs(F)."""
    if not np.all(np.isfinite(P)):
        return None
    new = problem.at(point.W + P)
    finite = math.isfinite(new.value) and math.isfinite(problem.residual(new.W, new.gradient))
    return new if finite and new.value <= point.value + abs(point.value) else None


@dataclass(frozen=True)
class AveragingSolver(Solver[DANEState]):
    """What DANE and InexactDANE share: everything except the local solver.

    Parameters
    ----------
    eta : float
        Weight of the gradient.
    mu : float
        Weight of the proximal term.
    line_search : bool
        Whether to search along the average move instead of taking it as it is.
    """

    eta: float = 1.0
    mu: float = 0.0
    line_search: bool = False

    @abstractmethod
    def move(self, problem: LinearObjective, point: Point, gradient: np.ndarray, rho: float, iteration: int) -> Move:
        """Return the average move, in one pass.

        Parameters
        ----------
        problem, point
            The objective, linearised at W.
        gradient : ndarray, shape (q, K)
            Gradient of the local problems at W.
        rho : float
            Weight of the proximal term of the local problems.
        iteration : int
            Seeds the mini-batches, if any.
        """

    def check(self, problem: LinearObjective) -> None:
        """Refuse other models, penalties that are not smooth, and options out of range."""
        require_linear(problem, self.name)
        require_smooth(problem, self.name)
        require_weights(self)

    def init(self, problem: LinearObjective, start: np.ndarray) -> DANEState:
        """Linearise at the start."""
        return DANEState.at(problem, problem.at(start), iteration=0)

    def step(self, problem: LinearObjective, state: DANEState) -> tuple[DANEState, Info]:
        """Solve the local problems and move to the average of their solutions."""
        point, iteration = state.point, state.iteration + 1
        move = self.move(problem, point, self.eta * point.gradient, self.mu, state.iteration)
        if move.failed:
            return DANEState.at(problem, point, Status.DIVERGED, iteration=iteration), move.info
        if not self.line_search:
            new = accept(problem, point, move.P)
            if new is None:
                return DANEState.at(problem, point, Status.DIVERGED, iteration=iteration), move.info
            return DANEState.at(problem, new, iteration=iteration), move.info
        found, info = LineSearch().descend(problem, point, move.P, move.info)
        status = Status.LINE_SEARCH_FAILED if found is None else Status.RUNNING
        return DANEState.at(problem, found or point, status, iteration=iteration), info


@stored("solver/dane")
@dataclass(frozen=True)
class DANE(AveragingSolver):
    """Averages of exact local minimisers.

    Parameters
    ----------
    eta : float
        Weight of the gradient.
    mu : float
        Weight of the proximal term. Where blocks differ, a few times the strength of the l2 penalty or more is needed.
    line_search : bool
        Whether to search along the average move instead of taking it as it is.
    newton_steps, cg_max_iter, cg_rtol
        Work of a block at most: Newton steps, and conjugate gradients in each.
    rtol : float
        Relative size of the gradient at which a local problem is solved.
    """

    newton_steps: int = 20
    cg_max_iter: int = 200
    cg_rtol: float = 1e-4
    rtol: float = 1e-8
    name = "dane"
    summary = "averages the minimisers of corrected local objectives (Shamir et al. 2014)"
    suited_to = "baseline; convergence is not guaranteed"

    def move(self, problem: LinearObjective, point: Point, gradient: np.ndarray, rho: float, iteration: int) -> Move:
        """Return the average move, in one pass."""
        newton = LocalNewton(
            self.newton_steps, CG(self.cg_rtol, self.cg_max_iter), self.rtol * float(np.linalg.norm(gradient))
        )
        P, inner, failed = problem.blocks.map_reduce(
            _minimise,
            problem.data,
            point.margins,
            gradient=gradient,
            fit_intercept=problem.fit_intercept,
            ridge=problem.smooth.hess_diag,
            rho=rho,
            newton=newton,
        )
        info = Info(
            inner_iterations=inner / problem.blocks.n_blocks, note=f"diverged on {failed} blocks" if failed else ""
        )
        # The blocks cannot tell coefficients that differ by what the loss is blind to: they drift by rounding errors.
        return Move(problem.centre(point.W + P / problem.total_weight) - point.W, info, failed > 0)


@named("dane-move")
def _minimise(
    rows: RowBlock,
    margins: Any,
    *,
    fit_intercept: bool,
    gradient: np.ndarray,
    ridge: Strength,
    rho: float,
    newton: LocalNewton,
) -> tuple[np.ndarray, int, int]:
    """Return one block's weighted move, its Hessian products, and whether it failed."""
    local = LocalLinear.around(LinearBlock(rows, fit_intercept), margins, gradient, ridge, rho)
    found = newton.minimize(local, local.device(np.zeros_like(gradient)))
    return rows.total_weight * to_host(found.x), found.n_products, int(found.status == "nan")
