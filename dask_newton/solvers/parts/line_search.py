"""Backtracking line search over all blocks, from remembered margins.

The step is the largest a in {2^0, 2^-1, ..., 2^-50} with F(W + a D) <= F(W) + c a s, where s is <g, D>, plus the change
from W to W + D of what is not smooth in the penalty. The first pass evaluates a = 1, which is nearly always taken,
together with gradient and curvature there: then the search has cost the product X D, and the next iteration starts with
its gradient known. Smaller steps take further passes, which do not read X.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dask_newton.inner.tracking import track
from dask_newton.objectives.base import Objective
from dask_newton.objectives.points import Point, Ray
from dask_newton.solvers.base import Info
from dask_newton.storage.registry import stored

__all__ = ["LineSearch"]


@stored("solver-part/line-search")
@dataclass(frozen=True)
class LineSearch:
    """Armijo backtracking.

    Parameters
    ----------
    armijo : float
        c, the sufficient decrease.
    max_halvings : int
        The smallest step tried is ``2**-max_halvings``.
    speculative : bool
        Compute the gradient at a = 1 in the first pass. False is the papers' count: values first, then the gradient.
    batch : int
        How many step sizes the first pass evaluates. The result does not depend on it.
    """

    armijo: float = 1e-4
    max_halvings: int = 50
    speculative: bool = True
    batch: int = 1

    def descend(self, problem: Objective, point: Point, D: np.ndarray, info: Info) -> tuple[Point | None, Info]:
        """Search along D, or along steepest descent where D is no direction of descent.

        Returns
        -------
        Point or None
            The accepted point, if there is one.
        Info
            ``info`` with the step size, and a note if either the direction or the search failed.
        """
        if not problem.directional_derivative(point, D) < 0:
            D, info = problem.proximal_point(point.W, point.gradient) - point.W, replace(info, note="steepest descent")
        new, size = self.search(problem, point, D)
        return new, replace(info, step_size=size, note=info.note or ("" if new else "ls_fail"))

    def search(
        self, problem: Objective, point: Point, D: np.ndarray, *, hessian: bool = False
    ) -> tuple[Point | None, float]:
        """Return the accepted point and step size, or None and 0 if no step is acceptable.

        Raises
        ------
        AssertionError
            If F is smooth and D is not a descent direction; the solver must ensure that it is. Where F is not
            smooth, the model's change is a difference, and at the limit of rounding
            it may come out as zero: there is no step then.
        """
        slope = problem.directional_derivative(point, D)
        if problem.nonsmooth is not None and not slope < 0:
            return None, 0.0
        assert slope < 0, "the direction handed to the line search does not descend"
        steps = [2.0**-k for k in range(self.max_halvings + 1)]
        linearized: dict[str, Any] = {"hessian": True} if hessian else {}  # only linear models have one
        ray = problem.along(
            point, D, steps[: self.batch], linearize=self.speculative, **linearized if self.speculative else {}
        )
        first = ray.first
        if first is not None and (
            ray.values[0] <= point.value + self.armijo * slope or self._at_noise(problem, point, first, D, slope)
        ):
            return first, 1.0
        done = 0
        while True:
            for step, value in zip(ray.steps, ray.values, strict=True):
                if value <= point.value + self.armijo * step * slope:
                    return problem.step(point, ray, step, **linearized), step
            done += len(ray.steps)
            if done >= len(steps):
                break
            ray = problem.more(point, ray, steps[done : done + 12])
        if first is None:
            # Only here is the gradient at a = 1 worth a pass: to tell rounding errors from a failure.
            ray = problem.along(point, D, (1.0,), **linearized)
            assert ray.first is not None
            if self._at_noise(problem, point, ray.first, D, slope):
                return ray.first, 1.0
        return None, 0.0

    def track(self, problem: Objective, point: Point, D: np.ndarray, start: float) -> tuple[Point | None, float]:
        """Return the point and the step size of forward and backward tracking from ``start``, or None and 0.

        One pass evaluates the first step sizes and brings the margins of D, one brings the gradient; further passes
        for further step sizes do not read X.
        """
        ray: Ray | None = None

        def evaluate(steps: list[float]) -> np.ndarray:
            nonlocal ray
            if ray is None:
                ray = problem.along(point, D, steps, linearize=False)
            else:
                ray = problem.more(point, ray, steps)
            return ray.values

        size = track(
            evaluate,
            point.value,
            problem.directional_derivative(point, D),
            start,
            armijo=self.armijo,
            max_halvings=self.max_halvings,
        )
        return (problem.step(point, ray, size), size) if ray is not None and size else (None, 0.0)

    @staticmethod
    def _at_noise(problem: Objective, point: Point, new: Point, D: np.ndarray, slope: float) -> bool:
        """Whether values cannot be told apart but the slope has become smaller (approximate Wolfe condition).

        Where F has no slope, the certificate has to become smaller.
        """
        noise = 4 * problem.precision * abs(point.value)
        if not abs(new.value - point.value) <= noise:
            return False
        if problem.nonsmooth is None:
            return abs(float(np.vdot(new.gradient, D))) <= abs(slope)
        return problem.residual(new.W, new.gradient) <= problem.residual(point.W, point.gradient)
