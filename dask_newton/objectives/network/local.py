"""The objective of one block of a network, for inner solvers: on the block's device, without Dask.

With the losses l_j of the rows of the block and their weights s_j,

    f(theta) = (1/scale) sum_{j in block} s_j l_j(theta) + (rho/2) norm(theta - center)^2
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dask_newton.arrays import to_host
from dask_newton.objectives.local import LocalObjective
from dask_newton.objectives.network.block import NetworkBlock, Remembered
from dask_newton.objectives.network.layers import Layers
from dask_newton.objectives.rows.block import RowBlock

__all__ = ["LocalNetworkPoint", "LocalNetwork"]

Array = Any


@dataclass(frozen=True, eq=False)
class LocalNetworkPoint:
    """The objective of a block, linearised at x."""

    x: Array
    value: float
    gradient: Array
    curvature: Remembered


@dataclass(frozen=True, eq=False)
class LocalNetwork(LocalObjective):
    """The objective of one block, by the formula above.

    Attributes
    ----------
    block : NetworkBlock
    scale, rho : float
    center : Array of shape (P, 1) or None
        On the block's device; None is zero.
    keep : bool
        Whether activations are kept for products with the Hessian.
    """

    block: NetworkBlock
    scale: float
    rho: float = 0.0
    center: Array | None = None
    keep: bool = True

    @classmethod
    def of_rows(cls, rows: RowBlock, *, layers: Layers, scale: float, keep: bool) -> LocalNetwork:
        """Return the objective of some rows, without a proximal term."""
        return cls(NetworkBlock(rows, layers), scale, keep=keep)

    def loss(self, theta: Array, *, gradient: bool) -> tuple[float, Array | None]:
        """Return the sum of losses and, on request, its gradient, without the scale and the proximal term."""
        if not gradient:
            return float(self.block.values([theta])[0]), None
        value, derivative, _ = self.block.linearize(theta, keep=False)
        return float(value), derivative

    def at(self, theta: Array) -> LocalNetworkPoint:
        """Linearise at theta."""
        value, gradient, curvature = self.block.linearize(theta, keep=self.keep)
        gradient = gradient / self.scale
        if self.rho:
            gradient = gradient + self.rho * self._from_center(theta)
        return LocalNetworkPoint(theta, float(value) / self.scale + self._proximal_value(theta), gradient, curvature)

    def hessian(self, curvature: Remembered) -> Callable[[Array], Array]:
        """Return the Hessian as an operator."""
        return lambda v: self.block.hess_mul(curvature, v, exact=True) / self.scale + self.rho * v

    def along(
        self, point: LocalNetworkPoint, d: Array, steps: Sequence[float], direction_margins: Any = ()
    ) -> tuple[np.ndarray, Any]:
        """Return the values at ``theta + a d``, and (), since nothing saves work in the next call."""
        points = [point.x + a * d for a in steps]
        return to_host(self.block.values(points)) / self.scale + [self._proximal_value(x) for x in points], ()
