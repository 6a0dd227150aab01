"""The objective of one block, for inner solvers: on the block's device, without Dask."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Self, cast

import numpy as np

from dask_newton.arrays import from_host, namespace

__all__ = ["LocalObjective"]

Array = Any


class LocalObjective(ABC):
    """The objective of one block: ``loss(x) / scale + (rho / 2) norm(x - center)^2`` and the terms of a subclass.

    Attributes
    ----------
    block : LinearBlock or NetworkBlock
    scale : float
        By which the sum of losses is divided.
    rho : float
        Weight of the proximal term.
    center : Array or None
        On the block's device; None is zero.
    """

    block: Any
    scale: float
    rho: float
    center: Array | None

    @property
    def precision(self) -> float:
        """Rounding unit of the arithmetic on the block."""
        return self.block.rows.precision

    def device(self, a: np.ndarray) -> Array:
        """Copy a vector of the driver to the block's device."""
        return from_host(np.asarray(a, dtype=np.float64), self.block.rows.X)

    @abstractmethod
    def loss(self, x: Array, *, gradient: bool) -> tuple[float, Array | None]:
        """Return the sum of losses and, on request, its gradient, without the scale and the other terms."""

    @abstractmethod
    def at(self, x: Array) -> Any:
        """Linearise at x: an object with x, value, gradient and curvature."""

    @abstractmethod
    def hessian(self, curvature: Any) -> Callable[[Array], Array]:
        """Return the Hessian as an operator."""

    @abstractmethod
    def along(
        self, point: Any, d: Array, steps: Sequence[float], direction_margins: Any = ()
    ) -> tuple[np.ndarray, Any]:
        """Return the values at ``x + a d`` and the margins of d, which save the product with X in the next call."""

    def proximal(self, rho: float, center: Array) -> Self:
        """Return this objective with another proximal term."""
        return replace(cast("Any", self), rho=rho, center=center)

    def _proximal_value(self, x: Array) -> float:
        """Return ``(rho / 2) norm(x - center)^2``."""
        if not self.rho:
            return 0.0
        e = self._from_center(x)
        return 0.5 * self.rho * float(namespace(e).sum(e * e))

    def _from_center(self, x: Array) -> Array:
        return x if self.center is None else x - self.center
