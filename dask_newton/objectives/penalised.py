"""What an objective knows of its penalty without looking at the data.

R acts on w, the rows of ``W = [w; b']`` without the intercept b.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from dask_newton.losses import Loss
from dask_newton.objectives.points import Point
from dask_newton.penalties import NormPenalty, Norms, Penalty, SmoothPenalty
from dask_newton.penalties.norms import best_shift

__all__ = ["Penalised"]


class Penalised:
    """The part of an objective that is about R; see :class:`~dask_newton.objectives.linear.LinearObjective`."""

    loss: Loss
    penalty: Penalty
    shape: tuple[int, int]
    fit_intercept: bool
    scale: np.ndarray

    def __post_init__(self) -> None:
        self.penalty.check((self.shape[0] - self.fit_intercept, self.shape[1]))

    @cached_property
    def smooth(self) -> SmoothPenalty:
        """The differentiable part of R."""
        return self.penalty.split()[0]

    @cached_property
    def nonsmooth(self) -> Penalty | None:
        """What remains of R; None if nothing does."""
        return self.penalty.split()[1]

    @property
    def size(self) -> int:
        """Number of coefficients, q K."""
        return self.shape[0] * self.shape[1]

    def penalised(self, W: np.ndarray) -> np.ndarray:
        """Return w, the rows of W that the penalty sees (a view)."""
        return W[:-1] if self.fit_intercept else W

    def ridge(self) -> np.ndarray:
        """Return the diagonal of the Hessian of the differentiable part of R, shape (q, K); 0 for the intercept."""
        ridge = np.zeros(self.shape)
        self.penalised(ridge)[...] = self.smooth.hess_diag
        return ridge

    def norms(self) -> Norms:
        """Return the non-smooth part of R as norms of the entries of ``W.ravel()``; those of the intercept are free."""
        assert isinstance(self.nonsmooth, NormPenalty)
        norms = self.nonsmooth.norms((self.shape[0] - self.fit_intercept, self.shape[1]))
        return norms.extend(self.size - len(norms.strength))

    def slope(self, point: Point, D: np.ndarray) -> float:
        """Return the model's change of F from W to W + D that is linear in f: ``<g, D>``, and that of the norms."""
        if self.nonsmooth is None:
            return float(np.vdot(point.gradient, D))
        # Near the optimum the two all but cancel, entry by entry.
        return float(np.dot(point.gradient.ravel() + self.norms().chord(point.W.ravel(), D.ravel()), D.ravel()))

    def residual(self, W: np.ndarray, gradient: np.ndarray) -> float:
        """Return the certificate of optimality: the largest entry of the gradient of F, after division by ``scale``.

        Where R is a sum of norms, it is that of the smallest subgradient. For other R that are not smooth it is
        ``max|W - prox(W - grad F_smooth(W))|``, which is never larger, and small wherever W is.
        """
        if isinstance(self.nonsmooth, NormPenalty):
            gradient = self.norms().subgradient(W.ravel(), gradient.ravel()).reshape(W.shape)
        elif self.nonsmooth is not None:
            gradient = W - self.proximal_point(W, gradient)
        return float(np.max(np.abs(gradient) / self.scale))

    def proximal_point(self, W: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Return ``prox(W - grad F_smooth(W))``, where a step of steepest descent of length one leads."""
        moved = W - gradient
        if self.nonsmooth is not None:
            self.penalised(moved)[...] = self.nonsmooth.prox(self.penalised(moved), 1.0)
        return moved

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
