"""Squared error, of one target or several.

For y and margins z in R^K,

    l(y, z) = norm(z - y)^2 / 2,    grad l = z - y,    hess l = I
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dask_newton.arrays import namespace
from dask_newton.losses.base import Array, Loss
from dask_newton.storage.registry import stored

__all__ = ["Squared"]


@stored("loss/squared")
@dataclass(frozen=True)
class Squared(Loss):
    """Half the squared error of ``y``, of shape (n_rows,) or, for several targets, (n_rows, n_outputs).

    Parameters
    ----------
    n_outputs : int
        Number of targets.
    """

    n_outputs: int = 1
    convex = True
    curvature_bound = 1.0
    quadratic = True
    numeric = True

    def value(self, y: Array, z: Array) -> Array:
        """Return the loss of each row."""
        return namespace(z).sum((z - self._matrix(y)) ** 2, axis=1) / 2

    def linearize(self, y: Array, z: Array) -> tuple[Array, Array, Array]:
        """Return value, gradient ``z - y`` and a curvature without columns, as none is needed."""
        xp, residual = namespace(z), z - self._matrix(y)
        return xp.sum(residual**2, axis=1) / 2, residual, xp.zeros_like(z[:, :0])

    def hess_mul(self, curvature: Array, v: Array) -> Array:
        """Return ``v``."""
        return v

    def hess_entry(self, curvature: Array, k: int, j: int) -> Array:
        """Return 1 on the diagonal and 0 off it."""
        entry = namespace(curvature).sum(curvature, axis=1)
        return entry + 1 if k == j else entry

    def inverse_link(self, z: Array) -> Array:
        """Return the margins, as a vector for one target."""
        return z[:, 0] if self.n_outputs == 1 else z

    def null_margin(self, mean: np.ndarray) -> np.ndarray:
        """Return the mean itself."""
        return mean

    def gradient_scale(self, square: float) -> float:
        """Return the root mean square of the targets."""
        return square**0.5

    def _matrix(self, y: Array) -> Array:
        return y[:, None] if y.ndim == 1 else y
