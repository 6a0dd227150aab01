"""GIANT: globally improved approximate Newton (Wang, Roosta, Xu, Mahoney, NeurIPS 2018).

    g   = grad F(W)                              (pass 1)
    p_i = CG(H_i, -g) on every block             (pass 2; H_i is the Hessian of the block's own mean objective)
    P   = sum_i omega_i p_i,  omega_i = S_i / S
    W  += a P                                    (pass 3: line search)

With the speculative line search, pass 3 also computes the next gradient, so an iteration has two passes;
the papers count six rounds, without it. Plain averages of the papers are weighted by the blocks' sample weights here.

With a penalty that is a sum of norms (l1, group lasso), R(w) = sum_g t_g norm(w_g), this is prox-GIANT:

    U_i = argmin_U <g, U - W> + (U - W)' M_i (U - W) / 2 + R(u)      on every block
    P   = sum_i omega_i U_i - W

M_i is H_i with its diagonal larger by a small part, in proportion to q / n_i: the mean of minimisers lies too far away
where blocks have few rows, the more so as they disagree about the zeros.
The blocks' zeros differ until they agree near the optimum, and an average has few zeros. So groups that one proximal
gradient step would set to zero are set to zero after the line search, if that does not increase F (one pass more).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dask_newton.arrays import to_host
from dask_newton.blocks import named
from dask_newton.inner import CG
from dask_newton.inner.base import Array, Operator
from dask_newton.inner.penalised_model import minimize_by_products, minimize_model
from dask_newton.objectives.linear.block import LinearBlock
from dask_newton.objectives.linear.hessians import block_hessian
from dask_newton.objectives.linear.local import LocalLinear
from dask_newton.objectives.linear.objective import LinearObjective, Point
from dask_newton.objectives.rows.block import RowBlock
from dask_newton.penalties import NormPenalty, Norms
from dask_newton.solvers.base import Info, PointState, Solver, Status, UnsupportedError, require_linear
from dask_newton.solvers.parts.line_search import LineSearch
from dask_newton.solvers.work import Work
from dask_newton.storage.registry import stored

__all__ = ["GIANT"]

_NPC = ("abort", "skip", "steepest")


@stored("solver/giant")
@dataclass(frozen=True)
class GIANT(Solver[PointState]):
    """Averaged local Newton directions.

    Parameters
    ----------
    cg_max_iter : int
        Maximum number of CG iterations of a block; for a penalty that is not smooth twice as many of FISTA and CG.
    cg_rtol : float
        Relative residual at which a block stops.
    npc : {'abort', 'skip', 'steepest'}
        What to do when a block meets negative curvature or NaN: stop, as the reference codes do; leave the block
        out of the average; or let it answer -g. This excludes zero curvature of a convex loss (a block with fewer rows
        than features, and no penalty): there the last iterate of CG descends.
    max_dim : int
        With a penalty that is not smooth, blocks form their Hessians up to so many coefficients. Beyond they use
        products.
    damping : float
        With a penalty that is not smooth, the diagonal of a block's Hessian is multiplied by ``1 + damping q / n_i``,
        with q rows of W and n_i rows of the block.
    line_search : LineSearch
    """

    cg_max_iter: int = 50
    cg_rtol: float = 1e-4
    npc: str = "abort"
    max_dim: int = 1000
    damping: float = 0.1
    line_search: LineSearch = field(default=LineSearch())
    name = "giant"
    summary = "averages the Newton directions of the blocks (Wang et al. 2018)"
    suited_to = "slow communication and large blocks (many more rows than coefficients) in random order"
    penalties = "none, l2, l1, elastic net, group lasso"
    patience = 2

    def check(self, problem: LinearObjective) -> None:
        """Refuse penalties that are neither smooth nor sums of norms, and options out of range."""
        require_linear(problem, self.name)
        if not isinstance(problem.nonsmooth, NormPenalty | None):
            raise UnsupportedError(
                f"solver 'giant' is for l2, l1 and group penalties and got {problem.penalty}; use solver='newton-admm'."
            )
        if problem.nonsmooth is not None and not problem.loss.convex:
            raise UnsupportedError(
                f"solver 'giant' needs a convex loss where the penalty is not smooth, and got {problem.loss} with "
                f"{problem.penalty}; use solver='newton-admm'."
            )
        if self.npc not in _NPC:
            raise UnsupportedError(f"npc={self.npc!r} is not known to solver 'giant'; choose one of {_NPC}.")

    def work(self, problem: LinearObjective) -> Work | None:
        """Assume a rate that follows from the rows of a block for each coefficient of an output."""
        if not problem.loss.convex:
            return None  # a block may stop at negative curvature
        rows = problem.n_rows / (problem.blocks.n_blocks * problem.shape[0])
        iterations = 3 + 6 / -math.log(min(0.85, 1.2 / math.sqrt(rows)))
        # Full steps are for large blocks. Else the line search takes a pass more, and so does the gradient.
        passes = 1 + iterations * (2 if rows >= 6 else 4)
        local = 0.8 * self.cg_max_iter * (1 if problem.nonsmooth is None else 2)
        return Work(
            iterations,
            passes,
            1 + iterations * (2 + local),
            2 * iterations * problem.size,
            2 * iterations * problem.size,
        )

    def init(self, problem: LinearObjective, start: np.ndarray) -> PointState:
        """Linearise at the start."""
        return PointState.at(problem, problem.at(start))

    def step(self, problem: LinearObjective, state: PointState) -> tuple[PointState, Info]:
        """Average the local directions and search along the mean."""
        if problem.nonsmooth is not None:
            return self._proximal_step(problem, state)
        point = state.point
        method = _NewtonDirection(CG(self.cg_rtol, self.cg_max_iter), self.npc, problem.loss.convex)
        (P, share), (inner, failed) = problem.average(point, method, gradient=point.gradient)
        info = Info(0.0, inner / problem.blocks.n_blocks, f"npc on {failed} blocks" if failed else "")
        if (failed and self.npc == "abort") or share == 0:
            return PointState.at(problem, point, Status.NEGATIVE_CURVATURE), info
        new, info = self.line_search.descend(problem, point, P / share, info)
        if new is None:
            return PointState.at(problem, point, Status.LINE_SEARCH_FAILED), info
        return PointState.at(problem, new), info

    def _proximal_step(self, problem: LinearObjective, state: PointState) -> tuple[PointState, Info]:
        point, norms = state.point, problem.norms()
        total, diagonal, inner = problem.blocks.map_reduce(
            _local_minimiser,
            problem.data,
            point.curvature,
            fit_intercept=problem.fit_intercept,
            W=point.W,
            gradient=point.gradient,
            ridge=problem.ridge().ravel(),
            norms=norms,
            rtol=self.cg_rtol,
            max_iter=2 * self.cg_max_iter,
            damping=self.damping,
            explicit=problem.size <= self.max_dim,
        )
        info = Info(inner_iterations=inner / problem.blocks.n_blocks)
        new, info = self.line_search.descend(problem, point, total / problem.total_weight - point.W, info)
        if new is None:
            return PointState.at(problem, point, Status.LINE_SEARCH_FAILED), info
        return PointState.at(problem, _clean(problem, new, norms, diagonal / problem.total_weight)), info


def _clean(problem: LinearObjective, point: Point, norms: Norms, diagonal: np.ndarray) -> Point:
    """Return the point without the groups that a proximal gradient step would set to zero, if F does not increase."""
    W = point.W.ravel()
    step = 1 / norms.largest(np.maximum(diagonal.ravel(), 1e-300))
    kept = np.where(norms.size(norms.prox(W - step * point.gradient.ravel(), step)) > 0, W, 0.0)
    kept = np.where(norms.free, W, kept).reshape(point.W.shape)
    if np.array_equal(kept, point.W):
        return point
    cleaned = problem.at(kept)
    return cleaned if cleaned.value <= point.value + 4 * problem.precision * abs(point.value) else point


@named("giant-direction")
@dataclass(frozen=True)
class _NewtonDirection:
    """One block's direction, whether it takes part in the mean, CG iterations and whether CG failed."""

    cg: CG
    npc: str
    convex: bool

    def __call__(self, H: Operator, *, gradient: Array) -> tuple[tuple[Array, float], tuple[int, int]]:
        found = self.cg.solve(H, -gradient)
        if found.status == "nan" or (found.status == "npc" and not self.convex):
            part = (-gradient, 1.0) if self.npc == "steepest" else (0 * gradient, 0.0)
            return part, (found.n_iter, 1)
        return (found.x, 1.0), (found.n_iter, 0)


