"""DINO: distributed Newton-type optimisation (Crane and Roosta 2020, arXiv 2006.03694).

    g   = grad F(W)                                                                          (pass 1)
    v_i = argmin_v norm(H_i v - g)^2 + phi^2 norm(v)^2        by LSMR                        (pass 2, on every block)
    p_i = -v_i                    if <v_i, g> >= theta norm(g)^2,  else
    p_i = -v_i - lam_i u_i,       u_i = (H_i^2 + phi^2 I)^{-1} g  by CG,
                                  lam_i = (theta norm(g)^2 - <v_i, g>) / <u_i, g>
    P   = sum_i omega_i p_i,      omega_i = S_i / S
    W  += a P                                                                                (pass 3: line search)

H_i is the Hessian of the mean objective of block i. Every p_i has <p_i, g> <= -theta norm(g)^2 for any H_i, and so
has P: F decreases even where it is not convex. The papers count six rounds, without the speculative line search.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from dask_newton.blocks import named
from dask_newton.inner.base import Array, Operator, dot
from dask_newton.objectives.linear.objective import LinearObjective
from dask_newton.solvers.base import Info, PointState, Solver, Status
from dask_newton.solvers.parts.least_squares import LeastSquares, require_least_squares
from dask_newton.solvers.parts.line_search import LineSearch
from dask_newton.storage.registry import stored

__all__ = ["DINO"]


@named("dino-direction")
@dataclass(frozen=True)
class _Direction:
    """One block's direction, its iterations, whether it was corrected, and whether it was replaced by theta g."""

    problems: LeastSquares
    theta: float

    def __call__(self, H: Operator, *, gradient: Array) -> tuple[tuple[Array], tuple[int, int, int]]:
        least = self.theta * dot(gradient, gradient)
        found = self.problems.lsmr.solve(H, gradient)
        if found.status != "nan" and dot(found.x, gradient) >= least:
            return (-found.x,), (found.n_iter, 0, 0)
        corrected, more = self.problems.correct(H, found.x, gradient, least)
        if found.status == "nan" or corrected is None:
            return (-self.theta * gradient,), (found.n_iter + more, 0, 1)
        return (-corrected,), (found.n_iter + more, 1, 0)


@stored("solver/dino")
@dataclass(frozen=True)
class DINO(Solver[PointState]):
    """Averaged directions of local least squares problems, each of sufficient descent.

    Parameters
    ----------
    theta : float
        Least descent of a direction, relative to steepest descent. It decides how far steps go where F is not convex,
        and is best about one over the largest absolute curvature there.
    phi : float
        Regularisation of the local problems.
    rtol : float
        Relative residual at which LSMR and CG stop; for LSMR that of the normal equations.
    max_iter : int
        Iterations of either, of two products each. The papers have 50, which is few for more than some tens of
        coefficients.
    line_search : LineSearch
    """

    theta: float = 1e-4
    phi: float = 1e-6
    rtol: float = 1e-4
    max_iter: int = 200
    line_search: LineSearch = field(default=LineSearch())
    name = "dino"
    summary = "averages directions of local least squares, each of sufficient descent (Crane and Roosta 2020)"
    suited_to = "losses that are not convex, or blocks with few rows: F decreases whatever the blocks are"

    def check(self, problem: LinearObjective) -> None:
        """Refuse other models, penalties that are not smooth, and options out of range."""
        require_least_squares(self, problem)

    def init(self, problem: LinearObjective, start: np.ndarray) -> PointState:
        """Linearise at the start."""
        return PointState.at(problem, problem.at(start))

    def step(self, problem: LinearObjective, state: PointState) -> tuple[PointState, Info]:
        """Average the local directions and search along the mean."""
        point = state.point
        method = _Direction(LeastSquares.of(self.phi, self.rtol, self.max_iter), self.theta)
        (P,), (n_iter, corrected, replaced) = problem.average(point, method, gradient=point.gradient)
        note = f"steepest descent on {replaced} blocks" if replaced else ""
        info = Info(inner_iterations=n_iter / problem.blocks.n_blocks, note=note, extra={"corrected": corrected})
        new, info = self.line_search.descend(problem, point, P, info)
        if new is None:
            return PointState.at(problem, point, Status.LINE_SEARCH_FAILED), info
        return PointState.at(problem, new), info
