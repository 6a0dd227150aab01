"""DINO: distributed Newton-type optimisation (Crane and Roosta 2020, arXiv 2006.03694).

    g   = grad F(W)                                                                          (pass 1)
    v_i = argmin_v norm(H_i v - g)^2 + phi^2 norm(v)^2        by LSMR                        (pass 2, on every block)
    p_i = -v_i                    if <v_i, g> >= theta norm(g)^2,  else
    p_i = -v_i - lam_i u_i,       u_i = (H_i^2 + phi^2 I)^{-1} g  by CG,
                                  lam_i = (theta norm(g)^2 - <v_i, g>) / <u_i, g>
    P   = sum_i omega_i p_i,      omega_i = S_i / S
    W  += a P                                                                                (pass 3: line search)

H_i is the Hessian of the mean objective of block i. Every p_i has <p_i, g> <= -theta norm(g)^2 whatever H_i is, and so
has P: F decreases also where it is not convex. The papers count six rounds, without the speculative line search.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dask_newton.local import CG, LSMR, SquaredCG
from dask_newton.local.base import Array, Operator, dot
from dask_newton.objectives.linear import LinearObjective
from dask_newton.solvers.base import Info, PointState, Solver, Status, require_linear, require_option, require_smooth
from dask_newton.solvers.line_search import LineSearch

__all__ = ["DINO", "LeastSquares", "require_least_squares"]


@dataclass(frozen=True)
class LeastSquares:
    """The two local problems of DINO, which are also those of DINGO.

    Attributes
    ----------
    lsmr : LSMR
    squared : SquaredCG
    """

    lsmr: LSMR
    squared: SquaredCG

    @classmethod
    def of(cls, phi: float, rtol: float, max_iter: int) -> LeastSquares:
        """Return both with the same options."""
        return cls(LSMR(rtol, max_iter, phi), SquaredCG(CG(rtol, max_iter), phi))

    def correct(self, H: Operator, v: Array, target: Array, least: float) -> tuple[Array | None, int]:
        """Add as much of ``(H^2 + phi^2 I)^{-1} target`` to v as ``<v, target> >= least`` needs.

        Returns
        -------
        Array or None
            None if rounding leaves nothing to add, or products are not finite.
        int
            Iterations.
        """
        found = self.squared.solve(H, target)
        missing, gain = least - dot(v, target), dot(found.x, target)
        if found.status == "nan" or not (gain > 0 and math.isfinite(missing / gain)):
            return None, found.n_iter
        return v + (missing / gain) * found.x, found.n_iter


def require_least_squares(solver: Any, problem: Any) -> None:
    """Refuse other models, penalties that are not smooth, and options of the local problems out of range."""
    require_linear(problem, solver.name)
    require_smooth(problem, solver.name)
    require_option(solver, "theta", solver.theta > 0, "positive")
    require_option(solver, "phi", solver.phi > 0, "positive")


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
