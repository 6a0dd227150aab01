"""The common part of losses with a positive mean mu = exp(z).

They are half the unit deviances of the exponential dispersion models with variance mu^p (Jorgensen 1987), without terms
that depend on y alone: Poisson (p = 1), Gamma (p = 2) and the Tweedie family between them. All are convex in z. Beyond
a margin that no data reach, the exponential continues as its tangent. So everything stays finite, and a line search
rejects a step that is far too long.
"""

from __future__ import annotations

import numpy as np

from dask_newton.arrays import namespace
from dask_newton.losses.base import Array, Loss

__all__ = ["LogLink", "exponential", "logarithm"]


def exponential(z: Array) -> tuple[Array, Array]:
    """Return exp(z), continued by its tangent where z is too large, and its derivative."""
    xp = namespace(z)
    limit = 600.0 if xp.finfo(z.dtype).bits == 64 else 60.0
    top = xp.where(z < limit, z, 0 * z + limit)
    derivative = xp.exp(top)
    return derivative * (1 + (z - top)), derivative


def logarithm(y: Array) -> Array:
    """Return log(y), and 0 for y = 0."""
    xp = namespace(y)
    return xp.log(xp.where(y > 0, y, 0 * y + 1))


class LogLink(Loss):
    """Base class of the losses with a logarithmic link."""

    convex = True
    curvature_bound = None
    numeric = True
    targets = "zero or positive"
    n_outputs = 1
    power: float

    def value(self, y: Array, z: Array) -> Array:
        """Return the loss of each row."""
        return self.linearize(y, z)[0]

    def hess_mul(self, curvature: Array, v: Array) -> Array:
        """Return ``l'' v``."""
        return curvature * v

    def hess_entry(self, curvature: Array, k: int, j: int) -> Array:
        """Return ``l''``."""
        return curvature[:, 0]

    def inverse_link(self, z: Array) -> Array:
        """Return the means ``exp(z)``, shape (n_rows,)."""
        return exponential(z[:, 0])[1]

    def null_margin(self, mean: np.ndarray) -> np.ndarray:
        """Return ``log(mean)``."""
        return np.log(mean, out=np.zeros_like(mean), where=mean > 0)

    def gradient_scale(self, square: float) -> float:
        """Return the root mean square of the targets to the power 2 - p."""
        return square ** ((2 - self.power) / 2)

    def valid(self, y: Array) -> Array:
        """Return a mask of valid targets."""
        return y >= 0
