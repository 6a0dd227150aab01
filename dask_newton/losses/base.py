"""The contract of a loss: a per-sample function of a target and its margins, with gradient and Hessian product.

A loss never sees X. Its arrays are tiles of rows: margins ``z`` (n_rows, n_outputs), targets ``y`` (n_rows,), as arrays
of any namespace. Sample weights are the objective's business.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

Array = Any

__all__ = ["Array", "Loss"]


class Loss(ABC):
    """A twice differentiable loss ``l(y, z)`` of one sample.

    Attributes
    ----------
    convex : bool
        Whether ``l(y, .)`` is convex for every ``y``.
    curvature_bound : float or None
        The largest eigenvalue that the Hessian of ``l(y, .)`` can have, or None where it has no bound.
    shift_invariant : bool
        Whether the loss stays the same when one number is added to all margins of a sample.
    decided_below : float or None
        For classification, a loss below which a sample is certainly classified right; None for other losses.
    n_outputs : int
        Margins per sample, K.
    """

    convex: ClassVar[bool]
    curvature_bound: ClassVar[float | None]
    shift_invariant: bool = False
    decided_below: ClassVar[float | None] = None
    n_outputs: int

    @abstractmethod
    def value(self, y: Array, z: Array) -> Array:
        """Return the loss of each row, shape (n_rows,)."""

    @abstractmethod
    def linearize(self, y: Array, z: Array) -> tuple[Array, Array, Array]:
        """Return value (n_rows,), gradient (n_rows, n_outputs) and the curvature to remember (n_rows, any)."""

    @abstractmethod
    def hess_mul(self, curvature: Array, v: Array) -> Array:
        """Multiply the Hessian of each row, given by its remembered curvature, with a row of ``v``."""

    @abstractmethod
    def hess_entry(self, curvature: Array, k: int, j: int) -> Array:
        """Return entry (k, j) of the Hessian of each row, shape (n_rows,)."""

    @abstractmethod
    def inverse_link(self, z: Array) -> Array:
        """Return the mean response: class probabilities (n_rows, n_classes), or expected values (n_rows,)."""
