"""The part of a linear objective that depends on the penalty alone, not on the data.

R acts on w, the rows of ``W = [w; b']`` without the intercept b.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from dask_newton.losses import Loss
from dask_newton.objectives.base import Objective
from dask_newton.penalties.norms import best_shift

__all__ = ["Penalised"]


class Penalised(Objective):
    """A linear objective's methods for R; see :class:`~.objective.LinearObjective`."""

    loss: Loss
    fit_intercept: bool

    def __post_init__(self) -> None:
        self.penalty.check((self.shape[0] - self.fit_intercept, self.shape[1]))

    def penalised(self, W: np.ndarray) -> np.ndarray:
        """Return w, the rows of W that are penalised (a view)."""
        return W[:-1] if self.fit_intercept else W

    def centre(self, V: np.ndarray) -> np.ndarray:
        """Subtract the mean over outputs if the loss is invariant to it: F stays the same or decreases.

        Rows with different l2 strengths for their outputs stay as they are, because F may increase there.
        """
        if not self.loss.shift_invariant:
            return V
        return V - np.where(self._equal_ridge, V.mean(axis=1, keepdims=True), 0.0)

    @cached_property
    def _equal_ridge(self) -> np.ndarray:
        """Which rows of W have one l2 strength for all outputs, shape (q, 1)."""
        return np.ptp(self.ridge(), axis=1, keepdims=True) == 0

    def shrink(self, W: np.ndarray) -> np.ndarray:
        """Return, of all W with the same loss, the one with the smallest penalty, for an l1 penalty."""
        norms = self.norms()
        if not self.loss.shift_invariant or norms.labels is not None:
            return W
        return W - best_shift(W, norms.strength.reshape(self.shape), self.ridge())

    def fill_null_space(self, hessian: np.ndarray) -> np.ndarray:
        """Add curvature to a Hessian along directions in which F is constant and the gradient is zero.

        For a shift-invariant loss these are equal coefficients for all outputs, in rows of W without an l2 penalty.
        Solutions of ``H x = g`` stay solutions, and H can be factorised.
        """
        if not self.loss.shift_invariant:
            return hessian
        q, K = self.shape
        filled = hessian.reshape(q, K, q, K).copy()
        for row in np.flatnonzero(~self.ridge().any(axis=1)):
            block = filled[row, :, row, :]  # a view
            # A column of zeros has no curvature and no gradient: with any curvature its coefficients do not move.
            block += np.trace(block) / K**2 if np.trace(block) > 0 else np.eye(K)
        return filled.reshape(hessian.shape)
