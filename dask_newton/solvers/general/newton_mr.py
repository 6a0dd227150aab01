"""Newton-MR: Newton's method with MINRES, for objectives that need not be convex (Liu and Roosta, arXiv 2208.07095).

    g  = grad F(W)
    P ~= -H^{-1} g,   MINRES on the driver to norm(H r) <= eta norm(H P), r = -g - H P; one pass per iteration; or
    P  = r            as soon as <r, H r> <= 0, a direction of non-positive curvature
    W += a P          a = 1, 1/2, 1/4, ...; along r by forward and backward tracking from the last such step

The iterates do not depend on the blocks. P descends in both cases: <P, g> <= -<P, H P> < 0, and <r, g> = -norm(r)^2.
Where H is singular and g outside of its range P is lifted to the pseudo-inverse, see :mod:`dask_newton.inner.minres`.

The original Newton-MR (Roosta, Liu, Xu and Mahoney, arXiv 1810.00303), ``merit="gradnorm"``, decreases norm(g) instead:

    P ~= -H^+ g,  MINRES whatever the curvature is;     P = -H g  if not <P, H g> < 0
    W += a P,     a the largest of 2^0, 2^-1, ... with norm(grad F(W + a P))^2 <= norm(g)^2 + 2 a c <P, H g>

with one more pass per iteration, for H g. Every iterate of MINRES has <P, H g> = -norm(H P)^2, however inexact it is;
P is lifted only where it would grow without bound. Where F is not convex it may rise, to a saddle, a maximum or a
plateau.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from dask_newton.inner import MINRES
from dask_newton.objectives.base import Objective
from dask_newton.objectives.linear.objective import LinearObjective
from dask_newton.objectives.points import Point
from dask_newton.solvers.base import Info, PointState, Solver, Status, require_linear, require_option, require_smooth
from dask_newton.solvers.parts.gradient_search import GradientSearch
from dask_newton.solvers.parts.line_search import LineSearch
from dask_newton.solvers.work import Work
from dask_newton.storage.registry import stored

__all__ = ["NewtonMR", "NewtonMRState"]


@stored("solver-state/newton-mr")
@dataclass(frozen=True, eq=False)
class NewtonMRState(PointState):
    """W and the first step size of tracking.

    Attributes
    ----------
    npc_step : float
        The last step along a direction of non-positive curvature.
    """

    npc_step: float


@stored("solver/newton-mr")
@dataclass(frozen=True)
class NewtonMR(Solver[NewtonMRState]):
    """Inexact Newton with distributed MINRES.

    Parameters
    ----------
    rtol : float
        eta. The papers' condition is very weak (1e-1 or more); with it far more iterations are needed.
    max_minres : int
        Maximum number of MINRES iterations per step.
    line_search : LineSearch
    merit : {'objective', 'gradnorm'}
        The merit function. 'gradnorm', for linear models, is the original method: it goes to a stationary point of any
        kind, and ignores negative curvature.
    gradient_search : GradientSearch
        The line search of 'gradnorm'.
    """

    rtol: float = 1e-4
    max_minres: int = 200
    line_search: LineSearch = field(default=LineSearch())
    merit: str = "objective"
    gradient_search: GradientSearch = field(default=GradientSearch())
    name = "newton-mr"
    summary = "Newton's method with MINRES, which uses directions of negative curvature (Liu and Roosta 2022)"
    suited_to = "losses that are not convex; otherwise somewhat more products than newton-cg"

    def check(self, problem: Objective) -> None:
        """Refuse penalties that are not smooth, an unknown merit, and with 'gradnorm' other models."""
        require_smooth(problem, self.name)
        require_option(self, "merit", self.merit in ("objective", "gradnorm"), "'objective' or 'gradnorm'")
        if self.merit == "gradnorm":
            require_linear(problem, "newton-mr(merit='gradnorm')")

    def work(self, problem: LinearObjective) -> Work | None:
        """Assume the iterations of Newton-CG, and half as many products again: each system is solved more exactly."""
        if self.merit == "gradnorm":
            return None
        iterations, products = (3.0, 60.0) if problem.loss.quadratic else (7.0, 150.0)
        passes = 1 + iterations + products
        return Work(iterations, passes, passes, passes * problem.size, passes * problem.size)

    def init(self, problem: Objective, start: np.ndarray) -> NewtonMRState:
        """Linearise at the start."""
        return NewtonMRState.at(problem, problem.at(start), npc_step=1.0)

    def step(self, problem: Objective, state: NewtonMRState) -> tuple[NewtonMRState, Info]:
        """Solve for the direction and search along it."""
        point, npc_step = state.point, state.npc_step
        descends = self.merit == "objective"
        merit_gradient = point.gradient if descends else problem.hess_mul(point, point.gradient)
        if not np.any(merit_gradient):
            return NewtonMRState.at(problem, point, Status.STATIONARY, npc_step=npc_step), Info(0.0)
        # No more lifting than MINRES does by itself: where H is regular it spoils solutions that are not exact.
        minres = MINRES(self.rtol, self.max_minres, detect_npc=descends)
        found = minres.solve(lambda V: problem.hess_mul(point, V), -point.gradient)
        if found.status == "nan":
            return NewtonMRState.at(problem, point, Status.NAN, npc_step=npc_step), Info(0.0, found.n_iter, "nan")
        P, note = found.x, found.status if found.status in ("npc", "singular") else ""
        if not np.vdot(P, merit_gradient) < 0:
            P, note = -merit_gradient, "steepest descent"
        if note == "npc":
            new, size = self.line_search.track(problem, point, P, npc_step)
            npc_step = size or npc_step
        else:
            new, size = self._search(problem, point, P, merit_gradient)
        if new is None and note != "steepest descent":
            new, size = self._search(problem, point, -merit_gradient, merit_gradient)
            note = "steepest descent"
        info = Info(size, found.n_iter, note)
        if new is None:
            return NewtonMRState.at(problem, point, Status.LINE_SEARCH_FAILED, npc_step=npc_step), info
        return NewtonMRState.at(problem, new, npc_step=npc_step), info

    def _search(
        self, problem: Objective, point: Point, P: np.ndarray, merit_gradient: np.ndarray
    ) -> tuple[Point | None, float]:
        """Search along P on the merit, whose gradient is ``merit_gradient``."""
        if self.merit == "objective":
            return self.line_search.search(problem, point, P)
        assert isinstance(problem, LinearObjective)
        return self.gradient_search.search(problem, point, P, float(np.vdot(P, merit_gradient)))
