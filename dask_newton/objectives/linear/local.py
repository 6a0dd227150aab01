"""The objective of one block of a linear model, for inner solvers: on the block's device, without Dask.

    f(x) = (1/scale) sum_{j in block} s_j l_j(x) + sum(ridge x_w^2) / 2 + (rho/2) norm(x - center)^2 + <linear, x>

GIANT and similar methods use the local mean (scale = S_i, ridge = lam2, rho = 0). ADMM uses the block's part of the
mean (scale = S, ridge = 0) with a proximal term. DANE uses the mean as a function of the displacement from a point W
whose margins are known, so that W itself is not needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dask_newton.arrays import from_host, namespace, to_host
from dask_newton.objectives.linear.block import LinearBlock
from dask_newton.objectives.linear.hessians import block_hessian
from dask_newton.objectives.local import LocalObjective
from dask_newton.objectives.rows.block import RowBlock

__all__ = ["LocalHessian", "LocalLinear", "LocalPoint"]

Array = Any


@dataclass(frozen=True, eq=False)
class LocalPoint:
    """A local objective linearised at x."""

    x: Array
    value: float
    gradient: Array
    margins: tuple[Array, ...]
    curvature: tuple[Array, ...]


@dataclass(frozen=True, eq=False)
class LocalLinear(LocalObjective):
    """The objective of one block, by the formula above.

    Attributes
    ----------
    block : LinearBlock
    scale, rho : float
    ridge : float, or Array that broadcasts against (n_features, K)
        On the block's device.
    center, linear : Array of shape (q, K) or None
        On the block's device; None is zero.
    margins : tuple of Array
        Margins of a point W by row tile; if given, the losses are those at W + x.
    """

    block: LinearBlock
    scale: float
    ridge: Array = 0.0
    rho: float = 0.0
    center: Array | None = None
    linear: Array | None = None
    margins: tuple[Array, ...] = ()

    @classmethod
    def of_rows(cls, rows: RowBlock, *, fit_intercept: bool, scale: float) -> LocalLinear:
        """Return the objective of some rows, without a ridge and a proximal term."""
        return cls(LinearBlock(rows, fit_intercept), scale)

    @classmethod
    def around(
        cls, block: LinearBlock, margins: tuple[Array, ...], gradient: np.ndarray, ridge: Array, rho: float
    ) -> LocalLinear:
        """Return DANE's local problem: the block's mean objective f_i at W + x with its gradient at x = 0 replaced.

            f_i(W + x) - <grad f_i(W) - gradient, x> + (rho/2) norm(x)^2,    up to a constant

        The ridge enters f_i(W + x) - <ridge W, x>, which is ``sum(ridge x_w^2) / 2`` for every W.
        """
        weight = block.rows.total_weight
        local = cls(block, weight, from_host(np.asarray(ridge), block.rows.X), rho, margins=margins)
        own = block.ray(margins=margins).gradient / weight
        return replace(local, linear=local.device(gradient) - own)

    def loss(self, x: Array, *, gradient: bool) -> tuple[float, Array | None]:
        """Return the sum of losses and, on request, its gradient, without scale and other terms."""
        ray = self.block.ray(x, gradient=gradient)
        return float(ray.values[0]), ray.gradient

    def at(self, x: Array) -> LocalPoint:
        """Linearise at x."""
        ray = self.block.ray(None, x, (1.0,), margins=self.margins) if self.margins else self.block.ray(x)
        value = float(ray.values[0]) / self.scale + self._terms(x)
        return LocalPoint(x, value, self._add_terms(ray.gradient / self.scale, x), ray.margins, ray.curvature)

    def hess_mul(self, curvature: tuple[Array, ...], v: Array) -> Array:
        """Multiply the Hessian with v."""
        return self.add_hessian(self.block.hess_mul(curvature, v) / self.scale, v)

    def hessian(self, curvature: tuple[Array, ...]) -> LocalHessian:
        """Return the Hessian as an operator, for many products with it."""
        return LocalHessian(self, curvature)

    def add_hessian(self, product: Array, v: Array) -> Array:
        """Add the product of v with the Hessian of all terms but the losses."""
        product = self._add_ridge(product, v)
        return product + self.rho * v if self.rho else product

    @property
    def n_rows(self) -> int:
        """Number of rows of the block."""
        return self.block.rows.n_rows

    def change(self, x: Array, rows: np.ndarray) -> Array:
        """Return the gradient at x less that at 0, estimated from some rows of the block without bias."""
        change = self.block.gradient_change(rows, self.margins, x)
        return self.add_hessian(change * (self.n_rows / (len(rows) * self.scale)), x)

    def along(
        self, point: LocalPoint, d: Array, steps: Sequence[float], direction_margins: Any = ()
    ) -> tuple[np.ndarray, Any]:
        """Return the values at ``x + a d`` and the margins of d, which save the product with X in the next call."""
        ray = self.block.ray(None, d, steps, margins=point.margins, direction_margins=direction_margins, gradient=False)
        values = to_host(ray.values) / self.scale
        return values + np.array([self._terms(point.x + a * d) for a in steps]), ray.direction_margins

    def _rows(self, x: Array) -> Array:
        return x[:-1, ...] if self.block.fit_intercept else x

    def _terms(self, x: Array) -> float:
        xp, w = namespace(x), self._rows(x)
        value = 0.5 * float(xp.sum(self.ridge * w * w)) + self._proximal_value(x)
        return value if self.linear is None else value + float(xp.sum(self.linear * x))

    def _add_terms(self, gradient: Array, x: Array) -> Array:
        gradient = self._add_ridge(gradient, x)
        if self.rho:
            gradient = gradient + self.rho * self._from_center(x)
        return gradient if self.linear is None else gradient + self.linear

    def _add_ridge(self, a: Array, x: Array) -> Array:
        self._rows(a)[...] += self.ridge * self._rows(x)
        return a


class LocalHessian:
    """Products with the Hessian of a local objective, which becomes a matrix as soon as that pays.

    The number of products that an inner solver will need is not known in advance. The matrix is computed after about as
    many products as it costs, which takes at most twice the time of the better choice.

    Parameters
    ----------
    local : LocalLinear
    curvature : tuple of Array
        By row tile.
    """

    MAX_DIM = 1000
    """The largest number of coefficients for which a matrix is computed."""

    def __init__(self, local: LocalLinear, curvature: tuple[Array, ...]) -> None:
        self._local, self._curvature, self._matrix = local, curvature, None
        q, K = local.block.shape
        # The matrix takes q (K + 1) / 4 times the multiplications of a product, each in half the time or less.
        self._products_left = max(1, q * (K + 1) // 8) if q * K <= self.MAX_DIM else -1

    def __call__(self, v: Array) -> Array:
        """Return the product with v, of shape (q, K)."""
        local, xp = self._local, namespace(v)
        if self._products_left == 0:
            self._matrix = block_hessian(local.block, self._curvature) / local.scale
        self._products_left -= 1
        if self._matrix is None:
            return local.hess_mul(self._curvature, v)
        return local.add_hessian(xp.reshape(self._matrix @ xp.reshape(v, (-1,)), v.shape), v)
