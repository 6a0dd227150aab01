"""Newton-CG on the support: the finish for penalties that are sums of norms (l1, group lasso).

    F(W) = f(W) + sum_g t_g norm(W_g),   g = grad f(W)
    support  A = groups with W_g != 0, or norm(g_g) > t_g; reference r_g = W_g, or where that is 0 its proximal point
    P_A  = -(H_AA + grad^2 R(r)_AA)^{-1} (g + grad R(r))_A       (CG, products restricted to A)
    W   <- W + a P, with groups that no longer point to the side of r set to 0; or as far as the first of them is 0

On its support F is smooth, for the l1 norm in the orthant of r. Once the support is that of the optimum, this is
Newton's method. Where the loss stays the same if a number is added to a row of W (softmax), the best number is
subtracted, for else R can have a gradient where H_AA is singular. If no step of the search decreases F, a proximal
gradient step, which always can, is taken instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dask_newton.inner import CG, preconditioners
from dask_newton.inner.preconditioners import Factor
from dask_newton.objectives.linear.objective import LinearObjective, Point
from dask_newton.penalties import NormPenalty
from dask_newton.solvers.base import Info, PointState, Solver, Status, UnsupportedError, require_linear
from dask_newton.storage.registry import stored

__all__ = ["SupportNewton"]


@stored("solver/support-newton")
@dataclass(frozen=True)
class SupportNewton(Solver[PointState]):
    """Projected Newton-CG for sums of norms, from a start that is nearly optimal.

    Parameters
    ----------
    max_cg : int
        Maximum number of CG iterations per step; one pass each.
    max_halvings : int
        Step sizes tried are ``2**0 ... 2**-max_halvings``; one pass each.
    """

    max_cg: int = 200
    max_halvings: int = 10
    name = "support-newton"

    def check(self, problem: LinearObjective) -> None:
        """Accept penalties whose non-smooth part is a sum of norms."""
        require_linear(problem, self.name)
        if not isinstance(problem.nonsmooth, NormPenalty):
            raise UnsupportedError(
                f"solver {self.name!r} is for l1 and group penalties and got {problem.penalty}; use solver='newton-cg'."
            )

    def init(self, problem: LinearObjective, start: np.ndarray) -> PointState:
        """Linearise at the start."""
        return PointState.at(problem, problem.at(start))

    def step(self, problem: LinearObjective, state: PointState) -> tuple[PointState, Info]:
        """Do a Newton step on the support, or a proximal gradient step."""
        return self.step_with(problem, state, None)

    def step_with(
        self, problem: LinearObjective, state: PointState, metric: np.ndarray | None
    ) -> tuple[PointState, Info]:
        """Do a step; CG is preconditioned by the blocks (K, q, q) of a metric, or by the diagonal of the Hessian.

        A caller with a metric has a better fallback than a proximal gradient step, so none is taken here.
        """
        point, norms = state.point, problem.norms()
        W, g = point.W.ravel(), point.gradient.ravel()
        on = norms.free | (norms.size(W) > 0) | norms.exceeded(g)
        diagonal = problem.hess_diag(point).ravel() if metric is None else _diagonal(metric)
        diagonal = norms.largest(np.maximum(diagonal, 1e-300))
        reference = np.where(norms.size(W) > 0, W, norms.prox(W - g / diagonal, 1 / diagonal))
        free_gradient = np.where(on, g + norms.grad(reference), 0.0)

        def product(V: np.ndarray) -> np.ndarray:
            v = V.ravel()
            return ((problem.hess_mul(point, V).ravel() + norms.hess_mul(reference, v)) * on).reshape(V.shape)

        rtol = min(0.1, float(np.linalg.norm(free_gradient)) ** 0.5)
        bend = norms.hess_diag(reference)
        if metric is None:
            precondition: preconditioners.Map = preconditioners.jacobi((diagonal + bend).reshape(point.W.shape))
        else:
            precondition = _on_support(metric, on.reshape(point.W.shape), bend.reshape(point.W.shape))
        found = CG(rtol, self.max_cg).solve(product, -free_gradient.reshape(point.W.shape), precondition)
        new, size = self._projected_search(problem, point, found.x, reference, free_gradient)
        note = found.status if found.status in ("npc", "nan") else ""
        if new is None and metric is None:
            new, size = self._proximal_step(problem, point, float(diagonal.max()))
            note = "proximal gradient"
        if new is None:
            return PointState.at(problem, point, Status.LINE_SEARCH_FAILED), Info(0.0, found.n_iter, note)
        return PointState.at(problem, new), Info(size, found.n_iter, note)

    def _projected_search(
        self, problem: LinearObjective, point: Point, P: np.ndarray, reference: np.ndarray, free_gradient: np.ndarray
    ) -> tuple[Point | None, float]:
        noise, norms = 4 * problem.precision * abs(point.value), problem.norms()
        w, p = point.W.ravel(), P.ravel()
        steps = [2.0**-k for k in range(self.max_halvings + 1)]
        trials = [(step, norms.cut(w + step * p, reference)) for step in steps]
        blocked, inside = norms.first_zero(w, p, reference)
        if blocked < 1:
            trials.insert(1, (blocked, norms.cut(inside, reference)))
        for step, v in trials:
            W = v.reshape(P.shape)
            decrease = float(np.dot(free_gradient, v - w))
            if decrease >= 0:
                continue
            new = problem.at(problem.shrink(W))
            if new.value <= point.value + 1e-4 * decrease + noise:
                return new, step
        return None, 0.0

    @staticmethod
    def _proximal_step(problem: LinearObjective, point: Point, curvature: float) -> tuple[Point | None, float]:
        step, norms = 1 / curvature, problem.norms()
        for _ in range(30):
            W = norms.prox((point.W - step * point.gradient).ravel(), step).reshape(point.W.shape)
            new = problem.at(problem.shrink(W))
            if new.value <= point.value - 1e-4 * float(np.sum((W - point.W) ** 2)) / step:
                return new, step
            step /= 2
        return None, 0.0


def _diagonal(metric: np.ndarray) -> np.ndarray:
    return np.diagonal(metric, axis1=1, axis2=2).T.ravel().astype(np.float64)


def _on_support(metric: np.ndarray, on: np.ndarray, ridge: np.ndarray) -> preconditioners.Map:
    """Return the solution with the rows and columns of the support of every block, plus a diagonal."""
    rows = [np.flatnonzero(column) for column in on.T]
    factors = [Factor.of(metric[k][np.ix_(index, index)], ridge[index, k]) for k, index in enumerate(rows)]

    def solve(r: np.ndarray) -> np.ndarray:
        z = np.zeros_like(r)
        for k, (index, factor) in enumerate(zip(rows, factors, strict=True)):
            z[index, k] = factor.solve(r[index, k])
        return z

    return solve
