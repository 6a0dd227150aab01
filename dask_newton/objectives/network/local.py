"""A block's share of the objective of a network, as the local solvers see it: on the block's device, without Dask.

With the losses l_j of the rows of the block and their weights s_j,

    f(theta) = (1/scale) sum_{j in block} s_j l_j(theta) + (rho/2) norm(theta - center)^2
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dask_newton.arrays import from_host, namespace, to_host
from dask_newton.objectives.network.block import NetworkBlock, Remembered
from dask_newton.objectives.network.layers import Layers
from dask_newton.objectives.rows.block import RowBlock

__all__ = ["LocalPoint", "LocalNetwork"]

Array = Any


@dataclass(frozen=True, eq=False)
class LocalPoint:
    """A block's share linearised at x."""

    x: Array
    value: float
    gradient: Array
    curvature: Remembered


@dataclass(frozen=True, eq=False)
class LocalNetwork:
    """One block's share; see the formula above.

    Attributes
    ----------
    block : NetworkBlock
    scale, rho : float
    center : Array of shape (P, 1) or None
        On the block's device; None is zero.
    keep : bool
        Whether products with the Hessian remember activations.
    """

    block: NetworkBlock
    scale: float
    rho: float = 0.0
    center: Array | None = None
    keep: bool = True

    @classmethod
    def of_rows(cls, rows: RowBlock, *, layers: Layers, scale: float, keep: bool) -> LocalNetwork:
        """Return the share of the rows of a block, without proximal term."""
        return cls(NetworkBlock(rows, layers), scale, keep=keep)

    @property
    def precision(self) -> float:
        """Rounding unit of the arithmetic on the block."""
        return self.block.rows.precision

    def device(self, a: np.ndarray) -> Array:
        """Bring a vector of the driver to the block."""
        return from_host(np.asarray(a, dtype=np.float64), self.block.rows.X)

    def loss(self, theta: Array, *, gradient: bool) -> tuple[float, Array | None]:
        """Return the sum of losses and, on request, its gradient, without scale and proximal term."""
        if not gradient:
            return float(self.block.values([theta])[0]), None
        value, slope, _ = self.block.linearize(theta, keep=False)
        return float(value), slope

    def at(self, theta: Array) -> LocalPoint:
        """Linearise at theta."""
        value, gradient, curvature = self.block.linearize(theta, keep=self.keep)
        gradient = gradient / self.scale
        if self.rho:
            gradient = gradient + self.rho * self._from_center(theta)
        return LocalPoint(theta, float(value) / self.scale + self._term(theta), gradient, curvature)

    def hessian(self, curvature: Remembered) -> Callable[[Array], Array]:
        """Return the Hessian as an operator."""
        return lambda v: self.block.hess_mul(curvature, v, exact=True) / self.scale + self.rho * v

    def along(self, point: LocalPoint, d: Array, steps: Sequence[float], slopes: Any = ()) -> tuple[np.ndarray, Any]:
        """Return the values at ``theta + a d``, and nothing that would spare work next time."""
        points = [point.x + a * d for a in steps]
        return to_host(self.block.values(points)) / self.scale + [self._term(x) for x in points], ()

    def _term(self, theta: Array) -> float:
        e = self._from_center(theta)
        return 0.5 * self.rho * float(namespace(e).sum(e * e)) if self.rho else 0.0

    def _from_center(self, theta: Array) -> Array:
        return theta if self.center is None else theta - self.center
