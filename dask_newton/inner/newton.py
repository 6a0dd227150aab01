"""Inexact Newton with line search on one block.

The gradient is g and the Hessian H at x.

    repeat  stop if norm(g) <= gtol
            p = CG(H, -g) or MINRES(H, -g), truncated;   p = -g if that is no direction of descent
            a = largest of 1, 1/2, 1/4, ... with f(x + a p) <= f(x) + c a <p, g>
                (where p is a direction of non-positive curvature, by forward and backward tracking)
            x += a p
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

from dask_newton.inner.base import Array, LocalSolver, Operator, dot
from dask_newton.inner.cg import CG
from dask_newton.inner.tracking import track
from dask_newton.storage.registry import stored

__all__ = ["LocalNewton", "NewtonResult"]


class _Objective(Protocol):
    """What the method asks of a local objective."""

    @property
    def precision(self) -> float: ...
    def at(self, x: Array) -> Any: ...
    def hessian(self, curvature: Any) -> Operator: ...
    def along(self, point: Any, d: Array, steps: Any, direction_margins: Any = ()) -> tuple[Any, Any]: ...


@dataclass(frozen=True)
class NewtonResult:
    """Where the local Newton method ended.

    Attributes
    ----------
    x : Array
    n_products : int
        Hessian products used.
    status : str
        'ok' (gradient small), 'max_iter', 'ls_fail' (no acceptable step; x is the last point) or 'nan'.
    curvature : float
        The smallest curvature met; negative where the objective is not convex.
    """

    x: Array
    n_products: int
    status: str
    curvature: float


@stored("inner-solver/newton")
@dataclass(frozen=True)
class LocalNewton:
    """Inexact Newton with a backtracking line search.

    Parameters
    ----------
    max_iter : int
        Newton steps.
    inner : LocalSolver
        For the Newton direction: :class:`CG` or :class:`MINRES`.
    gtol : float
        Stop at ``norm(gradient) <= gtol``.
    armijo : float
        The c of the sufficient decrease.
    max_halvings : int
        Step sizes tried are ``2**0 ... 2**-max_halvings``.
    """

    max_iter: int = 1
    inner: LocalSolver = CG(rtol=1e-4, max_iter=10)
    gtol: float = 0.0
    armijo: float = 1e-4
    max_halvings: int = 30

    def minimize(self, objective: _Objective, x: Array) -> NewtonResult:
        """Minimise a local objective from x."""
        n_products, smallest, long = 0, math.inf, 1.0
        for _ in range(self.max_iter):
            point = objective.at(x)
            gg = dot(point.gradient, point.gradient)
            if not (math.isfinite(point.value) and math.isfinite(gg)):
                return NewtonResult(x, n_products, "nan", smallest)
            if math.sqrt(gg) <= self.gtol:
                return NewtonResult(x, n_products, "ok", smallest)
            found = self.inner.solve(objective.hessian(point.curvature), -point.gradient)
            n_products, smallest = n_products + found.n_products, min(smallest, found.curvature)
            p, tracking = found.x, found.npc_direction
            slope = dot(p, point.gradient)
            if not (math.isfinite(slope) and slope < 0):
                p, slope, tracking = -point.gradient, -gg, False
            if tracking:
                step = long = self._track(objective, point, p, slope, long)
            else:
                step = self._search(objective, point, p, slope)
            if step == 0:
                return NewtonResult(x, n_products, "ls_fail", smallest)
            x = x + step * p
        return NewtonResult(x, n_products, "max_iter", smallest)

    def _track(self, objective: _Objective, point: Any, p: Array, slope: float, start: float) -> float:
        direction_margins: Any = ()

        def evaluate(steps: list[float]) -> Any:
            nonlocal direction_margins
            values, direction_margins = objective.along(point, p, steps, direction_margins)
            return values

        return track(evaluate, point.value, slope, start, armijo=self.armijo, max_halvings=self.max_halvings)

    def _search(self, objective: _Objective, point: Any, p: Array, slope: float) -> float:
        # Where the differences of values are only rounding, a step that does no visible harm is as good as any.
        noise = 4 * objective.precision * abs(point.value)
        direction_margins: Any = ()
        # The full step is nearly always taken, so it is tried alone.
        for first, last in ((0, 0), (1, 4), (5, self.max_halvings)):
            steps = [2.0**-k for k in range(first, min(last, self.max_halvings) + 1)]
            if not steps:
                break
            values, direction_margins = objective.along(point, p, steps, direction_margins)
            for step, value in zip(steps, values, strict=True):
                if value <= point.value + self.armijo * step * slope + noise:
                    return step
        return 0.0
