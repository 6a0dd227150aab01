"""Gamma loss, with the logarithmic link.

For y > 0 and mu = exp(z),

    l(y, z) = y / mu + z,    l' = 1 - y / mu,    l'' = y / mu
"""

from __future__ import annotations

from dataclasses import dataclass

from dask_newton.losses.base import Array
from dask_newton.losses.log_link import LogLink, exponential, logarithm
from dask_newton.storage.registry import stored

__all__ = ["Gamma"]


@stored("loss/gamma")
@dataclass(frozen=True)
class Gamma(LogLink):
    """Gamma loss of ``y > 0``."""

    power = 2.0
    targets = "positive"

    def linearize(self, y: Array, z: Array) -> tuple[Array, Array, Array]:
        """Return value, gradient ``1 - y / mu`` and curvature ``y / mu``."""
        inverse, derivative = exponential(-z)
        ratio = y[:, None] * derivative
        return y * inverse[:, 0] + z[:, 0], 1 - ratio, ratio

    def saturated(self, y: Array) -> Array:
        """Return ``1 + log y``."""
        return 1 + logarithm(y)

    def valid(self, y: Array) -> Array:
        """Return a mask of valid targets."""
        return y > 0
