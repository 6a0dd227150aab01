"""Newton-MR: Newton's method with MINRES, for objectives that need not be convex (Liu and Roosta, arXiv 2208.07095).

    g  = grad F(W)
    P ~= -H^{-1} g,   MINRES on the driver to norm(H r) <= eta norm(H P), r = -g - H P; one pass per iteration; or
    P  = r            as soon as <r, H r> <= 0, a direction of non-positive curvature
    W += a P          a = 1, 1/2, 1/4, ...; along r by forward and backward tracking from the last such step

The iterates do not depend on the blocks. P descends in both cases: <P, g> <= -<P, H P> < 0, and <r, g> = -norm(r)^2.
Where H is singular and g outside of its range P is lifted to the pseudo-inverse, see :mod:`dask_newton.local.minres`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from dask_newton.local import MINRES
from dask_newton.objectives.base import Objective
from dask_newton.objectives.linear import LinearObjective
from dask_newton.solvers.base import Info, PointState, Solver, Status, require_smooth
from dask_newton.solvers.line_search import LineSearch
from dask_newton.solvers.work import Work

__all__ = ["NewtonMR", "NewtonMRState"]


@dataclass(frozen=True, eq=False)
class NewtonMRState(PointState):
    """W, and where tracking begins.

    Attributes
    ----------
    npc_step : float
        The last step along a direction of non-positive curvature.
    """

    npc_step: float


@dataclass(frozen=True)
class NewtonMR(Solver[NewtonMRState]):
    """Inexact Newton with distributed MINRES.

    Parameters
    ----------
    rtol : float
        eta. The papers' condition is very weak (1e-1 or more); with it far more iterations are needed.
    max_minres : int
        MINRES iterations per step at most.
    line_search : LineSearch
    """

    rtol: float = 1e-4
    max_minres: int = 200
    line_search: LineSearch = field(default=LineSearch())
    name = "newton-mr"

    def check(self, problem: Objective) -> None:
        """Refuse penalties that are not smooth."""
        require_smooth(problem, self.name)

    def work(self, problem: LinearObjective) -> Work | None:
        """Assume the iterations of Newton-CG, and half as many products again: each system is solved more exactly."""
        iterations, products = (3.0, 60.0) if problem.loss.quadratic else (7.0, 150.0)
        passes = 1 + iterations + products
        return Work(iterations, passes, passes, passes * problem.size, passes * problem.size)

    def init(self, problem: Objective, start: np.ndarray) -> NewtonMRState:
        """Linearise at the start."""
        return NewtonMRState.at(problem, problem.at(start), npc_step=1.0)

    def step(self, problem: Objective, state: NewtonMRState) -> tuple[NewtonMRState, Info]:
        """Solve for the direction and search along it."""
        point, npc_step = state.point, state.npc_step
        found = MINRES(self.rtol, self.max_minres).solve(lambda V: problem.hess_mul(point, V), -point.gradient)
        if found.status == "nan":
            return NewtonMRState.at(problem, point, Status.NAN, npc_step=npc_step), Info(0.0, found.n_iter, "nan")
        P, note = found.x, found.status if found.status in ("npc", "singular") else ""
        if not np.vdot(P, point.gradient) < 0:
            P, note = -point.gradient, "steepest descent"
        if note == "npc":
            new, size = self.line_search.track(problem, point, P, npc_step)
            npc_step = size or npc_step
        else:
            new, size = self.line_search.search(problem, point, P)
        if new is None and note != "steepest descent":
            new, size = self.line_search.search(problem, point, -point.gradient)
            note = "steepest descent"
        info = Info(size, found.n_iter, note)
        if new is None:
            return NewtonMRState.at(problem, point, Status.LINE_SEARCH_FAILED, npc_step=npc_step), info
        return NewtonMRState.at(problem, new, npc_step=npc_step), info
