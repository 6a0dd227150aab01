"""InexactDANE: DANE whose local problems are solved by SVRG (Reddi et al., arXiv 1608.06879).

    g   = grad F(W)                                                                     (pass 1)
    V_i ~ argmin_V  f_i(V) - <grad f_i(W) - eta g, V> + (mu / 2) norm(V - W)^2          (pass 2: SVRG from W)
    W  <- sum_i omega_i V_i,    omega_i = S_i / S

With D = V - W, the gradient of a local problem is ``[grad f_i(W + D) - grad f_i(W)] + mu D + eta g``. SVRG estimates
the bracket from mini-batches, so no block reads all its rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dask_newton.arrays import from_host, to_host
from dask_newton.blocks import named
from dask_newton.inner import SVRG
from dask_newton.objectives.linear.block import LinearBlock
from dask_newton.objectives.linear.local import LocalLinear
from dask_newton.objectives.linear.objective import LinearObjective, Point
from dask_newton.objectives.rows.block import RowBlock
from dask_newton.penalties.strengths import Strength
from dask_newton.solvers.base import Info, require_option
from dask_newton.solvers.linear.dane import AveragingSolver, Move
from dask_newton.storage.registry import stored

__all__ = ["InexactDANE", "require_svrg"]


def require_svrg(solver: Any) -> None:
    """Refuse options of SVRG out of range."""
    require_option(solver, "steps", solver.steps >= 1, "at least 1")
    require_option(solver, "batch_size", solver.batch_size >= 1, "at least 1")
    rate = solver.learning_rate
    require_option(solver, "learning_rate", rate is None or rate > 0, "positive, or None")


@stored("solver/inexact-dane")
@dataclass(frozen=True)
class InexactDANE(AveragingSolver):
    """Averages of local minimisers by SVRG.

    Parameters
    ----------
    eta : float
        Weight of the gradient.
    mu : float
        Weight of the proximal term.
    line_search : bool
        Whether to search along the average move instead of taking it as it is.
    steps : int
        SVRG steps of a block.
    batch_size : int
        Rows of a mini-batch.
    learning_rate : float or None
        Step size of SVRG. None is one over a bound of the curvature of the local problems: that of the loss times the
        mean squared norm of a row; for a loss whose curvature has no bound the trace of the block's Hessian at W.
    seed : int
        Seed of the mini-batches.
    """

    steps: int = 50
    batch_size: int = 128
    learning_rate: float | None = None
    seed: int = 0
    name = "inexact-dane"
    summary = "as dane, with local minimisers by SVRG (Reddi et al. 2016)"
    suited_to = "baseline; convergence is not guaranteed"

    def check(self, problem: LinearObjective) -> None:
        """Refuse penalties that are not smooth, and options out of range."""
        super().check(problem)
        require_svrg(self)

    def move(self, problem: LinearObjective, point: Point, gradient: np.ndarray, rho: float, iteration: int) -> Move:
        """Return the average move, in one pass."""
        reach = 1e3 * max(1.0, float(np.linalg.norm(point.W)))
        P, rates, inner, failed = problem.blocks.map_reduce(
            _minimise,
            problem.data,
            problem.index,
            point.margins,
            point.curvature,
            gradient=gradient,
            fit_intercept=problem.fit_intercept,
            ridge=problem.smooth.hess_diag,
            rho=rho,
            curvature_bound=problem.curvature_bound,
            reach=reach,
            iteration=iteration,
            options=self,
        )
        m = problem.blocks.n_blocks
        info = Info(
            inner_iterations=inner / m,
            note=f"diverged on {failed} blocks" if failed else "",
            extra={"learning_rate": rates / m},
        )
        return Move(P / problem.total_weight, info, failed > 0)


@named("inexact-dane-move")
def _minimise(
    rows: RowBlock,
    index: int,
    margins: Any,
    curvature: Any,
    *,
    fit_intercept: bool,
    gradient: np.ndarray,
    ridge: Strength,
    rho: float,
    curvature_bound: float | None,
    reach: float,
    iteration: int,
    options: InexactDANE,
) -> tuple[np.ndarray, float, int, int]:
    """Return one block's weighted move, its learning rate, its steps, and whether it diverged."""
    block, weight = LinearBlock(rows, fit_intercept), rows.total_weight
    local = LocalLinear(block, weight, from_host(np.asarray(ridge), rows.X), rho, margins=margins)
    rate = options.learning_rate
    if rate is None:
        bound = block.curvature_trace(curvature) / weight if curvature_bound is None else curvature_bound
        rate = 1 / max(bound + float(np.max(ridge)) + rho, 1e-300)
    svrg = SVRG(options.steps, options.batch_size, rate, reach)
    found = svrg.minimize(local, local.device(gradient), [options.seed, index, iteration])
    return weight * to_host(found.x), rate, found.n_iter, int(found.status == "diverged")
