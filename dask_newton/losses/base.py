"""The interface of a loss: a function of the target and the margins of one sample, with gradient and Hessian product.

A loss does not depend on X or on sample weights. Its arrays are tiles of rows, of any namespace: margins ``z``
(n_rows, n_outputs), and targets ``y`` (n_rows,) or, if there are several, (n_rows, n_outputs).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np

Array = Any

__all__ = ["Array", "Loss"]


class Loss(ABC):
    """A twice differentiable loss ``l(y, z)`` of one sample.

    Attributes
    ----------
    convex : bool
        Whether ``l(y, .)`` is convex for every ``y``.
    curvature_bound : float or None
        An upper bound of the eigenvalues of the Hessian of ``l(y, .)``, or None if there is none.
    shift_invariant : bool
        Whether the loss stays the same when one number is added to all margins of a sample.
    decided_below : float or None
        For classification: a sample with a smaller loss is classified correctly. None for other losses.
    quadratic : bool
        Whether the Hessian of every row is the identity.
    numeric : bool
        Whether targets are numbers; their mean and size then set the start and the scale of the tolerance. Otherwise
        they are codes of classes.
    targets : str
        What targets must be, for error messages; see :meth:`valid`.
    n_outputs : int
        Margins per sample, K.
    """

    convex: ClassVar[bool]
    curvature_bound: ClassVar[float | None]
    shift_invariant: bool = False
    decided_below: ClassVar[float | None] = None
    quadratic: ClassVar[bool] = False
    numeric: ClassVar[bool] = False
    targets: ClassVar[str] = "finite"
    n_outputs: int

    @abstractmethod
    def value(self, y: Array, z: Array) -> Array:
        """Return the loss of each row, shape (n_rows,)."""

    @abstractmethod
    def linearize(self, y: Array, z: Array) -> tuple[Array, Array, Array]:
        """Return value (n_rows,), gradient (n_rows, n_outputs), and the curvature for later products (n_rows, any)."""

    @abstractmethod
    def hess_mul(self, curvature: Array, v: Array) -> Array:
        """Multiply the Hessian of each row, given by the curvature from :meth:`linearize`, with a row of ``v``."""

    @abstractmethod
    def hess_entry(self, curvature: Array, k: int, j: int) -> Array:
        """Return entry (k, j) of the Hessian of each row, shape (n_rows,)."""

    @abstractmethod
    def inverse_link(self, z: Array) -> Array:
        """Return the mean response: class probabilities (n_rows, n_classes), or expected values (n_rows,)."""

    def saturated(self, y: Array) -> Array:
        """Return the minimum of ``l(y, .)`` of each row, shape (n_rows,); 0 for labels."""
        return 0 * y if y.ndim == 1 else 0 * y[:, 0]

    def deviance(self, y: Array, z: Array) -> Array:
        """Return the unit deviance of each row, ``2 (l(y, z) - min l(y, .))``, shape (n_rows,)."""
        return 2 * (self.value(y, z) - self.saturated(y))

    def valid(self, y: Array) -> Array:
        """Return a mask of valid targets, see ``targets``."""
        return y == y

    def null_margin(self, mean: np.ndarray) -> np.ndarray:
        """Return the optimal constant margins for the mean targets; both (n_outputs,)."""
        return np.zeros(self.n_outputs)

    def gradient_scale(self, square: float) -> float:
        """Return the typical size of the gradient of a row from the mean squared target; 1 for labels."""
        return 1.0
