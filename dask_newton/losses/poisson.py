"""Poisson loss, with the logarithmic link.

For y >= 0 and mu = exp(z),

    l(y, z) = mu - y z,    l' = mu - y,    l'' = mu
"""

from __future__ import annotations

from dataclasses import dataclass

from dask_newton.losses.base import Array
from dask_newton.losses.log_link import LogLink, exponential, logarithm
from dask_newton.storage.registry import stored

__all__ = ["Poisson"]


@stored("loss/poisson")
@dataclass(frozen=True)
class Poisson(LogLink):
    """Poisson loss of counts ``y >= 0``."""

    power = 1.0

    def linearize(self, y: Array, z: Array) -> tuple[Array, Array, Array]:
        """Return value, gradient ``mu - y`` and curvature ``mu``."""
        mean, derivative = exponential(z)
        return mean[:, 0] - y * z[:, 0], derivative - y[:, None], derivative

    def saturated(self, y: Array) -> Array:
        """Return ``y - y log y``."""
        return y - y * logarithm(y)
