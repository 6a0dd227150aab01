"""GIANT: globally improved approximate Newton (Wang, Roosta, Xu, Mahoney, NeurIPS 2018).

    g   = grad F(W)                              (pass 1)
    p_i = CG(H_i, -g) on every block             (pass 2; H_i is the Hessian of the block's own mean objective)
    P   = sum_i omega_i p_i,  omega_i = S_i / S
    W  += a P                                    (pass 3: line search)

With the speculative line search pass 3 brings the gradient of the next iteration along, so an iteration has two passes;
the papers count six rounds, without it. Plain averages of the papers are weighted by the blocks' sample weights here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dask_newton.arrays import to_host
from dask_newton.local import CG
from dask_newton.objectives.linear import LinearObjective
from dask_newton.objectives.linear_block import LinearBlock
from dask_newton.objectives.local import LocalObjective
from dask_newton.solvers.base import Info, PointState, Solver, Status, UnsupportedError, require_smooth
from dask_newton.solvers.line_search import LineSearch

__all__ = ["GIANT"]

_NPC = ("abort", "skip", "steepest")


@dataclass(frozen=True)
class GIANT(Solver[PointState]):
    """Averaged local Newton directions.

    Parameters
    ----------
    cg_max_iter : int
        CG iterations of a block at most.
    cg_rtol : float
        Relative residual at which a block's CG stops.
    npc : {'abort', 'skip', 'steepest'}
        What to do when a block meets negative curvature or NaN: stop, as the reference codes do; leave the block
        out of the average; or let it answer -g. Curvature zero of a convex loss (a block with fewer rows than
        features, and no penalty) is not meant: there the last iterate of CG descends.
    line_search : LineSearch
    """

    cg_max_iter: int = 50
    cg_rtol: float = 1e-4
    npc: str = "abort"
    line_search: LineSearch = field(default=LineSearch())
    name = "giant"

    def check(self, problem: LinearObjective) -> None:
        """Refuse penalties that are not smooth."""
        require_smooth(problem, self.name)
        if self.npc not in _NPC:
            raise UnsupportedError(f"npc={self.npc!r} is not known to solver 'giant'; choose one of {_NPC}.")

    def init(self, problem: LinearObjective, start: np.ndarray) -> PointState:
        """Linearise at the start."""
        return PointState.at(problem, problem.at(start))

    def step(self, problem: LinearObjective, state: PointState) -> tuple[PointState, Info]:
        """Average the local directions and search along the mean."""
        point = state.point
        P, weight, inner, failed = problem.blocks.map_reduce(
            _local_direction, problem.data, point.curvature, gradient=point.gradient,
            ridge=float(problem.smooth.hess_diag), cg=CG(self.cg_rtol, self.cg_max_iter), npc=self.npc,
        )
        inner /= problem.blocks.n_blocks
        note = f"npc on {failed} blocks" if failed else ""
        if (failed and self.npc == "abort") or weight == 0:
            return PointState.at(problem, point, Status.NEGATIVE_CURVATURE), Info(0.0, inner, note)
        P = P / weight
        if not np.vdot(P, point.gradient) < 0:
            P, note = -point.gradient, "steepest descent"
        new, size = self.line_search.search(problem, point, P)
        if new is None:
            return PointState.at(problem, point, Status.LINE_SEARCH_FAILED), Info(0.0, inner, note or "ls_fail")
        return PointState.at(problem, new), Info(size, inner, note)


def _local_direction(
    block: LinearBlock, curvature: Any, *, gradient: np.ndarray, ridge: float, cg: CG, npc: str
) -> tuple[np.ndarray, float, int, int]:
    """Return one block's weighted direction, its weight, CG iterations and whether CG failed."""
    weight = block.total_weight
    local = LocalObjective(block, weight, ridge)
    found = cg.solve(lambda v: local.hess_mul(curvature, v), -local.device(gradient))
    failed = int(found.status == "nan" or (found.status == "npc" and not block.loss.convex))
    direction = to_host(found.x)
    if failed:
        direction, weight = (-gradient, weight) if npc == "steepest" else (np.zeros_like(gradient), 0.0)
    return weight * direction, weight, found.n_iter, failed
