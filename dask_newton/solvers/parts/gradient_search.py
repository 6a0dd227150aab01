"""Backtracking line search on the norm of the gradient, for directions that decrease it rather than F.

The step is the largest a in {2^0, 2^-1, ..., 2^-50} with norm(grad F(W + a D))^2 <= norm(g)^2 + 2 a c <D, H g>, where
<D, H g> < 0. F is never evaluated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dask_newton.objectives.linear.objective import LinearObjective
from dask_newton.objectives.points import Point
from dask_newton.storage.registry import stored

__all__ = ["GradientSearch"]


@stored("solver-part/gradient-search")
@dataclass(frozen=True)
class GradientSearch:
    """Backtracking on the squared norm of the gradient.

    Parameters
    ----------
    armijo : float
        c, the sufficient decrease.
    max_halvings : int
        The smallest step tried is ``2**-max_halvings``.
    batch : int
        Step sizes that a pass tries, and gradients that it brings. The result does not depend on it.
    """

    armijo: float = 1e-4
    max_halvings: int = 50
    batch: int = 4

    def search(self, problem: LinearObjective, point: Point, D: np.ndarray, slope: float) -> tuple[Point | None, float]:
        """Return the accepted point and step size, or None and 0; ``slope`` is ``<D, H g>``."""
        norm, steps = float(np.vdot(point.gradient, point.gradient)), [2.0**-k for k in range(self.max_halvings + 1)]
        for batch in (steps[i : i + self.batch] for i in range(0, len(steps), self.batch)):
            ray, gradients = problem.gradients_along(point, D, batch)
            for size, gradient in zip(batch, gradients, strict=True):
                if np.vdot(gradient, gradient) <= norm + 2 * size * self.armijo * slope:
                    return ray.first if size == batch[0] else problem.step(point, ray, size), size
        return None, 0.0
