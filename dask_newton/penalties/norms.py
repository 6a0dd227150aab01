"""A sum of norms over the groups of a partition, on flat vectors: the common part of l1 and group lasso.

    R(v) = sum_g t_g norm(v_g)

    prox(v, a)_g   = max(0, 1 - a t_g / norm(v_g)) v_g             (zero, exactly, if norm(v_g) <= a t_g)
    grad R(v)_g    = t_g u_g,    u_g = v_g / norm(v_g)             (where v_g is not 0)
    hess R(v) d_g  = t_g / norm(v_g) (d_g - u_g <u_g, d_g>)        (0 in groups of one)

With groups of one entry this is the l1 norm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Norms", "best_shift"]


@dataclass(frozen=True, eq=False)
class Norms:
    """Norms of groups of the entries of a vector.

    Attributes
    ----------
    strength : ndarray, shape (n,)
        t of the group of each entry. Entries of strength 0 are not penalised.
    labels : ndarray of int, shape (n,), or None
        The group of each entry; None if each entry is a group.
    """

    strength: np.ndarray
    labels: np.ndarray | None = None

    @property
    def free(self) -> np.ndarray:
        """Which entries are not penalised."""
        return self.strength == 0

    def pool(self, a: np.ndarray) -> np.ndarray:
        """Return, at each entry, the sum of ``a`` over its group."""
        return a if self.labels is None else np.bincount(self.labels, a)[self.labels]

    def largest(self, a: np.ndarray) -> np.ndarray:
        """Return, at each entry, the maximum of ``a`` over its group."""
        if self.labels is None:
            return a
        top = np.full(int(self.labels.max(initial=-1)) + 1, -np.inf)
        np.maximum.at(top, self.labels, a)
        return top[self.labels]

    def size(self, v: np.ndarray) -> np.ndarray:
        """Return, at each entry, the norm of its group."""
        return np.abs(v) if self.labels is None else np.sqrt(self.pool(v * v))

    def value(self, v: np.ndarray) -> float:
        """Return R(v)."""
        return float(np.dot(np.abs(self.grad(v)), np.abs(v)))

    def prox(self, v: np.ndarray, step: float | np.ndarray) -> np.ndarray:
        """Return the proximal point; ``step`` may be an array that is constant within each group."""
        threshold = step * self.strength
        if self.labels is None:
            return np.sign(v) * np.maximum(np.abs(v) - threshold, 0.0)
        size = self.size(v)
        return np.where(size > threshold, v * (1 - threshold / np.where(size > 0, size, 1.0)), 0.0)

    def grad(self, v: np.ndarray) -> np.ndarray:
        """Return the gradient of R; 0 in groups that are 0."""
        return self.strength * self.unit(v)

    def subgradient(self, v: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Return the element of smallest norm of ``gradient + dR(v)``, with the subdifferential dR."""
        return np.where(self.size(v) > 0, gradient + self.grad(v), self.prox(gradient, 1.0))

    def chord(self, v: np.ndarray, d: np.ndarray) -> np.ndarray:
        """Return c with ``<c, d> = R(v + d) - R(v)``, without the rounding errors of that difference."""
        sizes = self.size(v) + self.size(v + d)
        return self.strength * (2 * v + d) / np.where(sizes > 0, sizes, 1.0)

    def unit(self, v: np.ndarray) -> np.ndarray:
        """Return v with every group divided by its norm; groups of zeros stay zero."""
        if self.labels is None:
            return np.sign(v)
        size = self.size(v)
        return v / np.where(size > 0, size, 1.0)

    def hess_mul(self, v: np.ndarray, d: np.ndarray) -> np.ndarray:
        """Return the product of the Hessian of R at v with d; 0 in groups that are 0."""
        if self.labels is None:
            return np.zeros_like(d)
        unit = self.unit(v)
        return self._curvature(v) * (d - unit * self.pool(unit * d))

    def hess_diag(self, v: np.ndarray) -> np.ndarray:
        """Return the diagonal of the Hessian of R at v; 0 in groups that are 0."""
        return self._curvature(v) * (1 - self.unit(v) ** 2) if self.labels is not None else np.zeros_like(v)

    def hessian(self, v: np.ndarray) -> np.ndarray:
        """Return the Hessian of R at v, as a matrix; 0 in groups that are 0."""
        if self.labels is None:
            return np.zeros((len(v), len(v)))
        curvature, unit = self._curvature(v), self.unit(v)
        same = self.labels[:, None] == self.labels
        return np.diag(curvature) - same * (curvature * unit)[:, None] * unit

    def exceeded(self, gradient: np.ndarray) -> np.ndarray:
        """Return a mask of the entries of groups that cannot stay zero, given the gradient."""
        return self.size(gradient) > self.strength

    def cut(self, v: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """Set those penalised groups of v to zero whose product with the group of the reference is not positive."""
        return np.where(self.free | (self.pool(v * reference) > 0), v, 0.0)

    def first_zero(self, v: np.ndarray, d: np.ndarray, reference: np.ndarray) -> tuple[float, np.ndarray]:
        """Go from v towards v + d until the product of a penalised group with that of the reference would be negative.

        Returns
        -------
        step : float
            At most 1.
        u : ndarray
            ``v + step d``, with the groups that ended the step set to zero.
        """
        here, change = self.pool(v * reference), self.pool(d * reference)
        crossing = ~self.free & (here > 0) & (here + change < 0)
        steps = np.where(crossing, here / np.where(crossing, -change, 1.0), 1.0)
        step = float(steps.min(initial=1.0))
        return step, np.where(crossing & (steps == step), 0.0, v + step * d)

    def scaled(self, scale: np.ndarray) -> Norms:
        """Return the norms as a function of ``v / scale``, for a scale that is constant within each group."""
        return Norms(self.strength * scale, self.labels)

    def _curvature(self, v: np.ndarray) -> np.ndarray:
        size = self.size(v)
        return np.where(size > 0, self.strength / np.where(size > 0, size, 1.0), 0.0)

    def take(self, index: np.ndarray) -> Norms:
        """Return the norms of some entries, which must be whole groups."""
        labels = None if self.labels is None else np.unique(self.labels[index], return_inverse=True)[1]
        return Norms(self.strength[index], labels)

    def extend(self, n: int) -> Norms:
        """Return the norms of vectors with n further entries, which are not penalised."""
        strength = np.concatenate([self.strength, np.zeros(n)])
        if self.labels is None:
            return Norms(strength)
        return Norms(strength, np.concatenate([self.labels, self.labels.max(initial=-1) + 1 + np.arange(n)]))


def best_shift(W: np.ndarray, strength: np.ndarray, ridge: np.ndarray) -> np.ndarray:
    """Return, for each row of W, the c that minimises ``sum(strength abs(w - c) + ridge (w - c)^2 / 2)``, shape (q, 1).

    Without a ridge c is a weighted median. In rows without any strength or ridge c is 0.
    """
    order = np.argsort(W, axis=1, kind="stable")
    w, t = np.take_along_axis(W, order, 1), np.take_along_axis(strength, order, 1)
    above, total = t.cumsum(axis=1), t.sum(axis=1, keepdims=True)
    # The derivative on the right of each w; on the left it is smaller by 2 t.
    smooth = ridge.sum(axis=1, keepdims=True) * w - (ridge * W).sum(axis=1, keepdims=True)
    right = 2 * above - total + smooth
    first = np.argmax(right >= 0, axis=1)[:, None]  # 0 if rounding leaves none, as in a row of equal numbers
    left, curvature = np.take_along_axis(right - 2 * t, first, 1), ridge.sum(axis=1, keepdims=True)
    there = np.take_along_axis(w, first, 1)
    # If the derivative on the left is positive, it is the ridge's, and the minimum lies where it becomes zero.
    back = np.divide(left, curvature, out=np.zeros_like(left), where=(left > 0) & (curvature > 0))
    return np.where(total + curvature > 0, there - back, 0.0)
