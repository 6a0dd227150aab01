"""Newton's method with the aggregated Hessian.

    H   = sum_i X_i' D_i X_i / S + lam2 I        (one pass, together with F and g)
    P   = -H^{-1} g                              (on the driver: Cholesky, or eigenvalues where that fails)
    W  += a P                                    (line search; with a = 1 its pass brings the next F, g and H)

With a penalty that is a sum of norms (l1, group lasso), R(w) = sum_g t_g norm(w_g), the model keeps it whole:

    P   = argmin_P <g, P> + <P, H P> / 2 + R(w + p)                  (on the driver, to a small part of its residual)

The iterates do not depend on the blocks; convergence is quadratic. H of a quadratic loss is summed once. The cost
is d (d + 1) / 2 numbers up per block and pass, d = q K, so the method is for d up to a few thousand. scikit-learn's
'newton-cholesky' is the same method on one machine.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import scipy.linalg

from dask_newton.inner.penalised_model import minimize_model
from dask_newton.objectives.linear.objective import LinearObjective, Point
from dask_newton.penalties import NormPenalty
from dask_newton.solvers.base import Info, PointState, Solver, Status, UnsupportedError, require_linear
from dask_newton.solvers.parts.line_search import LineSearch
from dask_newton.solvers.work import Work, gram_flops
from dask_newton.storage.registry import stored

__all__ = ["NewtonCholesky"]


@stored("solver/newton-cholesky")
@dataclass(frozen=True)
class NewtonCholesky(Solver[PointState]):
    """Newton's method with an explicit Hessian.

    Parameters
    ----------
    max_dim : int
        Refuse problems with more coefficients; the Hessian has that many rows.
    line_search : LineSearch
    """

    max_dim: int = 2000
    line_search: LineSearch = field(default=LineSearch())
    name = "newton-cholesky"
    summary = "Newton's method with the whole Hessian, summed over the blocks"
    suited_to = "few coefficients (up to about 2,000): the fewest rounds of all, and iterates independent of the chunks"
    penalties = "none, l2, l1, elastic net, group lasso"

    def check(self, problem: LinearObjective) -> None:
        """Refuse penalties that are neither smooth nor sums of norms, and Hessians that are too large."""
        require_linear(problem, self.name)
        if not isinstance(problem.nonsmooth, NormPenalty | None):
            raise UnsupportedError(
                f"solver 'newton-cholesky' is for l2, l1 and group penalties and got {problem.penalty}; use "
                "solver='newton-admm'."
            )
        if problem.size > self.max_dim:
            other = "newton-cg" if problem.nonsmooth is None else "prox-newton"
            raise UnsupportedError(
                f"solver 'newton-cholesky' would form a Hessian of {problem.size} rows, more than max_dim="
                f"{self.max_dim}; use solver={other!r}, or raise max_dim in solver_options."
            )

    def work(self, problem: LinearObjective) -> Work | None:
        """Assume quadratic convergence; a quadratic loss takes one Hessian and one step."""
        q, K = problem.shape
        pairs = 1 if problem.loss.quadratic else K * (K + 1) / 2
        iterations, hessians = (1.0, 1) if problem.loss.quadratic else (6.0, 7)
        sent = (1 + iterations) * problem.size
        # With norms the driver looks for the support first.
        solved = problem.size**3 / 3 * (1 if problem.nonsmooth is None else 3)
        return Work(
            iterations,
            1 + iterations,
            1 + iterations,
            sent + hessians * pairs * q * (q + 1) / 2,
            sent,
            grams=hessians * pairs * gram_flops(problem),
            driver=iterations * solved,
        )

    def init(self, problem: LinearObjective, start: np.ndarray) -> PointState:
        """Linearise at the start, with the Hessian."""
        return PointState.at(problem, problem.at(start, hessian=True))

    def step(self, problem: LinearObjective, state: PointState) -> tuple[PointState, Info]:
        """Solve with the Hessian and search along the direction."""
        point = state.point
        assert point.hessian is not None
        if not np.all(np.isfinite(point.hessian)):
            return PointState.at(problem, point, Status.NAN), Info(0.0, note="nan")
        if problem.nonsmooth is None:
            P, note = newton_direction(problem, point.hessian, point.gradient)
        else:
            P, note = penalised_direction(problem, point), ""
        if not problem.directional_derivative(point, P) < 0:
            P, note = problem.proximal_point(point.W, point.gradient) - point.W, "steepest descent"
        constant = problem.loss.quadratic
        new, size = self.line_search.search(problem, point, P, hessian=not constant)
        if new is not None and constant:
            new = replace(new, hessian=point.hessian)
        if new is None:
            return PointState.at(problem, point, Status.LINE_SEARCH_FAILED), Info(0.0, note=note or "ls_fail")
        return PointState.at(problem, new), Info(size, note=note)


def penalised_direction(problem: LinearObjective, point: Point) -> np.ndarray:
    """Return the direction to the minimiser of the model that keeps the penalty."""
    assert point.hessian is not None
    parts = [(np.arange(problem.size), point.hessian)]
    u = minimize_model(parts, point.gradient.ravel(), point.W.ravel(), problem.norms(), rtol=1e-6, max_iter=2000)
    return u.reshape(point.W.shape) - point.W


def newton_direction(problem: LinearObjective, hessian: np.ndarray, gradient: np.ndarray) -> tuple[np.ndarray, str]:
    """Return ``-H^{-1} g`` and a note if H is not safely positive definite.

    H is scaled to a unit diagonal first, so that the units of the features do not matter. If it is not positive
    definite, eigenvalues are replaced by their absolute values, which keeps descent where the loss is not convex, and
    those that are zero up to rounding are left out, which gives the pseudo-inverse.
    """
    hessian = problem.fill_null_space(hessian)
    diagonal = np.diagonal(hessian)
    scale = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    scaled, right = hessian * scale[:, None] * scale, gradient.ravel() * scale
    try:
        factor = scipy.linalg.cholesky(scaled, lower=True)
        if np.min(np.diagonal(factor)) ** 2 > 1e-13:
            direction = scipy.linalg.cho_solve((factor, True), right)
            return -(direction * scale).reshape(gradient.shape), ""
    except scipy.linalg.LinAlgError:
        pass
    values, vectors = scipy.linalg.eigh(scaled)
    size = np.abs(values)
    keep = size > 1e-13 * size.max()
    direction = vectors[:, keep] @ ((vectors[:, keep].T @ right) / size[keep])
    note = "indefinite" if values.min() < -1e-10 * size.max() else ""
    return -(direction * scale).reshape(gradient.shape), note
