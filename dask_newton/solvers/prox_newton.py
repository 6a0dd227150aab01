"""Proximal Newton for the l1 penalty and the elastic net.

    F(W) = f(W) + lam1 norm1(w),   g = grad f(W)
    U  = argmin_U <g, U - W> + norm(U - W)_M^2 / 2 + lam1 norm1(u)        (on the driver, output by output)
    W <- W + a (U - W)                                                   (line search; a = 1 nearly always, one pass)

M has a block for each output: the Hessian of a row sample (all rows where there are few), with the exact diagonal. For
a softmax the blocks between outputs are left out, and the Hessian lies between 0 and 2 M. For one output and all rows M
is the Hessian. U finds which coefficients are zero; once that no longer changes, steps are Newton's on the face of the
penalty, see :mod:`~dask_newton.solvers.orthant_newton`, and quadratic near the optimum.
Source: Lee, Sun and Saunders 2014; the metric and the change of gear are ours.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dask_newton.local.lasso import quadratic_l1
from dask_newton.objectives.linear import LinearObjective, Point
from dask_newton.penalties import L1
from dask_newton.solvers.base import Info, PointState, Solver, Status, UnsupportedError
from dask_newton.solvers.orthant_newton import OrthantNewton

__all__ = ["ProxNewton", "ProxNewtonState"]


@dataclass(frozen=True, eq=False)
class ProxNewtonState(PointState):
    """W, the metric and what is known of the support.

    Attributes
    ----------
    metric : ndarray, shape (K, q, q)
        The blocks of M, of the last time they were computed.
    iteration : int
    settled : int
        Steps in a row in which hardly a sign changed.
    """

    metric: np.ndarray
    iteration: int = 0
    settled: int = 0


@dataclass(frozen=True)
class ProxNewton(Solver[ProxNewtonState]):
    """Proximal Newton with a sampled metric, and Newton's method on the face at the end.

    Parameters
    ----------
    hessian_rows : float
        Rows of each output's sampled Hessian, as a multiple of q.
    max_features : int
        Refuse more rows of W than this; a block of M has so many rows.
    settle_after : int
        Steps in a row without a change of the support before Newton steps on its face are tried.
    face : OrthantNewton
    seed : int
        Of the samples.
    """

    hessian_rows: float = 6.0
    max_features: int = 8192
    settle_after: int = 2
    face: OrthantNewton = field(default=OrthantNewton(max_halvings=1))
    seed: int = 0
    name = "prox-newton"

    def check(self, problem: LinearObjective) -> None:
        """Accept penalties whose non-smooth part is l1, of not too many features."""
        if not isinstance(problem.nonsmooth, L1):
            raise UnsupportedError(
                f"solver 'prox-newton' is for l1 penalties and got {problem.penalty}; use solver='sampled-newton'."
            )
        if problem.shape[0] > self.max_features:
            raise UnsupportedError(
                f"solver 'prox-newton' would hold matrices of {problem.shape[0]} rows, more than max_features="
                f"{self.max_features}; use solver='newton-admm', or raise max_features in solver_options."
            )

    def init(self, problem: LinearObjective, start: np.ndarray) -> ProxNewtonState:
        """Linearise at the start and compute the metric there."""
        point = problem.at(start)
        return ProxNewtonState.at(problem, point, metric=self._metric(problem, point, 0))

    def step(self, problem: LinearObjective, state: ProxNewtonState) -> tuple[ProxNewtonState, Info]:
        """Do a proximal step, or a Newton step on the face once the support has settled."""
        if state.settled >= self.settle_after:
            on_face, info = self.face.step(problem, PointState.at(problem, state.point))
            if on_face.status is Status.RUNNING:
                # Where the face was not yet the right one, proximal steps look for a better one from there.
                settled = state.settled if on_face.residual < state.residual else 0
                return self._next(problem, state, on_face.point, settled), info
            state = self._next(problem, state, state.point, 0)
        metric = state.metric
        if state.iteration in (3, 8) or (state.iteration and state.iteration % 16 == 0):
            metric = self._metric(problem, state.point, state.iteration)
        point = state.point
        D = self._proximal_point(problem, point, metric) - point.W
        new, size = self._search(problem, point, D)
        if new is None:
            status = Status.LINE_SEARCH_FAILED
            return ProxNewtonState.at(problem, point, status, metric=metric, iteration=state.iteration), Info(0.0)
        before, after = (np.sign(problem.penalised(p.W)) for p in (point, new))
        changed, support = int(np.sum(before != after)), int(np.sum(after != 0))
        settled = state.settled + 1 if changed <= 0.002 * support else 0
        state = self._next(problem, state, new, settled, metric)
        return state, Info(size, extra={"nonzero": float(support)})

    @staticmethod
    def _next(
        problem: LinearObjective, state: ProxNewtonState, point: Point, settled: int, metric: Any = None
    ) -> ProxNewtonState:
        metric = state.metric if metric is None else metric
        return ProxNewtonState.at(problem, point, metric=metric, iteration=state.iteration + 1, settled=settled)

    def _metric(self, problem: LinearObjective, point: Point, draw: int) -> np.ndarray:
        fraction = min(1.0, self.hessian_rows * problem.shape[0] / problem.n_rows)
        metric, diagonal = problem.sampled_output_hessians(point, fraction, self.seed + draw)
        floor = 1e-3 * (problem.loss.curvature_bound or 0.0) / 2 * problem.column_squares[:, None]
        exact = np.maximum(np.maximum(diagonal, floor), np.diagonal(metric, axis1=1, axis2=2).T)
        problem.penalised(exact)[...] += problem.smooth.hess_diag
        index = np.arange(problem.shape[0])
        metric[:, index, index] = np.where(exact > 0, exact, 1.0).T  # a column of zeros stays put under any curvature
        return metric

    @staticmethod
    def _proximal_point(problem: LinearObjective, point: Point, metric: np.ndarray) -> np.ndarray:
        weights = np.zeros(problem.shape[0])
        penalty: Any = problem.nonsmooth
        problem.penalised(weights)[...] = penalty.lam
        U = np.empty_like(point.W)
        for k in range(problem.shape[1]):
            U[:, k] = quadratic_l1(metric[k], point.gradient[:, k], point.W[:, k], weights)
        return U

    @staticmethod
    def _search(problem: LinearObjective, point: Point, D: np.ndarray) -> tuple[Point | None, float]:
        """Backtrack on F; the decrease is measured against that of the model's linear part."""
        penalty: Any = problem.nonsmooth
        w, d = problem.penalised(point.W), problem.penalised(D)
        decrease = float(np.vdot(point.gradient, D)) + penalty.value(w + d) - penalty.value(w)
        noise = 4 * problem.precision * abs(point.value)
        if not decrease < 0:
            return None, 0.0
        along = problem.along(point, D, (1.0,))
        if along.values[0] <= point.value + 1e-4 * decrease + noise:
            return along.first, 1.0
        steps = [2.0**-k for k in range(1, 31)]
        along = problem.more(point, along, steps)
        for step, value in zip(steps, along.values, strict=True):
            if value <= point.value + 1e-4 * step * decrease:
                return problem.step(point, along, step), step
        return None, 0.0
