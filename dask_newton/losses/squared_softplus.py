"""Squared error of a softplus mean: the non-linear least squares of the DINO paper. Not convex.

For y, margin z, mean a = log(1 + exp(z)) and s = 1 / (1 + exp(-z)), the derivative of a,

    l(y, z) = (y - a)^2,    l' = 2 (a - y) s,    l'' = 2 (s^2 + (a - y) s (1 - s))

Source: Crane and Roosta, DINO: Distributed Newton-Type Optimization Method (arXiv 2006.03694), figure 2. The second
derivative is negative where (y - a) (1 - s) > s. Towards z = -inf the loss becomes flat. A solver that only
reduces the gradient may end there, above its start.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dask_newton.arrays import namespace
from dask_newton.losses.base import Array, Loss
from dask_newton.storage.registry import stored

__all__ = ["SquaredSoftplus"]


@stored("loss/squared-softplus")
@dataclass(frozen=True)
class SquaredSoftplus(Loss):
    """Squared error of ``y`` from the softplus mean ``log(1 + exp(z))``: non-linear least squares, not convex.

    This is the loss of the DINO paper (Crane and Roosta 2020), without a factor 1/2.
    """

    convex = False
    curvature_bound = None  # it grows with y
    numeric = True
    n_outputs = 1

    def value(self, y: Array, z: Array) -> Array:
        """Return the loss of each row."""
        return (y - self.inverse_link(z)) ** 2

    def linearize(self, y: Array, z: Array) -> tuple[Array, Array, Array]:
        """Return value, gradient ``2 (a - y) s`` and curvature ``2 (s^2 + (a - y) s (1 - s))``."""
        xp, z = namespace(z), z[:, 0]
        e = xp.exp(-xp.abs(z))
        larger, smaller = 1 / (1 + e), e / (1 + e)
        s, rest = xp.where(z >= 0, larger, smaller), xp.where(z >= 0, smaller, larger)
        residual = xp.where(z >= 0, z, 0 * z) + xp.log1p(e) - y
        curvature = 2 * s * (s + residual * rest)
        return residual**2, (2 * residual * s)[:, None], curvature[:, None]

    def hess_mul(self, curvature: Array, v: Array) -> Array:
        """Return ``l'' v``."""
        return curvature * v

    def hess_entry(self, curvature: Array, k: int, j: int) -> Array:
        """Return ``l''``."""
        return curvature[:, 0]

    def inverse_link(self, z: Array) -> Array:
        """Return the means ``log(1 + exp(z))``, shape (n_rows,)."""
        xp, z = namespace(z), z[:, 0]
        return xp.where(z >= 0, z, 0 * z) + xp.log1p(xp.exp(-xp.abs(z)))

    def saturated(self, y: Array) -> Array:
        """Return 0, or ``y^2`` where y is negative, which no mean reaches."""
        return namespace(y).where(y < 0, y, 0 * y) ** 2

    def null_margin(self, mean: np.ndarray) -> np.ndarray:
        """Return ``log(exp(mean) - 1)``; 0 where the mean is not positive."""
        positive = mean > 0
        rest = np.log(-np.expm1(-mean, where=positive, out=-np.ones_like(mean)))
        return np.where(positive, mean + rest, 0.0)

    def gradient_scale(self, square: float) -> float:
        """Return the root mean square of the targets."""
        return square**0.5
