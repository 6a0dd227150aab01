"""Newton-CG on the face of the l1 penalty: the finish for sparse problems.

    F(W) = f(W) + lam1 norm1(w),   g = grad f(W)
    face   A = {w != 0} or {abs(g) > lam1}, with signs s = sign(w), or -sign(g) where w = 0
    P_A  = -H_AA^{-1} (g + lam1 s)_A       (CG, products restricted to A)
    W   <- W + a P, with entries that leave their orthant set to 0

On its face F is smooth. Once the face is that of the optimum, this is Newton's method. If no step of the projected
search decreases F, a proximal gradient step, which always can, is taken instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dask_newton.local import CG
from dask_newton.objectives.linear import LinearObjective, Point
from dask_newton.penalties import L1
from dask_newton.solvers.base import Info, PointState, Solver, Status, UnsupportedError

__all__ = ["OrthantNewton"]


@dataclass(frozen=True)
class OrthantNewton(Solver[PointState]):
    """Projected Newton-CG for the l1 penalty, from a start that is nearly optimal.

    Parameters
    ----------
    max_cg : int
        CG iterations per step at most; one pass each.
    max_halvings : int
        Step sizes tried are ``2**0 ... 2**-max_halvings``; one pass each.
    """

    max_cg: int = 200
    max_halvings: int = 10
    name = "orthant-newton"

    def check(self, problem: LinearObjective) -> None:
        """Accept penalties whose non-smooth part is l1."""
        if not isinstance(problem.nonsmooth, L1):
            raise UnsupportedError(
                f"solver {self.name!r} is for l1 penalties and got {problem.penalty}; use solver='newton-cg'."
            )

    def init(self, problem: LinearObjective, start: np.ndarray) -> PointState:
        """Linearise at the start."""
        return PointState.at(problem, problem.at(start))

    def step(self, problem: LinearObjective, state: PointState) -> tuple[PointState, Info]:
        """Do a Newton step on the face, or a proximal gradient step."""
        point = state.point
        signs, slope = self._face(problem, point)
        face = slope != 0
        rtol = min(0.1, float(np.linalg.norm(slope)) ** 0.5)
        diagonal = np.maximum(problem.hess_diag(point), 1e-300)
        found = CG(rtol, self.max_cg).solve(
            lambda V: problem.hess_mul(point, V) * face, -slope, lambda r: r / diagonal
        )
        new, size = self._projected_search(problem, point, found.x, signs, slope)
        note = found.status if found.status in ("npc", "nan") else ""
        if new is None:
            new, size = self._proximal_step(problem, point, float(diagonal.max()))
            note = "proximal gradient"
        if new is None:
            return PointState.at(problem, point, Status.LINE_SEARCH_FAILED), Info(0.0, found.n_iter, note)
        return PointState.at(problem, new), Info(size, found.n_iter, note)

    @staticmethod
    def _face(problem: LinearObjective, point: Point) -> tuple[np.ndarray, np.ndarray]:
        """Return the signs of the orthant and the gradient on its face (0 off it)."""
        penalty: Any = problem.nonsmooth
        w, g = problem.penalised(point.W), problem.penalised(point.gradient)
        sign = np.where(w != 0, np.sign(w), np.where(np.abs(g) > penalty.lam, -np.sign(g), 0.0))
        signs, slope = np.zeros_like(point.W), point.gradient.copy()
        problem.penalised(signs)[...] = sign
        problem.penalised(slope)[...] = np.where(sign != 0, g + penalty.lam * sign, 0.0)
        return signs, slope

    def _projected_search(
        self, problem: LinearObjective, point: Point, P: np.ndarray, signs: np.ndarray, slope: np.ndarray
    ) -> tuple[Point | None, float]:
        noise = 4 * problem.precision * abs(point.value)
        for k in range(self.max_halvings + 1):
            W = point.W + 2.0**-k * P
            w = problem.penalised(W)
            w[w * problem.penalised(signs) <= 0] = 0.0
            decrease = float(np.vdot(slope, W - point.W))
            if decrease >= 0:
                continue
            new = problem.at(W)
            if new.value <= point.value + 1e-4 * decrease + noise:
                return new, 2.0**-k
        return None, 0.0

    @staticmethod
    def _proximal_step(problem: LinearObjective, point: Point, curvature: float) -> tuple[Point | None, float]:
        penalty: Any = problem.nonsmooth
        step = 1 / curvature
        for _ in range(30):
            W = point.W - step * point.gradient
            problem.penalised(W)[...] = penalty.prox(problem.penalised(W), step)
            new = problem.at(W)
            if new.value <= point.value - 1e-4 * float(np.sum((W - point.W) ** 2)) / step:
                return new, step
            step /= 2
        return None, 0.0
