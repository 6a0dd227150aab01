"""L-BFGS, the classical baseline (Liu and Nocedal 1989; Nocedal and Wright, Alg. 7.4 and 7.5).

    g = grad F(W)
    P = -B g,     B = the inverse Hessian of BFGS from the last m pairs (s, y), built on <s, y> / <y, y> I
    W <- W + a P  (a = 1 nearly always; its pass brings the next F and g, so that an iteration is one pass)

Pairs without positive curvature are skipped. Only vectors of the size of W are stored. The method is sensitive to the
scale of the features: scale them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from dask_newton.objectives.base import Objective
from dask_newton.solvers.base import Info, PointState, Solver, Status, require_smooth
from dask_newton.solvers.parts.line_search import LineSearch
from dask_newton.solvers.work import Work
from dask_newton.storage.registry import stored

__all__ = ["LBFGS", "LBFGSState", "Pair", "curved", "two_loops"]

Pair = tuple[np.ndarray, np.ndarray]


def two_loops(pairs: tuple[Pair, ...], g: np.ndarray, initial: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return ``B g``, with B the inverse of BFGS from pairs (s, y), oldest first, built on the operator ``initial``."""
    q, memory = g.copy(), []
    product = np.empty_like(q)  # one for all: with many features, new arrays would take most of the time
    for s, y in reversed(pairs):
        rho = 1 / np.vdot(s, y)
        alpha = rho * np.vdot(s, q)
        q -= np.multiply(alpha, y, out=product)
        memory.append((s, y, rho, alpha))
    z = initial(q)
    for s, y, rho, alpha in reversed(memory):
        z += np.multiply(alpha - rho * np.vdot(y, z), s, out=product)
    return z


def curved(s: np.ndarray, y: np.ndarray) -> bool:
    """Whether a pair has positive curvature, safely."""
    return bool(np.vdot(s, y) > 1e-10 * np.linalg.norm(s) * np.linalg.norm(y))


@stored("solver-state/lbfgs")
@dataclass(frozen=True, eq=False)
class LBFGSState(PointState):
    """W and the pairs (s, y): changes of W and of the gradient, oldest first."""

    pairs: tuple[Pair, ...] = ()


@stored("solver/lbfgs")
@dataclass(frozen=True)
class LBFGS(Solver[LBFGSState]):
    """Limited-memory BFGS.

    Parameters
    ----------
    memory : int
        Number of pairs stored.
    line_search : LineSearch
    """

    memory: int = 10
    line_search: LineSearch = field(default=LineSearch())
    name = "lbfgs"
    summary = "limited-memory BFGS (Liu and Nocedal 1989); one pass per iteration"
    suited_to = "many features and moderate accuracy; the classical baseline"

    def check(self, problem: Objective) -> None:
        """Refuse penalties that are not smooth."""
        require_smooth(problem, self.name)

    def work(self, problem: Objective) -> Work | None:
        """Assume badly conditioned features, as those of most data are."""
        passes = 1.1 * (iterations := 80.0)
        return Work(iterations, passes, passes, passes * problem.size, passes * problem.size)

    def init(self, problem: Objective, start: np.ndarray) -> LBFGSState:
        """Linearise at the start."""
        return LBFGSState.at(problem, problem.at(start))

    def step(self, problem: Objective, state: LBFGSState) -> tuple[LBFGSState, Info]:
        """Search along the direction; if that fails, discard the pairs and retry once."""
        point, pairs, note = state.point, state.pairs, ""
        new, size = self.line_search.search(problem, point, self._direction(point.gradient, pairs))
        if new is None and pairs:
            pairs, note = (), "pairs forgotten"
            new, size = self.line_search.search(problem, point, self._direction(point.gradient, pairs))
        if new is None:
            return LBFGSState.at(problem, point, Status.LINE_SEARCH_FAILED, pairs=pairs), Info(0.0, note="ls_fail")
        s, y = new.W - point.W, new.gradient - point.gradient
        if curved(s, y):
            pairs = (*pairs, (s, y))[-self.memory :]
        return LBFGSState.at(problem, new, pairs=pairs), Info(size, note=note)

    @staticmethod
    def _direction(g: np.ndarray, pairs: tuple[Pair, ...]) -> np.ndarray:
        if pairs:
            s, y = pairs[-1]
            gamma = float(np.vdot(s, y) / np.vdot(y, y))
        else:
            gamma = 1 / max(1.0, float(np.linalg.norm(g)))
        P = -two_loops(pairs, g, lambda r: gamma * r)
        return P if np.vdot(P, g) < 0 else -gamma * g
