"""Softmax cross-entropy, in the symmetric and in the reference-class form.

For a class y in {0, ..., C-1} and margins z, shifted by m = max z against overflow,

    symmetric (z in R^C):      l = m + log sum_c exp(z_c - m) - z_y
    reference (z in R^(C-1)):  the same with one more margin, fixed to 0 (m = max(0, max z)), for the last class

    p_c = exp(z_c - m) / sum,   grad l = p - onehot(y),   hess l v = p * v - p (p . v)   <=  1/2

The reference form is that of the Newton-ADMM papers (with M(a), which they misprint as M(x)); the symmetric form is
scikit-learn's. Without a penalty both have the same optimum, up to a shift; with a penalty the optima differ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from dask_newton.arrays import from_host, namespace
from dask_newton.losses.base import Array, Loss
from dask_newton.storage.registry import stored

__all__ = ["Softmax"]


@stored("loss/softmax")
@dataclass(frozen=True)
class Softmax(Loss):
    """Softmax cross-entropy.

    Parameters
    ----------
    n_classes : int
        Number of classes C.
    parametrization : {'symmetric', 'reference'}
        'reference' fixes the margin of the last class to 0, so that there are C - 1 margins per sample.
    """

    n_classes: int
    parametrization: str = "symmetric"
    convex = True
    curvature_bound = 0.5
    decided_below = math.log(2)
    targets = "whole numbers from 0 to n_classes - 1"

    def __post_init__(self) -> None:
        if self.parametrization not in ("symmetric", "reference"):
            raise ValueError(
                f"parametrization={self.parametrization!r} is not known; choose 'symmetric' or 'reference'."
            )

    @property
    def reference(self) -> bool:
        """Whether the last class is the reference."""
        return self.parametrization == "reference"

    @property
    def shift_invariant(self) -> bool:  # type: ignore[override]
        """True for the symmetric form; its Hessian is singular in the direction of equal margins."""
        return not self.reference

    @property
    def n_outputs(self) -> int:  # type: ignore[override]
        """Margins per sample: C, or C - 1 in the reference form."""
        return self.n_classes - self.reference

    def value(self, y: Array, z: Array) -> Array:
        """Return the loss of each row."""
        xp = namespace(z)
        top, total, _ = self._exponentials(xp, z)
        return top + xp.log(total) - xp.sum(z * self._onehot(xp, y, z), axis=1)

    def linearize(self, y: Array, z: Array) -> tuple[Array, Array, Array]:
        """Return value, gradient ``p - onehot(y)`` and the probabilities ``p``."""
        xp = namespace(z)
        top, total, e = self._exponentials(xp, z)
        onehot = self._onehot(xp, y, z)
        p = e / total[:, None]
        return top + xp.log(total) - xp.sum(z * onehot, axis=1), p - onehot, p

    def hess_mul(self, curvature: Array, v: Array) -> Array:
        """Return ``p * v - p (p . v)``."""
        pv = curvature * v
        return pv - curvature * namespace(v).sum(pv, axis=1)[:, None]

    def hess_entry(self, curvature: Array, k: int, j: int) -> Array:
        """Return ``p_k (delta_kj - p_j)``."""
        p = curvature[:, k]
        return p * (1 - p) if k == j else -p * curvature[:, j]

    def inverse_link(self, z: Array) -> Array:
        """Return the probabilities of all C classes."""
        xp = namespace(z)
        top, total, e = self._exponentials(xp, z)
        p = e / total[:, None]
        return xp.concat([p, (xp.exp(-top) / total)[:, None]], axis=1) if self.reference else p

    def valid(self, y: Array) -> Array:
        """Return a mask of valid targets."""
        xp = namespace(y)
        return (y >= 0) & (y < self.n_classes) & (y == xp.floor(y))

    def _exponentials(self, xp: Any, z: Array) -> tuple[Array, Array, Array]:
        """Return the largest margin m, the sum of ``exp(z - m)``, and ``exp(z - m)``."""
        top = xp.max(z, axis=1)
        if self.reference:
            top = xp.where(top > 0, top, 0 * top)
        e = xp.exp(z - top[:, None])
        total = xp.sum(e, axis=1)
        return top, total + xp.exp(-top) if self.reference else total, e

    def _onehot(self, xp: Any, y: Array, z: Array) -> Array:
        classes = from_host(np.arange(self.n_outputs), y, y.dtype)
        return xp.astype(y[:, None] == classes[None, :], z.dtype)
