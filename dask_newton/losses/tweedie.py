"""Tweedie loss, with the logarithmic link.

For y >= 0, 1 < p < 2, mu = exp(z), a = 2 - p and b = p - 1,

    l(y, z) = mu^a / a + y mu^-b / b,    l' = mu^a - y mu^-b,    l'' = a mu^a + b y mu^-b
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from dask_newton.losses.base import Array
from dask_newton.losses.log_link import LogLink, exponential
from dask_newton.storage.registry import stored

__all__ = ["Tweedie"]


@stored("loss/tweedie")
@dataclass(frozen=True)
class Tweedie(LogLink):
    """Tweedie loss of ``y >= 0``, with variance ``mu**power``: a compound Poisson-Gamma model.

    Parameters
    ----------
    power : float
        p, between 1 (:class:`Poisson`) and 2 (:class:`Gamma`), without the ends.
    """

    power: float = 1.5

    def __post_init__(self) -> None:
        if not (math.isfinite(self.power) and 1 < self.power < 2):
            raise ValueError(f"power={self.power} is not between 1 and 2; use Poisson for 1 and Gamma for 2.")

    def linearize(self, y: Array, z: Array) -> tuple[Array, Array, Array]:
        """Return value, gradient ``mu^a - y mu^-b`` and curvature ``a mu^a + b y mu^-b``."""
        a, b = 2 - self.power, self.power - 1
        mean, derivative = exponential(a * z)
        inverse, fall = exponential(-b * z)
        fall = y[:, None] * fall
        return mean[:, 0] / a + y * inverse[:, 0] / b, derivative - fall, a * derivative + b * fall

    def saturated(self, y: Array) -> Array:
        """Return ``y^a / (a b)``."""
        a, b = 2 - self.power, self.power - 1
        return y**a / (a * b)
