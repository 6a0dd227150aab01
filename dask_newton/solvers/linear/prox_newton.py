"""Proximal Newton for penalties that are sums of norms: l1, elastic net, group lasso.

    F(W) = f(W) + R(w),   g = grad f(W),   R(w) = sum_g t_g norm(w_g)
    U  = argmin_U <g, U - W> + norm(U - W)_M^2 / 2 + R(u)                (on the driver)
    W <- W + a (U - W)                                                   (line search; a = 1 nearly always, one pass)

M has a block for each output: the Hessian of a row sample (all rows where there are few), with the exact diagonal. For
a softmax the blocks between outputs are left out, and the Hessian lies between 0 and 2 M. For one output and all rows M
is the Hessian. U finds which coefficients are zero; once that no longer changes, steps are Newton's on the support, see
:mod:`~dask_newton.solvers.linear.support_newton`, with CG preconditioned by M, and quadratic near the optimum.
Source: Lee, Sun and Saunders 2014; the metric and the switch to Newton steps are ours.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dask_newton.inner.penalised_model import minimize_model
from dask_newton.objectives.linear.objective import LinearObjective, Point
from dask_newton.penalties import NormPenalty
from dask_newton.solvers.base import Info, PointState, Solver, Status, UnsupportedError, require_linear
from dask_newton.solvers.linear.support_newton import SupportNewton
from dask_newton.solvers.parts.line_search import LineSearch
from dask_newton.solvers.work import Work, gram_flops
from dask_newton.storage.registry import stored

__all__ = ["ProxNewton", "ProxNewtonState"]


@stored("solver-state/prox-newton")
@dataclass(frozen=True, eq=False)
class ProxNewtonState(PointState):
    """W, the metric and the state of the support.

    Attributes
    ----------
    metric : ndarray, shape (K, q, q)
        The blocks of M, of the last time they were computed.
    iteration : int
    settled : int
        Consecutive steps in which almost no sign changed.
    """

    metric: np.ndarray
    iteration: int = 0
    settled: int = 0


@stored("solver/prox-newton")
@dataclass(frozen=True)
class ProxNewton(Solver[ProxNewtonState]):
    """Proximal Newton with a sampled metric, and Newton's method on the support at the end.

    Parameters
    ----------
    hessian_rows : float
        Rows of each output's sampled Hessian, as a multiple of q; at least 4,000 in all.
    max_features : int
        Refuse more rows of W than this; a block of M has so many rows.
    settle_after : int
        Steps in a row without a change of the support before Newton steps on it are tried.
    finish : SupportNewton
    line_search : LineSearch
    seed : int
        Seed of the samples.
    """

    hessian_rows: float = 6.0
    max_features: int = 8192
    settle_after: int = 2
    finish: SupportNewton = field(default=SupportNewton(max_halvings=1))
    line_search: LineSearch = field(default=LineSearch(max_halvings=30))
    seed: int = 0
    name = "prox-newton"
    summary = "Newton's method with the penalty kept in the model, on a sampled Hessian (Lee et al. 2014)"
    suited_to = "up to some thousand features: few iterations, and exact zeros"
    penalties = "l1, elastic net, group lasso"
    patience = 60  # the gradient hardly shrinks before the support is found

    def check(self, problem: LinearObjective) -> None:
        """Accept penalties whose non-smooth part is a sum of norms, of not too many features."""
        require_linear(problem, self.name)
        if not isinstance(problem.nonsmooth, NormPenalty):
            other = "sampled-newton" if problem.nonsmooth is None else "newton-admm"
            raise UnsupportedError(
                f"solver 'prox-newton' is for l1 and group penalties and got {problem.penalty}; use solver={other!r}."
            )
        if problem.shape[0] > self.max_features:
            raise UnsupportedError(
                f"solver 'prox-newton' would hold matrices of {problem.shape[0]} rows, more than max_features="
                f"{self.max_features}; use solver='newton-admm', or raise max_features in solver_options."
            )

    def work(self, problem: LinearObjective) -> Work:
        """Assume some twenty proximal steps, and as many products for the steps on the support that follow."""
        q, K = problem.shape
        iterations, passes, metrics = 25.0, 60.0, 3
        share = min(1.0, max(self.hessian_rows * q, 4000) / problem.n_rows)
        # Some twenty products of whole matrices, as most are of a working set. They run ten times slower than factors.
        return Work(
            iterations,
            passes,
            passes,
            passes * problem.size + metrics * K * q * q,
            passes * problem.size,
            grams=metrics * K * share * gram_flops(problem),
            driver=iterations * 10 * 20 * K * q * q,
        )

    def init(self, problem: LinearObjective, start: np.ndarray) -> ProxNewtonState:
        """Linearise at the start and compute the metric there."""
        point = problem.at(start)
        return ProxNewtonState.at(problem, point, metric=self._metric(problem, point, 0))

    def step(self, problem: LinearObjective, state: ProxNewtonState) -> tuple[ProxNewtonState, Info]:
        """Do a proximal step, or a Newton step on the support once it has settled."""
        if state.settled >= self.settle_after:
            finished, info = self.finish.step_with(problem, PointState.at(problem, state.point), state.metric)
            if finished.status is Status.RUNNING:
                # Where the support was not yet the right one, proximal steps look for a better one from there.
                settled = state.settled if finished.residual < state.residual else 0
                return self._next(problem, state, finished.point, settled), info
            state = self._next(problem, state, state.point, 0)
        metric = state.metric
        if state.iteration in (3, 8) or (state.iteration and state.iteration % 16 == 0):
            metric = self._metric(problem, state.point, state.iteration)
        point = state.point
        D = self._proximal_point(problem, point, metric) - point.W
        new, size = self.line_search.search(problem, point, D)
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
        fraction = min(1.0, max(self.hessian_rows * problem.shape[0], 4000) / problem.n_rows)
        metric, diagonal = problem.sampled_output_hessians(point, fraction, self.seed + draw)
        floor = 1e-3 * (problem.loss.curvature_bound or 0.0) / 2 * problem.column_squares[:, None]
        exact = np.maximum(np.maximum(diagonal, floor), np.diagonal(metric, axis1=1, axis2=2).T) + problem.ridge()
        index = np.arange(problem.shape[0])
        metric[:, index, index] = np.where(exact > 0, exact, 1.0).T  # a column of zeros stays put under any curvature
        return metric

    @staticmethod
    def _proximal_point(problem: LinearObjective, point: Point, metric: np.ndarray) -> np.ndarray:
        index = np.arange(problem.size).reshape(problem.shape)
        parts = [(index[:, k], block) for k, block in enumerate(metric)]
        u = minimize_model(parts, point.gradient.ravel(), point.W.ravel(), problem.norms())
        return problem.shrink(u.reshape(problem.shape))
