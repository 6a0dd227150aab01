"""DINGO: distributed Newton-type method for gradient-norm optimisation (Crane and Roosta, NeurIPS 2019).

    g   = grad F(W);   a_i = H_i^+ g  by MINRES;   H g = sum_i omega_i H_i g,   a = sum_i omega_i a_i
    P   = -a                      if <a, H g> >= theta norm(g)^2                             (case 1),  else
    b_i = argmin_b norm(H_i b - g)^2 + phi^2 norm(b)^2   by LSMR,   b = sum_i omega_i b_i
    P   = -b                      if <b, H g> >= theta norm(g)^2                             (case 2),  else
    p_i = -b_i                    if <b_i, H g> >= theta norm(g)^2,  else
    p_i = -b_i - lam_i u_i,       u_i = (H_i^2 + phi^2 I)^{-1} H g  by CG,
                                  lam_i = (theta norm(g)^2 - <b_i, H g>) / <u_i, H g>
    P   = sum_i omega_i p_i                                                                  (case 3)
    W  += a P,   a the largest of 2^0, 2^-1, ... with norm(grad F(W + a P))^2 <= norm(g)^2 + 2 a c <P, H g>

H_i is the Hessian of the mean objective of block i, and omega_i = S_i / S. Always <P, H g> <= -theta norm(g)^2: what
decreases is norm(g). So F may rise where it is not convex, to a saddle, a maximum or a plateau.

A pass computes H g and a, one more b and one more the directions of case 3, when they are needed; the line search
brings the next gradient along. That makes 4, 6 and 8 rounds, and 2 more where a full step is too long.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from dask_newton.blocks import named
from dask_newton.inner import MINRES
from dask_newton.inner.base import Array, Operator, dot
from dask_newton.objectives.linear.objective import LinearObjective
from dask_newton.solvers.base import Info, PointState, Solver, Status
from dask_newton.solvers.parts.gradient_search import GradientSearch
from dask_newton.solvers.parts.least_squares import LeastSquares, require_least_squares
from dask_newton.storage.registry import stored

__all__ = ["DINGO"]


@named("dingo-direction")
@dataclass(frozen=True)
class _Newton:
    """One block's ``H_i g``, its norm and ``a_i``; iterations. If it has no finite products, 0, theta g, and 1."""

    minres: MINRES
    theta: float

    def __call__(self, H: Operator, *, gradient: Array) -> tuple[tuple[Array, float, Array], tuple[int, int]]:
        product = H(gradient)
        norm = dot(product, product) ** 0.5
        found = self.minres.solve(H, gradient)
        if found.status == "nan" or not math.isfinite(norm):
            return (0 * gradient, 0.0, self.theta * gradient), (found.n_iter, 1)
        return (product, norm, found.x), (found.n_iter, 0)


@named("dingo-direction")
@dataclass(frozen=True)
class _Regularised:
    """One block's ``b_i``, which stays there and is averaged; iterations."""

    problems: LeastSquares
    theta: float

    def __call__(self, H: Operator, *, gradient: Array) -> tuple[Array, tuple[Array], tuple[int]]:
        found = self.problems.lsmr.solve(H, gradient)
        b = self.theta * gradient if found.status == "nan" else found.x
        return b, (b,), (found.n_iter,)


@named("dingo-direction")
@dataclass(frozen=True)
class _Corrected:
    """One block's ``-p_i`` of case 3; iterations."""

    problems: LeastSquares

    def __call__(self, H: Operator, b: Array, *, product: Array, least: Array) -> tuple[tuple[Array], tuple[int]]:
        if dot(b, product) >= float(least):
            return (b,), (0,)
        corrected, n_iter = self.problems.correct(H, b, product, float(least))
        return (b if corrected is None else corrected,), (n_iter,)


@stored("solver/dingo")
@dataclass(frozen=True)
class DINGO(Solver[PointState]):
    """Averaged directions of local least squares problems that decrease the norm of the gradient.

    Parameters
    ----------
    theta : float
        Least decrease that a direction promises: ``<P, H g> <= -theta norm(g)^2``.
    phi : float
        Regularisation of the local problems of cases 2 and 3.
    rtol : float
        Relative residual at which LSMR and CG stop; for LSMR that of the normal equations.
    max_iter : int
        Iterations of MINRES, LSMR or CG. The papers have 50.
    minres_rtol : float
        Where MINRES stops, see :class:`~dask_newton.inner.MINRES`. Less exact pseudo-inverses cost many iterations.
    line_search : GradientSearch
    """

    theta: float = 1e-4
    phi: float = 1e-6
    rtol: float = 1e-4
    max_iter: int = 200
    minres_rtol: float = 1e-6
    line_search: GradientSearch = field(default=GradientSearch())
    name = "dingo"
    summary = "as dino, for the norm of the gradient instead of F (Crane and Roosta 2019)"
    suited_to = "convex losses; on others it ends at stationary points of any kind"

    def check(self, problem: LinearObjective) -> None:
        """Refuse other models, penalties that are not smooth, and options out of range."""
        require_least_squares(self, problem)

    def init(self, problem: LinearObjective, start: np.ndarray) -> PointState:
        """Linearise at the start."""
        return PointState.at(problem, problem.at(start))

    def step(self, problem: LinearObjective, state: PointState) -> tuple[PointState, Info]:
        """Find a direction by the first case that serves, and search along it."""
        point, g, note = state.point, state.point.gradient, ""
        least = self.theta * float(np.vdot(g, g))
        # Not lifted: where H_i is regular that moves a solution that is not exact along whatever residual is left.
        newton = _Newton(MINRES(self.minres_rtol, self.max_iter, detect_npc=False), self.theta)
        (product, size, V), (n_iter, bad) = problem.average(point, newton, gradient=g)
        if bad:
            note = f"nan on {bad} blocks"
        if np.linalg.norm(product) <= problem.precision * size:
            return PointState.at(problem, point, Status.STATIONARY), Info(0.0, n_iter / problem.blocks.n_blocks, note)
        case, problems = 1, LeastSquares.of(self.phi, self.rtol, self.max_iter)
        if not np.vdot(V, product) >= least:
            b, (V,), (more,) = problem.average(point, _Regularised(problems, self.theta), keep=1, gradient=g)
            case, n_iter = 2, n_iter + more
        if not np.vdot(V, product) >= least:
            (V,), (more,) = problem.average(point, _Corrected(problems), b, product=product, least=np.array(least))
            case, n_iter = 3, n_iter + more
        slope = -float(np.vdot(V, product))
        new, step = self.line_search.search(problem, point, -V, slope) if slope < 0 else (None, 0.0)
        info = Info(step, n_iter / problem.blocks.n_blocks, note or ("" if new else "ls_fail"), {"case": case})
        if new is None:
            return PointState.at(problem, point, Status.LINE_SEARCH_FAILED), info
        return PointState.at(problem, new), info