@named("giant-direction")
def _local_minimiser(
    rows: RowBlock,
    curvature: Any,
    *,
    fit_intercept: bool,
    W: np.ndarray,
    gradient: np.ndarray,
    ridge: np.ndarray,
    norms: Norms,
    rtol: float,
    max_iter: int,
    damping: float,
    explicit: bool,
) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the minimiser of a block's model and its Hessian's diagonal, both weighted, and the products used."""
    block, weight, n_products = LinearBlock(rows, fit_intercept), rows.total_weight, 0
    local = LocalLinear(block, weight)
    more = damping * len(W) / rows.n_rows
    if explicit:
        hessian = to_host(block_hessian(block, curvature)) / weight
        diagonal = np.diagonal(hessian) + ridge
        hessian[np.diag_indices(W.size)] = (1 + more) * diagonal
        parts = [(np.arange(W.size), hessian)]
        u = minimize_model(parts, gradient.ravel(), W.ravel(), norms, rtol=rtol, max_iter=max_iter)
    else:
        diagonal = to_host(block.hess_diag(curvature)).ravel() / weight + ridge

        def product(v: np.ndarray) -> np.ndarray:
            nonlocal n_products
            n_products += 1
            V = local.device(v.reshape(W.shape))
            return to_host(local.hess_mul(curvature, V)).ravel() + (more * diagonal + ridge) * v

        u = minimize_by_products(product, diagonal, gradient.ravel(), W.ravel(), norms, rtol=rtol, max_iter=max_iter)
    return weight * u.reshape(W.shape), weight * diagonal.reshape(W.shape), n_products
