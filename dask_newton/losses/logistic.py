"""Binary logistic loss.

For y in {0, 1} and margin z,

    l(y, z)   = log(1 + exp(z)) - y z = max(z, 0) + log1p(exp(-|z|)) - y z
    l'(y, z)  = s(z) - y,            s(z) = 1 / (1 + exp(-z))
    l''(y, z) = s(z) (1 - s(z))  <=  1/4

The second form of l, and s computed from exp(-|z|), are finite for every finite z.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from dask_newton.arrays import namespace
from dask_newton.losses.base import Array, Loss
from dask_newton.storage.registry import stored

__all__ = ["Logistic"]


@stored("loss/logistic")
@dataclass(frozen=True)
class Logistic(Loss):
    """Binary logistic loss of ``y`` in {0, 1}; one margin per sample."""

    convex = True
    curvature_bound = 0.25
    decided_below = math.log(2)
    targets = "0 or 1"
    n_outputs = 1

    def value(self, y: Array, z: Array) -> Array:
        """Return the loss of each row."""
        xp, z = namespace(z), z[:, 0]
        return xp.log1p(xp.exp(-xp.abs(z))) + _relu_minus(xp, y, z)

    def linearize(self, y: Array, z: Array) -> tuple[Array, Array, Array]:
        """Return value, gradient and ``s (1 - s)``."""
        xp, z = namespace(z), z[:, 0]
        e = xp.exp(-xp.abs(z))
        larger = 1 / (1 + e)  # s(|z|)
        curvature = e * larger * larger
        gradient = xp.where(z >= 0, larger, e * larger) - y
        return xp.log1p(e) + _relu_minus(xp, y, z), gradient[:, None], curvature[:, None]

    def hess_mul(self, curvature: Array, v: Array) -> Array:
        """Return ``s (1 - s) v``."""
        return curvature * v

    def hess_entry(self, curvature: Array, k: int, j: int) -> Array:
        """Return ``s (1 - s)``."""
        return curvature[:, 0]

    def inverse_link(self, z: Array) -> Array:
        """Return the probabilities of the classes 0 and 1."""
        xp = namespace(z)
        e = xp.exp(-xp.abs(z))
        larger, smaller = 1 / (1 + e), e / (1 + e)
        return xp.concat([xp.where(z >= 0, smaller, larger), xp.where(z >= 0, larger, smaller)], axis=1)

    def valid(self, y: Array) -> Array:
        """Return a mask of valid targets."""
        return (y == 0) | (y == 1)


def _relu_minus(xp: object, y: Array, z: Array) -> Array:
    """Return ``max(z, 0) - y z``."""
    return xp.where(z >= 0, z, 0 * z) - y * z  # type: ignore[attr-defined]
