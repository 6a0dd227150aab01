"""What the objective of a linear model knows of its penalty without looking at the data.

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
    """The part of a linear objective that is about R; see :class:`~.objective.LinearObjective`."""

    loss: Loss
    fit_intercept: bool

    def __post_init__(self) -> None:
        self.penalty.check((self.shape[0] - self.fit_intercept, self.shape[1]))

    def penalised(self, W: np.ndarray) -> np.ndarray:
        """Return w, the rows of W that the penalty sees (a view)."""
        return W[:-1] if self.fit_intercept else W

    def centre(self, V: np.ndarray) -> np.ndarray:
        """Remove the mean over outputs, if the loss is blind to it: F does not see it, or is smaller without.

        Rows whose outputs have l2 terms of different strengths are left alone: for them it is not so.
        """
        if not self.loss.shift_invariant:
            return V
        return V - np.where(self._alike, V.mean(axis=1, keepdims=True), 0.0)

    @cached_property
    def _alike(self) -> np.ndarray:
        """Which rows of W have l2 terms of the same strength for all outputs, shape (q, 1)."""
        return np.ptp(self.ridge(), axis=1, keepdims=True) == 0

    def shrink(self, W: np.ndarray) -> np.ndarray:
        """Return, of all W with the same loss, the one with the smallest penalty, for an l1 penalty."""
        norms = self.norms()
        if not self.loss.shift_invariant or norms.labels is not None:
            return W
        return W - best_shift(W, norms.strength.reshape(self.shape), self.ridge())

    def fill_null_space(self, hessian: np.ndarray) -> np.ndarray:
        """Give a Hessian curvature along directions that F does not see and the gradient has no part in.

        For a shift-invariant loss these are equal coefficients for all outputs, in rows of W without an l2 penalty.
        Solutions of ``H x = g`` stay the same, and H can be factorised.
        """
        if not self.loss.shift_invariant:
            return hessian
        q, K = self.shape
        filled = hessian.reshape(q, K, q, K).copy()
        for row in np.flatnonzero(~self.ridge().any(axis=1)):
            block = filled[row, :, row, :]  # a view
            # A column of zeros has no curvature and no gradient: any curvature keeps its coefficients where they are.
            block += np.trace(block) / K**2 if np.trace(block) > 0 else np.eye(K)
        return filled.reshape(hessian.shape)
