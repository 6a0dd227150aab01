"""Consensus ADMM with a matrix in the place of rho_i: the Hessian of the block, output by output.

    P_i = rho ( blockdiag_k [X_i 1]' diag(s h_kk(z)) [X_i 1] / S + tau I ),         h = Hessian of the loss of a row

    x_i <- argmin phi_i(x) - <y_i, x> + norm(x - z)_{P_i}^2 / 2
    z   <- argmin R(z) + norm(z)_P^2 / 2 - <z, sum_i (P_i xr_i - y_i)>,              P = sum_i P_i
    y_i <- y_i + P_i (z - xr_i)

A number rho_i weighs all directions equally. A block that has seen three of ten classes is curved in the coefficients
of those three alone, and whatever number is right for them is wrong for the others. Were phi_i quadratic, one output,
and P_i its Hessian, the iteration would halve its error each time, however little the blocks have in common.
Matrix-valued penalties are those of AUQ-ADMM (Ye, Wan and Wu Fung 2021, arXiv 2109.01089), which has low-rank ones;
one for each output is ours. They are computed at z, anew after 2, 4, 8, 16 and 32 iterations, and sent up then, K q (q
+ 1) / 2 numbers.

With P_i = L L' the x-update is done in u = L' (x - z), where the penalty is norm(u)^2 / 2: conjugate gradients are
preconditioned by P_i.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.linalg

from dask_newton.arrays import from_host, namespace, to_host
from dask_newton.inner.base import Operator, dot
from dask_newton.inner.penalised_model import minimize_model
from dask_newton.losses import Loss
from dask_newton.objectives.base import Objective
from dask_newton.objectives.linear.block import LinearBlock
from dask_newton.objectives.linear.local import LocalLinear, LocalPoint
from dask_newton.objectives.linear.objective import LinearObjective
from dask_newton.penalties import NormPenalty
from dask_newton.solvers.admm.iteration import Array, AtConsensus, BlockState, PenaltyRule, SubProblem, Summary
from dask_newton.solvers.base import UnsupportedError
from dask_newton.storage.registry import stored

__all__ = ["Hessian", "MatrixState"]

_RENEWED = (1, 3, 5, 9, 17, 33)  # iterations; ADMM converges once the matrices stay the same
_FLOOR = 1e-3  # tau, as a share of the mean diagonal


@stored("solver-part/admm-matrix")
@dataclass(frozen=True, eq=False)
class MatrixState(BlockState):
    """One block's part of the consensus, with a matrix P_i for each output.

    Attributes
    ----------
    x, y, z, rho
        See :class:`~dask_newton.solvers.admm.iteration.BlockState`; P_i is a multiple of rho.
    factor, inverse : Array of shape (K, q, q), or None at the start
        L and its inverse, for each output.
    """

    factor: Array | None = None
    inverse: Array | None = None

    def penalise(self, v: Array) -> Array:
        """Return ``P_i v``."""
        return _times(self.factor, _times(self.factor, v, transposed=True))

    def penalised_norm_squared(self, v: Array) -> float:
        """Return ``norm(P_i v)^2``."""
        moved = self.penalise(v)
        return dot(moved, moved)


@dataclass(frozen=True)
class _Entry:
    k: int

    def __call__(self, loss: Loss, curvature: Array) -> Array:
        return loss.hess_entry(curvature, self.k, self.k)


@dataclass(frozen=True, eq=False)
class _Scaled:
    """The objective of the x-update in the variables u."""

    local: LocalLinear
    z: Array
    y: Array
    inverse: Array

    @property
    def precision(self) -> float:
        return self.local.precision

    def x(self, u: Array) -> Array:
        return self.z + self._back(u)

    def at(self, u: Array) -> LocalPoint:
        point = self.local.at(self.x(u))
        gradient = _times(self.inverse, point.gradient - self.y) + u
        return replace(point, x=u, value=point.value + self._terms(u), gradient=gradient)

    def hessian(self, curvature: tuple[Array, ...]) -> Operator:
        product = self.local.hessian(curvature)
        return lambda v: _times(self.inverse, product(self._back(v))) + v

    def along(
        self, point: LocalPoint, d: Array, steps: Sequence[float], direction_margins: Any = ()
    ) -> tuple[np.ndarray, Any]:
        values, direction_margins = self.local.along(
            replace(point, x=self.x(point.x)), self._back(d), steps, direction_margins
        )
        return values + np.array([self._terms(point.x + a * d) for a in steps]), direction_margins

    def _terms(self, u: Array) -> float:
        return dot(u, u) / 2 - dot(self.y, self._back(u))

    def _back(self, u: Array) -> Array:
        return _times(self.inverse, u, transposed=True)


@dataclass(frozen=True)
class Hessian(PenaltyRule[MatrixState]):
    """P_i is the Hessian of the block at z, output by output.

    Parameters
    ----------
    rho : float
        What the Hessians are multiplied with.
    max_features : int
        Rows of W above which no matrices are made.
    """

    max_features: int

    def check(self, problem: Objective) -> None:
        """Refuse objectives for which there are no such matrices."""
        what = "penalty='hessian' of solver 'newton-admm'"
        if not isinstance(problem, LinearObjective):
            raise UnsupportedError(f"{what} is for linear models only; use penalty='spectral'.")
        if not problem.loss.convex:
            raise UnsupportedError(f"{what} needs a convex loss and got {problem.loss}; use penalty='spectral'.")
        if not isinstance(problem.nonsmooth, NormPenalty | None):
            raise UnsupportedError(
                f"{what} is for smooth penalties and sums of norms and got {problem.penalty}; use penalty='spectral'."
            )
        if problem.shape[0] > self.max_features:
            raise UnsupportedError(
                f"{what} would hold matrices of {problem.shape[0]} rows for each output, more than "
                f"{self.max_features}; use penalty='spectral'."
            )

    def start(self, W: np.ndarray, weights: Sequence[float], total_weight: float) -> list[MatrixState]:
        """Return x_i = z = W, y_i = 0."""
        return [MatrixState(W, np.zeros_like(W), W, self.rho)] * len(weights)

    def changed(self, state: MatrixState, y: Array, z: Array, k: int, scaling: float) -> MatrixState:
        """Return the state as it is: matrices are renewed at the next z."""
        return state

    def at_consensus(
        self, local: LocalLinear, state: MatrixState, z: Array, k: int, certify: bool
    ) -> tuple[MatrixState, AtConsensus]:
        """Evaluate the losses, and the matrices in some iterations."""
        new = k in _RENEWED
        at_z, packed = local.block.ray(z, gradient=certify or new), None
        if new:
            factor, inverse, packed = _matrices(local.block, at_z.curvature, state.rho, local.scale)
            state = replace(state, factor=factor, inverse=inverse)
        return state, AtConsensus(float(at_z.values[0]), at_z.gradient, packed)

    def sub_problem(self, local: LocalLinear, state: MatrixState, z: Array) -> SubProblem:
        """Return the problem in u = L' (x - z)."""
        scaled = _Scaled(local, z, state.y, state.inverse)
        return SubProblem(scaled, _times(state.factor, state.x - z, transposed=True), scaled.x)

    def consensus(
        self, problem: LinearObjective, summary: Summary, z: np.ndarray, P: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Solve for z with the sum of the matrices, which is (K, q, q)."""
        q, K = problem.shape
        b = summary.consensus
        if summary.matrix is not None:
            P, upper = np.empty((K, q, q)), np.triu_indices(q)
            for k in range(K):
                P[k][upper] = summary.matrix[k]
                P[k].T[upper] = summary.matrix[k]
        assert P is not None
        ridge, outputs = problem.ridge(), range(K)
        if problem.nonsmooth is None:
            new = [scipy.linalg.solve(P[k] + np.diag(ridge[:, k]), b[:, k], assume_a="pos") for k in outputs]
            return np.stack(new, axis=1), P
        index = np.arange(q * K).reshape(q, K)
        gradient = np.stack([P[k] @ z[:, k] for k in outputs], axis=1) + ridge * z - b
        parts = [(index[:, k], P[k] + np.diag(ridge[:, k])) for k in outputs]
        found = minimize_model(parts, gradient.ravel(), z.ravel(), problem.norms(), rtol=1e-4)
        return found.reshape(q, K), P


def _matrices(block: LinearBlock, curvature: Any, rho: float, total_weight: float) -> tuple[Array, Array, np.ndarray]:
    """Return L and its inverse, for each output, and the packed matrices."""
    xp = namespace(block.rows.X)
    q, K = block.shape
    grams = block.grams(curvature, [_Entry(k) for k in range(K)])
    P = xp.stack([rho / total_weight * gram for gram in grams])
    identity = from_host(np.eye(q), block.rows.X)
    level = float(xp.sum(P * identity)) / (q * K)
    P = P + _FLOOR * level * identity
    factor = xp.linalg.cholesky(P)
    upper = np.triu_indices(q)
    return factor, xp.linalg.inv(factor), np.stack([matrix[upper] for matrix in to_host(P)])


def _times(A: Array, v: Array, *, transposed: bool = False) -> Array:
    """Multiply the matrix of each output, (K, q, q), with its column of v, (q, K)."""
    xp = namespace(v)
    A = xp.matrix_transpose(A) if transposed else A
    return xp.matmul(A, v.T[:, :, None])[:, :, 0].T
