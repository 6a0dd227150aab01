"""Newton-CG: the Newton direction by conjugate gradients, with one pass per Hessian product.

    g  = grad F(W)
    P ~= -H^{-1} g        (CG on the driver to norm(H P + g) <= eta norm(g); one pass per iteration)
    W += a P              (line search; with a = 1 its pass brings the next g)

The iterates do not depend on the blocks. Forcing term eta (Eisenstat and Walker 1996, choice 2):

    eta_k = 0.9 (norm(g_k) / norm(g_{k-1}))^1.618,   at least 0.9 eta_{k-1}^1.618 where that is above 0.1,
    within [1e-8, 0.5]
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dask_newton.inner import CG, preconditioners
from dask_newton.inner.preconditioners import Factor
from dask_newton.objectives.base import Objective
from dask_newton.objectives.linear.objective import LinearObjective
from dask_newton.objectives.points import Point
from dask_newton.solvers.base import Info, PointState, Solver, Status, UnsupportedError, require_linear, require_smooth
from dask_newton.solvers.parts.line_search import LineSearch
from dask_newton.solvers.work import Work
from dask_newton.storage.registry import stored

__all__ = ["NewtonCG", "NewtonCGState"]

_PRECONDITIONERS = ("none", "jacobi", "gram")


@stored("solver-state/newton-cg")
@dataclass(frozen=True, eq=False)
class NewtonCGState(PointState):
    """W, the forcing term and the data of the preconditioner.

    Attributes
    ----------
    eta : float
        Forcing term of the coming step.
    iteration : int
        Steps done; seeds the Hessian samples.
    metric : ndarray, Factor or None
        Diagonal of the Hessian (q, K), or the factored Gram matrix.
    """

    eta: float
    iteration: int
    metric: np.ndarray | Factor | None


@stored("solver/newton-cg")
@dataclass(frozen=True)
class NewtonCG(Solver[NewtonCGState]):
    """Inexact Newton with distributed conjugate gradients.

    Parameters
    ----------
    max_cg : int
        Maximum number of CG iterations per step.
    rtol : float or None
        A fixed forcing term instead of Eisenstat and Walker's.
    preconditioner : {'gram', 'jacobi', 'none'}
        'gram' is the Cholesky factor of ``X' diag(d) X / S + lam2 I``, shared by all outputs, renewed while the
        curvature d still changes much; 'jacobi' is the diagonal of the Hessian.
    hessian_sample : float or None
        Fraction of every block's rows, drawn anew for each step, that stands for all rows in products with the
        Hessian. The gradient stays exact, and so does the optimum.
    seed : int
        Seed of the samples.
    line_search : LineSearch
    """

    max_cg: int = 200
    rtol: float | None = None
    preconditioner: str = "none"
    hessian_sample: float | None = None
    seed: int = 0
    line_search: LineSearch = field(default=LineSearch())
    name = "newton-cg"
    summary = "Newton's method with conjugate gradients; one pass per product with the Hessian"
    suited_to = "too many features for a matrix with as many rows; iterates independent of the chunks"
    patience = 8

    def check(self, problem: Objective) -> None:
        """Refuse penalties that are not smooth, and options out of range."""
        require_smooth(problem, self.name)
        if self.preconditioner not in _PRECONDITIONERS:
            raise UnsupportedError(
                f"preconditioner={self.preconditioner!r} is not known to solver 'newton-cg'; "
                f"choose one of {_PRECONDITIONERS}."
            )
        if self.preconditioner != "none":
            require_linear(problem, f"newton-cg(preconditioner={self.preconditioner!r})")
        if self.hessian_sample is not None and not 0 < self.hessian_sample <= 1:
            raise UnsupportedError(f"hessian_sample={self.hessian_sample} is no fraction; give a number in (0, 1].")

    def work(self, problem: LinearObjective) -> Work | None:
        """Assume some tens of conjugate gradient iterations for each step."""
        iterations, products = (3.0, 40.0) if problem.loss.quadratic else (7.0, 60.0)
        passes = 1 + iterations * (2 if self.preconditioner == "jacobi" else 1) + products
        return Work(iterations, passes, passes, passes * problem.size, passes * problem.size)

    def init(self, problem: Objective, start: np.ndarray) -> NewtonCGState:
        """Linearise at the start."""
        return NewtonCGState.at(problem, problem.at(start), eta=self.rtol or 0.5, iteration=0, metric=None)

    def step(self, problem: Objective, state: NewtonCGState) -> tuple[NewtonCGState, Info]:
        """Solve for the Newton direction and search along it."""
        point, model, model_point = state.point, problem, state.point
        if self.hessian_sample is not None and self.hessian_sample < 1:
            model = problem.sample(self.hessian_sample, self.seed + state.iteration)
            model_point = model.at(point.W)
        metric = self._metric(model, model_point, state)
        found = CG(state.eta, self.max_cg).solve(
            lambda V: model.hess_mul(model_point, V), -point.gradient, self._preconditioner(metric)
        )
        P, note = found.x, found.status if found.status in ("npc", "nan") else ""
        if not np.vdot(P, point.gradient) < 0:
            P, note = -point.gradient, "steepest descent"
        new, size = self.line_search.search(problem, point, P)
        if new is None and note != "steepest descent":
            new, size = self.line_search.search(problem, point, -point.gradient)
            note = "steepest descent"
        info = Info(size, found.n_iter, note, {"forcing": state.eta})
        carried: dict[str, Any] = {"eta": state.eta, "iteration": state.iteration + 1, "metric": metric}
        if new is None:
            return NewtonCGState.at(problem, point, Status.LINE_SEARCH_FAILED, **carried), info
        if self.rtol is None:
            carried["eta"] = _forcing(state.eta, point.gradient, new.gradient)
        return NewtonCGState.at(problem, new, **carried), info

    def _metric(self, problem: Objective, point: Point, state: NewtonCGState) -> np.ndarray | Factor | None:
        if self.preconditioner == "none":
            return None
        assert isinstance(problem, LinearObjective)
        if self.preconditioner == "jacobi":
            return problem.hess_diag(point)
        if state.metric is None or state.iteration in (2, 5):
            return Factor.of(problem.gram(point))
        return state.metric

    @staticmethod
    def _preconditioner(metric: np.ndarray | Factor | None) -> preconditioners.Map | None:
        if metric is None:
            return None
        return preconditioners.shared(metric) if isinstance(metric, Factor) else preconditioners.jacobi(metric)


def _forcing(eta: float, old: np.ndarray, new: np.ndarray) -> float:
    """Return Eisenstat and Walker's second choice with its safeguard."""
    power = (1 + 5**0.5) / 2
    proposed = 0.9 * float(np.linalg.norm(new) / np.linalg.norm(old)) ** power
    if 0.9 * eta**power > 0.1:
        proposed = max(proposed, 0.9 * eta**power)
    return float(np.clip(proposed, 1e-8, 0.5))
